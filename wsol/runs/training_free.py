"""From the name of a network to maps, without any training: the counterpart of wsol/runs/predictor.py without a checkpoint.

In: an architecture and its weights, a mapper that needs no classifier, a data set. Out: a `Predictor`.
"""

import os
from pathlib import Path
from typing import Any

import torch
from munch import Munch

from wsol.data.images import THE_NETWORKS
from wsol.data.levels import load_level
from wsol.maps.mapper import make_mapper
from wsol.maps.text import texts_of
from wsol.methods.bare import BareNetwork
from wsol.methods.build import build_backbone
from wsol.networks.backbone import POOLED
from wsol.runs.predictor import DEFAULTS, Predictor
from wsol.runs.training import check_map

BATCH = 16  # images at a time


class TrainingFreePredictor(Predictor):
    """A network that was not trained for the data set, so that it knows none of its classes."""

    @property
    def detects(self) -> bool:
        """Whether the model gives boxes, not maps."""
        return False

    @property
    def classifies(self) -> bool:
        """Whether the model tells classes apart."""
        return False


def training_free(
    architecture: str,
    mapper: str,
    dataset_name: str,
    split: str,
    *,
    metadata_root: str | os.PathLike = "metadata/",
    label_level: str | None = None,
    pretrained: bool = True,
    pretrained_path: str | None = None,
    large_feature_map: bool = False,
    prompt: str | None = None,
    preprocessing: str = THE_NETWORKS,
    crop_size: int = 224,
    seed: int = 0,
) -> TrainingFreePredictor:
    """Return a network as it is, on the CPU, and how it maps a split's images.

    `mapper`: one of registry.WITHOUT_TRAINING. `label_level`: whose classes the images have (default: the finest), which
    `prompt` names as {name}, for the mapper text. `preprocessing`: of images, by the statistics of the "network" or of
    "imagenet". `seed`: of random weights.

    Raises:
        InputError: no such network, mapper, data set, split or level; weights that cannot be obtained or do not match; a
            mapper that the network cannot have; images of a size that it does not take.
    """
    level = load_level(metadata_root, dataset_name, label_level, (split,))
    torch.manual_seed(seed)
    backbone = build_backbone(architecture, POOLED, large_feature_map, pretrained, pretrained_path)
    backbone.choose_preprocessing(preprocessing)
    model = BareNetwork(backbone).eval()
    texts: dict[str, Any] = {} if prompt is None else {"texts": texts_of(prompt, level.class_names)}
    made = make_mapper(mapper, model, **texts).eval()
    config = {
        **DEFAULTS,
        "architecture": architecture,
        "batch_size": BATCH,
        "crop_size": crop_size,
        "data_root": "dataset/",
        "dataset_name": dataset_name,
        "metadata_root": str(metadata_root),
    }
    check_map(lambda blank: made.raw_maps(made(blank.images, blank.labels), blank.labels), config)
    return TrainingFreePredictor(
        path=Path(architecture),
        config=Munch(config),
        epoch=0,
        level=level.level,
        class_names=level.class_names,
        file_labels=level.file_labels,
        cam_agg_level=None,
        ancestors=None,
        thresholds=None,
        model=model,
        mapper=made,
    )
