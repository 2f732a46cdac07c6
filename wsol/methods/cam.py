"""CAM: class activation mapping (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).

One classifier on the mean of the last features; a class's raw map comes from its weights.
"""

import torch

from wsol.methods.method import ConvolutionalClassifier, LinearClassifier, Method, Outputs
from wsol.networks.backbone import Backbone
from wsol.networks.initialize import initialize


class CAM(Method):
    """A backbone with features (B, C, h, w), pooled and classified."""

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__(backbone, num_classes)
        offer = backbone.offer
        kind = ConvolutionalClassifier if offer.convolutional_classifier else LinearClassifier
        self.classifier = kind(offer.num_features, num_classes)
        initialize(self.classifier, offer.convolution_init)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return logits (B, num_classes) and the features they come from; CAM has no use for labels here."""
        features = self.backbone(images)
        return {"logits": self.classifier(features), "features": features}

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return the classifier's maps."""
        return self.classifier.maps(outputs["features"], class_weights)
