"""Image files as RGB images.

In: files of any kind that Pillow knows. Out: 8-bit RGB, as stored; or an InputError that names the file.
"""

import os

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsol.core.declared_size import MAX_MEGAPIXELS, check_pixels
from wsol.core.errors import InputError, OptionName
from wsol.core.files import check_input, missing_files
from wsol.data.metadata import first_names


def _to_rgb(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    """Return an opened image as RGB; 16-bit grey is divided by 257 (65535 / 255), where Pillow would clip it to white."""
    if image.mode in ("I", "F"):
        raise InputError(
            f"{path}: pixels of 32 bits (mode {image.mode}), whose range is unknown; expected 8 or 16 bits a channel"
        )
    if image.mode.startswith("I;16"):
        values = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(values.astype(np.uint8))
    return image.convert("RGB")


def load_image(path: str | os.PathLike, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Return an image file as RGB, as it is stored: an EXIF orientation is not applied (docs/datasets.md).

    Raises:
        InputError: whatever is wrong with it, with its path; it declares more than `max_megapixels`, before any is decoded.
    """
    check_input(path)
    try:
        # A handle, not the path: Pillow maps some files given by path, and garbles TIFFs with an orientation in doing so.
        with open(path, "rb") as file, Image.open(file) as image:
            check_pixels(path, image.size, max_megapixels)
            return _to_rgb(path, image)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a readable image (of no kind that Pillow knows)") from None
    except Exception as error:  # noqa: BLE001 (Pillow's decoders raise many kinds, SyntaxError and struct.error among them)
        raise InputError(f"{path}: not a readable image ({type(error).__name__}: {error})") from None


def require_images(image_root: str | os.PathLike, image_ids: list[str], split: str, advice: str = "") -> None:
    """Refuse a split whose image files are not all there; `advice` says how to get them."""
    if missing := missing_files(image_root, image_ids):
        raise InputError(
            f"{image_root}: {len(missing)} of {len(image_ids)} images of the {split} split are missing{advice}; or name ",
            "another ",
            OptionName("data_root"),
            ", or pass ",
            OptionName("on_bad_image"),
            f" skip:{first_names(missing)}",
        )
