"""Image files as RGB: modes and depths, and what is no image, too large or missing."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from data_loaders import LabeledImages, load_image, require_images
from samples import bad_split, write_png
from wsol.core.errors import InputError


def test_images_of_any_mode_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.new(mode, (4, 3)).save(tmp_path / f"{mode}.{suffix}")
        assert load_image(tmp_path / f"{mode}.{suffix}").mode == "RGB"


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_divided_by_257(tmp_path, suffix):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for order in "<>" if suffix == "tif" else "<":
        Image.fromarray(values.astype(f"{order}u2")).save(tmp_path / f"a.{suffix}")
        loaded = np.array(load_image(tmp_path / f"a.{suffix}"))
        assert loaded.dtype == np.uint8 and np.array_equal(loaded, np.round(values / 257)[..., None].repeat(3, 2))


@pytest.mark.parametrize(("kind", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_32_bit_pixels_are_refused_by_name(tmp_path, kind, mode):
    Image.fromarray(np.ones((4, 4), kind)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=rf"a\.tif: 32-bit pixels \(mode {mode}\).*; expected 8 or 16 bits per channel"):
        load_image(tmp_path / "a.tif")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match=r"pipe\.jpg: a device, FIFO or socket"):
        load_image(tmp_path / "pipe.jpg")


def test_reading_does_not_turn_an_image(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (9, 5)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").size == (9, 5)


def test_an_image_that_declares_too_many_pixels_is_not_decoded_and_pillow_does_not_warn(tmp_path):
    message = r"a\.png: declares 20000 x 20000 pixels, 400\.0 megapixels; expected at most 100, or a larger max_megapixels"
    with warnings.catch_warnings(action="error"):
        write_png(tmp_path / "a.png", 20_000, 20_000)
        with pytest.raises(InputError, match=message):
            load_image(tmp_path / "a.png")
        write_png(tmp_path / "b.png", 9500, 9500)  # what it declares is not there
        with pytest.raises(InputError, match=r"b\.png: not a readable image"):
            load_image(tmp_path / "b.png")
    images = LabeledImages(tmp_path, bad_split(tmp_path), 8, max_megapixels=0.00008)
    assert images[
        0
    ] == f"{tmp_path}/good.png: declares 9 x 9 pixels, 0.0 megapixels; expected at most 8e-05, or a larger " + (
        "--max_megapixels"
    )


def test_missing_images_are_refused_and_named(tmp_path):
    split = bad_split(tmp_path)
    with pytest.raises(InputError, match=r"1 of 4 images of the val split are missing(.|\n)*none\.jpg"):
        require_images(tmp_path, split.image_ids, "val", "D")
    require_images(tmp_path, split.image_ids[:3], "val", "D")
