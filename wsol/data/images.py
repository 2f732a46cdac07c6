"""Image files as RGB images.

In: files in the formats of READ_KINDS (wsol/core/declared_size.py). Out: 8-bit RGB, as stored; or an InputError that names
the file.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from wsol.core.declared_size import MAX_MEGAPIXELS, check_pixels, open_image
from wsol.core.errors import InputError, OptionName
from wsol.core.files import check_input, missing_files
from wsol.data.metadata import first_names

FULL, REDUCED = DECODE_SCALES = ("full", "reduced")  # of JPEGs
IMAGENETS, THE_NETWORKS = PREPROCESSINGS = ("imagenet", "network")  # whose mean and standard deviation


def _to_rgb(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    """Return an open image as RGB; 16-bit grey is divided by 257 (65535 / 255), since Pillow would clip it to white."""
    if image.mode in ("I", "F"):
        raise InputError(
            f"{path}: 32-bit pixels (mode {image.mode}), whose range is unknown; expected 8 or 16 bits per channel"
        )
    if image.mode.startswith("I;16"):
        values = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(values.astype(np.uint8))
    return image.convert("RGB")


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an open image, 1 to 8; 1 if it has none, or an invalid one."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 (Pillow raises many kinds for damaged EXIF; the pixels are unaffected)
        return 1
    return value if value in range(2, 9) else 1


def upright_rgb(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    """Return an open image as RGB, turned upright as its EXIF orientation says; `path` names it in messages."""
    turned = ImageOps.exif_transpose(image) if read_orientation(image) > 1 else image  # which damaged EXIF would stop
    return _to_rgb(path, turned)


class Decoded(NamedTuple):
    """An image file as RGB, the (width, height) that it declares, and the part of `image` that it fills: x0, y0, x1, y1.

    Decoded at a scale of 1 / n, sides that n does not divide are rounded up, and the file ends within the last pixel.
    """

    image: Image.Image
    size: tuple[int, int]
    box: tuple[float, float, float, float]


def load_image(path: str | os.PathLike, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Return an image file as RGB, as it is stored: the EXIF orientation is not applied (docs/datasets.md).

    Raises:
        InputError: it cannot be read, or declares more than `max_megapixels` (nothing is decoded then); names the file.
    """
    return read_image(path, max_megapixels).image


def load_upright(path: str | os.PathLike, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Return an image file as RGB, turned upright as its EXIF orientation says; of an animation the first frame.

    Raises:
        InputError: as for `load_image`.
    """
    return read_image(path, max_megapixels, upright=True).image


def read_image(
    path: str | os.PathLike, max_megapixels: float = MAX_MEGAPIXELS, least_side: int | None = None, upright: bool = False
) -> Decoded:
    """Return an image file as RGB, as `load_image` does, and its size.

    `least_side`: a JPEG is decoded at the least of 1/8, 1/4, 1/2 and 1 of its size whose sides are at least this long.
    `upright`: it is turned as its EXIF orientation says; not together with `least_side`.

    Raises:
        InputError: it cannot be read, or declares more than `max_megapixels` (nothing is decoded then); names the file.
    """
    check_input(path)
    try:
        # A handle, not the path: Pillow memory-maps some files given by path, and then garbles TIFFs with an orientation.
        with open(path, "rb") as file, open_image(file) as image:
            size = image.size
            check_pixels(path, size, max_megapixels)
            reduced = image.draft(None, (least_side, least_side)) if least_side else None
            box = reduced[1] if reduced else (0, 0, *size)
            found = upright_rgb(path, image) if upright else _to_rgb(path, image)
            return Decoded(found, found.size if upright else size, box)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a readable image (in a format that is not supported)") from None
    except Exception as error:  # noqa: BLE001 (Pillow's decoders raise many kinds, such as SyntaxError and struct.error)
        raise InputError(f"{path}: not a readable image ({type(error).__name__}: {error})") from None


def require_images(image_root: str | os.PathLike, image_ids: Sequence[str], split: str, advice: str = "") -> None:
    """Raise InputError if image files of a split are missing; `advice` says how to get them."""
    if missing := missing_files(image_root, image_ids):
        raise InputError(
            f"{image_root}: {len(missing)} of {len(image_ids)} images of the {split} split are missing{advice}; or give ",
            "another ",
            OptionName("data_root"),
            ", or ",
            OptionName("on_bad_image"),
            f" skip:{first_names(missing)}",
        )
