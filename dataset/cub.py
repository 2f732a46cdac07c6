"""CUB: Caltech-UCSD Birds-200-2011 (train, test) with CUBV2 (val), and the levels category to order.

Train and test come from the annotation files of the archive, in the order of images.txt; the images, labels and boxes of
val exist only as CUBV2 (dataset/addresses.py). The metadata equals that of wsolevaluation line for line.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from dataset import cub_levels
from dataset.layout import Entry, image_size, write_metadata
from dataset.released import lay_out, real_sizes, take_text
from dataset.sources import take_annotations
from wsol.core.errors import InputError
from wsol.core.files import read_lines
from wsol.data.image_ids import Labels
from wsol.data.metadata import (
    configure_metadata,
    get_bounding_boxes,
    get_class_labels,
    get_image_ids,
    get_image_sizes,
)

NAME = "CUB"
TEXTS = ("images.txt", "classes.txt", "train_test_split.txt", "image_class_labels.txt", "bounding_boxes.txt")


@dataclass(frozen=True)
class Annotation:
    """One image of the archive: its id, label (from 0), split, box (x, y, width, height) in pixels, and the file and line of
    the box."""

    image_id: str
    label: int
    split: str
    box: tuple[float, float, float, float]
    where: str


def _rows(path: Path, pattern: str, expected: str) -> dict[str, re.Match]:
    """Return the first field of each line (the number of an image or class) to the match of the rest."""
    rows = {}
    for number, line in enumerate(read_lines(path), 1):
        key, _, rest = line.strip().partition(" ")
        match = re.fullmatch(pattern, rest)
        if not (key.isdecimal() and match) or key in rows:
            raise InputError(f"{path}:{number}: {line!r}; expected a unique number, then {expected}")
        rows[key] = match
    return rows


def read_annotations(folder: Path) -> tuple[list[str], list[Annotation]]:
    """Return the class names, and the annotations of all images in the order of images.txt, from the archive's files."""
    number = r"(-?[0-9]{1,9}(?:\.[0-9]+)?)"
    images = _rows(folder / "images.txt", r"((?!\.\.?/)[^/\s][^/]*/(?!\.\.?$)[^/\s][^/]*)", "class folder/file")
    classes = _rows(folder / "classes.txt", r"(\S.*)", "the class name")
    tables = {
        "train_test_split.txt": _rows(folder / "train_test_split.txt", "([01])", "1 (training) or 0"),
        "image_class_labels.txt": _rows(folder / "image_class_labels.txt", r"(\d+)", "a class number"),
        "bounding_boxes.txt": _rows(folder / "bounding_boxes.txt", " ".join([number] * 4), "x y width height"),
    }
    names = [match[1] for match in classes.values()]
    number_of = {key: label for label, key in enumerate(classes)}
    lines = {key: line for line, key in enumerate(tables["bounding_boxes.txt"], 1)}
    annotations = []
    for key, image in images.items():
        for file, table in tables.items():
            if key not in table:
                raise InputError(f"{folder / file}: no line for image {key} ({image[1]}); expected one for every image")
        is_train, label, box = (table[key] for table in tables.values())
        if label[1] not in number_of:
            raise InputError(f"{folder / 'image_class_labels.txt'}: class {label[1]} of image {key} is not in classes.txt")
        split = "train" if is_train[1] == "1" else "test"
        where = f"{folder / 'bounding_boxes.txt'}:{lines[key]}"
        x, y, width, height = map(float, box.groups())
        annotations.append(Annotation(image[1], number_of[label[1]], split, (x, y, width, height), where))
    return names, annotations


def released_box(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (x0, y0, x1, y1) as in the metadata of wsolevaluation: truncated, with the far edges inside the image.

    >>> released_box((60.7, 27.2, 325.9, 304.9), (500, 300))
    (60, 27, 386, 299)
    """
    x, y, width, height = box
    return int(x), int(y), min(int(x + width), size[0] - 1), min(int(y + height), size[1] - 1)


def _val_entries(archives: list[Path], folder: Path, names: list[str], notes: list[str]) -> list[Entry]:
    """Lay out the images of CUBV2 and return their entries, with the released labels and boxes."""
    released = take_text(archives, folder, "CUB/", ["val"])
    paths = configure_metadata(released / "val")
    ids, labels, boxes = get_image_ids(paths), get_class_labels(paths), get_bounding_boxes(paths)
    for image_id in ids:
        if image_id not in boxes or not 0 <= labels.get(image_id, -1) < len(names):
            raise InputError(f"{paths.image_ids}: {image_id!r} has no box, or no label of 0 to {len(names) - 1}")
    lay_out(archives, folder, ids)
    sizes = real_sizes(folder, ids, get_image_sizes(paths), True, notes)
    shutil.rmtree(released)
    return [Entry(image_id, (names[labels[image_id]],), sizes[image_id], boxes[image_id]) for image_id in ids]


def prepare(archives: list[Path], folder: Path, metadata: Path, splits: list[str]) -> list[str]:
    """Lay out images in `folder` and write `metadata` with its levels; return messages about them."""
    names, annotations = read_annotations(take_annotations(archives, folder, "CUB_200_2011", TEXTS))
    notes: list[str] = []
    entries: dict[str, list[Entry]] = {}
    lay_out(archives, folder, [a.image_id for a in annotations if a.split in splits])
    for split in splits:
        if split == "val":
            entries[split] = _val_entries(archives, folder, names, notes)
            continue
        entries[split] = []
        for each in (annotation for annotation in annotations if annotation.split == split):
            size = image_size(folder / each.image_id)
            box = released_box(each.box, size)
            entries[split].append(Entry(each.image_id, (names[each.label],), size, [box], where=each.where))
    write_metadata(metadata, ("category",), [(name,) for name in names], entries)
    number = {name: label for label, name in enumerate(names)}
    cub_levels.write_levels(
        metadata,
        {split: Labels.of({e.image_id: number[e.classes[0]] for e in part}) for split, part in entries.items()},
    )
    return notes
