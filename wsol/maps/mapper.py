"""Mappers turn images and labels into raw maps: a method's own, CAM-Agg, an extractor, or another package's.

A mapper is registered by name in wsol/core/registry.py, as a function of a trained model and, for maps of a coarser level,
each class's ancestor (int64 (num_classes,), -1 for none).
"""

from typing import Any, Protocol

import numpy as np
import torch

from wsol.core import registry
from wsol.core.errors import OptionError
from wsol.methods.method import Method, Outputs


class Mapper(Protocol):
    """Images and labels to raw maps, in two steps, so that one forward pass also gives the classification.

    A mapper is an nn.Module whose `forward` is the first step. Every `Method` is a mapper.
    """

    def __call__(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return at least "logits" (B, num_classes) for images (B, 3, H, W), and whatever `raw_maps` needs."""

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w), detached float32: the raw maps of the labels (B,) that were passed to the first step."""

    def eval(self) -> Any:  # noqa: ANN401 (itself, as nn.Module has it)
        """Switch to evaluation mode."""

    def to(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (itself, as nn.Module has it)
        """Move to a device."""


def own_maps(model: Method, ancestors: np.ndarray | None = None) -> Mapper:
    """Return the model itself, with its method's own maps."""
    without_ancestors(ancestors)
    return model


def without_ancestors(ancestors: np.ndarray | None) -> None:
    """Raise InputError if ancestors are given, for a mapper that does not make maps of coarser levels."""
    if ancestors is not None:
        raise OptionError("cam_agg_level", "", "only the mapper cam_agg makes maps of a coarser level")


def make_mapper(name: str, model: Method, ancestors: np.ndarray | None = None, **options: Any) -> Mapper:
    """Return the mapper of this name, on the model's device; `options` are the mapper's own, such as the texts of text.

    Raises:
        InputError: there is no such mapper, or ancestors are given or missing against its needs.
    """
    return registry.find("mappers", name)(model, ancestors, **options)
