"""ACoL: adversarial complementary learning (Zhang et al., "Adversarial Complementary Learning for WSOL", CVPR 2018).

Changes network, loss and map: a second branch classifies the features without the regions that the first one found.
"""

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from wsol.methods.method import ConvolutionalClassifier, Method, Outputs, attention_of, min_max
from wsol.networks.backbone import BRANCHED, Backbone
from wsol.networks.initialize import initialize

WIDTH = 1024


class Branch(nn.Sequential):
    """Two 3x3 convolutions and a convolutional classifier."""

    def __init__(self, in_channels: int, num_classes: int):
        super().__init__(
            nn.Conv2d(in_channels, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            ConvolutionalClassifier(WIDTH, num_classes),
        )

    @property
    def classifier(self) -> ConvolutionalClassifier:
        """The last layer."""
        return cast("ConvolutionalClassifier", self[-1])

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (B, num_classes) and the classifier's input (B, 1024, h, w) for features (B, C, h, w)."""
        *layers, _ = self
        for layer in layers:
            features = layer(features)
        return self.classifier(features), features


def erase(features: torch.Tensor, maps: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return features (B, C, h, w), zero at every position where the min-max normalised map (B, h, w) reaches the threshold.

    A map without contrast (constant, or with NaN) erases nothing.

    >>> erase(torch.ones(1, 1, 1, 4), torch.tensor([[[0.0, 0.5, 0.7, 1.0]]]), threshold=0.7).flatten().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    return features * ~(attention_of(maps) >= threshold)[:, None]


class ACoL(Method):
    """Two branches on the same features; the second does not see where the first one's map is high."""

    trunk = BRANCHED
    forward_uses_labels = True
    class_outputs = ("logits", "logits_b")

    def __init__(self, backbone: Backbone, num_classes: int, *, acol_threshold: float = 0.7):
        super().__init__(backbone, num_classes)
        self.threshold = acol_threshold
        self.branch_a = Branch(backbone.offer.num_features, num_classes)
        self.branch_b = Branch(backbone.offer.num_features, num_classes)
        for branch in (self.branch_a, self.branch_b):
            initialize(branch, backbone.offer.convolution_init)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return both branches' logits and features; the map that erases is the label's, or the predicted class's."""
        features = self.backbone(images)
        logits, features_a = self.branch_a(features)
        classes = logits.argmax(dim=1) if labels is None else labels
        found = self.branch_a.classifier.maps(features_a, functional.one_hot(classes, self.num_classes).float())
        logits_b, features_b = self.branch_b(erase(features, found, self.threshold))
        return {"logits": logits, "logits_b": logits_b, "features_a": features_a, "features_b": features_b}

    def loss(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of both branches' cross-entropies."""
        first, second = (functional.cross_entropy(outputs[name], labels) for name in ("logits", "logits_b"))
        return first + second

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean of the class maps, each the maximum of both branches' normalised maps."""
        maps_a = self.branch_a.classifier.all_maps(outputs["features_a"])
        maps_b = self.branch_b.classifier.all_maps(outputs["features_b"])
        return torch.einsum("bkhw,bk->bhw", torch.maximum(min_max(maps_a), min_max(maps_b)), class_weights)

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the labels' maps, the maximum of both branches', without computing those of all classes."""
        classes = functional.one_hot(labels, self.num_classes).float()
        maps_a = self.branch_a.classifier.maps(outputs["features_a"], classes)
        maps_b = self.branch_b.classifier.maps(outputs["features_b"], classes)
        return torch.maximum(min_max(maps_a), min_max(maps_b))
