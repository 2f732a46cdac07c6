import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol.core.errors import InputError
from wsol.data.masks import get_mask, mask_extent


def write(path, mask):
    cv2.imwrite(str(path), mask)


def test_masks_union_ignore_and_nearest_resize(tmp_path):
    grey = {"m0": np.zeros((4, 4), np.uint8), "m1": np.zeros((4, 4), np.uint8), "ig": np.zeros((4, 4), np.uint8)}
    grey["m0"][0, 0] = 1  # any non-zero grey is foreground
    grey["m1"][3, 3] = 255
    grey["ig"][:, 3] = 255  # overlaps m1, where the foreground wins
    for name, mask in grey.items():
        write(tmp_path / f"{name}.png", mask)
    mask = get_mask(tmp_path, ["m0.png", "m1.png"], "ig.png", (8, 8))
    expected = np.zeros((8, 8), np.uint8)
    expected[:2, :2], expected[6:, 6:], expected[:6, 6:] = 1, 1, 255
    np.testing.assert_array_equal(mask, expected)
    assert get_mask(tmp_path, ["m0.png"], "").shape == (224, 224)


def test_a_missing_and_an_unreadable_mask_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    for name, message in (("nope.png", r"nope\.png: no such file"), ("text.png", r"text\.png: not a readable image")):
        with pytest.raises(InputError, match=message):
            get_mask(tmp_path, [name], "")


def test_masks_of_another_shape_are_refused_of_another_scale_not(tmp_path):
    write(tmp_path / "m.png", np.ones((30, 40), np.uint8))
    write(tmp_path / "twice.png", np.ones((61, 80), np.uint8))
    write(tmp_path / "square.png", np.ones((40, 40), np.uint8))
    assert get_mask(tmp_path, ["m.png"], "twice.png", (8, 8), (400, 300)).all()
    message = r"square\.png: 40 x 40 pixels; expected the proportions of its image, or of the image's other masks, 40 x 30"
    with pytest.raises(InputError, match=message):
        get_mask(tmp_path, ["m.png"], "square.png")
    with pytest.raises(InputError, match=r"m\.png: 40 x 30 pixels; expected .* 300 x 400"):
        get_mask(tmp_path, ["m.png"], "", (8, 8), (300, 400))


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_the_extent_of_a_mask_is_the_smallest_box_of_its_pixels(width, height, data):
    pixels = data.draw(st.sets(st.tuples(st.integers(0, width - 1), st.integers(0, height - 1)), min_size=1))
    mask = np.zeros((height, width), dtype=bool)
    for x, y in pixels:
        mask[y, x] = True
    xs, ys = zip(*pixels, strict=True)
    assert mask_extent(mask) == (min(xs), min(ys), max(xs), max(ys))
