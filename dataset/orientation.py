"""Photos that a camera stored lying on their side or mirrored, and says so in EXIF (orientations 2 to 8).

In: image files, sizes, boxes, masks as stored. Out: the same upright, and an upright copy of the file.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError
from wsol.data.images import load_image
from wsol.data.metadata import Box

Size = tuple[int, int]
# Lossless but for JPEG, which is encoded again: at 95, without subsampling of colours.
SAVING: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "TIFF": {"compression": "tiff_deflate"},
    "WEBP": {"lossless": True, "exact": True},
}


class Photo(NamedTuple):
    """A readable image file: its upright (width, height), and its EXIF orientation (1: stored upright)."""

    size: Size
    orientation: int = 1

    @property
    def stored(self) -> Size:
        """(width, height) as stored."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8; 1 where it says none, or none there is."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 (damaged EXIF, of which Pillow raises many kinds; the pixels are unaffected)
        return 1
    return value if value in range(2, 9) else 1


def read_photo(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """Decode an image and return what it is.

    Raises:
        InputError: it cannot be read, or declares more than `max_megapixels`.
    """
    size = load_image(path, max_megapixels).size
    with Image.open(path) as image:
        orientation = read_orientation(image)
        turned_on_reading = image.format == "TIFF"  # by Pillow
    return Photo(size[::-1] if orientation >= 5 and not turned_on_reading else size, orientation)


def upright_bytes(path: Path) -> bytes:
    """Return an image file with its pixels upright: of the same format and mode, with its colour profile, without EXIF.

    The same bytes every time.
    """
    try:
        with path.open("rb") as file, Image.open(file) as image:  # a handle as in load_image
            kind = {"MPO": "JPEG"}.get(image.format or "", image.format)
            upright = ImageOps.exif_transpose(image)
        profile = upright.info.get("icc_profile")
        upright.info = {key: value for key, value in upright.info.items() if key == "transparency"}
        buffer = io.BytesIO()
        kind = kind if kind in SAVING else "PNG"
        upright.save(buffer, format=kind, icc_profile=profile, **SAVING[kind])
    except Exception as error:  # noqa: BLE001 (Pillow's encoders raise many kinds, too)
        raise InputError(f"{path}: cannot be turned upright ({type(error).__name__}: {error})") from None
    return buffer.getvalue()


def turn_array(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return an array (height, width) as stored turned upright."""
    if orientation >= 5:
        array = array.T
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def turn_box(box: Box, photo: Photo, inclusive: bool) -> Box:
    """Return a box drawn on the stored pixels as one on the upright ones; `inclusive`: x1 and y1 are its last pixels, not
    the edges after them."""
    width, height = (side - inclusive for side in photo.stored)
    x0, y0, x1, y1 = box
    if photo.orientation >= 5:
        x0, y0, x1, y1, width, height = y0, x0, y1, x1, height, width
    if photo.orientation in (3, 4, 7, 8):
        y0, y1 = height - y1, height - y0
    if photo.orientation in (2, 3, 6, 7):
        x0, x1 = width - x1, width - x0
    return max(x0, 0), max(y0, 0), x1, y1  # x1 may have been the width, as in the metadata
