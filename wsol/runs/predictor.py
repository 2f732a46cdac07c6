"""From a checkpoint to maps: the one way, for a run's final evaluation, inference.py, and whoever maps with a trained model.

In: a checkpoint of main.py, and nothing else. Out: a `Predictor`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from munch import Munch

from wsol.core import registry
from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError, OptionError
from wsol.data.batches import Batch
from wsol.data.images import FULL
from wsol.data.level_set import MEAN, TrainedLevel, check_map_level, joined
from wsol.data.levels import LevelData, LevelSplit, load_level, read_levels
from wsol.data.metadata import dataset_folder, first_names
from wsol.data.preprocessing import Preprocessing
from wsol.maps.cam_agg import ancestors_at, keep_with_ancestor
from wsol.maps.class_maps import ClassMapper
from wsol.maps.mapper import Mapper, make_mapper
from wsol.maps.prediction import Prediction, predict
from wsol.maps.refine import Refiner
from wsol.methods.level_heads import level_view
from wsol.methods.method import Method
from wsol.runs.box_rules import BoxRule
from wsol.runs.checkpoints import read_checkpoint, restore_model

MOST_LEVELS = 3  # coarser levels whose maps are compared with a photo's
# What runs from before an option had, and what they lack.
DEFAULTS = {
    "amp": "off",
    "bootstrap": 1000,
    "decode_scale": FULL,
    "mask_root": "dataset/",
    "max_megapixels": MAX_MEGAPIXELS,
    "seed": 0,
}


@dataclass
class Predictor:
    """A trained model and how it maps.

    path: the checkpoint's file.
    config: the options of the run.
    epoch: after which the checkpoint was written.
    level: the label level trained at.
    class_names, file_labels: the classes by label: their names, and their labels in the metadata files.
    cam_agg_level, ancestors: the coarser level of the maps, and each class's label there, int64 (num_classes,), -1: none.
    thresholds: IoU threshold in percent, such as "50", to the score-map threshold that val chose; None: val has no boxes.
    box_rules: how boxes are drawn on photos, for given and for predicted classes; empty: val has no boxes, the checkpoint
        has not been completed (wsol/runs/calibrate.py), or its maps are made in another way than in training.
    hierarchy: coarser level to "names", its classes, and "labels", which of them each class belongs to, -1: none.
    version: of this package, that completed the checkpoint.
    together, map_level: the levels that were learned at once, empty: one; and which of them this is, or "mean": the first
        one, with the mean of all levels' maps.
    model: the network with its weights, in evaluation mode.
    mapper: what makes its maps.
    refiner: what changes a score map after normalisation; None: nothing.
    """

    path: Path
    config: Munch
    epoch: int
    level: str
    class_names: list[str]
    file_labels: list[int]
    cam_agg_level: str | None
    ancestors: np.ndarray | None
    thresholds: Mapping[str, float] | None
    model: Method
    mapper: Mapper
    refiner: Refiner | None = None
    box_rules: Mapping[str, BoxRule] = field(default_factory=dict)
    hierarchy: Mapping[str, Mapping[str, list]] = field(default_factory=dict)
    version: str | None = None
    together: Sequence[TrainedLevel] = ()
    map_level: str | None = None

    @property
    def level_name(self) -> str:
        """The level in results and logs: its name, or of several learned at once all names, see `joined`."""
        return joined([one.level for one in self.together], self.map_level) if self.together else self.level

    @property
    def preprocessing(self) -> Preprocessing:
        """How the network wants its images."""
        return self.model.backbone.offer.preprocessing

    @property
    def detects(self) -> bool:
        """Whether the model gives boxes, not maps."""
        return registry.method_entry(self.config["wsol_method"]).detects

    @property
    def classifies(self) -> bool:
        """Whether the model tells classes apart."""
        return registry.method_entry(self.config["wsol_method"]).classifies

    def ancestors_of(self, label: int) -> dict[str, str]:
        """Return coarser level to the name of a class's ancestor there, finest first, as far as the checkpoint knows."""
        places = {level: (classes["names"], classes["labels"][label]) for level, classes in self.hierarchy.items()}
        return {level: names[place] for level, (names, place) in places.items() if place >= 0}

    def to(self, device: torch.device) -> Self:
        """Return this predictor, its network on a device."""
        self.mapper.to(device, memory_format=torch.channels_last)
        return self

    def load_splits(
        self, splits: Iterable[str], metadata_root: str | os.PathLike | None = None, dataset_name: str | None = None
    ) -> LevelData:
        """Return splits at the level trained at, with the labels of training; the metadata are by default the run's own.

        Raises:
            InputError: the data set lacks a split, the level, or classes that the model was not trained on.
        """
        metadata_root = metadata_root or self.config.metadata_root
        dataset_name = dataset_name or self.config.dataset_name
        coarsening = self.config.get("coarsening")
        levels = read_levels(dataset_folder(metadata_root, dataset_name))
        if not coarsening and self.level not in levels:
            known = ", ".join(levels)
            raise InputError(f"{self.path}: was trained at level {self.level!r}; {dataset_name} has {known}")
        level = None if coarsening else self.level
        data = load_level(metadata_root, dataset_name, level, tuple(splits), coarsening=coarsening)
        # Classes are matched by their label in the files and their name: names alone may repeat.
        number_of = {one: number for number, one in enumerate(zip(self.file_labels, self.class_names, strict=True))}
        classes = list(zip(data.file_labels, data.class_names, strict=True))
        if unknown := [name for label, name in classes if (label, name) not in number_of]:
            raise InputError(
                f"{self.path}: was not trained on {len(unknown)} classes of {dataset_name} at level {data.level!r}:"
                + first_names(unknown)
            )
        trained = np.array([number_of[one] for one in classes])
        for split in data.splits.values():
            split.labels = trained[split.labels]
        return data

    def keep_mapped(self, split: LevelSplit) -> None:
        """Leave images out of a split whose class has no ancestor at the maps' level, which gives them no map."""
        if self.ancestors is not None:
            keep_with_ancestor(split, self.ancestors)

    def class_mapper(self) -> ClassMapper:
        """Return what maps photos whose class may not be known.

        It has CAM-Agg's maps, too, at up to MOST_LEVELS coarser levels: those that merge classes, evenly spread.
        """
        parts = [np.array(classes["labels"], dtype=np.int64) for classes in self.hierarchy.values()]
        merging = [part for part in parts if len(np.unique(part)) < len(part) and (part >= 0).all()]
        chosen = np.linspace(0, len(merging) - 1, min(MOST_LEVELS, len(merging))).round().astype(int).tolist()
        ancestors = [merging[i] for i in chosen] if self.classifies else []
        return ClassMapper.of(self.mapper, self.model, ancestors, self.preprocessing if self.refiner else None)

    def predictions(
        self, batches: Iterable[Batch], device: torch.device, amp: str, bad_images: list[str]
    ) -> Iterator[Prediction]:
        """Yield every image's prediction, in the order of the batches (see `wsol.maps.prediction.predict`)."""
        return predict(self.mapper, batches, device, amp, bad_images, self.refiner, self.preprocessing)


def require_own_maps(wsol_method: str, mapper: str, cam_agg_level: str | None) -> None:
    """Raise OptionError if a method that tells no classes apart is to be mapped by a mapper of classes."""
    if registry.method_entry(wsol_method).classifies:
        return
    of_classes = mapper not in (registry.OWN_MAPS, *registry.WITHOUT_TRAINING)
    for name, value, other in (("extractor", mapper, of_classes), ("cam_agg_level", cam_agg_level, True)):
        if value and other:
            raise OptionError(name, value, f"{wsol_method} tells no classes apart, so it has no maps of classes")


def restore(
    path: str | os.PathLike,
    *,
    mapper: str = registry.OWN_MAPS,
    cam_agg_level: str | None = None,
    map_level: str | None = None,
    metadata_root: str | os.PathLike | None = None,
    dataset_name: str | None = None,
    refiner: Refiner | None = None,
) -> Predictor:
    """Return the model of a checkpoint, on the CPU, and how it maps.

    `mapper`: one of `registry.names("mappers")`; by default as in training, at the run's own cam_agg_level. `cam_agg_level`:
    CAM-Agg at this level. The checkpoint holds each class's ancestor at the run's own level; another level, and a checkpoint
    from before that entry, take the metadata, by default the run's own. `map_level`: of several levels learned at once, the
    one that the predictor is of, or "mean" (`MeanView`); by default as in training.

    Raises:
        InputError: the file is not a checkpoint, its entries do not fit each other, there is no such mapper or level.
    """
    checkpoint = read_checkpoint(path)
    config = Munch({**DEFAULTS, **checkpoint["config"]})
    model = restore_model(checkpoint, path).eval()
    require_own_maps(config["wsol_method"], mapper, cam_agg_level)
    together = _trained_levels(checkpoint, config, path)
    trained = config.get("map_level")
    of_training = map_level in (None, trained or (together[0].level if together else None))
    map_level = trained if of_training else map_level
    others = ("cam_agg_level", cam_agg_level), ("extractor", None if mapper == registry.OWN_MAPS else mapper)
    check_map_level(map_level, together, others)
    about = (checkpoint["label_level"], checkpoint["class_names"], checkpoint["file_labels"])
    if together:
        chosen = next((one for one in together if one.level == map_level), together[0])
        about = (chosen.level, chosen.class_names, chosen.file_labels)
        model = level_view(model, together, map_level)
    own_maps = mapper == registry.OWN_MAPS and cam_agg_level in (None, config.get("cam_agg_level"))
    as_trained = of_training and own_maps and refiner is None
    if cam_agg_level is None and mapper == registry.OWN_MAPS and of_training:
        cam_agg_level = config.get("cam_agg_level")
    ancestors = None
    if cam_agg_level:
        mapper = registry.CAM_AGG if mapper == registry.OWN_MAPS else mapper
        saved = (checkpoint.get("ancestors") or {}) if of_training else {}
        if cam_agg_level in saved:
            ancestors = np.array(saved[cam_agg_level], dtype=np.int64)
            if (ancestors < 0).all():
                raise InputError(f"{path}: ancestors: no class has one at level {cam_agg_level!r}")
        else:
            root, levels = metadata_root or config.metadata_root, (about[0], cam_agg_level)
            ancestors = ancestors_at(root, dataset_name or config.dataset_name, *levels, about[2])
    return Predictor(
        Path(path),
        config,
        checkpoint["epoch"],
        *about,
        cam_agg_level,
        ancestors,
        checkpoint.get("score_map_thresholds") if of_training else None,
        model,
        make_mapper(mapper, model, ancestors),
        refiner,
        {way: BoxRule.from_dict(rule) for way, rule in checkpoint.get("box_rules", {}).items() if as_trained},
        checkpoint.get("hierarchy", {}) if of_training else {},
        checkpoint.get("version"),
        together,
        map_level,
    )


def _trained_levels(checkpoint: Mapping, config: Mapping, path: str | os.PathLike) -> list[TrainedLevel]:
    """Return the levels that a checkpoint's model learned at once, none for one; check which of them it reports."""
    levels = [TrainedLevel.from_dict(one) for one in checkpoint.get("trained_levels", ())]
    reported = config.get("map_level")
    try:
        check_map_level(reported, levels)
    except InputError as error:
        raise InputError(f"{path}: config: ", *error.parts) from None
    expected = levels[0].level if levels and reported in (None, MEAN) else reported
    if levels and checkpoint["label_level"] != expected:
        found = checkpoint["label_level"]
        raise InputError(f"{path}: label_level is {found!r}; expected {expected!r}, as its config has it")
    return levels
