"""Maps of a trained classifier by the extractors of the torchcam library, in place of its method's own maps.

In: a model. Out: a mapper whose `raw_maps` are the extractor's, from the backbone's last features, for the given labels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torchcam.methods
from torch import nn

from wsol.core.errors import OptionError
from wsol.maps.mapper import without_ancestors
from wsol.methods.method import Method, Outputs


class GradCAMpp(torchcam.methods.GradCAMpp):
    """Grad-CAM++ with the weights of its paper; torchcam 0.5.0 divides a copy of its coefficients, to no effect.

    A channel's weight is the sum over positions of g^2 / (2 g^2 + S g^3) * relu(g), where g is the score's gradient at the
    position and S the sum of the channel's activations.
    """

    def _get_weights(
        self, class_idx: int | list[int], scores: torch.Tensor, eps: float = 0, **kwargs: Any
    ) -> list[torch.Tensor]:
        """Return the weights (B, C) of each hooked layer's channels; `eps` is not needed, since no denominator is 0."""
        self._backprop(scores, class_idx, **kwargs)
        weights = []
        for activation, gradient in zip(self.hook_a, self.hook_g, strict=True):
            # Divided by g^2, so that squares of small gradients do not underflow; where g is 0, relu(g) makes it 0.
            denominator = 2 + activation.sum(dim=(2, 3), keepdim=True) * gradient
            alpha = 1 / torch.where(denominator == 0, 1, denominator)
            weights.append((alpha * gradient.relu()).sum(dim=(2, 3)))
        return weights


class _Logits(nn.Module):
    """A model as torchcam expects it: images to class scores."""

    def __init__(self, model: Method):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images)["logits"]


def _with_gradient(_module: nn.Module, _inputs: tuple, features: torch.Tensor) -> torch.Tensor:
    """Return features that have a gradient, which those of a frozen network lack."""
    return features if features.requires_grad or not torch.is_grad_enabled() else features.detach().requires_grad_()


class ExtractedMaps(nn.Module):
    """A mapper with the maps of one of torchcam's extractors and the logits of the model."""

    def __init__(self, extractor: Callable, model: Method, ancestors: np.ndarray | None = None):
        super().__init__()
        without_ancestors(ancestors)
        self.scores = _Logits(model)
        model.backbone.register_forward_hook(_with_gradient)  # before the extractor's own
        self.extractor = extractor(self.scores, target_layer=model.backbone)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return logits and "maps" (B, h, w), the raw maps of the labels; without labels, of the predicted classes."""
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
        ):  # most extractors need gradients, which inference mode disables
            logits = self.scores(images.clone())
            labels = logits.argmax(dim=1) if labels is None else labels
            try:
                maps = self.extractor(labels.tolist(), logits, normalized=False)[0]
            except RuntimeError as error:
                if "not connected" not in str(error):
                    raise
                why = "the class comes from the class token, not from the map of features; expected the method's own maps"
                raise OptionError("extractor", "", why) from None
        return {"logits": logits.detach(), "maps": maps}

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the maps of the labels that the forward pass was given."""
        return outputs["maps"].float()


gradcam = partial(ExtractedMaps, torchcam.methods.GradCAM)  # Selvaraju et al., ICCV 2017
gradcam_pp = partial(ExtractedMaps, GradCAMpp)  # Chattopadhyay et al., WACV 2018
xgradcam = partial(ExtractedMaps, torchcam.methods.XGradCAM)  # Fu et al., BMVC 2020
layercam = partial(ExtractedMaps, torchcam.methods.LayerCAM)  # Jiang et al., TIP 2021
scorecam = partial(
    ExtractedMaps, torchcam.methods.ScoreCAM
)  # Wang et al., CVPR workshops 2020; one forward pass per channel
