"""What a run is trained and evaluated on: its splits at one label level, their truth, and CAM-Agg's ancestors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsol.core.errors import OptionError
from wsol.data.images import require_images
from wsol.data.levels import TRAINED, LevelData, LevelSplit, load_level
from wsol.data.truth import SplitTruth
from wsol.maps.cam_agg import ancestors_at, keep_with_ancestor


@dataclass
class RunData:
    """The data of a run.

    levels: the label level trained at and its splits, with the messages for the log (`levels.notes`).
    truths: the truth of every split that is evaluated.
    ancestors: each class's label at cam_agg_level, int64 (num_classes,), -1: none; None without that option.
    """

    levels: LevelData
    truths: dict[str, SplitTruth]
    ancestors: np.ndarray | None

    @property
    def splits(self) -> dict[str, LevelSplit]:
        """The splits by name: train, val, and test unless it is left alone."""
        return self.levels.splits


def read_level(config: Mapping, splits: Iterable[str]) -> LevelData:
    """Return splits of a configuration's data set at its label level, with the images that it draws; see `load_level`."""
    return load_level(
        config["metadata_root"],
        config["dataset_name"],
        config["label_level"],
        splits,
        config["proxy_training_set"],
        config["num_val_sample_per_class"],
        config["num_train_sample_per_class"],
        config["seed"],
        config["coarsening"],
        config.get("train_sample_level", TRAINED),  # missing from older runs
    )


def read_run_data(config: Mapping, advice: str = "") -> RunData:
    """Return the data that a configuration asks for, checked: nothing can be missing once training has begun.

    `advice` says how to get images that are missing.

    Raises:
        InputError: no such data set, level or split; one class; images or their truth missing.
        MetadataError: a metadata file breaks its format.
    """
    levels = read_level(config, ("train", "val", "test") if config["eval_test"] else ("train", "val"))
    if len(levels.class_names) < 2:
        asked = ("coarsening", config["coarsening"]) if config["coarsening"] else ("label_level", levels.level)
        raise OptionError(*asked, f"{config['dataset_name']} has one class at this level; expected two or more")
    ancestors = None
    if config["cam_agg_level"]:
        ancestors = ancestors_at(
            config["metadata_root"], config["dataset_name"], levels.level, config["cam_agg_level"], levels.file_labels
        )
        for name, split in levels.splits.items():
            if name != "train" and (left_out := keep_with_ancestor(split, ancestors)):
                levels.notes.append(
                    f"{name}: {left_out} images have no class at level {config['cam_agg_level']!r}, left out"
                )
    if config["on_bad_image"] == "stop":
        image_root = Path(config["data_root"]) / config["dataset_name"]
        for name, split in levels.splits.items():
            require_images(image_root, split.image_ids, name, advice)
    return RunData(levels, _read_truths(config, levels), ancestors)


def _read_truths(config: Mapping, levels: LevelData) -> dict[str, SplitTruth]:
    """Return the truth of every split that is evaluated; messages about splits without any go to the level's notes.

    Raises:
        InputError: images without their truth; no truth of val, from which the best checkpoint is to be chosen.
    """
    evaluated = {name: split for name, split in levels.splits.items() if name != "train"}
    truths = {name: SplitTruth.of(config, name, split.image_ids, needs_truth=False) for name, split in evaluated.items()}
    without = [name for name, truth in truths.items() if not truth.has_any]
    if "val" in without and config["eval_checkpoint_type"] == "best":
        raise OptionError(
            "eval_checkpoint_type",
            "best",
            f"{config['dataset_name']} val has no boxes and no masks, so no checkpoint is the best at localization; "
            "expected last",
        )
    levels.notes += [f"{name}: no boxes and no masks: only classification is measured, not localization" for name in without]
    if "val" in without:
        levels.notes.append("without boxes or masks of val, no best checkpoint and no score-map threshold can be chosen")
    return truths
