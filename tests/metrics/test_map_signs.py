import numpy as np
import pytest

from wsol.metrics.boxes import boxes_at
from wsol.metrics.map_signs import MAP_SIGNS, STRONG, class_signs, level_signs, map_signs, strong_components


def blobs(*areas):
    """A map (20, 40) with squares of ones, whose sides are given, beside each other."""
    score_map, x = np.zeros((20, 40)), 1
    for side in areas:
        score_map[2 : 2 + side, x : x + side] = 1
        x += side + 2
    return score_map


def test_the_first_box_is_that_of_the_largest_contour():
    rng = np.random.default_rng(0)
    for _ in range(200):
        score_map = np.kron(rng.random((5, 6)), np.ones((4, 4)))
        threshold = float(rng.choice(np.arange(0, 1, 0.1)))
        assert (strong_components(score_map, threshold).boxes[:1] == boxes_at(score_map, threshold, False)).all()


def test_components_are_strong_from_a_part_of_the_largest_area_on():
    areas = np.array([(side - 1) ** 2 for side in (5, 11, 6, 4)])  # of polygons through pixel centres
    found = strong_components(blobs(5, 11, 6, 4), 0.5)
    assert found.areas.tolist() == [a for a in sorted(areas, reverse=True) if a >= STRONG * 100] == [100, 25]
    assert (found.total, found.boxes.tolist()) == (4, [[8, 2, 19, 13], [21, 2, 27, 8]])


def test_a_map_without_anything_has_the_empty_box():
    found = strong_components(np.zeros((6, 6)), 0.3)
    assert (found.boxes.tolist(), found.total) == ([[0, 0, 0, 0]], 0)
    assert np.isfinite(map_signs(np.zeros((6, 6)), 0.3, found)).all()


def test_the_signs_of_a_map_by_hand():
    score_map = blobs(11, 6)
    score_map[0, 0] = 0.25
    signs = dict(zip(MAP_SIGNS, map_signs(score_map, 0.5, strong_components(score_map, 0.5)), strict=True))
    box = 12 * 12  # both ends of (1, 2, 12, 13)
    assert signs["log_area"] == pytest.approx(np.log(box / 800))
    assert signs["fill"] == pytest.approx(121 / box)
    assert signs["concentration"] == pytest.approx(121 / (121 + 36 + 0.25))
    assert signs["mean_score"] == pytest.approx((121 + 36 + 0.25) / 800)
    assert signs["log_components"] == pytest.approx(np.log(3))
    assert signs["second_component"] == 0.25
    assert (signs["stability"], signs["borders"]) == (1, 0)
    assert signs["off_centre"] == pytest.approx(np.hypot(6.5 - 19.5, 7.5 - 9.5) / (np.hypot(40, 20) / 2))


def test_a_box_that_hangs_on_the_threshold_is_unstable():
    ramp = np.tile(np.linspace(0, 1, 40), (20, 1))
    sharp = map_signs(blobs(11), 0.5, strong_components(blobs(11), 0.5))
    soft = map_signs(ramp, 0.5, strong_components(ramp, 0.5))
    place = MAP_SIGNS.index("stability")
    assert soft[place] < 0.9 < sharp[place] == 1
    assert soft[MAP_SIGNS.index("borders")] == 0.75


def test_the_signs_of_classes_and_levels():
    log_odds, margin, entropy = class_signs(np.array([0.7, 0.2, 0.1], dtype=np.float32), 1)
    assert log_odds == pytest.approx(np.log(0.2 / 0.8), rel=1e-6)
    assert margin == pytest.approx(-0.5)
    assert entropy == pytest.approx(-sum(p * np.log(p) for p in (0.7, 0.2, 0.1)) / np.log(3))
    assert np.isfinite(class_signs(np.array([1.0, 0.0]), 0)).all()
    box = strong_components(blobs(11), 0.5).boxes[0]
    assert level_signs(box, [blobs(11), blobs(11)], 0.5) == [1]
    assert level_signs(box, [blobs(11), np.zeros((20, 40))], 0.5)[0] <= 0.5
