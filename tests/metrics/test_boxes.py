"""Boxes of score maps, and boxes against boxes, by slow versions of the same rules."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsol.metrics.boxes import (
    best_ious,
    boxes_at,
    calculate_multiple_iou,
    candidate_boxes,
    compute_bboxes_from_scoremaps,
    resize_bbox,
)

THRESHOLDS = np.arange(0, 1, 0.05)


score_maps = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1))


def slow_boxes(score_map, threshold, multi_contour):
    """The rule as it is written, one threshold at a time."""
    q = (score_map.astype(np.float64) * 255).astype(np.uint8)
    kept = (q > int(threshold * q.max())).astype(np.uint8)
    contours = cv2.findContours(kept, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return [[0, 0, 0, 0]]
    if not multi_contour:
        areas = [cv2.contourArea(c) for c in contours]
        contours = [contours[areas.index(max(areas))]]
    boxes = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        boxes.append([x, y, min(x + w, q.shape[1] - 1), min(y + h, q.shape[0] - 1)])
    return boxes


def slow_iou(a, b):
    """Count the pixels both boxes hold."""
    pixels_a = {(x, y) for x in range(a[0], a[2] + 1) for y in range(a[1], a[3] + 1)}
    pixels_b = {(x, y) for x in range(b[0], b[2] + 1) for y in range(b[1], b[3] + 1)}
    return len(pixels_a & pixels_b) / len(pixels_a | pixels_b)


@settings(deadline=None, max_examples=150)
@given(score_maps, st.booleans())
def test_boxes_equal_one_threshold_at_a_time(score_map, multi_contour):
    boxes, counts = compute_bboxes_from_scoremaps(score_map, THRESHOLDS, multi_contour)
    assert [b.tolist() for b in boxes] == [slow_boxes(score_map, t, multi_contour) for t in THRESHOLDS]
    assert counts == [len(b) for b in boxes]


def test_a_hole_has_a_box_of_the_foreground_around_it():
    ring = np.zeros((9, 9))
    ring[1:8, 1:8] = 1
    ring[3:6, 3:6] = 0
    boxes, _ = compute_bboxes_from_scoremaps(ring, [0.5], multi_contour_eval=True)
    assert sorted(boxes[0].tolist()) == [[1, 1, 8, 8], [2, 2, 7, 7]]


def test_a_map_of_zeros_gives_one_box_of_zeros_everywhere():
    boxes, counts = compute_bboxes_from_scoremaps(np.zeros((4, 5)), THRESHOLDS)
    assert counts == [1] * len(THRESHOLDS)
    assert not np.concatenate(boxes).any()


boxes_strategy = st.lists(
    st.tuples(*[st.integers(0, 12)] * 4).map(lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))),
    min_size=1,
    max_size=4,
)


@given(boxes_strategy, boxes_strategy)
def test_iou_counts_pixels_with_both_ends(a, b):
    expected = [[slow_iou(x, y) for y in b] for x in a]
    np.testing.assert_allclose(calculate_multiple_iou(np.array(a), np.array(b)), expected, rtol=1e-12)


@pytest.mark.parametrize("box", [(3, 0, 2, 5), (0, 3, 5, 2), (-1, 0, 2, 2)])
def test_negative_and_inverted_boxes_are_runtime_errors(box):
    good = np.array([[0, 0, 1, 1]])
    with pytest.raises(RuntimeError, match="box"):
        calculate_multiple_iou(np.array([box]), good)
    with pytest.raises(RuntimeError, match="box"):
        resize_bbox(box, (10, 10), (224, 224))


def test_unsigned_boxes_do_not_wrap_around():
    a, b = np.array([[0, 0, 3, 3]], np.uint8), np.array([[200, 200, 210, 210]], np.uint8)
    assert calculate_multiple_iou(a, b).item() == 0


@pytest.mark.parametrize(("bad", "error"), [(np.full((2, 2), np.nan), ValueError), ([[0.5]], TypeError)])
def test_boxes_of_no_score_map(bad, error):
    with pytest.raises(error, match="score map"):
        compute_bboxes_from_scoremaps(bad, THRESHOLDS)
    assert compute_bboxes_from_scoremaps(np.zeros((2, 2)), []) == ([], [])


def test_resize_truncates_and_does_not_clip():
    assert resize_bbox((1, 1, 3, 4), (3, 4), (224, 224)) == (74, 56, 224, 224)
    assert resize_bbox((60, 27, 385, 331), (500, 335), (224, 224)) == (26, 18, 172, 221)


@settings(deadline=None, max_examples=50)
@given(score_maps, st.booleans())
def test_best_iou_is_the_best_of_all_pairs(score_map, multi_contour):
    truth = np.array([[0, 0, 2, 1], [1, 1, 4, 4]])
    got = best_ious(candidate_boxes(score_map, THRESHOLDS, multi_contour), truth)
    expected = [
        max(slow_iou(box, true) for box in slow_boxes(score_map, t, multi_contour) for true in truth.tolist())
        for t in THRESHOLDS
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@given(score_maps, st.floats(0, 0.999), st.booleans())
def test_boxes_at_one_threshold(score_map, threshold, multi_contour):
    assert boxes_at(score_map, threshold, multi_contour).tolist() == slow_boxes(score_map, threshold, multi_contour)
