"""What an evaluation scores: saved maps, what a run kept of its images, the Center baseline, or a detector's boxes.

Each yields one `Scored` per image, which `count` adds to an evaluator; sources with maps also describe each map."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from wsol.core import registry
from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError, ScoreMapError
from wsol.core.processes import map_chunks
from wsol.core.progress import progress
from wsol.data.masks import VIEW
from wsol.maps.center import center_map
from wsol.maps.normalize import normalize_raw_map
from wsol.maps.refine_saved import RefineSaved
from wsol.maps.score_maps import ScoreMapFiles, read_score_map
from wsol.metrics.boxes import Candidates, candidate_boxes, resize_bbox
from wsol.metrics.detections import Detection
from wsol.metrics.evaluators import BoxEvaluator
from wsol.metrics.images_file import ImagesFile
from wsol.metrics.map_details import MapDetails, describe_map
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import SplitEvaluator

KEPT_SIZES = 4  # of Center: maps mostly have one size


def _read_resized(path: Path, map_size: int | None, max_megapixels: float) -> tuple[np.ndarray, str]:
    score_map, kind = read_score_map(path, max_megapixels)
    if map_size and score_map.min() == score_map.max():  # resized, it might differ from itself by rounding
        score_map = np.zeros((map_size, map_size))
    elif map_size:
        score_map = normalize_raw_map(score_map, (map_size, map_size))
    return score_map, kind


Result = TypeVar("Result")


@dataclass
class _ReadAnd:
    """The work of one process: read the maps of some images, `refine` them and apply `function`, both of (map, id)."""

    paths: dict[str, Path]
    function: Callable
    read: Callable[[Path], tuple[np.ndarray, str]]
    refine: RefineSaved | None = None

    def __call__(self, image_ids: Sequence[str]) -> list[tuple]:
        results = []
        for image_id in image_ids:
            score_map, kind = self.read(self.paths[image_id])
            if self.refine is not None:
                score_map = self.refine(score_map, image_id)
            results.append((self.function(score_map, image_id), kind))
        return results


@dataclass
class SavedMaps:
    """Score maps of a folder, read by `workers` processes (0: this one), resized to a side of `map_size` where given, then
    refined where `refine` is."""

    files: ScoreMapFiles
    workers: int = 0
    map_size: int | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    refine: RefineSaved | None = None

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return str(self.files.root)

    @property
    def _read(self) -> Callable[[Path], tuple[np.ndarray, str]]:
        return partial(_read_resized, map_size=self.map_size, max_megapixels=self.max_megapixels)

    def size_of(self, image_id: str) -> tuple[int, int]:
        """Return the size (w, h) at which an image's map is scored."""
        return self._read(self.files.paths[image_id])[0].shape[::-1]

    def _apply(self, function: Callable, image_ids: Sequence[str], what: str) -> Iterator:
        """Yield function(score map, image id) in order; maps of two kinds raise ScoreMapError."""
        first: tuple[str, str] | None = None
        results = map_chunks(_ReadAnd(self.files.paths, function, self._read, self.refine), image_ids, self.workers)
        for image_id, (result, kind) in zip(image_ids, progress(results, what, len(image_ids)), strict=True):
            first = first or (image_id, kind)
            if kind != first[1]:
                one, other = self.files.paths[first[0]], self.files.paths[image_id]
                raise ScoreMapError(f"a mixture of kinds: {one} is {first[1]}, {other} is {kind}; expected one kind")
            yield result

    def score(self, evaluator: SplitEvaluator) -> Iterator[Scored]:
        """Yield what every map gives."""
        return self._apply(evaluator.score, evaluator.image_ids, "scoring")

    def each(self, function: Callable[[np.ndarray, str], Result], image_ids: Sequence[str]) -> Iterator[Result]:
        """Yield function(score map, image id) of every image, in order; it can be pickled."""
        return self._apply(function, image_ids, "describing")


@dataclass
class Center:
    """The Center baseline: one map of side x side pixels for every image, or of the size (w, h) in `sizes`, that of the
    map of the same image that it is compared with."""

    side: int = VIEW[0]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def size_of(self, image_id: str) -> tuple[int, int]:
        """Return the size (w, h) of an image's map."""
        return self.sizes.get(image_id, (self.side, self.side))

    def score(self, evaluator: SplitEvaluator) -> Iterator[Scored]:
        """Yield what it gives for every image."""
        boxes, masks = evaluator.boxes, evaluator.masks

        @lru_cache(KEPT_SIZES)
        def boxes_of(size: tuple[int, int]) -> Candidates:
            rule = evaluator.require_boxes()
            return candidate_boxes(_center_map(size), rule.cam_threshold_list, rule.multi_contour_eval)

        for image_id in progress(evaluator.image_ids, "Center"):
            size = self.size_of(image_id)
            bits = boxes.score_candidates(boxes_of(size), size[::-1], image_id) if boxes else None
            pixels = masks.score(_center_map(size), image_id) if masks else None
            yield Scored(image_id, bits, pixels, size)

    def each(self, function: Callable[[np.ndarray, str], Result], image_ids: Sequence[str]) -> Iterator[Result]:
        """Yield function(score map, image id) of every image, in order."""
        for image_id in progress(image_ids, "describing"):
            yield function(_center_map(self.size_of(image_id)), image_id)


@lru_cache(KEPT_SIZES)
def _center_map(size: tuple[int, int]) -> np.ndarray:
    return center_map(size[1], size[0])


@dataclass
class SavedImages:
    """What a run's images gave, from its `<split>_images.npz`."""

    file: ImagesFile

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self.file.path)

    def size_of(self, image_id: str) -> tuple[int, int]:
        """Return the size (w, h) at which an image's map was scored."""
        return self.file.images[image_id].size or VIEW

    def score(self, evaluator: SplitEvaluator) -> Iterator[Scored]:
        """Yield what every image gave."""
        return (self.file.images[image_id] for image_id in evaluator.image_ids)


@dataclass
class Detections:
    """A detector's boxes; an image without one counts as wrong.

    side: they are scored in the view of side x side pixels that a map of this size has, edges truncated; None: in the
        images' own pixels.
    """

    boxes: dict[str, Detection]
    side: int | None = None

    @property
    def _shape(self) -> tuple[int, int] | None:
        return (self.side, self.side) if self.side else None

    def _viewed(self, evaluator: SplitEvaluator, image_id: str) -> Detection | None:
        box = self.boxes.get(image_id)
        if box is None or not self.side:
            return box
        x0, y0, x1, y1 = resize_bbox(box, evaluator.require_boxes().image_sizes[image_id], (self.side, self.side))
        return x0, y0, x1, y1

    def score(self, evaluator: SplitEvaluator) -> Iterator[Scored]:
        """Yield what the box of every image gives."""
        boxes = evaluator.require_boxes()
        for image_id in evaluator.image_ids:
            yield Scored(image_id, boxes.score_box(self._viewed(evaluator, image_id), image_id, self._shape))

    def rows(self, evaluator: SplitEvaluator) -> list[dict]:
        """Return one row per image: its box in pixels and its IoU."""
        boxes, rows = evaluator.require_boxes(), []
        for image_id in evaluator.scored_ids:
            box = self.boxes.get(image_id)
            edges = dict(zip(("x0", "y0", "x1", "y1"), box or [None] * 4, strict=True))
            viewed = self._viewed(evaluator, image_id)
            iou = boxes.box_iou(viewed, image_id, self._shape) if viewed else 0.0
            rows.append({"image_id": image_id, **edges, "iou": iou})
        return rows


Source = SavedMaps | SavedImages | Center | Detections


def count(source: Source, evaluator: SplitEvaluator, ranks: Mapping[str, int] | None = None) -> None:
    """Count all images of an evaluator; `ranks`, if known, are the ranks of their true classes among the logits."""
    for scored in source.score(evaluator):
        evaluator.add(scored._replace(rank=ranks[scored.image_id]) if ranks else scored)


@dataclass
class Measure:
    """The metrics of some names (`registry.names("metrics")`) against an evaluator's truth."""

    boxes: BoxEvaluator
    names: tuple[str, ...]

    def __call__(self, score_map: np.ndarray, image_id: str) -> list[float]:
        """Return every metric of an image's score map, float (H, W).

        Raises:
            InputError: a metric gave something else than a number in [0, 1].
        """
        true_boxes = self.boxes.true_boxes(image_id, score_map.shape)
        values = [float(registry.find("metrics", name)(score_map, true_boxes)) for name in self.names]
        for name, value in zip(self.names, values, strict=True):
            if not 0 <= value <= 1:  # NaN is not
                raise InputError(f"{image_id}: the metric {name} gave {value}; expected a number from 0 to 1")
        return values


@dataclass
class Describe:
    """`describe_map` with an evaluator's truth and rule, at a threshold for the box and one for the analysis."""

    boxes: BoxEvaluator
    threshold: float
    analysis_threshold: float

    def __call__(self, score_map: np.ndarray, image_id: str) -> MapDetails:
        """Return the details of an image's score map, float (H, W)."""
        return describe_map(
            image_id,
            score_map,
            self.boxes.true_boxes(image_id, score_map.shape),
            self.boxes.cam_threshold_list,
            self.threshold,
            self.analysis_threshold,
            self.boxes.multi_contour_eval,
        )

    def row(self, details: MapDetails) -> dict:
        """Return the details as a row of a table, the box in the image's own pixels."""
        width, height = self.boxes.image_sizes[details.image_id]
        scale = (width / details.map_size[0], height / details.map_size[1]) * 2
        edges = {
            name: round(edge * factor, 2)
            for name, edge, factor in zip(("x0", "y0", "x1", "y1"), details.box, scale, strict=True)
        }
        return {
            "image_id": details.image_id,
            "threshold": details.threshold,
            **edges,
            "iou": details.iou,
            "best_iou": details.best_iou,
            "area_ratio": details.area_ratio,
            "activation_ratio": details.activation_ratio,
            "num_components": details.num_components,
        }
