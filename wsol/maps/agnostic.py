"""Mappers without training and without classes: one map per image from a network's last features, the same for every label.

In: a model. Out: the class-agnostic raw maps of a subclass, from the tokens of a transformer's last attention or, on other
networks, from the last feature map; and the logits of the model, if it has any.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from wsol.maps.mapper import without_ancestors
from wsol.methods.method import Method, Outputs
from wsol.networks.last_attention import QueriesKeys, last_attention, read_attention
from wsol.networks.timm_networks import FEATURES


class AgnosticMapper(nn.Module):
    """A mapper whose maps do not depend on the label; a subclass says how they come about."""

    forward_uses_labels = False

    def __init__(self, model: Method, ancestors: np.ndarray | None = None):
        super().__init__()
        without_ancestors(ancestors)
        self.model = model
        self.attention = last_attention(model.backbone)  # None: the last feature map takes its place

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return "maps" (B, h, w) and, of a model that classifies, its logits, from one forward pass of it."""
        seen: dict[str, torch.Tensor] = {}
        reads: list[QueriesKeys] = []  # several of one batch, where a frozen network sees one image at a time
        backbone = self.model.backbone
        handles = [backbone.register_forward_hook(lambda _m, _i, features: seen.update(features=features))]
        if self.attention is not None:

            def note(attention: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
                reads.append(read_attention(attention, arguments, named))

            handles.append(self.attention.register_forward_pre_hook(note, with_kwargs=True))
        try:
            outputs = self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        with torch.autocast(images.device.type, enabled=False):
            read = QueriesKeys(*map(torch.cat, zip(*reads, strict=True))) if reads else None
            maps = self.maps_of(seen["features"].detach().float(), read).detach().float()
        return {"maps": maps, **({"logits": outputs["logits"]} if "logits" in outputs else {})}

    def maps_of(self, features: torch.Tensor, read: QueriesKeys | None) -> torch.Tensor:
        """Return (B, h, w), of features (B, C, h, w) and what the last attention computed, if there is one."""
        raise NotImplementedError

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w); the labels are not used."""
        return outputs["maps"]

    def on_grid(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return values of all tokens (B, T, C) as (B, C, h, w), without the prefix tokens."""
        return self.model.backbone.to_map(FEATURES, tokens)

    def descriptors(self, features: torch.Tensor, read: QueriesKeys | None) -> torch.Tensor:
        """Return float64 (B, C, h, w): what LOST and TokenCut compare positions by.

        The keys of the last attention, all heads side by side, before rotary position embeddings, which would tell where a
        patch is rather than what it shows. On a network without such an attention the last features, minus their mean over
        the image's positions: after a ReLU no two positions have a negative inner product otherwise, and nothing stands out.
        """
        if read is not None:
            return self.on_grid(read.plain_keys.transpose(1, 2).flatten(2)).double()
        features = features.double()
        return features - features.mean(dim=(2, 3), keepdim=True)
