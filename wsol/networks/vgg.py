"""VGG-16 (Simonyan and Zisserman, ICLR 2015), torchvision's network without its linear layers, as the WSOL papers use it.

The map is 14 x 14 at input 224; the large map leaves out the fourth pool (28 x 28).
"""

from collections import OrderedDict

import torchvision
from torch import nn

from wsol.networks.backbone import BRANCHED, GUIDED, POOLED, Backbone, Offer
from wsol.networks.initialize import initialize
from wsol.networks.weights import load_pretrained

# Indices in torchvision's `features`: the five pools, and the first layer after the third.
POOLS = (4, 9, 16, 23, 30)
FOURTH_BLOCK = 17
BLOCKS = tuple(
    tuple(f"features.{index}" for index in range(start, pool)) for start, pool in zip((0, 5, 10, 17, 24), POOLS, strict=True)
)


def vgg16(trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> Backbone:
    """VGG-16: 512 features from its last convolutions, or 1024 from one more before a single linear classifier."""
    network = torchvision.models.vgg16(weights=None, init_weights=False)
    stages, offer = _TRUNKS[trunk](network.features, large_feature_map)
    for stage in stages.values():
        initialize(stage, offer.convolution_init)
    load_pretrained(network, "vgg16", pretrained, pretrained_path, ignored=("classifier.", "extra."))
    return Backbone(stages, offer)


def _pooled(features: nn.Sequential, large_feature_map: bool) -> tuple[OrderedDict[str, nn.Module], Offer]:
    """Return stages without the last pool, with one more 3x3 convolution before the linear classifier."""
    if large_feature_map:
        features[23] = nn.Identity()
    extra = nn.Sequential(nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU())
    offer = Offer(
        num_features=1024,
        convolution_init="kaiming",
        fast_stages=("extra",),
        attention_points=("features.16", "features.22", "features.29"),
        blocks=BLOCKS,
        new_stages=("extra",),
    )
    return OrderedDict(features=features[:30], extra=extra), offer


def _branched(features: nn.Sequential, large_feature_map: bool) -> tuple[OrderedDict[str, nn.Module], Offer]:
    """Return stages with overlapping pools, the last with stride 1 (the large map: the fourth too), then a 3x3 average."""
    for index in POOLS:
        stride = 1 if index == 30 or (index == 23 and large_feature_map) else 2
        features[index] = nn.MaxPool2d(3, stride=stride, padding=1)
    features.append(nn.AvgPool2d(3, stride=1, padding=1))
    return OrderedDict(features=features), Offer(num_features=512, blocks=BLOCKS)


def _guided(features: nn.Sequential, large_feature_map: bool) -> tuple[OrderedDict[str, nn.Module], Offer]:
    """Return stages with an overlapping fourth pool, without the last pool, and with a sixth block of two convolutions."""
    features[23] = nn.Identity() if large_feature_map else nn.MaxPool2d(3, stride=2, padding=1)
    extra = nn.Sequential(nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 512, 3, padding=1), nn.ReLU())
    offer = Offer(
        num_features=512,
        fast_stages=(*(f"features.{index}" for index in range(FOURTH_BLOCK, 30)), "extra"),
        side_points=(("features.23", 512), ("features.29", 512)),
        blocks=BLOCKS,
        new_stages=("extra",),
    )
    return OrderedDict(features=features[:30], extra=extra), offer


_TRUNKS = {POOLED: _pooled, BRANCHED: _branched, GUIDED: _guided}
