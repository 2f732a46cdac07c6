"""The compiled boxes of the largest contour, level by level, against OpenCV's contours, areas and order."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from wsol.metrics.boxes import boxes_above
from wsol.metrics.component_tree import largest_boxes_by_level
from wsol.metrics.hole_filling import fill_holes

small_maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 5) | st.integers(0, 255)
)


def fast_boxes(quantized):
    """The box of every level by the compiled version."""
    return largest_boxes_by_level(fill_holes(quantized))


def plain_boxes(quantized):
    """The same by OpenCV, one level at a time."""
    return np.array([boxes_above(quantized, level, False)[0] for level in range(quantized.max())]).reshape(-1, 4)


def mask_of(drawing):
    """A map of 0 and 1 from lines in which # is 1."""
    return np.array([[char == "#" for char in line] for line in drawing.split()], dtype=np.uint8)


@settings(deadline=None, max_examples=150)
@given(small_maps)
def test_holes_are_filled_at_every_level(quantized):
    filled = fill_holes(quantized)
    assert set(filled.flat) <= set(quantized.flat)
    for level in np.unique(quantized):
        np.testing.assert_array_equal(filled > level, ndimage.binary_fill_holes(quantized > level))


@settings(deadline=None, max_examples=200)
@given(small_maps)
def test_boxes_of_small_maps(quantized):
    np.testing.assert_array_equal(fast_boxes(quantized), plain_boxes(quantized))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (2, 8), (1, 12)])
def test_boxes_of_all_masks(shape):
    for bits in range(2 ** (shape[0] * shape[1])):
        mask = (bits >> np.arange(shape[0] * shape[1]) & 1).astype(np.uint8).reshape(shape)
        assert fast_boxes(mask).tolist() == plain_boxes(mask).tolist(), mask


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 5), (6, 6), (9, 9), (7, 20), (20, 7), (40, 40)])
def test_boxes_of_many_nested_masks(shape):
    rng = np.random.default_rng(0)
    for _ in range(300):
        levels = rng.choice([2, 5, 30, 256])
        quantized = rng.integers(0, levels, shape, dtype=np.uint8)
        assert fast_boxes(quantized).tolist() == plain_boxes(quantized).tolist(), quantized


@pytest.mark.parametrize(
    ("drawing", "box"),
    [
        ("##...## ##...## ....... .##.... .##....", [1, 3, 3, 4]),  # equal squares: the last that begins
        ("##..... ##...## .....##", [5, 1, 6, 2]),
        ("#.#.# ..... .#...", [1, 2, 2, 2]),  # no area
        ("#...# #.... #..#.", [3, 2, 4, 2]),
        ("#.... .#..# ..#.. ...#.", [4, 1, 4, 2]),
        (".#..... #.##### .#.....", [0, 0, 6, 2]),  # with its tail as large as its hole, which is without
        ("#####.#### #...#.#### #.#.#.#### #...#.#### #####.####", [0, 0, 5, 4]),  # a hole counts as filled
        ("#####. #...#. #.#.#. #...#. ####.. ....#.", [0, 0, 5, 5]),
        (".##.. #..#. #..#. .##.. .....", [0, 0, 4, 4]),
        ("##.## ##.## ..... ##.## ##.##", [3, 3, 4, 4]),  # at the map's edges
    ],
)
def test_the_box_of_drawn_masks(drawing, box):
    mask = mask_of(drawing)
    assert plain_boxes(mask).tolist() == [box]
    assert fast_boxes(mask).tolist() == [box]


@pytest.mark.parametrize("side", [28, 112])
def test_boxes_of_smooth_maps_with_holes_and_islands(side):
    rng = np.random.default_rng(side)
    y, x = np.mgrid[0:side, 0:side] - side / 2
    waves = 1 + np.cos(np.hypot(x, y) * 20 / side)  # rings around rings
    bumps = cv2.resize(rng.random((7, 7)), (side, side), interpolation=cv2.INTER_CUBIC)
    for score_map in (waves, bumps, waves + bumps, waves * bumps):
        scaled = (score_map - score_map.min()) / np.ptp(score_map)
        for quantized in ((scaled * 255).astype(np.uint8), ((1 - scaled) * 255).astype(np.uint8)):
            np.testing.assert_array_equal(fast_boxes(quantized), plain_boxes(quantized))
