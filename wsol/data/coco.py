"""COCO-style JSON (images, annotations, categories), as iNaturalist's competitions and labelling tools write it.

In: one annotation file (https://cocodataset.org/#format-data). Out: its images with their sizes, categories and boxes, or
only their names. Fields that are not used are not checked.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wsol.core.errors import InputError, OptionName, shortened
from wsol.core.files import read_json

LARGEST = 2**31  # the largest coordinate in pixels; sums of larger ones may overflow
KEY = (int, str)  # types of an id


class CocoBox(NamedTuple):
    """One box: (x, y, width, height) in pixels, and the file and annotation that it comes from."""

    edges: tuple[float, float, float, float]
    where: str


@dataclass
class CocoImage:
    """One image: its file name, (width, height) or None, observation or None, the names of its annotations' categories, and
    its boxes."""

    file: str
    size: tuple[int, int] | None = None
    observation: str | None = None
    categories: set[str] = field(default_factory=set)
    boxes: list[CocoBox] = field(default_factory=list)


def _read(path: str | os.PathLike) -> dict:
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: a JSON {type(data).__name__}; expected an object with COCO's images")
    return data


def _records(
    path: str | os.PathLike, data: dict, name: str, required: dict[str, type | tuple[type, ...]]
) -> list[dict[str, Any]]:
    """Return one of the file's lists, checked: each record has the required fields."""
    records = data.get(name)
    if not isinstance(records, list):
        raise InputError(f"{path}: no list {name!r}; expected a COCO annotation file")
    for i, record in enumerate(records):
        for key, kind in required.items():
            if not isinstance(record, dict) or not isinstance(record.get(key), kind):
                raise InputError(f"{path}: {name}[{i}]: {json.dumps(record)[:200]}; expected a field {key!r}")
    return records


def _by_key(path: str | os.PathLike, name: str, records: list[dict], key: str) -> dict[Any, dict]:
    """Return the records by a field, whose values must be unique."""
    table: dict[Any, dict] = {}
    for i, record in enumerate(records):
        if table.setdefault(record[key], record) is not record:
            raise InputError(f"{path}: {name}[{i}]: duplicate {key} {shortened(repr(record[key]))}; expected unique ones")
    return table


def _size(path: str | os.PathLike, i: int, record: dict) -> tuple[int, int] | None:
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


def read_coco_names(path: str | os.PathLike) -> dict[str, str]:
    """Return image id, as text, to file name; the file needs no other list than `images`.

    Raises:
        InputError: not JSON, no images, a record without an id or file name, or a duplicate id.
    """
    return _names_of(path, _read(path))


def read_results(path: str | os.PathLike, names: Mapping[str, str] | None = None) -> tuple[list, Mapping[str, str] | None]:
    """Return (results, the names of their image ids), from a list of results, or an object whose "annotations" they are and
    whose "images" name the ids.

    `names`: from elsewhere, they take precedence; None for a list: its ids are names already. The results are not checked.

    Raises:
        InputError: not JSON, neither kind of file, or an object without valid images.
    """
    content = read_json(path)
    if isinstance(content, dict) and "annotations" in content:
        names = names or _names_of(path, content)
        content = content["annotations"]
    if not isinstance(content, list):
        raise InputError(f"{path}: a JSON {type(content).__name__}; expected a list of results, or COCO's annotations")
    return content, names


def name_of(image_id: int | str, names: Mapping[str, str] | None, where: str) -> str:
    """Return the file name of a result's image id; an id that `names` lacks stays as it is. `where`: for messages.

    Raises:
        InputError: a number, and no names.
    """
    if names is not None:
        return names.get(str(image_id), str(image_id))
    if isinstance(image_id, int):
        raise InputError(
            f"{where}: the numeric image_id {image_id}; expected the image's path, or ",
            OptionName("coco_images"),
            " FILE, an annotation file that gives each number its file_name",
        )
    return image_id


def _names_of(path: str | os.PathLike, content: dict) -> dict[str, str]:
    records = _records(path, content, "images", {"id": KEY, "file_name": str})
    if not records:
        raise InputError(f"{path}: the list 'images' is empty; expected a COCO annotation file")
    named = _by_key(path, "images", [{**record, "id": str(record["id"])} for record in records], "id")
    return {image_id: record["file_name"] for image_id, record in named.items()}


def read_coco(path: str | os.PathLike) -> tuple[dict[str, CocoImage], list[dict]]:
    """Return file name to image, and the records of the categories; crowd boxes are left out.

    Raises:
        InputError: not JSON, or a record lacks a field, refers to an unknown image or category, or is a duplicate.
    """
    data = _read(path)
    records = _records(path, data, "images", {"id": KEY, "file_name": str})
    _by_key(path, "images", records, "file_name")
    images = {}
    for i, (key, record) in enumerate(_by_key(path, "images", records, "id").items()):
        observation = record.get("observation_id")
        images[key] = CocoImage(
            record["file_name"], _size(path, i, record), None if observation is None else str(observation)
        )
    categories = _records(path, data, "categories", {"id": KEY, "name": str})
    names = {key: record["name"] for key, record in _by_key(path, "categories", categories, "id").items()}
    for i, record in enumerate(_records(path, data, "annotations", {"image_id": KEY, "category_id": KEY})):
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
    """Return a box (x, y, width, height) as (x0, y0, x1, y1) in whole pixels, truncated.

    As in iNatLoc500's metadata an edge may equal the image's (width, height); an edge one pixel beyond is moved there. A box
    that extends further stays as it is, for the caller to refuse.

    >>> corners((1.5, 2, 9.5, 9), (10, 10)), corners((1.5, 2, 9.5, 9), None), corners((1, 2, 11, 9), (10, 10))
    ((1, 2, 10, 10), (1, 2, 11, 11), (1, 2, 12, 10))
    """
    x, y, width, height = box
    right, bottom = int(x + width), int(y + height)
    if size:
        right, bottom = (limit if edge == limit + 1 else edge for edge, limit in zip((right, bottom), size, strict=True))
    return int(x), int(y), right, bottom
