"""CAM: class activation mapping (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).

One classifier on the mean of the last features. A class's raw map is the features weighted by the classifier's weights.
"""

import torch

from wsol.methods.method import ConvolutionalClassifier, LinearClassifier, Method, Outputs
from wsol.networks.backbone import Backbone
from wsol.networks.initialize import initialize


class CAM(Method):
    """A backbone whose features (B, C, h, w) are pooled and classified."""

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__(backbone, num_classes)
        offer = backbone.offer
        kind = ConvolutionalClassifier if offer.convolutional_classifier else LinearClassifier
        self.classifier = kind(offer.num_features, num_classes)
        initialize(self.classifier, offer.convolution_init)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return logits (B, num_classes) and the features (B, C, h, w); labels are not used."""
        features = self.backbone(images)
        return {"logits": self.classifier(features), "features": features}

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return the classifier's maps."""
        return self.classifier.maps(outputs["features"], class_weights)
