"""Tri-region head, after TriLite (CVPR 2026): every position is foreground, background, or neither.

Changes network, loss and map. Two classifiers: one sees the network's own summary of the image (its class token; of
convolutional networks the features' mean) and names the class; the other sees the features' means over the foreground and
over the background. What we know of the paper leaves open how the losses are weighted and which classifier sees the pooled
features: both are our choice. The second classifier learns from the foreground alone; the background's loss teaches the
regions. If it taught that classifier too, an object could hide in the background, as evidence against its own class. The map
is the foreground's, the same for every label.

On a frozen network, positions are layer-normalised first, as a transformer's final norm does it, or strong positions
dominate the means of a convolutional one; and the regions' logits have a fixed scale, unit variance over a temperature: one
that is learned grows until regions are all or nothing, and a threshold on the map has nothing left to choose between. A
network that is trained adapts its features to the regions; there, both do harm (docs/frozen.md).
"""

import torch
from torch import nn
from torch.nn import functional

from wsol.core.errors import InputError
from wsol.methods.method import Method, Outputs
from wsol.networks.backbone import Backbone
from wsol.networks.initialize import initialize

AMBIGUOUS, FOREGROUND, BACKGROUND = range(3)
LEAST = 1e-6  # of a region's area, in positions


def pool_regions(features: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """Return (B, R, C): the means of features (B, C, h, w), weighted by each of the regions (B, R, h, w).

    f_r = sum_xy m_r(x, y) f(x, y) / sum_xy m_r(x, y)

    >>> pool_regions(torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[0.25, 0.75]]]])).item()
    4.0
    """
    areas = regions.sum(dim=(2, 3)).clamp(min=LEAST)
    return torch.einsum("bchw,brhw->brc", features, regions) / areas[..., None]


def adversarial_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(1 - p(label)) over images; logits (B, num_classes), two classes or more.

    1 - p(y) is the sum of the other classes' probabilities, so -log(1 - p(y)) = log sum_k e^z_k - log sum_(k != y) e^z_k:
    finite, and its gradient at most 1, however certain the label is.

    >>> adversarial_loss(torch.tensor([[200.0, 0.0]]), torch.tensor([0])).item()
    200.0
    """
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return (logits.logsumexp(dim=1) - logits.masked_fill(own, -torch.inf).logsumexp(dim=1)).mean()


def normalize_positions(features: torch.Tensor) -> torch.Tensor:
    """Return features (B, C, h, w) with mean 0 and variance 1 over the channels of each position, as a layer norm without
    learned parameters.

    >>> normalize_positions(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)).flatten().round().tolist()
    [-1.0, 1.0]
    """
    return functional.layer_norm(features.movedim(1, -1), features.shape[1:2]).movedim(-1, 1)


class TriRegion(Method):
    """A backbone whose positions a convolution divides into ambiguous, foreground and background."""

    fast_layers = ("regions", "classifier", "region_classifier")
    class_outputs = ("logits", "foreground_logits", "background_logits")

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        tri_foreground_weight: float = 1.0,
        tri_background_weight: float = 1.0,
        tri_temperature: float = 0.0,
        tri_layer_norm: bool = False,
    ):
        super().__init__(backbone, num_classes)
        if num_classes < 2:
            raise InputError(f"num_classes {num_classes}: tri_region needs two or more, or nothing is another class")
        self.foreground_weight, self.background_weight = tri_foreground_weight, tri_background_weight
        self.temperature, self.layer_norm = tri_temperature or 1.0, tri_layer_norm
        channels = backbone.offer.num_features
        self.regions = nn.Sequential(nn.Conv2d(channels, 3, 1, bias=False), nn.BatchNorm2d(3, affine=not tri_temperature))
        self.classifier = nn.Linear(channels, num_classes)
        self.region_classifier = nn.Linear(channels, num_classes)
        for layer in (self.regions, self.classifier, self.region_classifier):
            initialize(layer, backbone.offer.convolution_init)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return logits (B, num_classes) of image, foreground and background, and "regions", (B, 3, h, w), which sum to 1.

        Labels are not used. The regions are float32 under mixed precision, too.
        """
        features, summary = self.backbone.features_and_summary(images)
        with torch.autocast(images.device.type, enabled=False):
            features = features.to(self.classifier.weight.dtype)
            if self.layer_norm:
                features = normalize_positions(features)
            regions = (self.regions(features) / self.temperature).softmax(dim=1)
            pooled = pool_regions(features, regions[:, FOREGROUND:])
            foreground, background = pooled.unbind(dim=1)
            judge = self.region_classifier
            return {
                "logits": self.classifier(summary.to(features.dtype)),
                "foreground_logits": judge(foreground),
                "background_logits": functional.linear(background, judge.weight.detach(), judge.bias.detach()),
                "regions": regions,
            }

    def loss(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return CE(image) + w_f CE(foreground) + w_b mean -log(1 - p(label | background))."""
        image, foreground = (functional.cross_entropy(outputs[name], labels) for name in ("logits", "foreground_logits"))
        adversarial = adversarial_loss(outputs["background_logits"], labels)
        return image + self.foreground_weight * foreground + self.background_weight * adversarial

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return the foreground, (B, h, w): the mean of maps that are the same for every class."""
        return outputs["regions"][:, FOREGROUND].detach().float()
