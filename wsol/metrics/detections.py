"""A detector's boxes from a COCO file: the box of the highest score of every image.

In: JSON, a list of results {"image_id", "category_id", "bbox": [x, y, width, height], "score"}, in the images' own pixels
(https://cocodataset.org/#format-results), or an object whose "annotations" are such results and whose "images" name the
image of each id, as inference.py writes it. Out: image id to box (x0, y0, x1, y1).
"""

import os
from collections.abc import Mapping

from wsol.core.errors import InputError
from wsol.core.plain_values import is_number
from wsol.data.coco import name_of, read_results

Detection = tuple[float, float, float, float]
EXPECTED = '{"image_id": ..., "bbox": [x, y, width, height], "score": ...}'


def check_entry(path: str | os.PathLike, number: int, entry: object) -> None:
    """Raise InputError if an entry of a file, counted from 1, is not a result."""
    box = entry.get("bbox") if isinstance(entry, dict) else None
    valid = (
        isinstance(entry, dict)
        and isinstance(entry.get("image_id"), int | str)
        and is_number(entry.get("score"))
        and isinstance(box, list)
        and len(box) == 4
        and all(map(is_number, box))
        and min(box[2:]) >= 0
    )
    if not valid:
        raise InputError(
            f"{path}: entry {number}: {str(entry)[:120]}; expected {EXPECTED} with finite numbers and no negative side"
        )


def read_detections(
    path: str | os.PathLike, image_sizes: Mapping[str, tuple[int, int]], names: Mapping[str, str] | None = None
) -> tuple[dict[str, Detection], list[str]]:
    """Return (boxes, unknown): each image's box of the highest score, the first on ties, clipped to the image; and the
    file's image ids that are not in `image_sizes`.

    `names`: the file's image id, as text, to our image id, for files with their own ids.

    Raises:
        InputError: the file is not a COCO results file, or has numeric ids without names.
    """
    best: dict[str, tuple[float, list[float]]] = {}
    unknown: dict[str, None] = {}
    results, names = read_results(path, names)
    for number, entry in enumerate(results, 1):
        check_entry(path, number, entry)
        image_id = name_of(entry["image_id"], names, f"{path}: entry {number}")
        if image_id not in image_sizes:
            unknown[image_id] = None
        elif image_id not in best or entry["score"] > best[image_id][0]:
            best[image_id] = (entry["score"], entry["bbox"])
    return {image_id: _clipped(box, image_sizes[image_id]) for image_id, (_, box) in best.items()}, list(unknown)


def _clipped(box: list[float], size: tuple[int, int]) -> Detection:
    """Return [x, y, width, height] as (x0, y0, x0 + width, y0 + height), edges as in localization.txt, in the image."""
    x, y, width, height = map(float, box)
    right, bottom = map(float, size)
    x0, y0, x1, y1 = (max(edge, 0.0) for edge in (x, y, x + width, y + height))
    return min(x0, right), min(y0, bottom), min(x1, right), min(y1, bottom)
