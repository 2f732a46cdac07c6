import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.lib import format as npy_format
from PIL import Image

from samples import write_png
from wsol.core.declared_size import check_pixels, declared_size
from wsol.core.errors import InputError
from wsol.data.masks import get_mask
from wsol.maps.score_maps import read_score_map


def header(shape, descr="<f8"):
    """Return the header of an .npy file; no data."""
    buffer = io.BytesIO()
    npy_format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(20_000, 20_000), (1, 10**12), (10**9, 10**9)])
def test_a_map_that_declares_too_many_pixels_is_not_read(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(header(shape))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("score_map.npy", header(shape) + bytes(1000))
    for name in ("a.npy", "a.npz"):
        message = rf"{name}: declares {shape[1]} x {shape[0]} pixels, .* expected at most 100, or a larger max_megapixels"
        with pytest.raises(InputError, match=message):
            read_score_map(tmp_path / name)


def test_a_png_map_and_a_mask_that_declare_too_many_pixels_are_not_decoded(tmp_path):
    for side, megapixels in ((19_000, "361.0"), (65_536, "4295.0")):  # the second is above OpenCV's own limit
        write_png(tmp_path / "a.png", side, side)
        message = rf"a\.png: declares {side} x {side} pixels, {megapixels} megapixels; expected at most 100, or a larger"
        with pytest.raises(InputError, match=message):
            read_score_map(tmp_path / "a.png")
        with pytest.raises(InputError, match=message):
            get_mask(tmp_path, ["a.png"], "")
    with pytest.raises(InputError, match=r"a\.png: not a readable image"):  # no cv2.error
        get_mask(tmp_path, ["a.png"], "", max_megapixels=1e6)
    with pytest.raises(InputError, match=r"a\.png: not a readable \.png score map"):
        read_score_map(tmp_path / "a.png", 1e-3 + 65_536**2 / 1e6)


def test_the_limit_is_an_option(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 200)))
    Image.fromarray(np.full((100, 200), 255, np.uint8)).save(tmp_path / "a.png")
    for name in ("a.npy", "a.png"):
        with pytest.raises(InputError, match=rf"{name}: declares 200 x 100 pixels, 0.0 megapixels; expected at most 0.019"):
            read_score_map(tmp_path / name, 0.019)
        assert read_score_map(tmp_path / name, 0.02)[0].shape == (100, 200)
    with pytest.raises(InputError, match=r"a\.png: declares 200 x 100 pixels"):
        get_mask(tmp_path, [], "a.png", max_megapixels=0.019)
    check_pixels(Path("x"), (10_000, 10_000), 100)


@pytest.mark.parametrize("descr", ["<f2", "<f4", "<f8", ">f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_maps_come_back_as_numpy_loads_them(tmp_path, descr, order, version):
    score_map = np.asarray(np.random.default_rng(0).random((5, 7)), dtype=descr, order=order)
    with (tmp_path / "a.npy").open("wb") as file:
        npy_format.write_array(file, score_map, version=version)
    np.savez_compressed(tmp_path / "a.npz", score_map)
    for name in ("a.npy", "a.npz"):
        again, _ = read_score_map(tmp_path / name)
        assert again.dtype == score_map.dtype and again.flags.writeable
        np.testing.assert_array_equal(again, score_map)


def test_a_map_cut_off_or_oddly_packed_is_damaged(tmp_path):
    (tmp_path / "cut.npy").write_bytes(header((30, 30)) + bytes(800))
    with zipfile.ZipFile(tmp_path / "bz.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", header((2, 2)) + bytes(32))
    (tmp_path / "object.npy").write_bytes(header((2, 2), "|O"))
    (tmp_path / "negative.npy").write_bytes(header((-2, -2)))
    (tmp_path / "one.npy").write_bytes(header((10**12,)))
    for name, message in {
        "cut.npy": r"not a readable \.npy score map \(800 of 7200 bytes, the rest is cut off\)",
        "bz.npz": "a compression that NumPy does not write",
        "object.npy": r"not a readable \.npy score map \(damaged, or pickled objects\)",
        "negative.npy": r"shape \(-2, -2\); expected \(height, width\)",
        "one.npy": r"shape \(1000000000000,\); expected \(height, width\)",
    }.items():
        with pytest.raises(InputError, match=message):
            read_score_map(tmp_path / name)


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "tiff", "pgm", "webp"])
def test_every_kind_of_mask_declares_the_size_that_opencv_reads(tmp_path, extension):
    path = tmp_path / f"m.{extension}"
    cv2.imwrite(str(path), np.full((30, 40), 255, np.uint8))
    assert declared_size(path) == (40, 30)
    assert get_mask(tmp_path, [path.name], "").all()


def test_what_is_no_image_is_named(tmp_path):
    for content in (b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"BM"):
        (tmp_path / "m.png").write_bytes(content)
        with pytest.raises(InputError, match=r"m\.png: not a readable image"):
            get_mask(tmp_path, ["m.png"], "")
