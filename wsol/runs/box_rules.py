"""How a trained model draws boxes on photos whose truth nobody knows: the score-map threshold, and how much to believe one.

Both come from the boxes of val, apart for maps of given and of predicted classes. In: a restored model, val's images and
boxes. Out: a `BoxRule` for each way, plain numbers that a checkpoint holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from wsol.core.plain_values import is_number, is_whole
from wsol.core.processes import map_beside
from wsol.data.truth import SOURCES
from wsol.maps.class_maps import ClassMap, PhotoMaps
from wsol.maps.normalize import normalize_raw_map
from wsol.metrics.boxes import map_ious
from wsol.metrics.calibration import FOLDS, LEAST_IMAGES, REACHED, Calibration, constant, fit_calibration, folds_of
from wsol.metrics.evaluators import BoxEvaluator
from wsol.metrics.map_signs import (
    CLASS_SIGNS,
    LEVEL_SIGNS,
    MAP_SIGNS,
    Components,
    class_signs,
    level_signs,
    map_signs,
    strong_components,
)
from wsol.metrics.reliability import reliability

INTERVAL = 0.01  # between the thresholds that are tried


class Looked(NamedTuple):
    """A map at a threshold: its components, and its signs for the calibration."""

    components: Components
    signs: list[float]


def sign_names(classifies: bool, levels: int) -> tuple[str, ...]:
    """Return the names of the signs of a model that tells classes apart or not, with maps at so many coarser levels."""
    return (*MAP_SIGNS, *(CLASS_SIGNS if classifies else ()), *(LEVEL_SIGNS if levels else ()))


def look_at(
    score_map: np.ndarray, threshold: float, found: ClassMap, probabilities: np.ndarray | None, size: tuple[int, int]
) -> Looked:
    """Return the components of a score map, float64 (H, W) of `size` (w, h), at a threshold, and its signs."""
    components = strong_components(score_map, threshold)
    signs = map_signs(score_map, threshold, components)
    if probabilities is not None:
        signs += class_signs(probabilities, found.label)
    if found.coarser:
        coarser = [normalize_raw_map(raw_map, size) for raw_map in found.coarser]
        signs += level_signs(components.boxes[0], coarser, threshold)
    return Looked(components, signs)


@dataclass(frozen=True)
class BoxRule:
    """How boxes are drawn for maps of given, or of predicted, classes.

    threshold: of score maps, in [0, 1); the box is that of the largest contour there.
    accuracy: percent of the images whose box reaches an IoU of 50 % there, MaxBoxAcc under this rule.
    images: how many images of val it comes from.
    source: whether their boxes are true or pseudo boxes.
    calibration: from signs to belief; None: too few images.
    cross_fitted: figures of belief on images that neither threshold nor calibration had seen; None with the calibration.
    """

    threshold: float
    accuracy: float
    images: int
    source: str
    calibration: Calibration | None = None
    cross_fitted: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        calibration = self.calibration and self.calibration.to_dict()
        cross_fitted = None if self.cross_fitted is None else dict(self.cross_fitted)
        return {**vars(self), "calibration": calibration, "cross_fitted": cross_fitted}

    @classmethod
    def from_dict(cls, content: object) -> "BoxRule":
        """Return the rule of `to_dict`.

        Raises:
            ValueError: it is not one, says why.
        """
        if not isinstance(content, dict) or set(content) != set(cls.__dataclass_fields__):
            raise ValueError("not the fields of a rule")
        if not (is_number(content["threshold"]) and 0 <= content["threshold"] < 1):
            raise ValueError("threshold: not a number in [0, 1)")
        if not (is_number(content["accuracy"]) and 0 <= content["accuracy"] <= 100 and is_whole(content["images"], 1)):
            raise ValueError("accuracy or images: no percentage, or no number from 1")
        if content["source"] not in SOURCES:
            raise ValueError(f"source: not one of {', '.join(SOURCES)}")
        calibration, figures = content["calibration"], content["cross_fitted"]
        if calibration is not None:
            calibration = Calibration.from_dict(calibration) if isinstance(calibration, dict) else None
            valid = isinstance(figures, dict) and all(isinstance(name, str) and is_number(figures[name]) for name in figures)
            if not (calibration and valid):
                raise ValueError("calibration or cross_fitted: not what belongs there")
        return cls(**{**content, "calibration": calibration})


class Sample(NamedTuple):
    """A map of a validation image: raw, the class probabilities, and per score-map threshold the IoU of its box, float64."""

    found: ClassMap
    probabilities: np.ndarray | None
    size: tuple[int, int]
    true_boxes: np.ndarray
    ious: np.ndarray


THRESHOLDS = np.arange(0, 1, INTERVAL)


def take_samples(photos: Iterable[PhotoMaps], boxes: BoxEvaluator, ways: Sequence[str]) -> dict[str, dict[str, Sample]]:
    """Return every photo's samples by its id and way, its maps scored in threads next to the network.

    Two ways with the same class share a sample.
    """

    def score(photo: PhotoMaps) -> dict[str, Sample]:
        true_boxes = boxes.true_boxes(photo.image_id, photo.size[::-1])
        by_label: dict[int, Sample] = {}
        for found in photo.maps.values():
            if found.label not in by_label:
                ious = map_ious(normalize_raw_map(found.raw_map, photo.size), THRESHOLDS, true_boxes, False)
                by_label[found.label] = Sample(found, photo.probabilities, photo.size, true_boxes, ious)
        return {way: by_label[photo.maps[way].label] for way in ways}

    return {photo.image_id: samples for photo, samples in map_beside(score, photos)}


def fit_rule(samples: Sequence[Sample], source: str, seed: int) -> BoxRule:
    """Return the rule that val's samples give.

    The threshold has the highest accuracy at an IoU of 50 %, the lowest on ties. The calibration is fitted to all samples at
    this threshold. The figures are of FOLDS parts, drawn from the seed; each part's come from a threshold and a calibration
    of the others: the expected calibration error of both beliefs, their Brier scores, and those of a constant. A belief that
    is not better than the constant there becomes the constant.
    """
    ious = np.stack([sample.ious for sample in samples])
    right = ious >= REACHED
    chosen = int(right.mean(axis=0).argmax())
    rule = partial(BoxRule, float(THRESHOLDS[chosen]), float(100 * right[:, chosen].mean()), len(samples), source)
    if len(samples) < LEAST_IMAGES:
        return rule()
    names = sign_names(samples[0].probabilities is not None, len(samples[0].found.coarser))
    signs_at: dict[int, np.ndarray] = {}

    def signs(index: int) -> np.ndarray:
        if index not in signs_at:
            threshold = float(THRESHOLDS[index])
            signs_at[index] = np.array([look for _, look in map_beside(partial(_signs, threshold=threshold), samples)])
        return signs_at[index]

    folds = folds_of(len(samples), seed)
    expected, reaches, had = (np.zeros(len(samples)) for _ in range(3))
    constant_iou, constant_reaches = np.zeros(len(samples)), np.zeros(len(samples))
    for fold in range(FOLDS):
        rest, own = folds != fold, folds == fold
        index = int(right[rest].mean(axis=0).argmax())
        fitted = fit_calibration(names, signs(index)[rest], ious[rest, index])
        expected[own], reaches[own] = fitted.predict(signs(index)[own])
        had[own] = ious[own, index]
        constant_iou[own], constant_reaches[own] = ious[rest, index].mean(), right[rest, index].mean()
    of_iou, of_reaching = reliability(expected, had, 0), reliability(reaches, had >= REACHED, 0)
    figures = {
        "expected_iou_ece": of_iou.ece,
        "expected_iou_brier": of_iou.brier,
        "expected_iou_brier_of_constant": float(((constant_iou - had) ** 2).mean()),
        "reaches_50_ece": of_reaching.ece,
        "reaches_50_brier": of_reaching.brier,
        "reaches_50_brier_of_constant": float(((constant_reaches - (had >= REACHED)) ** 2).mean()),
        "accuracy": float(100 * (had >= REACHED).mean()),
    }
    fitted = fit_calibration(names, signs(chosen), ious[:, chosen])
    if figures["expected_iou_brier"] >= figures["expected_iou_brier_of_constant"]:
        fitted = replace(fitted, expected_iou=constant(ious[:, chosen], len(names)))
    if figures["reaches_50_brier"] >= figures["reaches_50_brier_of_constant"]:
        fitted = replace(fitted, reaches_50=constant(right[:, chosen].astype(np.float64), len(names)))
    return rule(fitted, figures)


def _signs(sample: Sample, threshold: float) -> list[float]:
    score_map = normalize_raw_map(sample.found.raw_map, sample.size)
    return look_at(score_map, threshold, sample.found, sample.probabilities, sample.size).signs
