"""A crop moves an image, its boxes and its masks alike: against pixels that are counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsol.data.crops import Crop, crop_boxes, crop_mask, draw_crop

SIZE = 12  # of images, and of what they are resized to: pixels stay whole


@st.composite
def crops(draw):
    side = draw(st.integers(1, SIZE))
    top, left = (draw(st.integers(0, SIZE - side)) for _ in range(2))
    return Crop(SIZE, side, top, left, draw(st.booleans()))


@st.composite
def rectangles(draw):
    x0, y0 = (draw(st.integers(0, SIZE - 1)) for _ in range(2))
    return [x0, y0, draw(st.integers(x0 + 1, SIZE)), draw(st.integers(y0 + 1, SIZE))]


def filled(box):
    x0, y0, x1, y1 = box
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    mask[y0:y1, x0:x1] = 255
    return mask


def extent(mask):
    """Return the box of a mask's pixels, None without any."""
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None


@given(crops(), rectangles())
def test_a_box_is_the_extent_of_its_pixels_in_image_and_mask(crop, box):
    ((x0, y0, x1, y1),) = crop_boxes([box], (SIZE, SIZE), crop)
    image, mask = np.array(crop.cut(Image.fromarray(filled(box)))), crop_mask(filled(box), crop)
    assert mask.shape == (crop.crop_size, crop.crop_size) and mask.dtype == np.uint8
    assert np.array_equal(image, mask)
    expected = extent(mask)
    if expected is None:
        assert (x1 - x0) * (y1 - y0) == 0
    else:
        assert [x0, y0, x1, y1] == expected


def test_boxes_and_masks_are_resized_with_the_image():
    crop = Crop(resize_size=20, crop_size=10, top=0, left=10, flipped=True)
    assert crop_boxes([[0, 0, 100, 50], [0, 0, 40, 50]], (100, 50), crop).tolist() == [[0, 0, 10, 10], [10, 0, 10, 10]]
    mask = np.zeros((50, 100), dtype=np.uint8)
    mask[:25, 50:75] = 7
    assert extent(crop_mask(mask, crop)) == [5, 0, 10, 10]
    assert crop_boxes([[50, 0, 75, 25]], (100, 50), crop).tolist() == [[5, 0, 10, 10]]
    assert crop_boxes([], (100, 50), crop).shape == (0, 4)


@pytest.mark.parametrize("seed", range(5))
def test_the_draws_are_in_the_order_that_runs_so_far_have_used(seed):
    rng, same = (np.random.default_rng(seed) for _ in range(2))
    top, left = same.integers(0, 33, size=2).tolist()
    assert draw_crop(256, 224, rng) == Crop(256, 224, top, left, bool(same.random() < 0.5))
