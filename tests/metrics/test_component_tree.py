"""The compiled best IoU of every level against the plain boxes."""

import cv2
import numpy as np
import pytest

from wsol.metrics.boxes import (
    best_ious,
    candidate_boxes,
    map_ious,
)


def maps_of_many_kinds(rng):
    """Return a map: random, binary, plateaus, checkerboard, rings, constant or smooth; small, sometimes long one way."""
    size = rng.integers(1, 15, 2)
    if rng.random() < 0.05:
        size[rng.integers(2)] = rng.integers(257, 700)
    height, width = size
    kind = rng.integers(9)
    y, x = np.mgrid[0:height, 0:width]
    if kind == 0:
        return rng.random((height, width))
    if kind == 1:
        return (rng.random((height, width)) > rng.random()).astype(np.float64)
    if kind == 2:
        return np.round(rng.random((height, width)) * 4) / 4
    if kind == 3:
        return (x + y) % 2 * rng.random()
    if kind == 4:
        return np.maximum(abs(y - height // 2), abs(x - width // 2)) % rng.integers(2, 5) / 4
    if kind == 5:
        return np.full((height, width), rng.integers(2) * rng.random())
    smooth = cv2.resize(rng.random((4, 4)), (int(width), int(height)), interpolation=cv2.INTER_LINEAR)
    if kind == 6:
        return smooth
    if kind == 7:  # plateaus: of ties, also of scores that differ within a level, and where nothing is left
        return np.maximum(np.round(smooth * 600) / 600 - rng.random() / 2, 0)
    return np.clip(smooth + rng.normal(0, 0.02, smooth.shape), 0, 1)


def differing_cases(seed, cases, multi_contour):
    """Return how many random cases the compiled version scores otherwise than the plain one."""
    rng = np.random.default_rng(seed)
    different = 0
    for _ in range(cases):
        score_map = maps_of_many_kinds(rng)
        truth = np.sort(rng.integers(0, max(score_map.shape) + 2, (rng.integers(1, 4), 2, 2)), axis=1).reshape(-1, 4)
        thresholds = rng.random(12)  # others in every case, so that all levels come up
        plain = best_ious(candidate_boxes(score_map, thresholds, multi_contour), truth)
        different += not np.array_equal(map_ious(score_map, thresholds, truth, multi_contour), plain)
    return different


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (512, 512), (300, 700), (5000, 30), (30, 5000)])
@pytest.mark.parametrize("multi_contour", [True, False])
def test_both_versions_agree_at_every_level_of_maps_of_any_size(shape, multi_contour):
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.random((6, 6)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    score_map = np.clip(smooth + rng.normal(0, 0.001, shape), 0, 1)
    height, width = shape
    truth = np.array([[0, 0, width - 1, height - 1], [width // 3, height // 3, width - 1, height // 2]])
    thresholds = np.linspace(0, 1, 256)
    plain = best_ious(candidate_boxes(score_map, thresholds, multi_contour), truth)
    np.testing.assert_array_equal(map_ious(score_map, thresholds, truth, multi_contour), plain)


@pytest.mark.parametrize("thresholds", [[], [1.0], [0.7, 0.1, 1.0, 1.5], [-0.5, 0.5]])
@pytest.mark.parametrize("multi_contour", [True, False])
def test_custom_thresholds_give_the_same_in_both_versions(thresholds, multi_contour):
    score_map, truth = np.random.default_rng(0).random((9, 7)), np.array([[0, 0, 5, 5]])
    plain = best_ious(candidate_boxes(score_map, thresholds, multi_contour), truth)
    np.testing.assert_array_equal(map_ious(score_map, thresholds, truth, multi_contour), plain)


@pytest.mark.parametrize("multi_contour", [True, False])
def test_the_compiled_version_equals_the_plain_one(multi_contour):
    assert differing_cases(0, 1_500, multi_contour) == 0


@pytest.mark.slow
@pytest.mark.parametrize("multi_contour", [True, False])
def test_the_compiled_version_equals_the_plain_one_in_many_cases(multi_contour):
    assert differing_cases(1, 10_000, multi_contour) == 0
