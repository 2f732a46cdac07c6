import cv2
import numpy as np
import pytest

from wsol.metrics.map_details import describe_map, summarize

THRESHOLDS = np.arange(0, 1, 0.1)


def describe(score_map, true_boxes, threshold=0.5, analysis_threshold=0.5, multi_contour=True):
    return describe_map("x", score_map, np.array(true_boxes), THRESHOLDS, threshold, analysis_threshold, multi_contour)


def test_details_by_hand():
    score_map = np.zeros((10, 20))
    score_map[1:5, 2:8] = 1.0  # box 2,1,8,5: 7 x 5 = 35
    score_map[8, 15] = 0.75  # a second component, at its corner a third
    score_map[7, 14] = 0.6
    score_map[9, 0] = 0.2  # below the threshold
    found = describe(score_map, [[2, 1, 8, 5], [12, 7, 16, 9]])
    assert (found.map_size, found.box, found.iou, found.best_iou) == ((20, 10), (2, 1, 8, 5), 1.0, 1.0)
    assert found.area_ratio == 1.0
    assert found.num_components == 2  # the diagonal neighbours are one
    assert found.activation_ratio == pytest.approx((24 + 0.75 + 0.6) / 0.2)


def test_the_box_follows_the_rule_and_the_analysis_the_largest_contour():
    score_map = np.zeros((12, 12))
    score_map[0:6, 0:6] = 1
    score_map[9:11, 9:11] = 1
    truth = [[9, 9, 11, 11]]
    assert describe(score_map, truth).box == (9, 9, 11, 11)
    largest = describe(score_map, truth, multi_contour=False)
    assert largest.box == (0, 0, 6, 6)
    assert largest.iou == 0
    assert describe(score_map, truth).area_ratio == largest.area_ratio == pytest.approx(49 / 9)


def test_activation_equals_a_plain_sum_over_pixels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        score_map = rng.random((7, 9))
        x0, y0 = rng.integers(0, 5, 2)
        x1, y1 = x0 + rng.integers(0, 5), y0 + rng.integers(0, 5)
        inside = outside = 0.0
        for y in range(7):
            for x in range(9):
                if x0 <= x <= x1 and y0 <= y <= y1:
                    inside += score_map[y, x]
                else:
                    outside += score_map[y, x]
        found = describe(score_map, [[x0, y0, x1, y1]])
        assert found.activation_ratio == pytest.approx(inside / outside)
        kept = (score_map * 255).astype(np.uint8) > int(0.5 * int((score_map * 255).max()))
        assert found.num_components == cv2.connectedComponents(kept.astype(np.uint8), connectivity=8)[0] - 1


def test_without_activation_outside_an_image_is_counted_apart():
    inside = np.zeros((8, 8))
    inside[2:4, 2:4] = 1
    half = inside.copy()
    half[6, 6] = 2 / 3
    details = [describe(score_map, [[2, 2, 4, 4]]) for score_map in (inside, np.zeros((8, 8)), half)]
    assert [one.activation_ratio for one in details] == [None, None, pytest.approx(6)]
    summary = summarize(details, 0.5)
    assert summary["images"] == 3
    assert summary["images_without_activation_outside"] == 2
    assert summary["activation_ratio"] == {"mean": pytest.approx(6), "median": pytest.approx(6)}
    assert summary["num_components"] == {"mean": 1.0, "median": 1.0}  # one, none, two
    assert summarize(details[:1], 0.5)["activation_ratio"] == {"mean": None, "median": None}
