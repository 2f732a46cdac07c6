"""What a score map shows of its box's quality without the truth: the signs from which confidence is calibrated.

In: a score map, its threshold, class probabilities, maps of coarser levels. Out: the largest component's box, the other
strong components' boxes, and a vector of signs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wsol.metrics.boxes import NO_BOX, boxes_above, calculate_multiple_iou, levels_of, quantize

MAP_SIGNS = (
    "log_area",
    "fill",
    "concentration",
    "mean_score",
    "log_components",
    "second_component",
    "stability",
    "borders",
    "off_centre",
)
CLASS_SIGNS = ("log_odds", "margin", "entropy")
LEVEL_SIGNS = ("level_agreement",)
STRONG = 0.25  # a component counts beside the largest one if its contour's area is at least this part of the largest's
NEAR = (0.8, 1.2)  # the thresholds, as multiples of the chosen one, at which the box is compared with itself
LEAST_PROBABILITY = 1e-6  # so that log-odds stay finite


class Components(NamedTuple):
    """The strong components of a score map at a threshold, the largest first.

    boxes: int64 (k, 4), x0, y0, x1, y1 in pixels of the map; the first is that of the largest contour (MaxBoxAcc's rule).
    areas: float64 (k,), of the contours, in pixels.
    total: the number of all components.
    """

    boxes: np.ndarray
    areas: np.ndarray
    total: int


def strong_components(score_map: np.ndarray, threshold: float) -> Components:
    """Return the largest component of a score map, float (H, W) in [0, 1], at a threshold, and those with at least STRONG of
    its area.

    >>> score_map = np.zeros((8, 12))
    >>> score_map[1:7, 1:5] = score_map[2:5, 8:11] = score_map[0, 11] = 1
    >>> strong_components(score_map, 0.5)
    Components(boxes=array([[ 1,  1,  5,  7],
           [ 8,  2, 11,  5]]), areas=array([15.,  4.]), total=3)
    """
    quantized = quantize(score_map)
    level = int(levels_of(quantized, [threshold])[0])
    foreground = (quantized > level).astype(np.uint8)
    contours, _ = cv2.findContours(foreground, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return Components(NO_BOX, np.zeros(1), 0)
    areas = np.array([cv2.contourArea(contour) for contour in contours])
    order = np.argsort(-areas, kind="stable")
    height, width = foreground.shape
    x, y, w, h = np.array([cv2.boundingRect(contour) for contour in contours], dtype=np.int64).T
    boxes = np.stack([x, y, np.minimum(x + w, width - 1), np.minimum(y + h, height - 1)], axis=1)
    boxes[order[0]] = boxes_above(quantized, level, False)[0]  # on ties, OpenCV's order of all contours decides
    kept = [i for place, i in enumerate(order) if not place or (areas[i] > 0 and areas[i] >= STRONG * areas[order[0]])]
    return Components(boxes[kept], areas[kept], len(contours))


def _area(box: np.ndarray) -> int:
    return int((box[2] - box[0] + 1) * (box[3] - box[1] + 1))


def map_signs(score_map: np.ndarray, threshold: float, components: Components) -> list[float]:
    """Return the values of MAP_SIGNS, which need the map alone.

    Of the box B of the largest component, in a map s of H x W pixels at threshold t:

    - log_area: log of B's part of the map; fill: the kept pixels' part of B;
    - concentration: sum of s in B over the sum of s; mean_score: mean of s;
    - log_components: log of 1 + the number of components; second_component: area of the second strongest over B's
      component's, 0 if none is strong;
    - stability: mean IoU of B with the boxes at 0.8 t and 1.2 t;
    - borders: how many of the map's four sides B touches, over 4; off_centre: distance of B's centre from the map's, over
      half its diagonal.
    """
    height, width = score_map.shape
    box, areas = components.boxes[0], components.areas
    quantized = quantize(score_map)
    levels = levels_of(quantized, [threshold, *(min(near * threshold, 0.999) for near in NEAR)])
    x0, y0, x1, y1 = box.tolist()
    part = np.s_[y0 : y1 + 1, x0 : x1 + 1]
    total = float(score_map.sum())
    near = np.concatenate([boxes_above(quantized, int(level), False) for level in levels[1:]])
    centre = np.hypot((x0 + x1) / 2 - (width - 1) / 2, (y0 + y1) / 2 - (height - 1) / 2)
    return [
        float(np.log(_area(box) / (height * width))),
        float((quantized[part] > levels[0]).mean()),
        float(score_map[part].sum()) / total if total else 0.0,
        total / score_map.size,
        float(np.log1p(components.total)),
        float(areas[1] / areas[0]) if len(areas) > 1 else 0.0,
        float(calculate_multiple_iou(near, box[None]).mean()),
        ((x0 <= 0) + (y0 <= 0) + (x1 >= width - 1) + (y1 >= height - 1)) / 4,
        float(centre / (np.hypot(width, height) / 2)),
    ]


def class_signs(probabilities: np.ndarray, label: int) -> list[float]:
    """Return the values of CLASS_SIGNS, from the probabilities of all classes, float (num_classes,), and the map's class.

    - log_odds: log p / (1 - p) of the class; margin: p minus the highest p of another class;
    - entropy: - sum p log p over log(num_classes).
    """
    known = probabilities.astype(np.float64).clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    own = known[label]
    entropy = -(known * np.log(known)).sum() / np.log(len(known))
    return [float(np.log(own / (1 - own))), float(own - np.delete(known, label).max()), float(entropy)]


def level_signs(box: np.ndarray, coarser_maps: Sequence[np.ndarray], threshold: float) -> list[float]:
    """Return the value of LEVEL_SIGNS: the mean IoU of a box, int (4,), with those of the maps of coarser levels."""
    boxes = [
        boxes_above(quantized, int(levels_of(quantized, [threshold])[0]), False) for quantized in map(quantize, coarser_maps)
    ]
    return [float(calculate_multiple_iou(np.concatenate(boxes), box[None]).mean())]
