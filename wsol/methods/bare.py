"""A network without anything on it: for maps that need no training, and so no classifier."""

import torch

from wsol.methods.method import Method, Outputs
from wsol.networks.backbone import Backbone


class BareNetwork(Method):
    """A backbone as a model that tells no classes apart; it is not trained, and has no maps of its own."""

    def __init__(self, backbone: Backbone):
        super().__init__(backbone, 0)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return the features (B, C, h, w); labels are not used."""
        return {"features": self.backbone(images)}
