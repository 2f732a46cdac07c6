"""Label levels: the tiers of a data set, checked for consistency, and its splits labelled at one of them.

In: the files of `metadata/<dataset>` (docs/metadata.md). Out: `LevelData`, with labels numbered from 0.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsol.core.errors import InputError, MetadataError, OptionError, OptionName, did_you_mean, shortened
from wsol.core.files import read_lines
from wsol.data.hierarchy import Hierarchy, check_level_names, read_coarsening, read_tiers, read_tree, tier_tree
from wsol.data.image_ids import ImageIds, Labels, first_of_each, relabeled
from wsol.data.label_rows import Tables, first_inconsistent, rows_of_labels
from wsol.data.metadata import configure_metadata, dataset_folder, is_whole_number, read_ids, read_labels
from wsol.data.sampling import draw_train, draw_val

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
        return len(names) or len({label for split in SPLITS for label in _labels(folder, split, level).classes()})

    return [FINEST, *sorted(found, key=lambda level: (-num_classes(level), level))]


def _labels(folder: Path, split: str, level: str, like: Sequence[ImageIds] = (), optional: bool = True) -> Labels:
    """Return the labels of a split at a level; an optional file that is absent has none."""
    path = folder / split / level_file("class_labels", level, finest_level(folder))
    return Labels.of({}) if optional and not path.exists() else read_labels(path, like)


def label_tables(folder: Path, split: str, ids: ImageIds | None = None) -> dict[str, Labels]:
    """Return level to the labels of one split, finest first, without levels that have no labels in the split. `ids`: of the
    split, if they are known."""
    tables: dict[str, Labels] = {}
    like = [ids] if ids else []
    for level in read_levels(folder):
        labels = _labels(folder, split, level, like)
        if len(labels.ids):
            tables[level] = labels
            like = [*like[:1], labels.ids]
    return tables


def labels_by_level(folder: Path, split: str) -> dict[str, dict[str, int]]:
    """Return `label_tables` as level to image id to label."""
    return {level: table.to_dict() for level, table in label_tables(folder, split).items()}


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
    tables = {split: label_tables(folder, split) for split in SPLITS}
    names = {level: read_distinct_names(folder, level) for level in levels}
    return tier_tree(levels, rows_of_labels(folder, levels, tables, names), str(folder))


@dataclass
class LevelSplit:
    """The images of one split at one label level.

    image_ids: n ids; those of a file as `ImageIds`, which take a third of a list's memory.
    labels: int64 (n,), numbered from 0.
    subset: whether images of the split were left out.
    at_levels: int64 (n, levels), the labels to train on where several levels are learned at once, -1: none.
    """

    image_ids: Sequence[str]
    labels: np.ndarray
    subset: bool = False
    at_levels: np.ndarray | None = None

    def trained_label(self, position: int) -> int | list[int]:
        """Return the label that an image is trained on, or those at each of several levels."""
        return int(self.labels[position]) if self.at_levels is None else self.at_levels[position].tolist()


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


def _check_consistent(folder: Path, finer: str, below: Tables, level: str, tables: Tables) -> None:
    """Raise MetadataError unless every class of the `finer` level, with the labels `below`, has one class of `level`."""
    if found := first_inconsistent(below, tables):
        split, number, child, *both = found
        names, finer_names = read_class_names(folder, level), read_class_names(folder, finer)
        first, other = (repr(names.get(label, label)) for label in both)
        raise MetadataError(
            f"{folder / split / level_file('class_labels', level, finest_level(folder))}:{number}: level {level!r} is "
            f"inconsistent: the class {finer_names.get(child, child)!r} of level {finer!r} belongs to {first} and to "
            f"{other}; expected one class"
        )


def _read_finest(folder: Path, splits: Iterable[str], finest: str, proxy: bool) -> tuple[Tables, dict[str, ImageIds]]:
    """Return the labels at the finest level, and the image ids, of the splits; every id has a label."""
    tables = {split: _labels(folder, split, finest, optional=False) for split in splits}
    ids = {}
    for split, labels in tables.items():
        paths = configure_metadata(folder / split)
        ids[split] = read_ids(paths["image_ids_proxy" if proxy and split == "train" else "image_ids"], [labels.ids])
    for split, labels in tables.items():
        without = np.flatnonzero(labels.at(ids[split]) < 0)
        if len(without):
            raise MetadataError(
                f"{folder / split}/class_labels.txt: no label for {ids[split][int(without[0])]!r} ({len(without)} such ids)"
                "; expected a label at the finest level for every id in image_ids.txt"
            )
    return tables, ids


def _each_level(folder: Path, levels: Sequence[str], finest: Tables) -> Iterator[tuple[str, Tables]]:
    """Yield the levels, finest first, with their labels; each is consistent with the one before it, and is read once.

    Two are in memory at a time, and one copy of ids that they share: ILSVRC has 19 of 1.28 million lines.
    """
    tables, finer = finest, levels[0]
    yield finer, tables
    for level in levels[1:]:
        below = tables
        tables = {
            split: _labels(folder, split, level, [below[split].ids, labels.ids], optional=False)
            for split, labels in finest.items()
        }
        _check_consistent(folder, finer, below, level, tables)
        yield level, tables
        finer = level


def _with_class(split: Path, level: str, labels: np.ndarray, kept: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return which images of a split have a class at the level, bool (n,); add a note if some that are kept do not, raise
    MetadataError if none does. `labels`: of the images, int32 (n,), -1: none."""
    total, left = int(kept.sum()), int((labels[kept] >= 0).sum())
    if left < total:
        notes.append(f"{split.name}: {total - left} of {total} images have no class at level {level!r} and are left out")
    if not left:
        raise MetadataError(f"{split}: no image with a class at level {level!r}")
    return labels >= 0


def _classes(folder: Path, level: str, tables: Tables) -> dict[int, str]:
    """Return file label to name of the classes of a level, in the order of their new numbers.

    All splits count, regardless of which are loaded and which images are drawn, so a class keeps its number.
    """
    names = read_class_names(folder, level)
    others = (_labels(folder, split, level) for split in SPLITS if split not in tables)
    present = {label for labels in (*tables.values(), *others) for label in labels.classes()}
    unnamed = sorted(present - set(names))
    if names and unnamed:
        raise MetadataError(f"{_names_file(folder, level)}: no name for label {unnamed[0]} of level {level!r}")
    return {label: names.get(label, str(label)) for label in (names or unnamed) if label in present}


def _coarsened(folder: Path, path: str, level: str, finest: Tables) -> tuple[Tables, dict[int, str]]:
    """Return the labels that the vector of a file gives (docs/hierarchies.md), and label to name; `level`: the finest."""
    label_of = read_coarsening(path, read_hierarchy(folder))
    category = {label: label_of[name] for label, name in _classes(folder, level, finest).items() if name in label_of}
    names = list(dict.fromkeys(category.values()))
    number = {label: names.index(name) for label, name in category.items()}
    tables: Tables = {}
    for split, labels in finest.items():
        values = relabeled(labels.values, number)
        tables[split] = Labels(labels.ids.take(values >= 0), values[values >= 0])
    return tables, dict(enumerate(names))


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
    needed = levels[: levels.index(level) + 1]
    finest, ids = _read_finest(folder, splits, levels[0], proxy)
    _, tables = deque(_each_level(folder, needed, finest), maxlen=1).pop()
    if level not in needed[:2]:
        _check_consistent(folder, levels[0], finest, level, tables)
    if coarsening:
        level = f"{COARSENED}{coarsening}"
        tables, classes = _coarsened(folder, coarsening, levels[0], finest)
    else:
        classes = _classes(folder, level, tables)

    notes: list[str] = []
    kept = {split: np.ones(len(each), dtype=bool) for split, each in ids.items()}
    rngs = {split: np.random.default_rng([seed, number]) for number, split in enumerate(SPLITS)}
    drawn_train = num_train_sample_per_class if "train" in tables else 0
    # Drawn before the level leaves images out, so that every level has the same draw.
    if num_val_sample_per_class and "val" in tables:
        kept["val"] = draw_val(finest["val"].at(ids["val"]), num_val_sample_per_class, rngs["val"])
    if drawn_train and train_sample_level == FINEST:
        kept["train"] = draw_train(finest["train"].at(ids["train"]), drawn_train, rngs["train"], notes)
    for split, each in kept.items():
        each &= _with_class(folder / split, level, tables[split].at(ids[split]), each, notes)
    if drawn_train and train_sample_level == TRAINED:
        labels = tables["train"].at(ids["train"])[kept["train"]]
        kept["train"][kept["train"]] = draw_train(labels, drawn_train, rngs["train"], notes)
    return _level_data(LevelData(level, levels, list(classes.values()), list(classes), {}, notes), ids, kept, tables)


def load_levels(
    metadata_root: str | os.PathLike, dataset_name: str, splits: Iterable[str] = SPLITS, proxy: bool = False
) -> Iterator[LevelData]:
    """Yield a data set at each of its levels, finest first, as `load_level` returns it; every file is read once."""
    folder = dataset_folder(metadata_root, dataset_name)
    levels = read_levels(folder)
    finest, ids = _read_finest(folder, splits, levels[0], proxy)
    known: Mapping[str, LevelSplit] = {}
    for level, tables in _each_level(folder, levels, finest):
        if level not in levels[:2]:
            _check_consistent(folder, levels[0], finest, level, tables)
        classes, notes = _classes(folder, level, tables), list[str]()
        kept = {
            split: _with_class(folder / split, level, tables[split].at(each), np.ones(len(each), dtype=bool), notes)
            for split, each in ids.items()
        }
        data = _level_data(LevelData(level, levels, list(classes.values()), list(classes), {}, notes), ids, kept, tables)
        for split, same in known.items():
            if data.splits[split].image_ids == same.image_ids:
                data.splits[split].image_ids = same.image_ids  # one copy for all levels that a caller keeps
        known = data.splits
        yield data


def _level_data(data: LevelData, ids: Mapping[str, ImageIds], kept: Mapping[str, np.ndarray], tables: Tables) -> LevelData:
    """Return a level with its splits: of all ids those that are kept, with their labels renumbered."""
    number_of = {label: number for number, label in enumerate(data.file_labels)}
    for split, mask in kept.items():
        labels = relabeled(tables[split].at(ids[split])[mask], number_of).astype(np.int64)
        data.splits[split] = LevelSplit(ids[split].take(mask), labels, not mask.all())
    if "train" in tables and (untrained := len(number_of) - len(np.unique(data.splits["train"].labels))):
        data.notes.append(f"{untrained} of {len(number_of)} classes have no training image")
    return data


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
    below = {split: _labels(folder, split, level) for split in splits}
    above = {split: _labels(folder, split, coarser, [labels.ids]) for split, labels in below.items()}
    if coarser != level:
        _check_consistent(folder, level, below, coarser, above)
    known: dict[int, int] = {}
    for split, labels in below.items():
        ancestors = above[split].at(labels.ids)
        _, classes, first = first_of_each(labels.values[ancestors >= 0])
        known |= dict(zip(classes.tolist(), ancestors[ancestors >= 0][first].tolist(), strict=True))
    return known
