"""Maps of a network before training: of its features alone, or of the class that its own classifier predicts.

Mappers (wsol/maps/mapper.py) that need no labels of the data set: what they give is the same for every method and run that
starts from these weights. In: a method `cam` on the network. Out: raw maps.
"""

import torch
from torch import nn

from wsol.methods.method import Method, Outputs

NORM, PREDICTED = REFERENCE_MAPS = ("norm", "predicted")


class FeatureNorms(nn.Module):
    """A model whose raw map is the length of its last features, M(p) = (sum_c f_c(p)^2)^(1/2): no class is involved."""

    def __init__(self, model: Method):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return the features (B, C, h, w)."""
        return {"features": self.model.backbone(images)}

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w); the labels are not used."""
        return outputs["features"].detach().float().norm(dim=1)


class PredictedClasses(nn.Module):
    """A model whose raw map is the one of the class that it predicts."""

    def __init__(self, model: Method):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return the model's outputs, its logits under another name: they are not of the data set's classes."""
        outputs = self.model(images)
        return {"own_logits": outputs.pop("logits"), **outputs}

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w); the labels are not used."""
        return self.model.raw_maps(outputs, outputs["own_logits"].argmax(dim=1))


def reference_mapper(model: Method, kind: str) -> FeatureNorms | PredictedClasses:
    """Return the mapper of a kind of REFERENCE_MAPS."""
    return FeatureNorms(model) if kind == NORM else PredictedClasses(model)
