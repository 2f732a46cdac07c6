"""Photos stored rotated or mirrored, as their EXIF orientation (2 to 8) says.

In: image files, sizes, boxes and masks as stored. Out: the same upright, and an upright copy of the file.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ImageOps

from wsol.core.declared_size import MAX_MEGAPIXELS, open_image
from wsol.core.errors import InputError
from wsol.data.images import load_image, read_orientation
from wsol.data.metadata import Box

Size = tuple[int, int]
# Lossless except for JPEG, which is encoded again at quality 95, without colour subsampling.
SAVING: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "TIFF": {"compression": "tiff_deflate"},
    "WEBP": {"lossless": True, "exact": True},
}


class Photo(NamedTuple):
    """A readable image file: its (width, height) when upright, and its EXIF orientation (1: stored upright)."""

    size: Size
    orientation: int = 1

    @property
    def stored(self) -> Size:
        """(width, height) as stored."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_photo(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """Decode an image and return its size and orientation.

    Raises:
        InputError: it cannot be read, or declares more than `max_megapixels`.
    """
    size = load_image(path, max_megapixels).size
    with open_image(path) as image:
        orientation = read_orientation(image)
        turned_on_reading = image.format == "TIFF"  # by Pillow
    return Photo(size[::-1] if orientation >= 5 and not turned_on_reading else size, orientation)


def upright_bytes(path: Path) -> bytes:
    """Return the bytes of an image file with upright pixels: the same format, mode and colour profile, no EXIF.

    The bytes are the same every time.

    Raises:
        InputError: Pillow cannot read or write it.
    """
    try:
        with path.open("rb") as file, open_image(file) as image:  # a handle, as in load_image
            kind = {"MPO": "JPEG"}.get(image.format or "", image.format)
            upright = ImageOps.exif_transpose(image)
        profile = upright.info.get("icc_profile")
        upright.info = {key: value for key, value in upright.info.items() if key == "transparency"}
        buffer = io.BytesIO()
        kind = kind if kind in SAVING else "PNG"
        upright.save(buffer, format=kind, icc_profile=profile, **SAVING[kind])
    except Exception as error:  # noqa: BLE001 (Pillow's encoders raise many kinds, too)
        raise InputError(f"{path}: cannot be rotated upright ({type(error).__name__}: {error})") from None
    return buffer.getvalue()


def turn_array(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return a stored array (height, width) rotated upright."""
    if orientation >= 5:
        array = array.T
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def turn_box(box: Box, photo: Photo, inclusive: bool) -> Box:
    """Return a box on the stored pixels as a box on the upright pixels; `inclusive`: x1 and y1 are its last pixels, not the
    edges after them.

    >>> turn_box((0, 0, 9, 4), Photo((50, 100), orientation=6), inclusive=True)  # stored as 100 x 50
    (45, 0, 49, 9)
    """
    width, height = (side - inclusive for side in photo.stored)
    x0, y0, x1, y1 = box
    if photo.orientation >= 5:
        x0, y0, x1, y1, width, height = y0, x0, y1, x1, height, width
    if photo.orientation in (3, 4, 7, 8):
        y0, y1 = height - y1, height - y0
    if photo.orientation in (2, 3, 6, 7):
        x0, x1 = width - x1, width - x0
    return max(x0, 0), max(y0, 0), x1, y1  # x1 may equal the width, as in the metadata
