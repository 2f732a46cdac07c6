"""What a run is trained and evaluated on: its splits at one label level, their truth, and CAM-Agg's ancestors.

A method that is trained on full supervision takes its training images, and their masks or boxes, from val (train-fullsup).
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from wsol.core import registry
from wsol.core.errors import OptionError, OptionName
from wsol.data.batches import LabeledImages
from wsol.data.held_out import hold_out
from wsol.data.images import require_images
from wsol.data.level_set import (
    SEPARATOR,
    TrainedLevel,
    check_map_level,
    joined,
    level_names,
    trained_levels,
    with_labels_at,
)
from wsol.data.levels import TRAINED, LevelData, LevelSplit, labels_by_level, load_level, read_levels
from wsol.data.metadata import dataset_folder
from wsol.data.preprocessing import Preprocessing
from wsol.data.targets import BoxTargets, MaskTargets, Targets
from wsol.data.truth import PSEUDO, SplitTruth
from wsol.maps.cam_agg import ancestors_at, keep_with_ancestor
from wsol.methods.level_heads import level_weights

NO_BOXES = "has no true boxes; a detector learns from boxes and is measured by them, so masks alone will not do"
NEITHER = "has no true masks and no true boxes; expected either, to learn from"


@dataclass
class RunData:
    """The data of a run.

    levels: the label level trained at and its splits, with the messages for the log (`levels.notes`).
    truths: the truth of every split that is evaluated.
    ancestors: each class's label at cam_agg_level, int64 (num_classes,), -1: none; None without that option.
    together: the levels that are learned at once; empty: one level. `levels` then has the images of train at the first of
        them, with their labels at all, and otherwise is the level that the run reports.
    each_level: the images and truth of what is evaluated, at each of these levels.
    targets: the masks or boxes of the training images; None: the method is trained on labels.
    """

    levels: LevelData
    truths: dict[str, SplitTruth]
    ancestors: np.ndarray | None
    targets: Targets | None = None
    together: Sequence[TrainedLevel] = ()
    each_level: Mapping[str, tuple[dict[str, LevelSplit], dict[str, SplitTruth]]] = field(default_factory=dict)

    def level_name(self, map_level: str | None) -> str:
        """Return the name of the level, or of several learned at once, see `joined`."""
        return joined([one.level for one in self.together], map_level) if self.together else self.levels.level

    @property
    def splits(self) -> dict[str, LevelSplit]:
        """The splits by name: train, val unless nothing validates, and test unless it is left alone."""
        return self.levels.splits


def read_level(config: Mapping, splits: Collection[str]) -> LevelData:
    """Return splits of a configuration's data set at its label level, with the images that it draws; see `load_level`.

    Of several levels learned at once, train is that of the first one, and other splits alone are those of the reported one.
    """
    level, names = config["label_level"], levels_asked_for(config)
    if len(names) > 1:
        reported = config.get("map_level")
        level = reported if reported in names and "train" not in splits else names[0]
    return load_level(
        config["metadata_root"],
        config["dataset_name"],
        level,
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
    splits = [name for name, is_wanted in wanted.items() if is_wanted]
    each: dict[str, LevelData] = {}
    together: list[TrainedLevel] = []
    if len(names := levels_asked_for(config)) > 1:
        levels, each, together = _read_together(config, names, splits)
    else:
        check_map_level(config["map_level"], ())
        if config["level_weights"]:
            shown = " ".join(f"{weight:g}" for weight in config["level_weights"])
            raise OptionError("level_weights", shown, "expected none for one level; several have commas between them")
        levels = read_level(config, splits)
    for one in (levels, *each.values()):
        if len(one.class_names) < 2 and method.classifies:
            asked = ("coarsening", config["coarsening"]) if config["coarsening"] else ("label_level", one.level)
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
        for one in (levels, *each.values()):
            for name, split in one.splits.items():
                require_images(image_root, split.image_ids, name, advice)
    targets = None if method.classifies else _read_targets(config, levels)
    truths = _read_truths(config, levels, with_masks=not method.detects)
    if method.detects and (without := [name for name, truth in truths.items() if truth.boxes is None]):
        raise OptionError("wsol_method", config["wsol_method"], f"{config['dataset_name']} {without[0]} {NO_BOXES}")
    each_level = {level: (data.splits, _truths_like(config, data.splits, truths)) for level, data in each.items()}
    return RunData(levels, truths, ancestors, targets, together, each_level)


def levels_asked_for(config: Mapping) -> tuple[str, ...]:
    """Return the levels that a configuration's label_level names; none for the finest, and for a coarsening."""
    text = config["label_level"]
    if text is None or SEPARATOR not in text:
        return () if text is None else (text,)
    return level_names(text, read_levels(dataset_folder(config["metadata_root"], config["dataset_name"])))


def _read_together(
    config: Mapping, names: Sequence[str], splits: Sequence[str]
) -> tuple[LevelData, dict[str, LevelData], list[TrainedLevel]]:
    """Return (what the run is trained on and reports, each level's images to evaluate, the levels) of several levels.

    It is trained on the images that have a class at the first level, drawn as for a run at that level.
    """
    if not registry.method_entry(config["wsol_method"]).classifies:
        problem = f"{config['wsol_method']} tells no classes apart; expected one level"
        raise OptionError("label_level", config["label_level"], problem)
    first = read_level({**config, "label_level": names[0]}, splits)
    others = [
        read_level({**config, "label_level": name, "num_train_sample_per_class": 0}, splits)  # of train all labels count
        for name in names[1:]
    ]
    data = [first, *others]
    together = trained_levels(data, config["metadata_root"], config["dataset_name"], first.levels)
    check_map_level(config["map_level"], together, [("cam_agg_level", config["cam_agg_level"])])
    level_weights(config["level_weights"], len(names))
    train = with_labels_at(first.splits["train"], [one.splits["train"] for one in data])
    for one in data:
        del one.splits["train"]
    reported = next((one for one in data if one.level == config["map_level"]), first)
    notes = [*first.notes, *(note for note in reported.notes if reported is not first and not note.startswith("train"))]
    for name, labels in zip(names, train.at_levels.T if train.at_levels is not None else (), strict=True):
        if without := int((labels < 0).sum()):
            notes.append(
                f"train: {without} of {len(labels)} images have no class at level {name!r}, whose loss is without them"
            )
    own = {name: replace(split) for name, split in reported.splits.items()}  # of which CAM-Agg may leave images out
    levels = replace(reported, splits={"train": train, **own}, notes=notes)
    return levels, {one.level: one for one in data}, together


def _truths_like(
    config: Mapping, splits: Mapping[str, LevelSplit], truths: Mapping[str, SplitTruth]
) -> dict[str, SplitTruth]:
    """Return the truth of a level's splits, from those of the level that is reported where the images are the same."""
    return {
        name: truths[name]
        if list(truths[name].image_ids) == list(split.image_ids)
        else SplitTruth.of(config, name, split.image_ids, needs_truth=False)
        for name, split in splits.items()
    }


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
