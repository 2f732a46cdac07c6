"""Score maps to boxes, and boxes against boxes: pure functions on arrays.

Plain OpenCV, one level at a time; `map_ious`, which scores a map at all its levels, takes the compiled one-pass versions.

A box is (x0, y0, x1, y1) in pixels; both ends count (width = x1 - x0 + 1). The rules are those of wsolevaluation
(Choe et al., CVPR 2020), to the last pixel.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wsol.core.errors import BoxError
from wsol.maps.score_maps import check_score_map
from wsol.metrics.component_tree import best_iou_by_level, largest_boxes_by_level
from wsol.metrics.hole_filling import fill_holes

NO_BOX = np.zeros((1, 4), dtype=np.int64)  # what a threshold above every pixel gives


class Candidates(NamedTuple):
    """The boxes of one score map: `boxes` int64 (k, 4), boxes[starts[i] : starts[i + 1]] belong to level i, and
    `level_of` int64 (number of thresholds,) gives each threshold's level."""

    boxes: np.ndarray
    starts: np.ndarray
    level_of: np.ndarray


def quantize(score_map: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W): a score map s, any float in [0, 1], in 256 levels, q = floor(255 s).

    >>> quantize(np.array([[0.0, 0.5, 0.999, 1.0]])).tolist()
    [[0, 127, 254, 255]]
    """
    return (np.asarray(score_map, dtype=np.float64) * 255).astype(np.uint8)


def levels_of(quantized: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return int64 (number of thresholds,): the levels of a uint8 map q; threshold t keeps the pixels with q > int(t max q).

    >>> levels_of(np.array([[0, 100, 200]], dtype=np.uint8), [0.0, 0.25, 0.999]).tolist()
    [0, 50, 199]
    """
    return (np.asarray(thresholds, dtype=np.float64) * int(quantized.max())).astype(np.int64)


def boxes_above(quantized: np.ndarray, level: int, multi_contour: bool) -> np.ndarray:
    """Return int64 (k, 4): the boxes of the pixels above a level of a uint8 map, in OpenCV's order of contours."""
    foreground = (quantized > level).astype(np.uint8)
    contours, _ = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return NO_BOX
    if not multi_contour:
        contours = [max(contours, key=cv2.contourArea)]
    height, width = foreground.shape
    x, y, w, h = np.array([cv2.boundingRect(contour) for contour in contours], dtype=np.int64).T
    return np.stack([x, y, np.minimum(x + w, width - 1), np.minimum(y + h, height - 1)], axis=1)


def candidate_boxes(score_map: np.ndarray, thresholds: Sequence[float] | np.ndarray, multi_contour: bool) -> Candidates:
    """Return the boxes of a score map (H, W) in [0, 1] at every threshold.

    The map is quantised, q = uint8(255 s); threshold t keeps the pixels with q > int(t * max q). Thresholds that keep
    the same pixels (at most 255 distinct levels below 1) share their boxes. `multi_contour`: a box of every outer and hole
    contour (MaxBoxAccV2), else of the contour of the largest area, the first on ties (MaxBoxAcc).
    """
    quantized = quantize(score_map)
    distinct, level_of = np.unique(levels_of(quantized, thresholds), return_inverse=True)
    if not len(distinct):
        return Candidates(NO_BOX[:0], np.zeros(1, dtype=np.int64), level_of)
    boxes = [boxes_above(quantized, level, multi_contour) for level in distinct]
    starts = np.cumsum([0, *(len(some) for some in boxes)])
    return Candidates(np.concatenate(boxes), starts, level_of)


def boxes_at(score_map: np.ndarray, threshold: float, multi_contour: bool) -> np.ndarray:
    """Return int64 (k, 4): the boxes of a score map (H, W) in [0, 1] at one threshold; see `candidate_boxes`."""
    return candidate_boxes(score_map, [threshold], multi_contour).boxes


def compute_bboxes_from_scoremaps(
    scoremap: np.ndarray, scoremap_threshold_list: Sequence[float] | np.ndarray, multi_contour_eval: bool = False
) -> tuple[list[np.ndarray], list[int]]:
    """Return (boxes (k, 4) of every threshold, their numbers k); no contour at a threshold gives one box of zeros.

    Raises:
        TypeError, ValueError: `scoremap` is not a score map.
    """
    check_score_map(scoremap, "score map")
    candidates = candidate_boxes(scoremap, scoremap_threshold_list, multi_contour_eval)
    parts = [candidates.boxes[start:end] for start, end in zip(candidates.starts[:-1], candidates.starts[1:], strict=True)]
    boxes = [parts[level] for level in candidates.level_of]
    return boxes, [len(some) for some in boxes]


def _signed(boxes: np.ndarray) -> np.ndarray:
    """Return boxes as int64 or float64, in which differences do not wrap around."""
    boxes = np.asarray(boxes)
    return boxes.astype(np.int64 if np.issubdtype(boxes.dtype, np.integer) else np.float64)


def _check_boxes(boxes: np.ndarray) -> None:
    """Raise BoxError if `boxes` is not an (n, 4) table of boxes (x0, y0, x1, y1)."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise BoxError(f"boxes have the shape {boxes.shape}; expected (n, 4)")
    invalid = ~(boxes >= 0).all(axis=1)
    if invalid.any():
        raise BoxError(f"a box has an edge that is negative or not a number: {boxes[invalid][0].tolist()}")
    inverted = (boxes[:, 0] > boxes[:, 2]) | (boxes[:, 1] > boxes[:, 3])
    if inverted.any():
        raise BoxError(f"a box is inverted: {boxes[inverted][0].tolist()}; expected x0 <= x1 and y0 <= y1")


def calculate_multiple_iou(box_a: np.ndarray, box_b: np.ndarray) -> np.ndarray:
    """Return float64 (n, m): the IoU of every box of (n, 4) with every box of (m, 4).

    IoU(a, b) = area of a and b / (area of a + area of b - area of a and b), where a box has (x1 - x0 + 1) (y1 - y0 + 1)
    pixels.

    >>> calculate_multiple_iou(np.array([[0, 0, 9, 9]]), np.array([[0, 0, 9, 9], [5, 0, 14, 9], [10, 0, 19, 9]])).tolist()
    [[1.0, 0.3333333333333333, 0.0]]

    Raises:
        RuntimeError: a negative or inverted box.
    """
    box_a, box_b = _signed(box_a), _signed(box_b)
    _check_boxes(box_a)
    _check_boxes(box_b)
    low = np.maximum(box_a[:, None, :2], box_b[None, :, :2])
    high = np.minimum(box_a[:, None, 2:], box_b[None, :, 2:])
    intersection = np.maximum(high - low + 1, 0).prod(axis=2)
    area_a = (box_a[:, 2:] - box_a[:, :2] + 1).prod(axis=1)
    area_b = (box_b[:, 2:] - box_b[:, :2] + 1).prod(axis=1)
    return intersection / (area_a[:, None] + area_b[None, :] - intersection)


def resize_bbox(box: Sequence[float], image_size: Sequence[int], resize_size: Sequence[int]) -> tuple[int, ...]:
    """Return a box of an image scaled to another image size (both w, h); its edges are truncated, not clipped.

    >>> resize_bbox((10, 20, 299, 199), image_size=(300, 200), resize_size=(224, 224))
    (7, 22, 223, 222)

    Raises:
        RuntimeError: a negative or inverted box.
    """
    _check_boxes(np.array([box]))
    scale = [(float(new), float(old)) for new, old in zip(resize_size, image_size, strict=True)]
    return tuple(int(float(edge) * scale[i % 2][0] / scale[i % 2][1]) for i, edge in enumerate(box))


def best_ious(candidates: Candidates, true_boxes: np.ndarray) -> np.ndarray:
    """Return float64 (number of thresholds,): the best IoU of any candidate with any of the true boxes (m, 4)."""
    per_box = calculate_multiple_iou(candidates.boxes, true_boxes).max(axis=1)
    if not len(per_box):
        return per_box
    return np.maximum.reduceat(per_box, candidates.starts[:-1])[candidates.level_of]


def map_ious(
    score_map: np.ndarray, thresholds: Sequence[float] | np.ndarray, true_boxes: np.ndarray, multi_contour: bool
) -> np.ndarray:
    """Return float64 (number of thresholds,): the best IoU of a score map's boxes with the true boxes, int (m, 4).

    Equal to `best_ious(candidate_boxes(...), true_boxes)`, to the last bit.
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    if not limits.size or limits.min() < 0:
        return best_ious(candidate_boxes(score_map, limits, multi_contour), true_boxes)
    if multi_contour:
        _check_boxes(true_boxes)
        by_level = best_iou_by_level(np.ascontiguousarray(score_map, dtype=np.float64), true_boxes.astype(np.int64))
    else:
        largest = largest_boxes_by_level(fill_holes(np.ascontiguousarray(quantize(score_map))))
        by_level = calculate_multiple_iou(largest, true_boxes).max(axis=1)
    top = len(by_level)
    above = calculate_multiple_iou(NO_BOX, true_boxes).max()  # nothing is above the highest level
    return np.append(by_level, above)[np.minimum((limits * top).astype(np.int64), top)]
