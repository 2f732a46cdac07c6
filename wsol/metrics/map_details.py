"""What single score maps look like: each image's predicted box, and the analysis of appendix 0.F.1 of Cole et al. (2022).

In: a score map, its image's true boxes at the map's size, score-map thresholds. Out: one record an image, and their summary.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from wsol.metrics.boxes import boxes_above, boxes_at, calculate_multiple_iou, levels_of, map_ious, quantize


@dataclass
class MapDetails:
    """One image, its map of `map_size` (w, h): at `threshold`, the box (x0, y0, x1, y1) that counts there, in the map's
    pixels, and its IoU; the best IoU at any threshold; and at the analysis' threshold the predicted over the true area, the
    activation inside over outside (None if there is none outside), and the number of connected components."""

    image_id: str
    map_size: tuple[int, int]
    threshold: float
    box: tuple[int, int, int, int]
    iou: float
    best_iou: float
    area_ratio: float
    activation_ratio: float | None
    num_components: int


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def _inside(shape: tuple[int, int], true_boxes: np.ndarray) -> np.ndarray:
    """Return bool (H, W): the pixels in any true box, both ends counted."""
    inside = np.zeros(shape, dtype=bool)
    for x0, y0, x1, y1 in true_boxes:
        inside[y0 : y1 + 1, x0 : x1 + 1] = True
    return inside


class Analysis(NamedTuple):
    """What a map looks like (appendix 0.F.1): at a score-map threshold the area of the largest contour's box over that of
    the true box, and the number of connected components (None without a threshold); the activation inside over outside the
    true boxes, None if there is none outside."""

    area_ratio: float | None
    activation_ratio: float | None
    num_components: int | None


def analyze_map(score_map: np.ndarray, true_boxes: np.ndarray, threshold: float | None) -> Analysis:
    """Return the analysis of a score map, float (H, W), against true boxes, int (m, 4), at the map's size: the area of the
    one that fits best, the inside of any."""
    scores = np.asarray(score_map, dtype=np.float64)
    inside = _inside(scores.shape, true_boxes)
    outside_sum = float(scores[~inside].sum())
    activation = float(scores[inside].sum()) / outside_sum if outside_sum > 0 else None
    if threshold is None:
        return Analysis(None, activation, None)
    quantized = quantize(scores)
    level = int(levels_of(quantized, [threshold])[0])
    largest = boxes_above(quantized, level, False)
    fitting = true_boxes[calculate_multiple_iou(largest, true_boxes)[0].argmax()]
    components = cv2.connectedComponents((quantized > level).astype(np.uint8), connectivity=8)[0] - 1
    return Analysis(_area(largest[0].tolist()) / _area(fitting.tolist()), activation, components)


def describe_map(
    image_id: str,
    score_map: np.ndarray,
    true_boxes: np.ndarray,
    thresholds: Sequence[float],
    threshold: float,
    analysis_threshold: float,
    multi_contour: bool,
) -> MapDetails:
    """Return the details of a score map, float (H, W), against true boxes, int (m, 4), at the map's size.

    Of the boxes that the rule allows (`multi_contour`, or only the largest contour's), the one with the best IoU counts.
    The analysis is `analyze_map` at `analysis_threshold`.
    """
    scores = np.asarray(score_map, dtype=np.float64)
    boxes = boxes_at(scores, threshold, multi_contour)
    ious = calculate_multiple_iou(boxes, true_boxes).max(axis=1)
    chosen = int(ious.argmax())
    return MapDetails(
        image_id=image_id,
        map_size=scores.shape[::-1],
        threshold=threshold,
        box=tuple(boxes[chosen].tolist()),
        iou=float(ious[chosen]),
        best_iou=float(map_ious(scores, thresholds, true_boxes, multi_contour).max()),
        **analyze_map(scores, true_boxes, analysis_threshold)._asdict(),
    )


def summarize(details: Iterable[MapDetails], threshold: float) -> dict:
    """Return the mean and median of the analysis (appendix 0.F.1) over images, and how many have no activation outside."""
    details = list(details)
    columns: dict[str, list[float]] = {
        "area_ratio": [one.area_ratio for one in details],
        "activation_ratio": [one.activation_ratio for one in details if one.activation_ratio is not None],
        "num_components": [one.num_components for one in details],
    }
    summary: dict = {"score_map_threshold": threshold, "images": len(details)}
    summary["images_without_activation_outside"] = len(details) - len(columns["activation_ratio"])
    for name, values in columns.items():
        summary[name] = {
            "mean": math.fsum(values) / len(values) if values else None,
            "median": float(np.median(values)) if values else None,
        }
    return summary
