"""Training crops: one draw, applied alike to an image, its boxes and its masks.

A crop resizes an image to a square, cuts out a smaller square and may flip it from left to right.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf


class Crop(NamedTuple):
    """One draw for an image, in pixels: the side of the resized square, the side of the crop, its top left corner, and
    whether it is flipped."""

    resize_size: int
    crop_size: int
    top: int
    left: int
    flipped: bool

    def cut(self, resized: Image.Image) -> Image.Image:
        """Return the crop, (crop_size, crop_size), of an image of size (resize_size, resize_size)."""
        image = tvf.crop(resized, self.top, self.left, self.crop_size, self.crop_size)
        return tvf.hflip(image) if self.flipped else image


def draw_crop(resize_size: int, crop_size: int, rng: np.random.Generator) -> Crop:
    """Return a crop at a uniform position, flipped with probability 0.5."""
    top, left = rng.integers(0, resize_size - crop_size + 1, size=2).tolist()
    return Crop(resize_size, crop_size, top, left, bool(rng.random() < 0.5))


def crop_mask(mask: np.ndarray, crop: Crop) -> np.ndarray:
    """Return the crop, uint8 (crop_size, crop_size), of an image's mask, uint8 (H, W), resized by nearest neighbour."""
    square = [crop.resize_size, crop.resize_size]
    return np.array(crop.cut(tvf.resize(Image.fromarray(mask), square, interpolation=InterpolationMode.NEAREST)))


def crop_boxes(boxes: ArrayLike, image_size: Sequence[int], crop: Crop) -> np.ndarray:
    """Return the boxes, (m, 4), of an image of (width, height) as float64 (m, 4) in pixels of the crop, clipped to it. A box
    outside the crop gets no area.

    >>> crop_boxes([[0, 0, 50, 40]], (100, 80), Crop(resize_size=10, crop_size=8, top=1, left=2, flipped=False)).tolist()
    [[0.0, 0.0, 3.0, 4.0]]
    >>> crop_boxes([[0, 0, 50, 40]], (100, 80), Crop(resize_size=10, crop_size=8, top=1, left=2, flipped=True)).tolist()
    [[5.0, 0.0, 8.0, 4.0]]
    """
    width, height = image_size
    scale = crop.resize_size / np.array([width, height, width, height], dtype=np.float64)
    corner = (crop.left, crop.top, crop.left, crop.top)
    moved = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * scale - corner).clip(0, crop.crop_size)
    if crop.flipped:
        moved[:, [0, 2]] = crop.crop_size - moved[:, [2, 0]]
    return moved


def fill_boxes(boxes: np.ndarray, size: int) -> np.ndarray:
    """Return uint8 (size, size): 1 where a pixel's centre is inside one of the boxes, float (m, 4), 0 elsewhere.

    >>> fill_boxes(np.array([[0.6, 0.0, 2.5, 1.0]]), 3).tolist()
    [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    """
    centres = np.arange(size) + 0.5
    filled = np.zeros((size, size), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        filled[np.ix_((centres >= y0) & (centres < y1), (centres >= x0) & (centres < x1))] = 1
    return filled
