"""Segmentations of COCO's JSON to masks: polygons, and run lengths as lists or compressed text.

In: an annotation's "segmentation" (https://cocodataset.org/#format-data). Out: a mask of the image's size.
"""

import cv2
import numpy as np

from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.plain_values import is_number, is_whole

MOST_TEXT = 10_000_000  # characters of compressed run lengths


def mask_of(segmentation: object, size: tuple[int, int]) -> np.ndarray:
    """Return bool (H, W): the pixels of a segmentation, in an image of `size` (w, h).

    Polygons, lists of x0, y0, x1, y1, ..., are filled at whole pixels. Run lengths count pixels column by column, first of
    the background, then of the object, and so on by turns.

    Raises:
        ValueError: it is neither, or not of this size; the message says what was expected.
    """
    if size[0] * size[1] > MAX_MEGAPIXELS * 1e6:
        raise ValueError(f"an image of {size[0]} x {size[1]} pixels; expected at most {MAX_MEGAPIXELS:g} megapixels")
    if isinstance(segmentation, list):
        return _filled(segmentation, size)
    if not isinstance(segmentation, dict):
        raise ValueError("expected polygons, or an object of size and counts")
    if segmentation.get("size") != [size[1], size[0]]:
        raise ValueError(
            f"size {segmentation.get('size')!r:.40}; expected the image's [height, width], {[size[1], size[0]]}"
        )
    counts = segmentation.get("counts")
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not (isinstance(runs, list) and all(is_whole(run) for run in runs) and sum(runs) == size[0] * size[1]):
        raise ValueError(f"counts; expected run lengths that sum to {size[0] * size[1]} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size).T


def _filled(polygons: list, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size[::-1], dtype=np.uint8)
    for polygon in polygons:
        numbers = isinstance(polygon, list) and all(map(is_number, polygon))
        if not (numbers and len(polygon) >= 6 and len(polygon) % 2 == 0 and max(map(abs, polygon)) < 1e6):
            raise ValueError("expected polygons of three or more points, x0, y0, x1, y1, ...")
        points = np.round(np.array(polygon, dtype=np.float64)).astype(np.int32).reshape(-1, 2)
        cv2.fillPoly(mask, [points], 1)
    return mask.astype(bool)


def _decompressed(text: str) -> list[int]:
    """Return the run lengths of compressed text, as pycocotools writes it; its own reader, in C, trusts the text.

    A number is written from its lowest five bits up, each character 48 more than these bits, plus 32 if more follow; bit 16
    of its last character is its sign. From the fourth on, a run length is written as the difference to the one two before.

    Raises:
        ValueError: other characters, or an unfinished number.
    """
    if len(text) > MOST_TEXT:
        raise ValueError(f"counts of {len(text)} characters; expected at most {MOST_TEXT}")
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("counts; expected run lengths as text that COCO's tools write")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("counts that end within a number")
    return runs
