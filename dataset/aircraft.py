"""FGVC-Aircraft (Maji et al., 2013): variants, families and manufacturers, with its own train, val and test.

Every image has one box. The banner at the foot of each image, which names its owner, is part of the image, outside the box.
"""

import re
from pathlib import Path

from dataset.layout import Entry, image_size, write_metadata
from dataset.released import lay_out
from dataset.sources import take_annotations
from wsol.core.errors import InputError
from wsol.core.files import read_lines
from wsol.data.levels import SPLITS
from wsol.data.metadata import Box, is_whole_number

NAME = "FGVC-Aircraft"
LEVELS = ("variant", "family", "manufacturer")


def _labels(path: Path) -> dict[str, str]:
    """Return image number to class name, from an images_<level>_<split>.txt."""
    labels = {}
    for number, line in enumerate(read_lines(path), 1):
        image, _, name = line.strip().partition(" ")
        if not (re.fullmatch(r"\d+", image) and name) or image in labels:
            raise InputError(f"{path}:{number}: {line!r}; expected a unique image number, a space and its class")
        labels[image] = name
    return labels


def _boxes(path: Path) -> dict[str, Box]:
    """Return image number to its box, in the pixels of the file, which count from 1; in the order of the lines."""
    boxes = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if len(fields) != 5 or not all(map(is_whole_number, fields)) or fields[0] in boxes:
            raise InputError(f"{path}:{number}: {line!r}; expected a unique image number, x0, y0, x1, y1")
        x0, y0, x1, y1 = map(int, fields[1:])
        boxes[fields[0]] = (x0, y0, x1, y1)
    return boxes


def prepare(archives: list[Path], folder: Path, metadata: Path, splits: list[str]) -> list[str]:
    """Lay out images in `folder` and write `metadata`; return messages about them."""
    texts = [f"images_{level}_{split}.txt" for level in LEVELS for split in SPLITS] + ["images_box.txt"]
    annotations = take_annotations(archives, folder, "data", texts)
    boxes = _boxes(annotations / "images_box.txt")
    lines = {image: line for line, image in enumerate(boxes, 1)}
    classes: dict[str, dict[str, tuple[str, ...]]] = {}
    for split in SPLITS:
        tables = [_labels(annotations / f"images_{level}_{split}.txt") for level in LEVELS]
        classes[split] = {}
        for image, variant in tables[0].items():
            if image not in boxes or any(image not in table for table in tables):
                raise InputError(
                    f"{annotations / f'images_variant_{split}.txt'}: image {image} has no family, manufacturer or box"
                )
            classes[split][image] = (variant, *(table[image] for table in tables[1:]))
    lay_out(archives, folder, [f"images/{image}.jpg" for split in splits for image in classes[split]])
    notes: list[str] = []
    entries: dict[str, list[Entry]] = {split: [] for split in splits}
    for split in splits:
        for image, names in classes[split].items():
            width, height = size = image_size(folder / f"images/{image}.jpg")
            x0, y0, x1, y1 = boxes[image]
            box = (max(x0 - 1, 0), max(y0 - 1, 0), min(x1 - 1, width - 1), min(y1 - 1, height - 1))
            if box != (x0 - 1, y0 - 1, x1 - 1, y1 - 1):
                notes.append(
                    f"images/{image}.jpg: box {x0},{y0},{x1},{y1} (from 1) was clipped to the {width} x {height} image"
                )
            where = f"{annotations / 'images_box.txt'}:{lines[image]}"
            entries[split].append(Entry(f"images/{image}.jpg", names, size, [box], where=where))
    rows = sorted({names for part in classes.values() for names in part.values()})
    write_metadata(metadata, LEVELS, rows, entries)
    return notes
