"""The size that an image or map file declares, and its limit, checked before anything is decoded.

A few kilobytes can declare gigabytes of pixels; the header says how much memory reading the file would take.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from PIL import Image

from wsol.core.errors import InputError, OptionName

# Pillow's names of the formats that OpenCV reads.
KINDS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "PPM", "WEBP", "JPEG2000", "SUN", "AVIF")
# Those that are read as images. Not among them: what runs another program (EPS), or decodes another image within on opening,
# before its size is known (ICO, ICNS).
READ_KINDS = (*KINDS, "MPO", "DIB", "TGA", "PCX", "SGI")
# Pillow's own limit and warning, which no option changes, are off: the size of every image is checked here instead.
Image.MAX_IMAGE_PIXELS = None
MAX_MEGAPIXELS = 100.0  # the default of max_megapixels: 0.8 GB as float64


def check_pixels(path: str | os.PathLike, size: tuple[int, int], max_megapixels: float) -> None:
    """Raise InputError if a file declares a size (w, h) of more pixels than the limit."""
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        raise InputError(
            f"{path}: declares {size[0]} x {size[1]} pixels, {megapixels:.1f} megapixels; expected at most "
            f"{max_megapixels:g}, or a larger ",
            OptionName("max_megapixels"),
        )


def open_image(file: str | os.PathLike | IO[bytes]) -> Image.Image:
    """Return `Image.open` of a file, by its content in one of READ_KINDS."""
    Image.init()
    return Image.open(file, formats=[kind for kind in READ_KINDS if kind in Image.OPEN])


def declared_size(path: Path) -> tuple[int, int]:
    """Return the (w, h) that an image file declares; no pixel is decoded.

    Like `Image.open`, but only for the formats that OpenCV reads.

    Raises:
        InputError: Pillow does not recognise an image in it.
    """
    Image.init()
    with path.open("rb") as file:
        start = file.read(16)
        for open_image, accepts in (Image.OPEN[kind] for kind in KINDS if kind in Image.OPEN):
            if accepts is None or accepts(start) is True:  # a string says what Pillow is missing to read it
                file.seek(0)
                with suppress(Exception):  # each format has its own errors
                    return open_image(file, str(path)).size
    raise InputError(f"{path}: not a readable image")
