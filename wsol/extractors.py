"""Maps of a trained classifier by other extractors than its method's own, from the torchcam library.

In: a model. Out: a model whose `raw_maps` are the extractor's, of the backbone's last features and the given labels.
"""

from collections.abc import Callable

import torch
import torchcam.methods
from torch import nn

from wsol.method import Method, Outputs

EXTRACTORS: dict[str, Callable] = {
    "gradcam": torchcam.methods.GradCAM,  # Selvaraju et al., ICCV 2017
    "gradcam++": torchcam.methods.GradCAMpp,  # Chattopadhyay et al., WACV 2018
    "xgradcam": torchcam.methods.XGradCAM,  # Fu et al., BMVC 2020
    "layercam": torchcam.methods.LayerCAM,  # Jiang et al., TIP 2021
    "scorecam": torchcam.methods.ScoreCAM,  # Wang et al., CVPR workshops 2020: a forward pass a channel
}


class _Logits(nn.Module):
    """A model as torchcam wants one: images to class scores."""

    def __init__(self, model: Method):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)["logits"]


class ExtractedMaps(nn.Module):
    """A model whose maps are an extractor's, one of EXTRACTORS; its logits are the model's."""

    def __init__(self, model: Method, extractor: str):
        super().__init__()
        self.scores = _Logits(model)
        self.extractor = EXTRACTORS[extractor](self.scores, target_layer=model.backbone)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> Outputs:
        """Return logits and "maps" (B, h, w), the raw maps of the labels."""
        with torch.inference_mode(False), torch.enable_grad():  # most take a gradient, which inference mode forbids
            logits = self.scores(images.clone())
            maps = self.extractor(labels.tolist(), logits, normalized=False)[0]
        return {"logits": logits.detach(), "maps": maps}

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the maps of the labels that the forward pass was given."""
        return outputs["maps"].float()
