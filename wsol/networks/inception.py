"""Inception-v3 (Szegedy et al., CVPR 2016), torchvision's network up to Mixed_6e, as the WSOL papers use it.

Padding and a reduction with stride 1 keep the map at 28 x 28 at input 224 (the large map). For the small map (14 x 14), a
pooling layer precedes that reduction.
"""

from collections import OrderedDict

import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.models.inception import InceptionB

from wsol.networks.backbone import BRANCHED, Backbone, Offer
from wsol.networks.initialize import initialize
from wsol.networks.shares import SharedDropout
from wsol.networks.weights import load_pretrained

STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "pool", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
)
UNUSED = ("fc.", "AuxLogits.", "Mixed_7", "extra.")


class PaddedReduction(InceptionB):
    """Mixed_6a with stride 1 and padding 1, which keep the size of the map."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        for branch in (self.branch3x3, self.branch3x3dbl_3):
            branch.conv.stride, branch.conv.padding = (1, 1), (1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, in_channels + 480, h, w) for x (B, in_channels, h, w)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, stride=1, padding=1)], 1)


def inception_v3(trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> Backbone:
    """Inception-v3: 768 features, or 1024 from two more convolutions before a single, convolutional classifier."""
    network = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False)
    network.Conv2d_1a_3x3.conv.padding = (1, 1)
    for pool in (network.maxpool1, network.maxpool2):
        pool.padding, pool.ceil_mode = 1, True
    network.pool = nn.Identity() if large_feature_map else nn.MaxPool2d(3, stride=2, ceil_mode=True)
    network.Mixed_6a = PaddedReduction(288)
    stages = OrderedDict((name, getattr(network, name)) for name in STAGES)
    if trunk != BRANCHED:
        first, second = nn.Conv2d(768, 1024, 3, padding=1), nn.Conv2d(1024, 1024, 3, padding=1)
        dropout = (SharedDropout(0.5) for _ in range(3))
        stages["extra"] = nn.Sequential(next(dropout), first, nn.ReLU(), next(dropout), second, nn.ReLU(), next(dropout))
    for stage in stages.values():
        initialize(stage)
    load_pretrained(network, "inception_v3", pretrained, pretrained_path, ignored=UNUSED)
    offer = Offer(
        num_features=768 if trunk == BRANCHED else 1024,
        convolutional_classifier=True,
        fast_stages=("extra",),
        attention_points=("Mixed_5d", "Mixed_6e", "extra.5"),
        side_points=(("pool", 288), ("Mixed_6d", 768)),
        new_stages=() if trunk == BRANCHED else ("extra",),
    )
    return Backbone(stages, offer)
