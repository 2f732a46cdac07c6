"""SPG: self-produced guidance (Zhang et al., "Self-produced Guidance for Weakly-supervised Object Localization", ECCV 2018).

Changes network and loss: confident parts of the class map teach two earlier layers, and these teach a foreground map of the
last features. The raw map is the classifier's.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from wsol.core.errors import OptionError
from wsol.methods.method import ConvolutionalClassifier, Method, Outputs, attention_of
from wsol.networks.backbone import GUIDED, Backbone
from wsol.networks.initialize import initialize
from wsol.networks.shares import part_by_count

SIDE = 224  # guidance is compared at this size, regardless of the images' size
FEWEST = 30  # pixels of an image above the high threshold; with fewer, those above PEAK times its maximum count instead
PEAK = 0.7
C_WIDTH = 512


def guidance(maps: torch.Tensor, high: float, low: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (foreground, kept), bool (B, h, w), for maps (B, h, w) in [0, 1].

    Pixels above `high` are foreground, pixels below `low` are background, and those between are not kept. A pixel that is
    both is background. If fewer than 30 pixels of an image are above `high`, those above 0.7 times its maximum are
    foreground instead. Nothing of a map of NaN is kept.

    >>> foreground, kept = guidance(torch.tensor([[[0.0, 0.3, 0.6, 0.9]]]), high=0.8, low=0.1)
    >>> foreground.flatten().tolist(), kept.flatten().tolist()
    ([False, False, False, True], [True, False, False, True])
    """
    above = maps > high
    few = above.sum(dim=(1, 2), keepdim=True) < FEWEST
    foreground = torch.where(few, maps > PEAK * maps.amax(dim=(1, 2), keepdim=True), above)
    background = maps < low
    return foreground & ~background, foreground | background


def guided_loss(logits: torch.Tensor, maps: torch.Tensor, high: float, low: float) -> torch.Tensor:
    """Return the mean binary cross-entropy of logits (B, h, w) over the pixels that the guidance keeps; without any, 0.

    With several ranks, their mean over all kept pixels, see `part_by_count`.
    """
    foreground, kept = guidance(maps, high, low)
    losses = functional.binary_cross_entropy_with_logits(logits, foreground.to(logits.dtype), reduction="none")
    count = kept.sum()
    return part_by_count((losses * kept).sum() / count.clamp(min=1), count)


def upsample(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (B, h, w), bilinearly resized to (B, 224, 224), float32."""
    return functional.interpolate(maps.float()[:, None], (SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]


def _side(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU())


class SPG(Method):
    """A classifier on the last features; two side branches and a branch C, each with foreground logits."""

    trunk = GUIDED
    loss_is_mean = False  # the guided losses are means over pixels

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        spg_threshold_1h: float = 0.7,
        spg_threshold_1l: float = 0.01,
        spg_threshold_2h: float = 0.5,
        spg_threshold_2l: float = 0.05,
        spg_threshold_3h: float = 0.7,
        spg_threshold_3l: float = 0.1,
    ):
        super().__init__(backbone, num_classes)
        offer = backbone.offer
        if len(offer.side_points) != 2:
            raise OptionError(
                "wsol_method", "spg", "this architecture does not offer two places for side branches; expected another one"
            )
        self.thresholds = (  # (high, low) of the three guidances
            (spg_threshold_1h, spg_threshold_1l),
            (spg_threshold_2h, spg_threshold_2l),
            (spg_threshold_3h, spg_threshold_3l),
        )
        self.classifier = ConvolutionalClassifier(offer.num_features, num_classes)
        width = offer.side_width
        (point_1, channels_1), (point_2, channels_2) = offer.side_points
        self.side_1, self.side_2 = _side(channels_1, width), _side(channels_2, width)
        self.side_shared = nn.Sequential(*_side(width, width), nn.Conv2d(width, 1, 1))
        self.branch_c = nn.Sequential(*_side(offer.num_features, C_WIDTH), nn.Conv2d(C_WIDTH, 1, 1))
        for branch in (self.classifier, self.side_1, self.side_2, self.side_shared, self.branch_c):
            initialize(branch, offer.convolution_init)
        self.sides: dict[int, torch.Tensor] = {}  # the outputs of the side points in this pass
        for number, point in enumerate((point_1, point_2)):
            backbone.after(point, partial(self._keep, number))

    def _keep(self, number: int, features: torch.Tensor) -> torch.Tensor:
        self.sides[number] = features
        return features

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return logits and features, and the foreground logits (B, h, w) of B1, B2 and C."""
        features = self.backbone(images)
        first, second = self.sides.pop(0), self.sides.pop(1)
        return {
            "logits": self.classifier(features),
            "features": features,
            "logits_b1": self.side_shared(self.side_1(first))[:, 0],
            "logits_b2": self.side_shared(self.side_2(second))[:, 0],
            "logits_c": self.branch_c(features)[:, 0],
        }

    def loss(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy plus the three guided losses."""
        b1, b2, c = (upsample(outputs[name]) for name in ("logits_b1", "logits_b2", "logits_c"))
        attention = attention_of(upsample(self.raw_maps(outputs, labels)))
        sigmoid_1, sigmoid_2 = torch.sigmoid(b1.detach()), torch.sigmoid(b2.detach())
        guided = ((b2, attention), (b1, sigmoid_2), (c, (sigmoid_1 + sigmoid_2) / 2))
        losses = [guided_loss(logits, maps, *pair) for (logits, maps), pair in zip(guided, self.thresholds, strict=True)]
        return functional.cross_entropy(outputs["logits"], labels) + sum(losses)

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return the classifier's maps."""
        return self.classifier.maps(outputs["features"], class_weights)
