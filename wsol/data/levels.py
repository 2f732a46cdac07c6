"""Label levels: the tiers of a data set, checked for consistency, and its splits labelled at one of them.

In: the files of `metadata/<dataset>` (docs/metadata.md). Out: `LevelData`, with labels numbered from 0.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from wsol.core.errors import InputError, MetadataError, OptionError, OptionName, did_you_mean, shortened
from wsol.core.files import read_lines
from wsol.data.hierarchy import Hierarchy, check_level_names, read_coarsening, read_tiers, read_tree, tier_tree
from wsol.data.metadata import (
    configure_metadata,
    dataset_folder,
    get_class_labels,
    get_image_ids,
    is_whole_number,
)

FINEST = "finest"
TRAINED = "trained"
SAMPLE_LEVELS = (TRAINED, FINEST)  # where training images are drawn: per class of the level trained at, or of the finest
SPLITS = ("train", "val", "test")
COARSENED = "coarsened by "  # and a file's name: the name of the level in logs and results


def level_file(stem: str, level: str, finest: str) -> str:
    """Return the name of a level's file of labels or class names.

    >>> level_file("class_labels", "species", finest="species"), level_file("class_labels", "genus", finest="species")
    ('class_labels.txt', 'class_labels_genus.txt')
    """
    return f"{stem}.txt" if level == finest else f"{stem}_{level}.txt"


def _names_file(folder: Path, level: str) -> Path:
    return folder / level_file("class_names", level, finest_level(folder))


def read_names(path: Path) -> dict[int, str]:
    """Return label to name in file order, from lines name,label; empty if there is no such file."""
    names: dict[int, str] = {}
    for number, line in enumerate(read_lines(path, optional=True), 1):
        name, _, label = line.rpartition(",")
        if not (name and is_whole_number(label)) or int(label) in names:
            raise MetadataError(f"{path}:{number}: {shortened(repr(line), 300)}; expected name,label with unique labels")
        names[int(label)] = name
    return names


def read_class_names(folder: Path, level: str) -> dict[int, str]:
    """Return label to name in file order, from class_names[_<level>].txt; empty if there is no such file."""
    return read_names(_names_file(folder, level))


def read_distinct_names(folder: Path, level: str) -> dict[int, str]:
    """Return `read_class_names`; raise MetadataError if two classes have the same name, which a hierarchy cannot have."""
    names = read_class_names(folder, level)
    seen: set[str] = set()
    for number, name in enumerate(names.values(), 1):
        if name in seen:
            path = _names_file(folder, level)
            raise MetadataError(
                f"{path}:{number}: {name!r} is the name of two classes; expected different names, as in a hierarchy"
            )
        seen.add(name)
    return names


def _listed_levels(folder: Path) -> list[str]:
    path = folder / "levels.txt"
    levels = read_lines(path, optional=True)
    check_level_names(levels, (f"{path}:{number}" for number in range(1, len(levels) + 1)))
    return levels


def finest_level(folder: Path) -> str:
    """Return the name of the level of class_labels.txt."""
    return (_listed_levels(folder) or [FINEST])[0]


def read_levels(folder: Path) -> list[str]:
    """Return the level names of a data set, finest first: from levels.txt, or of its files, by their number of classes."""
    if levels := _listed_levels(folder):
        return levels
    prefix = "class_labels_"
    found = {path.stem[len(prefix) :] for split in SPLITS for path in (folder / split).glob(prefix + "*.txt")}

    def num_classes(level: str) -> int:
        names = read_class_names(folder, level)
        return len(names) or len({label for split in SPLITS for label in _labels(folder, split, level, True).values()})

    return [FINEST, *sorted(found, key=lambda level: (-num_classes(level), level))]


def _labels(folder: Path, split: str, level: str, optional: bool = False) -> dict[str, int]:
    path = folder / split / level_file("class_labels", level, finest_level(folder))
    return {} if optional and not path.exists() else get_class_labels({"class_labels": path})


def labels_by_level(folder: Path, split: str) -> dict[str, dict[str, int]]:
    """Return level to image id to label of one split, finest first, without levels that have no labels in the split."""
    tables = {level: _labels(folder, split, level, optional=True) for level in read_levels(folder)}
    return {level: labels for level, labels in tables.items() if labels}


def read_hierarchy(folder: Path) -> Hierarchy:
    """Return the label hierarchy of a data set, whose leaves are the names of the finest classes: from hierarchy.csv or
    tree.csv, or from the labels of its levels if it has neither.

    Raises:
        InputError: neither file, and a single level.
        MetadataError: not a tree, or its leaves are not the finest classes of the data set.
    """
    levels = read_levels(folder)
    classes = list(read_distinct_names(folder, levels[0]).values()) or None
    if (path := folder / "hierarchy.csv").exists():
        tiers, hierarchy = read_tiers(path, classes)
        if _listed_levels(folder) and tiers != levels:
            raise MetadataError(f"{path}:1: {','.join(tiers)!r}; expected the levels of levels.txt, {','.join(levels)!r}")
        return hierarchy
    if (path := folder / "tree.csv").exists():
        return read_tree(path, classes)
    if len(levels) < 2:
        raise InputError(
            f"{folder}: no hierarchy.csv or tree.csv, and a single level; expected one of the files, or more levels"
        )
    return tier_tree(levels, _rows_of_labels(folder, levels), str(folder))


def _rows_of_labels(folder: Path, levels: list[str]) -> list[tuple[str, list[str]]]:
    """Return (place, class name at every level) of every finest class, from the labels of its images."""
    rows: dict[int, tuple[str, list[str]]] = {}
    tables: dict[str, dict[str, int]] = {level: {} for level in levels}
    for split in SPLITS:
        for level, labels in labels_by_level(folder, split).items():
            tables[level] |= {f"{split}/{image_id}": label for image_id, label in labels.items()}
    names = {level: read_distinct_names(folder, level) for level in levels}
    for image_id, label in tables[levels[0]].items():
        found = [tables[level].get(image_id) for level in levels]
        row = [
            "" if value is None else names[level].get(value, str(value)) for level, value in zip(levels, found, strict=True)
        ]
        known = rows.setdefault(label, (f"{folder}: {image_id}", row))[1]
        if known != row:
            raise MetadataError(
                f"{folder}: the class {row[0]!r} is in {','.join(known[1:])!r} for one image and in {','.join(row[1:])!r} "
                f"for {image_id!r}; expected one class at every level"
            )
    order = list(names[levels[0]]) or sorted(rows)
    return [rows[label] for label in order if label in rows]


@dataclass
class LevelSplit:
    """The images of one split at one label level.

    image_ids: n ids.
    labels: int64 (n,), numbered from 0.
    subset: whether images of the split were left out.
    """

    image_ids: list[str]
    labels: np.ndarray
    subset: bool = False


@dataclass
class LevelData:
    """One label level of a data set.

    level: its name.
    levels: the names of all levels, finest first.
    class_names: the name of every label, which count from 0.
    file_labels: the label that each class has in the files.
    splits: split to its images.
    notes: messages for the log.
    """

    level: str
    levels: list[str]
    class_names: list[str]
    file_labels: list[int]
    splits: dict[str, LevelSplit]
    notes: list[str] = field(default_factory=list)


def _check_consistent(folder: Path, finer: str, level: str, tables: dict[str, dict[str, dict[str, int]]]) -> None:
    """Raise MetadataError unless every class of the `finer` level belongs to one class of `level`."""
    parent: dict[int, int] = {}
    for split, by_level in tables.items():
        below = by_level[finer]
        for number, (image_id, label) in enumerate(by_level[level].items(), 1):
            child = below.get(image_id)
            if child is not None and parent.setdefault(child, label) != label:
                names, finer_names = read_class_names(folder, level), read_class_names(folder, finer)
                both = [repr(names.get(value, value)) for value in (parent[child], label)]
                path = folder / split / level_file("class_labels", level, finest_level(folder))
                raise MetadataError(
                    f"{path}:{number}: level {level!r} is inconsistent: the class "
                    f"{finer_names.get(child, child)!r} of level {finer!r} belongs to {both[0]} and to {both[1]}; "
                    "expected one class"
                )


Tables = dict[str, dict[str, dict[str, int]]]  # split, level, image id: label


def _read_tables(folder: Path, splits: Iterable[str], needed: list[str], proxy: bool) -> tuple[Tables, dict[str, list[str]]]:
    """Return the labels at the first and last of the needed levels (finest first), and the image ids of the splits.

    All levels in between are checked for consistency, with two in memory at a time: ILSVRC has 19 of 1.28 million lines.
    """
    finest, level = needed[0], needed[-1]
    tables = {split: {finest: _labels(folder, split, finest)} for split in splits}
    ids = {split: get_image_ids(configure_metadata(folder / split), proxy and split == "train") for split in tables}
    for split, by_level in tables.items():
        labeled = by_level[finest]
        if missing := [image_id for image_id in ids[split] if image_id not in labeled]:
            raise MetadataError(
                f"{folder / split}/class_labels.txt: no label for {missing[0]!r} ({len(missing)} such ids); expected "
                "a label at the finest level for every id in image_ids.txt"
            )
    for finer, coarser in pairwise(needed):
        for split, by_level in tables.items():
            by_level[coarser] = _labels(folder, split, coarser)
        _check_consistent(folder, finer, coarser, tables)
        for by_level in tables.values() if finer != finest else ():
            del by_level[finer]
    if level not in needed[:2]:
        _check_consistent(folder, finest, level, tables)
    return tables, ids


def _with_class(split: Path, level: str, labels: dict[str, int], ids: list[str], notes: list[str]) -> list[str]:
    """Return the images that have a class at the level; add a note about others, raise MetadataError if none has."""
    kept = [image_id for image_id in ids if image_id in labels]
    if left_out := len(ids) - len(kept):
        notes.append(f"{split.name}: {left_out} of {len(ids)} images have no class at level {level!r} and are left out")
    if not kept:
        raise MetadataError(f"{split}: no image with a class at level {level!r}")
    return kept


def _draw_val(ids: list[str], labels: dict[str, int], count: int, seed: int) -> list[str]:
    """Return `count` validation images of every finest class; raise OptionError if a class has fewer."""
    drawn = _draw_per_class(ids, labels, count, seed, "val")
    fewest = np.unique([labels[image_id] for image_id in drawn], return_counts=True)[1].min()
    if fewest < count:
        raise OptionError(
            "num_val_sample_per_class",
            count,
            f"a class has only {fewest} validation images; expected 0 (all) to {fewest}",
        )
    return drawn


def _draw_train(ids: list[str], labels: dict[str, int], count: int, seed: int, notes: list[str]) -> list[str]:
    """Return up to `count` training images of every class of `labels`; add a note if a class has fewer."""
    drawn = _draw_per_class(ids, labels, count, seed, "train")
    counts = np.unique([labels[image_id] for image_id in drawn], return_counts=True)[1]
    if fewer := int((counts < count).sum()):
        notes.append(f"train: {fewer} of {len(counts)} classes have fewer than {count} images; all of these are used")
    return drawn


def _classes(folder: Path, level: str, tables: Tables) -> dict[int, str]:
    """Return file label to name of the classes of a level, in the order of their new numbers.

    All splits count, regardless of which are loaded and which images are drawn, so a class keeps its number.
    """
    names = read_class_names(folder, level)
    others = (_labels(folder, split, level, optional=True) for split in SPLITS if split not in tables)
    present = {label for labels in (*(table[level] for table in tables.values()), *others) for label in labels.values()}
    unnamed = sorted(present - set(names))
    if names and unnamed:
        raise MetadataError(f"{_names_file(folder, level)}: no name for label {unnamed[0]} of level {level!r}")
    return {label: names.get(label, str(label)) for label in (names or unnamed) if label in present}


def _coarsened(folder: Path, path: str, level: str, finest: str, tables: Tables) -> dict[int, str]:
    """Add the labels that the vector of a file gives (docs/hierarchies.md) to `tables` as `level`; return label to name."""
    label_of = read_coarsening(path, read_hierarchy(folder))
    category = {label: label_of[name] for label, name in _classes(folder, finest, tables).items() if name in label_of}
    names = list(dict.fromkeys(category.values()))
    number = {label: names.index(name) for label, name in category.items()}
    for by_level in tables.values():
        by_level[level] = {i: number[label] for i, label in by_level[finest].items() if label in number}
    return dict(enumerate(names))


def load_level(
    metadata_root: str | os.PathLike,
    dataset_name: str,
    level: str | None = None,
    splits: Iterable[str] = SPLITS,
    proxy: bool = False,
    num_val_sample_per_class: int = 0,
    num_train_sample_per_class: int = 0,
    seed: int = 0,
    coarsening: str | None = None,
    train_sample_level: str = TRAINED,
) -> LevelData:
    """Return a data set at one label level (default: the finest), with its labels renumbered from 0.

    Images without a class at the level are left out of every split.

    Args:
        metadata_root: the folder of all metadata.
        dataset_name: the folder of this data set in it.
        level: the name of the level.
        splits: which splits to load.
        proxy: use the proxy training set.
        num_val_sample_per_class: validation images to draw per class of the finest level; 0: all.
        num_train_sample_per_class: training images to draw per class, or all if it has fewer; 0: all.
        seed: of both draws.
        coarsening: instead of a level, a CSV file class,k; every finest class is moved k edges towards the root.
        train_sample_level: whose classes count for num_train_sample_per_class: trained (`level`), or finest: the same draw
            for every level (Cole et al., appendix 0.A.1.3).

    Raises:
        InputError: no such data set, split or level, or too few validation images in a class.
        MetadataError: a file breaks the format, an id has no label at the finest level, or a level is inconsistent.
    """
    folder = dataset_folder(metadata_root, dataset_name)
    levels = read_levels(folder)
    if coarsening and level:
        problem = ("not together with ", OptionName("coarsening"), ", which starts at the finest level")
        raise OptionError("label_level", level, *problem)
    level = level or levels[0]
    if level not in levels:
        known = f"{dataset_name} has the levels {', '.join(levels)}{did_you_mean(level, levels)}"
        raise OptionError("label_level", level, known)
    tables, ids = _read_tables(folder, splits, levels[: levels.index(level) + 1], proxy)
    if coarsening:
        level = f"{COARSENED}{coarsening}"
        classes = _coarsened(folder, coarsening, level, levels[0], tables)
    else:
        classes = _classes(folder, level, tables)

    notes: list[str] = []
    kept = dict(ids)
    # Drawn before the level leaves images out, so that every level has the same draw.
    if num_val_sample_per_class and "val" in tables:
        kept["val"] = _draw_val(ids["val"], tables["val"][levels[0]], num_val_sample_per_class, seed)
    drawn_train = num_train_sample_per_class if "train" in tables else 0
    if drawn_train and train_sample_level == FINEST:
        kept["train"] = _draw_train(ids["train"], tables["train"][levels[0]], drawn_train, seed, notes)
    kept = {split: _with_class(folder / split, level, tables[split][level], kept[split], notes) for split in kept}
    if drawn_train and train_sample_level == TRAINED:
        kept["train"] = _draw_train(kept["train"], tables["train"][level], drawn_train, seed, notes)
    number_of = {label: number for number, label in enumerate(classes)}
    result = LevelData(level, levels, list(classes.values()), list(classes), {}, notes)
    for split, image_ids in kept.items():
        labels = np.array([number_of[tables[split][level][image_id]] for image_id in image_ids], dtype=np.int64)
        result.splits[split] = LevelSplit(image_ids, labels, len(image_ids) < len(ids[split]))
    if "train" in tables and (untrained := len(classes) - len(np.unique(result.splits["train"].labels))):
        notes.append(f"{untrained} of {len(classes)} classes have no training image")
    return result


def class_ancestors(metadata_root: str | os.PathLike, dataset_name: str, level: str, coarser: str) -> dict[int, int]:
    """Return class of `level` to class of a coarser level, both as labels in the files; classes without one are absent.

    Raises:
        OptionError: `coarser` is unknown, or finer than `level`.
        MetadataError: the levels are inconsistent.
    """
    folder = Path(metadata_root) / dataset_name
    levels = read_levels(folder)
    allowed = levels[levels.index(level) :] if level in levels else levels
    if coarser not in allowed:
        raise OptionError("cam_agg_level", coarser, f"expected one of {', '.join(allowed)} ({level} or coarser)")
    splits = [split for split in SPLITS if (folder / split / level_file("class_labels", level, levels[0])).exists()]
    tables = {split: {name: _labels(folder, split, name, optional=True) for name in (level, coarser)} for split in splits}
    if coarser != level:
        _check_consistent(folder, level, coarser, tables)
    return {
        label: table[coarser][image_id]
        for table in tables.values()
        for image_id, label in table[level].items()
        if image_id in table[coarser]
    }


def _draw_per_class(ids: list[str], labels: Mapping[str, int], count: int, seed: int, split: str) -> list[str]:
    """Return up to `count` ids of every class, drawn uniformly without replacement, in the order of `ids`."""
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    groups: dict[int, list[int]] = {}
    for position, image_id in enumerate(ids):
        groups.setdefault(labels[image_id], []).append(position)
    chosen: list[int] = []
    for label in sorted(groups):
        chosen.extend(rng.permutation(groups[label])[:count].tolist())
    return [ids[position] for position in sorted(chosen)]
