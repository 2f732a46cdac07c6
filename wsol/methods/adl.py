"""ADL: attention-based dropout layer (Choe and Shim, "Attention-based Dropout Layer for WSOL", CVPR 2019).

Changes the network: in training, at the architecture's attention points, features are multiplied either by a mask that
drops the strongest positions or by an importance map. Everything else is CAM.
"""

from functools import partial

import torch
from torch import nn

from wsol.core.errors import OptionError
from wsol.methods.cam import CAM
from wsol.methods.draws import Draws, DrawSource
from wsol.methods.method import Outputs
from wsol.networks.backbone import Backbone


def attend(features: torch.Tensor, drop: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return features (B, C, h, w) times [m < threshold * max m] if `drop` (bool, a scalar), else times sigmoid(m).

    m is the mean over channels; the maximum is taken per image.

    >>> attend(torch.tensor([[[[1.0, 5.0, 10.0]]]]), torch.tensor(True), threshold=0.9).flatten().tolist()
    [1.0, 5.0, 0.0]
    """
    mean = features.mean(dim=1, keepdim=True)
    kept = mean < threshold * mean.amax(dim=(2, 3), keepdim=True)
    return features * torch.where(drop, kept.to(mean.dtype), torch.sigmoid(mean))


class ADL(CAM):
    """CAM with attention at the architecture's attention points."""

    def __init__(self, backbone: Backbone, num_classes: int, *, adl_drop_rate: float = 0.75, adl_threshold: float = 0.9):
        super().__init__(backbone, num_classes)
        if not backbone.offer.attention_points:
            raise OptionError(
                "wsol_method", "adl", "this architecture does not offer a place for attention; expected another one"
            )
        self.drop_rate, self.threshold = adl_drop_rate, adl_threshold
        self.drop: torch.Tensor | None = None  # whether each point drops in this pass; None: no attention
        for number, point in enumerate(backbone.offer.attention_points):
            backbone.after(point, partial(self._attend, number))
        for layer in backbone.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0  # attention replaces it

    def _attend(self, number: int, features: torch.Tensor) -> torch.Tensor:
        return features if self.drop is None else attend(features, self.drop[number], self.threshold)

    def draw(self, source: DrawSource, size: tuple[int, int]) -> Draws:
        """Return "drop", bool (attention points,): whether each point drops positions rather than weighting them."""
        points = len(self.backbone.offer.attention_points)
        return {"drop": torch.from_numpy(source.of_step().random(points) < self.drop_rate)}

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None, draws: Draws | None = None) -> Outputs:
        """Return logits and features, in training with attention; without `draws`, they are drawn now."""
        self.drop = None
        if self.training:
            self.drop = (self.draw_now(images) if draws is None else draws)["drop"]
        return super().forward(images, labels)

    def step(self, images: torch.Tensor, labels: torch.Tensor, draws: Draws) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss with attention as drawn."""
        outputs = self(images, labels, draws)
        return outputs, self.loss(outputs, labels)
