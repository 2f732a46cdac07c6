"""ResNet (He et al., CVPR 2016), torchvision's networks, with the feature-map sizes of the WSOL protocol.

The last stage always has stride 1 (map 14 x 14 at input 224); the large map has stride 1 in layer3 too (28 x 28).
"""

from collections import OrderedDict

import torchvision
from torchvision.models.resnet import BasicBlock, Bottleneck

from wsol.networks.backbone import BRANCHED, Backbone, Offer
from wsol.networks.initialize import initialize
from wsol.networks.weights import load_pretrained


def _stride_one(block: BasicBlock | Bottleneck) -> None:
    """Set the stride of a stage's first block to 1 (it is in conv1 of basic blocks, in conv2 of bottlenecks)."""
    for layer in (block.conv1, block.conv2, block.downsample[0]):
        layer.stride = (1, 1)


def _resnet(name: str, trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> Backbone:
    network = torchvision.models.get_model(name, weights=None)
    convolution_init = "kaiming" if trunk == BRANCHED else "xavier"
    if not pretrained and not pretrained_path:
        initialize(network, convolution_init)
    filled = load_pretrained(network, name, pretrained, pretrained_path, ignored=("fc.",))
    for stage in ("layer3", "layer4") if large_feature_map else ("layer4",):
        _stride_one(getattr(network, stage)[0])
    stages = OrderedDict((key, child) for key, child in network.named_children() if key not in ("avgpool", "fc"))
    num_features = network.fc.in_features
    channels = num_features // 2  # of layer3
    offer = Offer(
        num_features=num_features,
        convolution_init=convolution_init,
        fast_stages=("layer4",),
        fast_convolutions=False,
        attention_points=("layer3.0", "layer4.0", f"layer4.{len(network.layer4) - 1}"),
        side_points=(("layer3.0", channels), ("layer3", channels)),
        side_width=channels,
        blocks=(("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)),
        pretrained_classifier=network.fc.state_dict() if "fc.weight" in filled else None,
    )
    return Backbone(stages, offer)


def resnet18(trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> Backbone:
    """ResNet-18: 512 features, small and fast."""
    return _resnet("resnet18", trunk, large_feature_map, pretrained, pretrained_path)


def resnet50(trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> Backbone:
    """ResNet-50: 2048 features, the network of the papers."""
    return _resnet("resnet50", trunk, large_feature_map, pretrained, pretrained_path)
