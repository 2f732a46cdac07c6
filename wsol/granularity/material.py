"""The runs among whose levels is chosen: of one data set, each at a level, with the same options otherwise.

In: folders of finished runs. Out: `RunSet`, checked; what differs among its runs' options without being refused is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsol.core.errors import InputError
from wsol.core.flat_yaml import read_dumped
from wsol.core.plain_values import is_whole, shown
from wsol.data.image_ids import ImageIds
from wsol.data.levels import SPLITS, finest_level, label_tables, read_class_names, read_distinct_names, read_levels
from wsol.data.metadata import dataset_folder, first_names
from wsol.granularity.rights import Rights
from wsol.granularity.tree import LevelTree
from wsol.metrics.images_file import ImagesFile, images_name, read_images
from wsol.runs.results import read_run
from wsol.runs.run_folder import CONFIG
from wsol.sweeps.states import NOT_COMPARED, differing

# What makes runs comparable: data, network and method. Other options may have been chosen on val for each level, and differ.
ALIKE = (
    "dataset_name",
    "architecture",
    "wsol_method",
    "large_feature_map",
    "resize_size",
    "crop_size",
    "num_val_sample_per_class",
    "num_train_sample_per_class",
    "train_sample_level",
    "proxy_training_set",
    "freeze_backbone",
    "train_last_blocks",
    "preprocessing",
)
OF_THE_LEVEL = ("label_level", "map_level", "cam_agg_level", "seed", "coarsening", *NOT_COMPARED)


@dataclass(frozen=True)
class Run:
    """A finished run: its options, and the level and seed that it stands for."""

    folder: Path
    config: Mapping[str, Any]
    level: str
    seed: int


@dataclass(frozen=True)
class RunSet:
    """Runs of every seed at every level, on one data set; `notes`: which options differ.

    levels: finest first. runs: (seed, level) to its run.
    """

    dataset: str
    folder: Path
    levels: Sequence[str]
    seeds: Sequence[int]
    runs: Mapping[tuple[int, str], Run]
    notes: Sequence[str] = field(default_factory=list)


@dataclass(frozen=True)
class Material:
    """What the runs gave on the images of a split.

    image_ids: N. files: (seed, level) to the run's file. thresholds: the score-map thresholds, T. ious: the IoU thresholds,
    in percent, J.
    """

    split: str
    image_ids: Sequence[str]
    rights: Rights
    files: Mapping[tuple[int, str], ImagesFile]
    thresholds: Sequence[float]
    ious: Sequence[float]
    notes: Sequence[str]


def read_one(folder: Path) -> Run:
    """Return a finished run.

    Raises:
        InputError: it is not finished, its files can't be read, or it was trained on a coarsening, which is no level.
    """
    content = read_run(folder).content
    config = read_dumped(folder / CONFIG)
    if config.get("coarsening"):
        raise InputError(f"{folder}: trained with a coarsening; expected runs at levels of the data set")
    level = content.get("cam_agg_level") or content.get("label_level")
    if not isinstance(level, str) or not isinstance(content.get("dataset_name"), str):
        raise InputError(f"{folder}: its results.json has no dataset_name and label_level; expected a run of main.py")
    if not is_whole(config.get("seed")):
        raise InputError(f"{folder / CONFIG}: seed is {shown(config.get('seed'))}; expected a whole number")
    return Run(folder, {**config, "dataset_name": content["dataset_name"]}, level, config["seed"])


def read_run_set(folders: Sequence[Path], metadata_root: Path | None = None) -> RunSet:
    """Return runs as a set; `metadata_root`: default the one that the runs had.

    Raises:
        InputError: they differ in what makes runs comparable, a seed lacks a level, two have the same level and seed, or
            there are fewer than two levels.
    """
    found = [read_one(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]
    first = found[0]
    for other in found[1:]:
        for name in ALIKE:
            one, two = first.config.get(name), other.config.get(name)
            if one != two and name in first.config and name in other.config:
                raise InputError(
                    f"{other.folder}: {name} {shown(two)}, but {shown(one)} in {first.folder}; expected runs that are alike "
                    "but for their level"
                )
    runs: dict[tuple[int, str], Run] = {}
    for run in found:
        if (run.seed, run.level) in runs:
            raise InputError(
                f"{run.folder} and {runs[run.seed, run.level].folder}: both of level {run.level!r} and seed {run.seed}; "
                "expected one run of each level and seed"
            )
        runs[run.seed, run.level] = run
    dataset = first.config["dataset_name"]
    folder = dataset_folder(metadata_root or first.config.get("metadata_root", "metadata/"), dataset)
    known = read_levels(folder)
    if strange := [run for run in found if run.level not in known]:
        raise InputError(
            f"{strange[0].folder}: its level is {strange[0].level!r}; expected one of {folder}: {', '.join(known)}"
        )
    levels = [level for level in known if any(level == run.level for run in found)]
    seeds = sorted({run.seed for run in found})
    if len(levels) < 2:
        raise InputError(
            f"{first.folder}: the only level among the runs is {levels[0]!r}; expected runs at two levels or more"
        )
    for seed in seeds:
        if missing := [level for level in levels if (seed, level) not in runs]:
            raise InputError(f"no run of seed {seed} at level {missing[0]!r}; expected every seed to have the same levels")
    return RunSet(dataset, folder, levels, seeds, runs, _differences(found))


def _differences(runs: Sequence[Run]) -> list[str]:
    """Return a line for every option in which runs differ beside their level and seed."""
    names = dict.fromkeys(
        name for run in runs for name in differing(runs[0].config, run.config, OF_THE_LEVEL) if name in runs[0].config
    )
    lines = []
    for name in names:
        values: dict[str, list[str]] = {}
        for run in runs:
            if name in run.config:
                values.setdefault(shown(run.config[name]), []).append(run.folder.name)
        if len(values) > 1:
            lines.append(f"{name} differs: " + "; ".join(f"{value} ({_some(where)})" for value, where in values.items()))
    return lines


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def read_level_tree(folder: Path, levels: Sequence[str]) -> LevelTree:
    """Return the finest classes of a data set that have a class at each of some levels, and those classes.

    Raises:
        InputError: there are none. MetadataError: the levels are inconsistent.
    """
    finest = finest_level(folder)
    found: dict[int, tuple[int, ...]] = {}
    for split in SPLITS:
        tables = label_tables(folder, split)
        if finest not in tables or any(level not in tables for level in levels):
            continue
        ids = tables[finest].ids
        rows = np.stack([tables[finest].values, *(tables[level].at(ids) for level in levels)], axis=1)
        found |= {row[0]: tuple(row[1:]) for row in np.unique(rows, axis=0).tolist() if min(row) >= 0}
    if not found:
        raise InputError(f"{folder}: no class has images at each of the levels {', '.join(levels)}")
    leaves = sorted(found)
    classes, names = [], []
    for i, level in enumerate(levels):
        labels = sorted({found[leaf][i] for leaf in leaves})
        number = {label: n for n, label in enumerate(labels)}
        classes.append([number[found[leaf][i]] for leaf in leaves])
        own = read_class_names(folder, level)
        names.append(tuple(own.get(label, str(label)) for label in labels))
    own = read_distinct_names(folder, finest)
    return LevelTree(tuple(levels), tuple(own.get(leaf, str(leaf)) for leaf in leaves), np.array(classes), tuple(names))


def _leaves_of(folder: Path, split: str, image_ids: Sequence[str], tree: LevelTree) -> np.ndarray:
    """Return int64 (N,): the finest class of each image, as numbered in a tree; -1: none of the tree's."""
    labels = label_tables(folder, split).get(finest := finest_level(folder))
    if labels is None:
        raise InputError(f"{folder / split}: no labels of level {finest!r}; expected those of its images")
    own = read_distinct_names(folder, finest)
    number = {name: n for n, name in enumerate(tree.leaves)}
    values = labels.at(ImageIds(image_ids)).tolist()
    return np.array([number.get(own.get(label, str(label)), -1) for label in values], dtype=np.int64)


def read_material(runs: RunSet, tree: LevelTree, split: str) -> Material:
    """Return what the runs gave on a split, from their `<split>_images.npz`.

    Images whose class is outside one of the levels are left out, as that level has no map for them; a note says how many.

    Raises:
        InputError: a run has no such file, or it was scored with other images, settings or map sizes than the others'.
    """
    files: dict[tuple[int, str], ImagesFile] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for key, run in runs.runs.items():
        path = run.folder / images_name(split)
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected runs that have evaluated {split}")
        files[key] = file = read_images(path)
        file.evaluator()
        first = next(iter(files.values()))
        for name in {**first.settings, **file.settings}:
            if first.settings.get(name) != file.settings.get(name):
                raise InputError(
                    f"{path}: scored with {name} {shown(file.settings.get(name))}, but {shown(first.settings.get(name))} in "
                    f"{first.path}; expected the same"
                )
        for image_id, one in file.images.items():
            if sizes.setdefault(image_id, one.size) != one.size:
                raise InputError(f"{path}: the map of {image_id!r} has another size than in {first.path}; expected the same")
    settings = first.settings
    if "boxes" not in settings["truth"] or settings["box_rule"] != "multi_contour":
        raise InputError(f"{first.path}: not scored by MaxBoxAccV2; expected runs with true boxes and box_v2_metric TRUE")
    image_ids, notes = _common_images(runs, tree, split, files)
    positions = {level: i for i, level in enumerate(runs.levels)}
    leaf_of = _leaves_of(runs.folder, split, image_ids, tree)
    shape = next(iter(first.images.values())).counts_of("boxes").shape
    packed = np.empty((len(runs.seeds), len(runs.levels), len(image_ids), *shape), dtype=np.uint8)
    for (seed, level), file in files.items():
        block = packed[list(runs.seeds).index(seed), positions[level]]
        for i, image_id in enumerate(image_ids):
            block[i] = file.images[image_id].counts_of("boxes")
    thresholds = np.arange(0, 1, settings["cam_curve_interval"]).tolist()
    rights = Rights(packed, len(thresholds), leaf_of, len(tree.leaves))
    return Material(split, image_ids, rights, files, thresholds, settings["iou_threshold_list"], notes)


def _common_images(
    runs: RunSet, tree: LevelTree, split: str, files: Mapping[tuple[int, str], ImagesFile]
) -> tuple[list[str], list[str]]:
    """Return (the images that have a class at every level, notes); every run must have scored all of those."""
    everything = list(dict.fromkeys(image_id for file in files.values() for image_id in file.images))
    inside = _leaves_of(runs.folder, split, everything, tree) >= 0
    image_ids = [image_id for image_id, kept in zip(everything, inside, strict=True) if kept]
    for file in files.values():
        bad = [i for i in image_ids if i not in file.images or file.images[i].skipped]
        if bad:
            raise InputError(
                f"{file.path}: {len(bad)} of {len(image_ids)} images that other runs scored are missing or were skipped; "
                f"expected the same images:{first_names(bad)}"
            )
    if not image_ids:
        raise InputError(f"{next(iter(files.values())).path}: no image with a class at every level")
    notes = []
    if left := len(everything) - len(image_ids):
        notes.append(f"{split}: {left} of {len(everything)} images have no class at one of the levels and are left out")
    return image_ids, notes
