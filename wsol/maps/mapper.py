"""What turns images and labels into raw maps: a method's own way, CAM-Agg, an extractor, or another package's.

A mapper is registered by name in wsol/core/registry.py, as a function of a trained model and, for maps of a coarser level,
the ancestor of each class (int64 (num_classes,), -1: none).
"""

from typing import Any, Protocol

import numpy as np
import torch

from wsol.core import registry
from wsol.core.errors import OptionError
from wsol.methods.method import Method, Outputs


class Mapper(Protocol):
    """Images and labels to raw maps, in two steps, so that one forward pass gives the classification too: an nn.Module whose
    `forward` is the first step. Every `Method` is one."""

    def __call__(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return at least "logits" (B, num_classes) of images (B, 3, H, W), and what `raw_maps` needs of them."""

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w), detached float32: the raw maps of the labels (B,) that the first step was given."""

    def eval(self) -> Any:  # noqa: ANN401 (itself, as nn.Module has it)
        """Go into evaluation mode."""

    def to(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (itself, as nn.Module has it)
        """Go to a device."""


def own_maps(model: Method, ancestors: np.ndarray | None = None) -> Mapper:
    """Return the model itself, which maps as its method says."""
    without_ancestors(ancestors)
    return model


def without_ancestors(ancestors: np.ndarray | None) -> None:
    """Refuse ancestors, for a mapper that makes no maps of coarser levels."""
    if ancestors is not None:
        raise OptionError("cam_agg_level", "", "only the mapper cam_agg makes maps of a coarser level")


def make_mapper(name: str, model: Method, ancestors: np.ndarray | None = None) -> Mapper:
    """Return the mapper of a name, on the model's device.

    Raises:
        InputError: no such mapper, ancestors for one that takes none, none for one that needs them.
    """
    return registry.find("mappers", name)(model, ancestors)
