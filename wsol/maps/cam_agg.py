"""CAM-Agg: coarser maps from a model trained at a finer level (Cole et al., ECCV 2022, section 5.1).

At a coarser level, an image's raw map is the mean of the maps of all classes that share its ancestor there. In: a model and
each class's ancestor. Out: a mapper whose `raw_maps` are these means.
"""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from wsol.core.errors import OptionError
from wsol.data.levels import LevelSplit, class_ancestors
from wsol.maps.mapper import Mapper
from wsol.methods.method import Method, Outputs


class AggregatedMaps(nn.Module):
    """A model whose raw map of label k is the mean of the maps of all classes with k's ancestor.

    M(k) = 1 / |A| sum_{j in A} M_j with A = {j : ancestor(j) = ancestor(k)}. `ancestors` is int64 (num_classes,), -1 for a
    class without an ancestor.
    """

    ancestors: torch.Tensor

    def __init__(self, model: Method, ancestors: np.ndarray):
        super().__init__()
        self.model = model
        self.forward_uses_labels = model.forward_uses_labels
        self.register_buffer("ancestors", torch.from_numpy(ancestors))

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return the model's outputs; the classes are those that it was trained on."""
        return self.model(images, labels)

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the mean raw maps of the classes that share the given labels' ancestors."""
        sharing = (self.ancestors == self.ancestors[labels, None]).float()
        return self.model.mean_maps(outputs, sharing / sharing.sum(dim=1, keepdim=True))


def aggregate(model: Method, ancestors: np.ndarray | None) -> Mapper:
    """Return the mapper for these ancestors; the model itself if no two classes share one.

    Raises:
        InputError: no ancestors are given.
    """
    if ancestors is None:
        raise OptionError("cam_agg_level", "", "CAM-Agg needs the level whose classes it merges")
    alone = len(np.unique(ancestors)) == len(ancestors)
    return model if alone else AggregatedMaps(model, ancestors)


def ancestors_at(
    metadata_root: str | os.PathLike, dataset_name: str, level: str, cam_agg_level: str, file_labels: Sequence[int]
) -> np.ndarray:
    """Return each class's ancestor at `cam_agg_level`, int64 (num_classes,), -1 for a class without one.

    `level` is the level trained at; `file_labels` are the labels of its classes in the metadata files.

    Raises:
        InputError: the data set lacks a level, or no class has an ancestor.
    """
    known = class_ancestors(metadata_root, dataset_name, level, cam_agg_level)
    ancestors = np.array([known.get(label, -1) for label in file_labels], dtype=np.int64)
    if (ancestors < 0).all():
        raise OptionError("cam_agg_level", cam_agg_level, f"no class of level {level} has an ancestor there")
    return ancestors


def keep_with_ancestor(split: LevelSplit, ancestors: np.ndarray) -> int:
    """Remove the images whose class has no ancestor from a split, in place; return how many there were.

    Raises:
        InputError: none would be left.
    """
    kept = ancestors[split.labels] >= 0
    left_out = int((~kept).sum())
    if left_out == len(kept):
        raise OptionError("cam_agg_level", "", "no image of a split has a class with an ancestor at this level")
    if left_out:
        split.image_ids = [image_id for image_id, keep in zip(split.image_ids, kept, strict=True) if keep]
        split.labels, split.subset = split.labels[kept], True
    return left_out
