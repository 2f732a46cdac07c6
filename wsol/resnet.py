"""ResNet (He et al., CVPR 2016), torchvision's networks, with the feature-map sizes of the WSOL protocol.

The last stage always has stride 1 (map 14 x 14 at input 224); the large map has stride 1 in layer3 too (28 x 28).
"""

from collections import OrderedDict

import torchvision
from torch import nn

from wsol.initialize import initialize
from wsol.weights import download_into, load_file_into


class ResNet(nn.Sequential):
    """Stages by torchvision's names; images (B, 3, H, W) to features (B, num_features, h, w)."""

    fast_stages = ("layer4",)  # learns at the classifier's rate

    def __init__(self, stages: OrderedDict[str, nn.Module], num_features: int):
        super().__init__(stages)
        self.num_features = num_features


def _stride_one(stage: nn.Sequential) -> None:
    """Remove the stride of a stage's first block (in conv1 of basic blocks, conv2 of bottlenecks)."""
    block = stage[0]
    for layer in (block.conv1, block.conv2, block.downsample[0]):
        layer.stride = (1, 1)


def _resnet(name: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> ResNet:
    network = torchvision.models.get_model(name, weights=None)
    if pretrained_path:
        load_file_into(network, pretrained_path, head="fc.")
    elif pretrained:
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        download_into(network, lambda: weights.get_state_dict(check_hash=True), name, weights.url)
    else:
        initialize(network)
    for stage in ("layer3", "layer4") if large_feature_map else ("layer4",):
        _stride_one(getattr(network, stage))
    children = OrderedDict((key, child) for key, child in network.named_children() if key not in ("avgpool", "fc"))
    return ResNet(children, network.fc.in_features)


def resnet18(large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> ResNet:
    """ResNet-18: 512 features, small and quick."""
    return _resnet("resnet18", large_feature_map, pretrained, pretrained_path)


def resnet50(large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> ResNet:
    """ResNet-50: 2048 features, the papers' network."""
    return _resnet("resnet50", large_feature_map, pretrained, pretrained_path)
