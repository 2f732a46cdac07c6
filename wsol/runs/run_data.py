"""What a run is trained and evaluated on: its splits at one label level, their truth, and CAM-Agg's ancestors.

A method that is trained on full supervision takes its training images, and their masks or boxes, from val (train-fullsup).
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsol.core import registry
from wsol.core.errors import OptionError, OptionName
from wsol.data.batches import LabeledImages
from wsol.data.held_out import hold_out
from wsol.data.images import require_images
from wsol.data.levels import TRAINED, LevelData, LevelSplit, labels_by_level, load_level
from wsol.data.metadata import dataset_folder
from wsol.data.preprocessing import Preprocessing
from wsol.data.targets import BoxTargets, MaskTargets, Targets
from wsol.data.truth import PSEUDO, SplitTruth
from wsol.maps.cam_agg import ancestors_at, keep_with_ancestor

NO_BOXES = "has no true boxes; a detector learns from boxes and is measured by them, so masks alone will not do"
NEITHER = "has no true masks and no true boxes; expected either, to learn from"


@dataclass
class RunData:
    """The data of a run.

    levels: the label level trained at and its splits, with the messages for the log (`levels.notes`).
    truths: the truth of every split that is evaluated.
    ancestors: each class's label at cam_agg_level, int64 (num_classes,), -1: none; None without that option.
    targets: the masks or boxes of the training images; None: the method is trained on labels.
    """

    levels: LevelData
    truths: dict[str, SplitTruth]
    ancestors: np.ndarray | None
    targets: Targets | None = None

    @property
    def splits(self) -> dict[str, LevelSplit]:
        """The splits by name: train, val unless nothing validates, and test unless it is left alone."""
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
    method = registry.method_entry(config["wsol_method"])
    wanted = {"train": method.classifies, "val": True, "test": config["eval_test"]}
    levels = read_level(config, [name for name, is_wanted in wanted.items() if is_wanted])
    if len(levels.class_names) < 2 and method.classifies:
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
    if not method.classifies:
        _train_on_val(config, levels)
    if config["on_bad_image"] == "stop":
        image_root = Path(config["data_root"]) / config["dataset_name"]
        for name, split in levels.splits.items():
            require_images(image_root, split.image_ids, name, advice)
    targets = None if method.classifies else _read_targets(config, levels)
    truths = _read_truths(config, levels, with_masks=not method.detects)
    if method.detects and (without := [name for name, truth in truths.items() if truth.boxes is None]):
        raise OptionError("wsol_method", config["wsol_method"], f"{config['dataset_name']} {without[0]} {NO_BOXES}")
    return RunData(levels, truths, ancestors, targets)


def images_to_map(
    config: Mapping, split: LevelSplit, preprocessing: Preprocessing, cache_images: str | os.PathLike | None = None
) -> LabeledImages:
    """Return the images of a split whole, resized to the crop size; `cache_images`: a folder that keeps them so."""
    return _images(config, split, preprocessing, cache_images)


def images_to_train_on(config: Mapping, data: RunData, preprocessing: Preprocessing) -> LabeledImages:
    """Return the images of train, which are cropped at random, with the masks or boxes that the method learns from."""
    split, side = data.splits["train"], config["resize_size"]
    return _images(config, split, preprocessing, config["cache_images"], side, data.targets)


def _images(
    config: Mapping,
    split: LevelSplit,
    preprocessing: Preprocessing,
    cache_images: str | os.PathLike | None,
    resize_size: int | None = None,
    targets: Targets | None = None,
) -> LabeledImages:
    return LabeledImages(
        Path(config["data_root"]) / config["dataset_name"],
        split,
        config["crop_size"],
        resize_size,
        config["max_megapixels"],
        preprocessing,
        targets,
        config["decode_scale"],
        cache_images,
    )


def _train_on_val(config: Mapping, levels: LevelData) -> None:
    """Divide val into images to train on, the split train, and images to validate on, if any."""
    folder = dataset_folder(config["metadata_root"], config["dataset_name"])
    finest = labels_by_level(folder, "val")[levels.levels[0]]
    train, val = hold_out(levels.splits.pop("val"), finest, config["fsl_val_share"], config["seed"])
    levels.splits = {"train": train, **({"val": val} if val else {}), **levels.splits}
    rest = f"{len(val.image_ids)} of them validate" if val else "none of them validates"
    total = len(train.image_ids) + (len(val.image_ids) if val else 0)
    levels.notes.append(f"{config['wsol_method']} is trained on val, {total} images with full supervision; {rest}")


def _read_targets(config: Mapping, levels: LevelData) -> Targets:
    """Return the masks or boxes that the training images need.

    Raises:
        InputError: val does not have them, or not for every image.
    """
    name = config["wsol_method"]
    of_boxes = registry.method_entry(name).supervision == registry.BOXES
    ids = levels.splits["train"].image_ids
    truth = SplitTruth.of(config, "val", ids, with_masks=not of_boxes, needs_truth=False)
    if not (truth.boxes if of_boxes else truth.has_any):
        raise OptionError("wsol_method", name, f"{config['dataset_name']} val {NO_BOXES if of_boxes else NEITHER}")
    return BoxTargets(truth) if of_boxes else MaskTargets(truth)


def _read_truths(config: Mapping, levels: LevelData, with_masks: bool) -> dict[str, SplitTruth]:
    """Return the truth of every split that is evaluated; messages about splits without any go to the level's notes.

    `with_masks`: masks too, where a split has any.

    Raises:
        InputError: images without their truth; no truth of val, from which the best checkpoint is to be chosen.
    """
    evaluated = {name: split for name, split in levels.splits.items() if name != "train"}
    truths = {
        name: SplitTruth.of(config, name, split.image_ids, with_masks, needs_truth=False)
        for name, split in evaluated.items()
    }
    without = [name for name, truth in truths.items() if not truth.has_any]
    for name, truth in truths.items():
        if truth.source == PSEUDO:
            levels.notes.append(
                f"{name}: pseudo boxes, none of them true, choose the best checkpoint and the score-map thresholds; figures "
                f"of {name} say how well maps agree with them, not with objects"
            )
    if "val" in without and config["eval_checkpoint_type"] == "best":
        raise OptionError(
            "eval_checkpoint_type",
            "best",
            f"{config['dataset_name']} val has no boxes and no masks, so no checkpoint is the best at localization; "
            "expected last, or ",
            OptionName("select_on"),
            " pseudo",
        )
    levels.notes += [f"{name}: no boxes and no masks: only classification is measured, not localization" for name in without]
    if "val" in without:
        levels.notes.append("without boxes or masks of val, no best checkpoint and no score-map threshold can be chosen")
    return truths
