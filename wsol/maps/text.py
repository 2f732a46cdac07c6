"""The similarity of an image's patches and a text, as an extractor, for networks that put both into one space.

In: a network with a text tower (`open_clip:NAME`), a text for each class. Out: M_k(p) = cos(f_p, t_k), f_p the projected
feature of patch p (wsol/networks/open_clip_networks.py says which) and t_k the text of class k.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from wsol.core.errors import OptionError
from wsol.maps.mapper import without_ancestors
from wsol.methods.method import Method, Outputs
from wsol.networks.open_clip_networks import OpenClipBackbone


def texts_of(prompt: str, class_names: Sequence[str]) -> list[str]:
    """Return the text of every class: the prompt, with the name of the class in place of {name}.

    >>> texts_of("a photo of a {name}", ["grey wolf", "fox"])
    ['a photo of a grey wolf', 'a photo of a fox']
    """
    return [prompt.replace("{name}", name) for name in class_names]


class TextSimilarity(nn.Module):
    """A mapper whose raw maps, in [-1, 1], are cosines of patches and the text of the label."""

    forward_uses_labels = False
    texts: torch.Tensor

    def __init__(self, model: Method, ancestors: np.ndarray | None = None, texts: Sequence[str] = ()):
        super().__init__()
        without_ancestors(ancestors)
        backbone = model.backbone
        if not isinstance(backbone, OpenClipBackbone):
            raise OptionError("extractor", "text", "the network has no text tower; expected open_clip:NAME/TAG")
        if not texts:
            raise OptionError("prompts", "none", "expected a text such as 'a photo of a {name}'")
        self.model = model
        self.register_buffer("texts", backbone.encode_texts(texts).clone())

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return the features of the patches (B, D, h, w)."""
        return {"features": self.model.backbone(images)}

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w), the cosines with the labels' texts."""
        features = functional.normalize(outputs["features"].detach().float(), dim=1)
        return torch.einsum("bdhw,bd->bhw", features, self.texts[labels])
