"""The attention of the class token to the patches, as an extractor (Caron et al., "Emerging Properties in Self-Supervised
Vision Transformers", ICCV 2021).

In: a transformer with a class token. Out: M(p) = 1/H sum_h softmax_p(q_h k_hp^T / sqrt(d)) of the last block's H heads. q is
the class token's query and the softmax is over all tokens; the map has the patches alone.
"""

import numpy as np
import torch

from wsol.core.errors import OptionError
from wsol.maps.agnostic import AgnosticMapper
from wsol.methods.method import Method
from wsol.networks.last_attention import QueriesKeys, class_attention, has_class_token


class ClassAttention(AgnosticMapper):
    """A mapper whose raw maps are the class token's attention, in [0, 1]."""

    def __init__(self, model: Method, ancestors: np.ndarray | None = None):
        super().__init__(model, ancestors)
        if self.attention is None or not has_class_token(model.backbone):
            lacks = "attention from every patch to every other" if self.attention is None else "a class token"
            raise OptionError(
                "extractor",
                "attention",
                f"the network does not have {lacks} in its last block; expected a plain transformer of timm with a class "
                "token, such as timm:vit_small_patch16_224.dino, or lost or tokencut, which take any network",
            )

    def maps_of(self, features: torch.Tensor, read: QueriesKeys | None) -> torch.Tensor:
        """Return (B, h, w), the mean over heads."""
        if read is None:
            raise ValueError("no attention was read")
        return self.on_grid(class_attention(read).mean(dim=1)[:, :, None])[:, 0]
