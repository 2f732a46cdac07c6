"""Metadata files to typed tables: ids, labels at any level, sizes, boxes, mask paths, and the levels themselves.

In: `metadata/<dataset>/<split>/*.txt` (the format of wsolevaluation, completed by levels and masks; docs/metadata.md).
Out: dictionaries by image id, and `LevelData`, one label level of a data set. Whatever breaks the format raises
MetadataError with file, line and what was expected.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from munch import Munch

from wsol.errors import BoxError, InputError, MetadataError

FINEST = "finest"
SPLITS = ("train", "val", "test")
Box = tuple[int, int, int, int]


def configure_metadata(metadata_root: str | os.PathLike) -> Munch:
    """Return the paths of one split's files as a mapping with attributes; nothing is read yet."""
    folder = str(metadata_root)
    names = ("image_ids", "image_ids_proxy", "class_labels", "image_sizes", "localization")
    return Munch({name: os.path.join(folder, f"{name}.txt") for name in names})


def _lines(path: str | os.PathLike, optional: bool = False) -> list[str]:
    """Return the lines of a text file; an optional file that is absent has none."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if optional:
            return []
        raise MetadataError(f"{path}: no such file") from None
    except OSError as error:
        raise MetadataError(f"{path}: not a readable file ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise MetadataError(f"{path}: not UTF-8 text ({error})") from None
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def _unique(path: str | os.PathLike, number: int, seen: Mapping, image_id: str) -> None:
    if image_id in seen:
        raise MetadataError(f"{path}:{number}: {image_id!r} appears a second time; expected every id once")


def _whole_numbers(path: str | os.PathLike, number: int, line: str, count: int, expected: str) -> tuple[str, list[int]]:
    """Split `path,n1,...` from the right into the path and `count` whole numbers."""
    name, *fields = line.rsplit(",", count)
    if len(fields) == count and name and all(value.removeprefix("-").isdecimal() for value in fields):
        return name, [int(value) for value in fields]
    raise MetadataError(f"{path}:{number}: {line!r}; expected {expected}")


def _check_inside(path: str | os.PathLike, number: int, name: str) -> None:
    """Refuse a path that leaves its root: maps are written under image ids."""
    if not name or name.startswith("/") or (".." in name and ".." in PurePosixPath(name).parts):
        raise MetadataError(f"{path}:{number}: {name!r}; expected a path relative to the data set's folder")


def get_image_ids(metadata: Mapping, proxy: bool = False) -> list[str]:
    """Return the split's image ids (relative paths) in file order; `proxy`: those of the proxy training set."""
    path = metadata["image_ids_proxy" if proxy else "image_ids"]
    ids: dict[str, None] = {}
    for number, line in enumerate(_lines(path), 1):
        if line in ids or not line or line[0] == "/" or ".." in line:
            _check_inside(path, number, line)
            _unique(path, number, ids, line)
        ids[line] = None
    return list(ids)


def get_class_labels(metadata: Mapping) -> dict[str, int]:
    """Return image id to integer label, from `class_labels.txt` (or the file of another level given in its place)."""
    path = metadata["class_labels"]
    labels: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        image_id, _, label = line.rpartition(",")
        if not (image_id and label.isdecimal()):
            raise MetadataError(f"{path}:{number}: {line!r}; expected path,label with a label of 0 or more")
        if image_id in labels:
            _unique(path, number, labels, image_id)
        labels[image_id] = int(label)
    return labels


def get_image_sizes(metadata: Mapping) -> dict[str, tuple[int, int]]:
    """Return image id to (width, height) in pixels; empty where the data set has no sizes."""
    path = metadata["image_sizes"]
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(_lines(path, optional=True), 1):
        expected = "path,width,height with sizes of 1 or more"
        image_id, (width, height) = _whole_numbers(path, number, line, 2, expected)
        if width < 1 or height < 1:
            raise MetadataError(f"{path}:{number}: {line!r}; expected {expected}")
        _unique(path, number, sizes, image_id)
        sizes[image_id] = (width, height)
    return sizes


def _names_a_mask(line: str) -> bool:
    """Tell a line path,mask,ignore from path,x0,y0,x1,y1, also from a malformed one: no number stands second to last."""
    fields = line.rsplit(",", 2)
    try:
        float(fields[-2] if len(fields) == 3 else "nan")
    except ValueError:
        return True
    return False


def get_bounding_boxes(metadata: Mapping) -> dict[str, list[Box]]:
    """Return image id to its boxes (x0, y0, x1, y1) in pixels; empty where there are none.

    Raises:
        BoxError: a negative edge, x1 < x0 or y1 < y0 (a RuntimeError, as in wsolevaluation).
    """
    path = metadata["localization"]
    boxes: dict[str, list[Box]] = {}
    for number, line in enumerate(_lines(path, optional=True), 1):
        expected = "path,x0,y0,x1,y1 in whole pixels with 0 <= x0 <= x1 and 0 <= y0 <= y1"
        image_id, (x0, y0, x1, y1) = _whole_numbers(path, number, line, 4, expected)
        if x0 < 0 or y0 < 0 or x1 < x0 or y1 < y0:
            raise BoxError(f"{path}:{number}: {line!r}; expected {expected}")
        boxes.setdefault(image_id, []).append((x0, y0, x1, y1))
    return boxes


def _mask_file(metadata: Mapping) -> str:
    """Return the file that lists masks: masks.txt beside localization.txt where there is one, else the latter."""
    masks = os.path.join(os.path.dirname(metadata["localization"]), "masks.txt")
    return masks if os.path.exists(masks) else metadata["localization"]


def get_mask_paths(metadata: Mapping) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return (image id to its instance masks, image id to its ignore mask or ""), paths relative to the mask root."""
    path = _mask_file(metadata)
    masks: dict[str, list[str]] = {}
    ignores: dict[str, str] = {}
    for number, line in enumerate(_lines(path, optional=True), 1):
        fields = line.rsplit(",", 2)
        if len(fields) != 3 or not fields[0]:
            raise MetadataError(f"{path}:{number}: {line!r}; expected path,mask,ignore")
        image_id, mask, ignore = fields
        for name in (mask, ignore) if ignore else (mask,):
            _check_inside(path, number, name)
        if image_id not in masks:
            masks[image_id], ignores[image_id] = [], ignore
        elif ignore:
            raise MetadataError(f"{path}:{number}: {ignore!r}; expected the ignore mask on the image's first line only")
        masks[image_id].append(mask)
    return masks, ignores


def has_boxes(metadata: Mapping) -> bool:
    """Tell whether a split has true boxes."""
    return any(not _names_a_mask(line) for line in _lines(metadata["localization"], optional=True)[:1])


def has_masks(metadata: Mapping) -> bool:
    """Tell whether a split has true masks."""
    return any(_names_a_mask(line) for line in _lines(_mask_file(metadata), optional=True)[:1])


def check_boxes_fit(metadata: Mapping, boxes: Mapping[str, list[Box]], sizes: Mapping[str, tuple[int, int]]) -> None:
    """Refuse a box whose image has no size, or that leaves its image (an edge may equal the width or height)."""
    for image_id, image_boxes in boxes.items():
        if image_id not in sizes:
            raise MetadataError(f"{metadata['image_sizes']}: no line for {image_id!r}, which has a box")
        width, height = sizes[image_id]
        for box in image_boxes:
            if box[2] > width or box[3] > height:
                text = ",".join(map(str, box))
                number = _lines(metadata["localization"]).index(f"{image_id},{text}") + 1
                where = f"{metadata['localization']}:{number}"
                raise BoxError(f"{where}: box {text} of {image_id!r}; expected it inside the {width} x {height} image")


def _level_file(folder: Path, stem: str, level: str, finest: str) -> Path:
    """Return `<stem>.txt` for the finest level, `<stem>_<level>.txt` for another."""
    return folder / (f"{stem}.txt" if level == finest else f"{stem}_{level}.txt")


def read_class_names(folder: Path, level: str) -> dict[int, str]:
    """Return label to name in file order, from class_names[_<level>].txt; empty where there is no such file."""
    path = _level_file(folder, "class_names", level, finest_level(folder))
    names: dict[int, str] = {}
    for number, line in enumerate(_lines(path, optional=True), 1):
        name, _, label = line.rpartition(",")
        if not (name and label.isdecimal()) or int(label) in names:
            raise MetadataError(f"{path}:{number}: {line!r}; expected name,label with every label once")
        names[int(label)] = name
    return names


def _listed_levels(folder: Path) -> list[str]:
    path = folder / "levels.txt"
    levels = _lines(path, optional=True)
    for number, level in enumerate(levels, 1):
        if not level or level in levels[: number - 1] or "/" in level:
            raise MetadataError(f"{path}:{number}: {level!r}; expected each level's name once, finest first")
    return levels


def finest_level(folder: Path) -> str:
    """Return the name of the level of class_labels.txt."""
    return (_listed_levels(folder) or [FINEST])[0]


def read_levels(folder: Path) -> list[str]:
    """Return the data set's level names, finest first: levels.txt, or file names ordered by their number of classes."""
    if levels := _listed_levels(folder):
        return levels
    prefix = "class_labels_"
    found = {path.stem[len(prefix) :] for split in SPLITS for path in (folder / split).glob(prefix + "*.txt")}

    def num_classes(level: str) -> int:
        names = read_class_names(folder, level)
        return len(names) or len({label for split in SPLITS for label in _labels(folder, split, level, True).values()})

    return [FINEST, *sorted(found, key=lambda level: (-num_classes(level), level))]


def _labels(folder: Path, split: str, level: str, optional: bool = False) -> dict[str, int]:
    path = _level_file(folder / split, "class_labels", level, finest_level(folder))
    return {} if optional and not path.exists() else get_class_labels({"class_labels": path})


@dataclass
class LevelSplit:
    """The images of one split at one label level; `labels` is int64, one an id, numbered from 0."""

    image_ids: list[str]
    labels: np.ndarray
    subset: bool = False  # whether images of the split were left out


@dataclass
class LevelData:
    """One label level of a data set: class names and the labels they have in the files, by new label; its splits; and
    what a log should say about it."""

    level: str
    levels: list[str]
    class_names: list[str]
    file_labels: list[int]
    splits: dict[str, LevelSplit]
    notes: list[str] = field(default_factory=list)


def _check_consistent(folder: Path, finer: str, level: str, tables: dict[str, dict[str, dict[str, int]]]) -> None:
    """Refuse `level` unless every class of the level below lies in one class of it."""
    parent: dict[int, int] = {}
    for split, by_level in tables.items():
        below = by_level[finer]
        for number, (image_id, label) in enumerate(by_level[level].items(), 1):
            child = below.get(image_id)
            if child is not None and parent.setdefault(child, label) != label:
                names, finer_names = read_class_names(folder, level), read_class_names(folder, finer)
                both = [repr(names.get(value, value)) for value in (parent[child], label)]
                raise MetadataError(
                    f"{folder / split}/class_labels_{level}.txt:{number}: level {level!r} is inconsistent: the class "
                    f"{finer_names.get(child, child)!r} of level {finer!r} lies in {both[0]} and in {both[1]}; "
                    "expected one class"
                )


def load_level(
    metadata_root: str | os.PathLike,
    dataset_name: str,
    level: str | None = None,
    splits: Iterable[str] = SPLITS,
    proxy: bool = False,
    num_val_sample_per_class: int = 0,
    num_train_sample_per_class: int = 0,
    seed: int = 0,
) -> LevelData:
    """Return a data set at one label level (default: the finest), its labels renumbered from 0.

    Images that the level leaves out leave every split. Validation images are drawn per class of the finest level (0:
    all), training images per class of `level` (0: all; all of a class that has fewer), both from the seed.

    Raises:
        InputError: no such data set, split or level; more validation images per class than there are.
        MetadataError: a file breaks the format, an id has no label at the finest level, an inconsistent level.
    """
    folder = Path(metadata_root) / dataset_name
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no metadata of a data set {dataset_name!r}; make it with "
            f"'python dataset/prepare.py {dataset_name}', or name another --metadata_root"
        )
    levels = read_levels(folder)
    level = level or levels[0]
    if level not in levels:
        raise InputError(f"--label_level {level}: {dataset_name} has the levels {', '.join(levels)}")
    finest = levels[0]
    needed = levels[: levels.index(level) + 1]
    tables = {split: {name: _labels(folder, split, name) for name in needed} for split in splits}
    ids = {split: get_image_ids(configure_metadata(folder / split), proxy and split == "train") for split in tables}
    for split, by_level in tables.items():
        labeled = by_level[finest]
        if missing := [image_id for image_id in ids[split] if image_id not in labeled]:
            raise MetadataError(
                f"{folder / split}/class_labels.txt: no label for {missing[0]!r} ({len(missing)} such ids); expected "
                "a label at the finest level for every id of image_ids.txt"
            )
    for finer, coarser in dict.fromkeys([*pairwise(needed), (finest, level)]):
        if finer != coarser:
            _check_consistent(folder, finer, coarser, tables)

    notes: list[str] = []
    kept = dict(ids)
    if num_val_sample_per_class and "val" in tables:  # before a level leaves images out: the same draw at every level
        kept["val"] = _draw_per_class(ids["val"], tables["val"][finest], num_val_sample_per_class, seed, "val")
        counts = np.unique([tables["val"][finest][image_id] for image_id in kept["val"]], return_counts=True)[1]
        if counts.min() < num_val_sample_per_class:
            raise InputError(
                f"--num_val_sample_per_class {num_val_sample_per_class}: a class of {dataset_name} has only "
                f"{counts.min()} validation images; expected 0 (all) to {counts.min()}"
            )
    for split, candidates in kept.items():
        kept[split] = [image_id for image_id in candidates if image_id in tables[split][level]]
        if left_out := len(candidates) - len(kept[split]):
            notes.append(f"{split}: {left_out} of {len(candidates)} images have no class at level {level!r}, left out")
        if not kept[split]:
            raise MetadataError(f"{folder / split}: no image with a class at level {level!r}")
    if num_train_sample_per_class and "train" in tables:
        labels = tables["train"][level]
        kept["train"] = _draw_per_class(kept["train"], labels, num_train_sample_per_class, seed, "train")
        counts = np.unique([labels[image_id] for image_id in kept["train"]], return_counts=True)[1]
        if fewer := int((counts < num_train_sample_per_class).sum()):
            notes.append(
                f"train: {fewer} of {len(counts)} classes have fewer than {num_train_sample_per_class} images; "
                "all of theirs are taken"
            )

    names = read_class_names(folder, level)
    # The classes are those of every split there is, whatever is drawn or asked for: a class keeps its number.
    others = (_labels(folder, split, level, optional=True) for split in SPLITS if split not in tables)
    present = {label for labels in (*(table[level] for table in tables.values()), *others) for label in labels.values()}
    unnamed = sorted(present - set(names))
    if names and unnamed:
        path = _level_file(folder, "class_names", level, finest)
        raise MetadataError(f"{path}: no name for label {unnamed[0]} of level {level!r}")
    order = [label for label in names if label in present] if names else unnamed
    number_of = {label: number for number, label in enumerate(order)}
    result = LevelData(level, levels, [names.get(label, str(label)) for label in order], order, {}, notes)
    for split in tables:
        labels = np.array([number_of[tables[split][level][image_id]] for image_id in kept[split]], dtype=np.int64)
        result.splits[split] = LevelSplit(kept[split], labels, len(kept[split]) < len(ids[split]))
    if "train" in tables and (untrained := len(order) - len(np.unique(result.splits["train"].labels))):
        notes.append(f"{untrained} of {len(order)} classes have no training image")
    return result


def _draw_per_class(ids: list[str], labels: Mapping[str, int], count: int, seed: int, split: str) -> list[str]:
    """Return up to `count` ids of every class, drawn uniformly without replacement, in their given order."""
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    groups: dict[int, list[int]] = {}
    for position, image_id in enumerate(ids):
        groups.setdefault(labels[image_id], []).append(position)
    chosen: list[int] = []
    for label in sorted(groups):
        chosen.extend(rng.permutation(groups[label])[:count].tolist())
    return [ids[position] for position in sorted(chosen)]


def read_id_list(path: str | os.PathLike) -> list[str]:
    """Return the image ids of a file in the format of image_ids.txt."""
    return get_image_ids({"image_ids": path})


def first_names(names: Sequence[str], limit: int = 10) -> str:
    """Return at most `limit` names for a message, one a line, and how many more there are."""
    more = [f"... and {len(names) - limit} more"] if len(names) > limit else []
    return "\n  ".join(["", *names[:limit], *more])
