"""What a model says of one photo: its class, its boxes in the photo's pixels, and how much to believe them.

In: the photo's maps, the model's classes and box rules. Out: a `Localization`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wsol.core.errors import OptionError
from wsol.maps.class_maps import GIVEN, PREDICTED, PhotoMaps
from wsol.maps.normalize import normalize_raw_map
from wsol.maps.refine import refine
from wsol.metrics.calibration import Calibration
from wsol.runs.box_rules import look_at
from wsol.runs.predictor import Predictor

OBJECT = "object"  # the label from a method that tells no classes apart
SURE = 0.5  # a predicted class with a lower confidence is called unsure
SEVERAL, UNSURE, NOTHING = "several strong regions", "class unsure", "nothing found"  # warnings

Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class Localization:
    """What a model says of one photo.

    file: its name, None for one that came as pixels.
    size: (w, h) of the upright photo in pixels.
    label, label_source: the class, and whether it was given or predicted.
    number: the class's label in the model; None from a method that tells no classes apart.
    confidence: the class's probability; None from a method that tells no classes apart.
    boxes: of the largest component, then of other strong ones: x0, y0, x1, y1 in pixels of the upright photo; may be empty.
    scores: of each box; see `Judge`.
    expected_iou, reaches_50: of the first box, see `Calibration`; None where the checkpoint has no calibration, or no box.
    ancestors: coarser level to the name of the class there, finest first.
    top: the most probable classes and their probabilities.
    warnings: what speaks against the box.
    score_map: float64 (H, W) in [0, 1] of the network's input size, for the whole photo; None from a detector.
    """

    file: str | None
    size: tuple[int, int]
    label: str
    label_source: str
    number: int | None
    confidence: float | None
    boxes: tuple[Edges, ...]
    scores: tuple[float, ...]
    expected_iou: float | None
    reaches_50: float | None
    ancestors: Mapping[str, str]
    top: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]
    score_map: np.ndarray | None = None

    @property
    def box(self) -> Edges | None:
        """The box of the largest component, None if nothing was found."""
        return self.boxes[0] if self.boxes else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the score map as plain values for JSON, probabilities to four decimals."""
        return {
            "file": self.file,
            "width": self.size[0],
            "height": self.size[1],
            "label": self.label,
            "label_source": self.label_source,
            "class": self.number,
            "confidence": _rounded(self.confidence),
            "boxes": [
                {"box": list(box), "score": _rounded(score)} for box, score in zip(self.boxes, self.scores, strict=True)
            ],
            "expected_iou": _rounded(self.expected_iou),
            "reaches_50": _rounded(self.reaches_50),
            "ancestors": dict(self.ancestors),
            "top": [[name, _rounded(probability)] for name, probability in self.top],
            "warnings": list(self.warnings),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def to_photo(box: Sequence[int], size: tuple[int, int], photo_size: tuple[int, int]) -> Edges:
    """Return a box in whole pixels of a map of `size` (w, h) as edges in pixels of the photo.

    Each edge is moved up to the next whole pixel, of photos smaller than the map to the next hundredth (of those a few
    pixels wide, ten-thousandth). Scaled back to the map and truncated, as true boxes are, it is the same box again.

    >>> to_photo((0, 10, 100, 223), (224, 224), (500, 300))
    (0.0, 14.0, 224.0, 299.0)
    >>> to_photo((0, 10, 100, 223), (224, 224), (112, 300))
    (0.0, 14.0, 50.01, 299.0)
    """
    edges = []
    for number, edge in enumerate(box):
        side, whole = size[number % 2], photo_size[number % 2]
        exact = edge * whole / side
        if whole >= side:
            edges.append(float(math.ceil(round(exact, 9))))
        else:
            digits = 2 if 100 * whole > side else 4
            edges.append(round(math.floor(exact * 10**digits + 1) / 10**digits, digits) if edge else 0.0)
    return edges[0], edges[1], edges[2], edges[3]


@dataclass
class Judge:
    """Turns a photo's maps into its localization.

    rules: the box rule of each way; a checkpoint without rules needs a `threshold`.
    threshold: of score maps, in place of the rules'; without their calibration, which is of their own threshold.
    max_boxes: at most so many boxes, one per strong component (`strong_components`).
    top_k: how many classes are named.

    A box's score is the probability that its IoU reaches 50 %, where the checkpoint has a calibration, otherwise the class's
    confidence, otherwise 1; of further boxes, times the part of the largest component's area that theirs has.
    """

    predictor: Predictor
    threshold: float | None = None
    max_boxes: int = 1
    top_k: int = 1

    def __post_init__(self) -> None:
        """Check that there is a threshold.

        Raises:
            InputError: neither the checkpoint nor the caller gives one.
        """
        if self.threshold is None and not self.predictor.box_rules and not self.detects:
            raise OptionError(
                "threshold",
                "none",
                f"{self.predictor.path} has no box rule for these maps; expected a number in [0, 1), such as 0.2",
            )

    @property
    def detects(self) -> bool:
        """Whether the model gives boxes, not maps."""
        return self.predictor.detects

    def rule(self, way: str) -> tuple[float, Calibration | None]:
        """Return (the threshold, the calibration at it) for maps of given or predicted classes."""
        if self.threshold is not None:
            return self.threshold, None
        rules = self.predictor.box_rules
        chosen = rules.get(way) or rules[GIVEN]  # a method that tells no classes apart has one for both
        return chosen.threshold, chosen.calibration

    def __call__(self, photo: PhotoMaps, given: bool = False) -> Localization:
        """Return what the model says of a photo; `given`: its class was given."""
        way = GIVEN if given else PREDICTED
        probabilities = photo.probabilities
        found = photo.maps.get(GIVEN)
        names = self.predictor.class_names
        label = OBJECT if probabilities is None or found is None else names[found.label]
        said = Localization(
            file=photo.image_id or None,
            size=photo.photo_size,
            label=label,
            label_source=way,
            number=None,
            confidence=None,
            boxes=(),
            scores=(),
            expected_iou=None,
            reaches_50=None,
            ancestors={},
            top=(),
            warnings=(NOTHING,),
        )
        if found is None:
            return self._detected(said, photo)
        if probabilities is not None:
            best = np.argsort(-probabilities, kind="stable")[: self.top_k].tolist()
            said = replace(
                said,
                number=found.label,
                confidence=float(probabilities[found.label]),
                ancestors=self.predictor.ancestors_of(found.label),
                top=tuple((names[i], float(probabilities[i])) for i in best),
            )
        threshold, calibration = self.rule(way)
        score_map = normalize_raw_map(found.raw_map, photo.size)
        if self.predictor.refiner is not None and photo.image is not None:
            score_map = refine(self.predictor.refiner, photo.image, score_map, photo.image_id)
        look = look_at(score_map, threshold, found, probabilities, photo.size)
        parts = look.components
        if not parts.total:
            return replace(said, score_map=score_map)
        belief = calibration.belief(look.signs) if calibration else None
        score = belief.reaches_50 if belief else 1.0 if said.confidence is None else said.confidence
        shares = [1.0, *(parts.areas[1:] / max(parts.areas[0], 1)).tolist()]
        unsure = said.confidence is not None and not given and said.confidence < SURE
        warnings = (*((SEVERAL,) if len(parts.boxes) > 1 else ()), *((UNSURE,) if unsure else ()))
        return replace(
            said,
            boxes=tuple(to_photo(box, photo.size, photo.photo_size) for box in parts.boxes[: self.max_boxes].tolist()),
            scores=tuple(score * share for share in shares[: self.max_boxes]),
            expected_iou=belief and belief.expected_iou,
            reaches_50=belief and belief.reaches_50,
            warnings=warnings,
            score_map=score_map,
        )

    def _detected(self, said: Localization, photo: PhotoMaps) -> Localization:
        if photo.box is None:
            return said
        return replace(said, boxes=(to_photo(photo.box, photo.size, photo.photo_size),), scores=(1.0,), warnings=())
