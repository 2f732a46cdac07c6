"""COCO-style JSON (images, annotations, categories), as iNaturalist's competitions and labelling tools write it.

In: one JSON file. Out: its images with sizes, the categories of each, and boxes. Only the fields used are looked at.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wsol.core.errors import InputError, shortened
from wsol.core.files import read_json

LARGEST = 2**31  # a coordinate in pixels; what is larger is none, and sums of it may overflow


class CocoBox(NamedTuple):
    """One box: (x, y, width, height) in pixels, and the file and annotation it stands in."""

    edges: tuple[float, float, float, float]
    where: str


@dataclass
class CocoImage:
    """One image: file name, (width, height) or None, observation or None, names of its annotations' categories, and
    boxes."""

    file: str
    size: tuple[int, int] | None = None
    observation: str | None = None
    categories: set[str] = field(default_factory=set)
    boxes: list[CocoBox] = field(default_factory=list)


def _records(path: Path, data: dict, name: str, required: dict[str, type | tuple[type, ...]]) -> list[dict]:
    """Return a list of the file, each of whose records has the required fields."""
    records = data.get(name)
    if not isinstance(records, list):
        raise InputError(f"{path}: no list {name!r}; expected COCO's images, annotations and categories")
    for i, record in enumerate(records):
        for key, kind in required.items():
            if not isinstance(record, dict) or not isinstance(record.get(key), kind):
                raise InputError(f"{path}: {name}[{i}]: {json.dumps(record)[:200]}; expected a field {key!r}")
    return records


def _unique(path: Path, name: str, records: list[dict], key: str) -> dict[Any, dict]:
    table: dict[Any, dict] = {}
    for i, record in enumerate(records):
        if record[key] in table:
            raise InputError(
                f"{path}: {name}[{i}]: the {key} {shortened(repr(record[key]))} a second time; expected every one once"
            )
        table[record[key]] = record
    return table


def _size(path: Path, i: int, record: dict) -> tuple[int, int] | None:
    width, height = record.get("width"), record.get("height")
    if width is None and height is None:
        return None
    if isinstance(width, int) and isinstance(height, int) and 0 < min(width, height) <= max(width, height) <= LARGEST:
        return width, height
    said = f"width {shortened(repr(width))}, height {shortened(repr(height))}"
    raise InputError(f"{path}: images[{i}]: {said}; expected whole numbers from 1")


def _is_box(box: object) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, int | float) and 0 <= value <= LARGEST for value in box)
    )


def read_coco(path: Path) -> tuple[dict[str, CocoImage], list[dict]]:
    """Return file name to image, and the categories' records; crowd boxes are left out.

    Raises:
        InputError: not JSON, or a record lacks a field, names no image or category, or appears twice.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected an object with COCO's images, annotations and categories")
    number = (int, str)
    records = _records(path, data, "images", {"id": number, "file_name": str})
    _unique(path, "images", records, "file_name")
    images = {}
    for i, (key, record) in enumerate(_unique(path, "images", records, "id").items()):
        observation = record.get("observation_id")
        images[key] = CocoImage(
            record["file_name"], _size(path, i, record), None if observation is None else str(observation)
        )
    categories = _records(path, data, "categories", {"id": number, "name": str})
    names = {key: record["name"] for key, record in _unique(path, "categories", categories, "id").items()}
    for i, record in enumerate(_records(path, data, "annotations", {"image_id": number, "category_id": number})):
        if record["image_id"] not in images or record["category_id"] not in names:
            raise InputError(f"{path}: annotations[{i}]: {json.dumps(record)[:200]}; expected a listed image and category")
        image = images[record["image_id"]]
        image.categories.add(names[record["category_id"]])
        if "bbox" in record and not record.get("iscrowd"):
            if not _is_box(record["bbox"]):
                box = shortened(repr(record["bbox"]))
                raise InputError(f"{path}: annotations[{i}]: bbox {box}; expected [x, y, width, height] from 0")
            x, y, width, height = record["bbox"]
            image.boxes.append(CocoBox((x, y, width, height), f"{path}: annotations[{i}]"))
    return {image.file: image for image in images.values()}, categories


def corners(box: tuple[float, float, float, float], size: tuple[int, int] | None) -> tuple[int, int, int, int]:
    """Return a box (x, y, width, height) as (x0, y0, x1, y1) in whole pixels, truncated, cut at most a pixel at the edge.

    Without the image's size nothing is cut. As in iNatLoc500's metadata an edge may equal the image's width or height. What
    leaves the image stays, to be refused.
    """
    x, y, width, height = box
    right, bottom = int(x + width), int(y + height)
    if size:
        right, bottom = (limit if edge == limit + 1 else edge for edge, limit in zip((right, bottom), size, strict=True))
    return int(x), int(y), right, bottom
