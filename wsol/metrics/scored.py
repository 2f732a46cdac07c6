"""What an evaluation keeps of one image, and many of them as columns: the form in which counts are merged and saved.

An evaluator's counts are sums over these, so a list of them that is merged, saved or loaded loses nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from wsol.core.errors import InputError


class Scored(NamedTuple):
    """What an evaluation keeps of one image; a field is None if it does not apply.

    `boxes`: packed bits of correctness, uint8 (IoU thresholds, score-map thresholds / 8). `masks`: background and foreground
    pixels by score, unsigned (2, bins). `size`: (w, h) of its map. `rank`: of its true class among the logits (0: top).
    `skipped`: the image could not be read; it counts nowhere else. The last three are an `Analysis` (map_details.py).
    """

    image_id: str
    boxes: np.ndarray | None = None
    masks: np.ndarray | None = None
    size: tuple[int, int] | None = None
    rank: int | None = None
    skipped: bool = False
    area_ratio: float | None = None
    activation_ratio: float | None = None
    num_components: int | None = None

    def counts_of(self, kind: Literal["boxes", "masks"]) -> np.ndarray:
        """Return the image's `boxes` or `masks`.

        Raises:
            InputError: it has none.
        """
        counts = self.boxes if kind == "boxes" else self.masks
        if counts is None:
            raise InputError(f"{self.image_id!r} was scored without {kind}; expected an evaluator of the same truth")
        return counts


class _Column(NamedTuple):
    """How a field is kept: numbers of a kind ("iu", "f", "b" as in numpy's dtype.kind), the value that encodes None, and the
    lowest and highest whole numbers allowed."""

    kinds: str
    dtype: type[np.generic] | None
    none: Any
    low: int = -1
    high: int = 2**31 - 1


MOST_SIDE = 20_000  # pixels of a map's side, in a file

# One entry for every field of Scored but the id; arrays (no dtype: the smallest that they came in) are zeros where skipped.
_COLUMNS = {
    "boxes": _Column("u", None, None),
    "masks": _Column("u", None, None),
    "size": _Column("iu", np.int32, (0, 0), 0, MOST_SIDE),
    "rank": _Column("iu", np.int32, -1),
    "skipped": _Column("b", np.bool_, None),
    "area_ratio": _Column("f", np.float64, np.nan),
    "activation_ratio": _Column("f", np.float64, np.nan),
    "num_components": _Column("iu", np.int32, -1),
}


def to_columns(images: Sequence[Scored]) -> dict[str, Any]:
    """Return `image_id`, a list, and every other field of Scored as an array with one row per image, or None if no image
    has it."""
    columns: dict[str, Any] = {"image_id": [one.image_id for one in images]}
    for name, column in _COLUMNS.items():
        values = [getattr(one, name) for one in images]
        if column.dtype is not None:
            values = [column.none if value is None else value for value in values]
            columns[name] = np.array(values, dtype=column.dtype).reshape(len(images), *np.shape(column.none))
            continue
        zeros = next((np.zeros_like(value) for value in values if value is not None), None)
        columns[name] = None if zeros is None else np.stack([zeros if value is None else value for value in values])
    return columns


def from_columns(columns: Mapping[str, Any]) -> list[Scored]:
    """Return the images of `to_columns`.

    Raises:
        InputError: a column is missing or unknown, or has the wrong kind or length.
    """
    if set(columns) != set(Scored._fields):
        raise InputError(f"columns {', '.join(sorted(map(str, columns)))}; expected {', '.join(sorted(Scored._fields))}")
    ids = columns["image_id"]
    if not (isinstance(ids, list) and all(isinstance(image_id, str) for image_id in ids)):
        raise InputError("image_id: expected a list of text")
    if len(set(ids)) < len(ids):
        raise InputError(f"image_id: {len(ids) - len(set(ids))} of {len(ids)} ids are duplicates; expected unique ids")
    fields = [_from_column(name, columns[name], len(ids)) for name in Scored._fields[1:]]
    images = [Scored(image_id, *row) for image_id, *row in zip(ids, *fields, strict=True)]
    return [one._replace(boxes=None, masks=None) if one.skipped else one for one in images]


def _from_column(name: str, values: Any, count: int) -> list:  # noqa: ANN401 (an array or a list)
    """Return a field's values, one per image."""
    column = _COLUMNS[name]
    if values is None and column.dtype is None:
        return [None] * count
    width = np.shape(column.none) if column.dtype is not None else None
    if not (
        isinstance(values, np.ndarray)
        and values.dtype.kind in column.kinds
        and (values.shape == (count, *width) if width is not None else values.ndim == 3 and len(values) == count)
    ):
        raise InputError(f"{name}: expected one row of numbers for each of {count} images")
    if name == "boxes" and values.dtype != np.uint8:
        raise InputError(f"{name}: {values.dtype}; expected packed bits, uint8")
    if "i" in column.kinds and count and not (values.min() >= column.low and values.max() <= column.high):
        raise InputError(f"{name}: {values.min()} to {values.max()}; expected {column.low} to {column.high}")
    if column.dtype is None:
        return list(values)
    plain = [tuple(value) if isinstance(value, list) else value for value in values.tolist()]
    return [None if value == column.none or value != value else value for value in plain]  # NaN is unlike itself
