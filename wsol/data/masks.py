"""True masks from their files, resized to a score map by the rules of wsolevaluation (Choe et al., CVPR 2020)."""

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from wsol.core.declared_size import MAX_MEGAPIXELS, check_pixels, declared_size
from wsol.core.errors import InputError
from wsol.core.files import check_input
from wsol.data.metadata import Box

VIEW = (224, 224)  # the size of the original's maps, and the default of get_mask
IGNORED = 255  # a pixel that counts neither as foreground nor as background
SAME_SHAPE = 0.02  # relative difference of widths at equal height: masks of one image come at several scales, rounded


def _read_mask(path: Path, max_megapixels: float) -> np.ndarray:
    """Return a mask file as uint8 (h, w) in its own size; colours become grey."""
    check_input(path)
    check_pixels(path, declared_size(path), max_megapixels)
    try:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:  # beyond OpenCV's own limits
        raise InputError(f"{path}: not a readable image ({error.err})") from None
    if mask is None:
        raise InputError(f"{path}: not a readable image")
    return mask


def _check_shape(path: Path, mask: np.ndarray, image_size: tuple[int, int]) -> None:
    """Raise InputError if a mask would have to be distorted to fit its image."""
    height, width = mask.shape
    if abs(width * image_size[1] / (height * image_size[0]) - 1) > SAME_SHAPE + 1 / min(width, height):
        raise InputError(
            f"{path}: {width} x {height} pixels; expected the proportions of its image, or of the image's other masks, "
            f"{image_size[0]} x {image_size[1]}"
        )


def get_mask(
    mask_root: str | os.PathLike,
    mask_paths: Iterable[str],
    ignore_path: str,
    size: tuple[int, int] = VIEW,
    image_size: tuple[int, int] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> np.ndarray:
    """Return uint8 (h, w): 1 in the union of the instance masks, 255 in the rest of the ignore mask, 0 elsewhere.

    Masks are resized to `size` (w, h) by nearest neighbour; any non-zero grey counts.

    Raises:
        InputError: a mask is missing or unreadable, declares more than `max_megapixels`, or does not have the proportions of
            `image_size` (w, h), or by default of the first mask.
    """

    def true_pixels(name: str) -> np.ndarray:
        nonlocal image_size
        mask = _read_mask(Path(mask_root) / name, max_megapixels)
        image_size = image_size or mask.shape[::-1]
        _check_shape(Path(mask_root) / name, mask, image_size)
        return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_NEAREST) > 0.5

    foreground = np.zeros(size[::-1], dtype=bool)
    for name in mask_paths:
        foreground |= true_pixels(name)
    mask = foreground.astype(np.uint8)
    if ignore_path:
        mask[true_pixels(ignore_path) & ~foreground] = IGNORED
    return mask


def mask_extent(mask: np.ndarray) -> Box:
    """Return the box (x0, y0, x1, y1) of a mask's true pixels, both ends included; bool (h, w) with at least one of them.

    >>> mask = np.zeros((4, 6), dtype=bool)
    >>> mask[1:3, 2:6] = True
    >>> mask_extent(mask)
    (2, 1, 5, 2)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
