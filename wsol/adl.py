"""ADL: attention-based dropout layer (Choe and Shim, "Attention-based Dropout Layer for WSOL", CVPR 2019).

Changes the network: in training, where the architecture offers it, features are multiplied either by a mask that drops
the strongest positions or by an importance map. Everything else is CAM.
"""

import torch
from torch import nn

from wsol.backbone import Backbone
from wsol.cam import CAM
from wsol.errors import OptionError
from wsol.method import Outputs


def attend(features: torch.Tensor, drop: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return features (B, C, h, w) times [m < threshold * max m] where `drop` (bool, a scalar) holds, else times
    sigmoid(m), m being the mean over channels and the maximum taken per image."""
    mean = features.mean(dim=1, keepdim=True)
    kept = mean < threshold * mean.amax(dim=(2, 3), keepdim=True)
    return features * torch.where(drop, kept.to(mean.dtype), torch.sigmoid(mean))


class ADL(CAM):
    """CAM with attention after the architecture's attention points."""

    def __init__(self, backbone: Backbone, num_classes: int, *, adl_drop_rate: float = 0.75, adl_threshold: float = 0.9):
        super().__init__(backbone, num_classes)
        if not backbone.offer.attention_points:
            raise OptionError("wsol_method", "adl", "this architecture offers no place for attention; expected another one")
        self.drop_rate, self.threshold = adl_drop_rate, adl_threshold
        for layer in backbone.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0  # attention's dropping takes its place

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return logits and features; in training with one draw a layer."""
        if not self.training:
            return super().forward(images, labels)

        def layer(features: torch.Tensor) -> torch.Tensor:
            draw = torch.rand((), generator=self.generator, device=features.device)
            return attend(features, draw < self.drop_rate, self.threshold)

        features = self.backbone(images, after=dict.fromkeys(self.backbone.offer.attention_points, layer))
        return {"logits": self.classifier(features), "features": features}
