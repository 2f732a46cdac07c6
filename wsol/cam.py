"""CAM: class activation mapping (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).

Global average pooling and one linear layer on the last features; the raw map of a class is its weights times the
features, averaged over channels, without the bias.
"""

import torch
from torch import nn
from torch.nn import functional

from wsol.initialize import initialize


class CAM(nn.Module):
    """A backbone with features (B, C, h, w), pooled and classified."""

    def __init__(self, backbone: nn.Module, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.num_features, num_classes)
        initialize(self.classifier)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Return logits (B, num_classes) and the features they come from; CAM has no use for labels here."""
        features = self.backbone(images)
        return {"logits": self.classifier(features.mean(dim=(2, 3))), "features": features}

    def loss(self, outputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        return functional.cross_entropy(outputs["logits"], labels)

    def raw_maps(self, outputs: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Return float32 (B, h, w): the maps of the given labels, from one forward pass's outputs."""
        features = outputs["features"].detach().float()
        weights = self.classifier.weight.detach().float()[labels]
        return torch.einsum("bchw,bc->bhw", features, weights) / features.shape[1]

    def score_maps(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return float32 (B, h, w): the raw maps of the given labels."""
        return self.raw_maps(self(images, labels), labels)

    def parameter_groups(self, lr: float, lr_classifier_ratio: float) -> list[dict]:
        """Return SGD groups: the classifier and the backbone's fast stages at lr * ratio, all else at lr."""
        prefixes = ("classifier.", *(f"backbone.{stage}." for stage in self.backbone.fast_stages))
        fast = [p for name, p in self.named_parameters() if name.startswith(prefixes)]
        slow = [p for name, p in self.named_parameters() if not name.startswith(prefixes)]
        return [{"params": slow, "lr": lr}, {"params": fast, "lr": lr * lr_classifier_ratio}]
