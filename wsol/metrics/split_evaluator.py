"""One evaluator for a split: scores and counts what its metadata has (boxes, masks or both) and returns the results."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsol.core.errors import InputError, OptionError, OptionName
from wsol.data.metadata import configure_metadata, first_names, get_image_ids
from wsol.data.truth import PSEUDO, SplitTruth
from wsol.metrics.evaluators import BoxEvaluator, MaskEvaluator
from wsol.metrics.scored import Scored, from_columns, to_columns

LOC_IOU = 50  # the IoU threshold, in percent, of GT-known, Top-1 and Top-5 Loc
TOP = (1, 5)
DETECTIONS = "detections"  # the box rule of a detector's boxes, which have no score-map threshold
MIN_INTERVAL = 1e-5  # for cam_curve_interval; a map has 256 levels, and the original's finest interval is 0.001
PSEUDO_BOXES = "pseudo_boxes:"  # and their hash: the kind of truth in an evaluator's settings
STATE_FORMAT = 1  # of SplitEvaluator.state_dict


class SplitEvaluator:
    """The evaluators that a split's metadata calls for, `boxes` and `masks` (None where it has none), as one.

    `truth` is read once and shared. `detections`: a detector's boxes are scored, which have no score-map threshold.

    `image_ids` are to be scored. `images` is what each image gave, in the order counted: all that there is to merge, save
    and load, apart from `counts`, the caller's own of missing maps and the like, for the results. From `images` come the
    evaluators' counts, and, by image id: `scored_ids`; `skipped_ids`, of images that could not be read; `ranks`, where
    known, each image's true class among the logits (0: top), from which the classification and Top-1 and Top-5 Loc come;
    `map_sizes`, the (w, h) of the maps.
    """

    def __init__(
        self,
        truth: SplitTruth,
        cam_curve_interval: float,
        iou_threshold_list: Sequence[int],
        multi_contour_eval: bool,
        detections: bool = False,
    ):
        self.truth, self.image_ids = truth, list(truth.image_ids)
        self.box_rule = DETECTIONS if detections else "multi_contour" if multi_contour_eval else "largest_contour"
        self.cam_curve_interval, self.iou_threshold_list = cam_curve_interval, list(iou_threshold_list)
        self.images: list[Scored] = []
        self.scored_ids: list[str] = []
        self.skipped_ids: list[str] = []
        self.map_sizes: dict[str, tuple[int, int]] = {}
        self.ranks: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        thresholds = np.arange(0, 1, 1 if detections else cam_curve_interval).tolist()  # a detector's box needs only one
        of_split = (truth.dataset_name, truth.split, thresholds)
        self.boxes: BoxEvaluator | None = None
        self.masks: MaskEvaluator | None = None
        if truth.boxes:
            ious = self.iou_threshold_list
            self.boxes = BoxEvaluator(truth.boxes, *of_split, ious, multi_contour_eval=multi_contour_eval)
        if truth.masks:
            self.masks = MaskEvaluator(truth.masks, *of_split)

    @classmethod
    def of(cls, config: Mapping, truth: SplitTruth, detections: bool = False) -> "SplitEvaluator":
        """Return the evaluator that a command's options ask for."""
        names = ("cam_curve_interval", "iou_threshold_list", "multi_contour_eval")
        return cls(truth, **{name: config[name] for name in names}, detections=detections)

    def require_boxes(self) -> BoxEvaluator:
        """Return the evaluator of boxes.

        Raises:
            InputError: the split has no true boxes.
        """
        if self.boxes is None:
            raise InputError(f"{self.truth.dataset_name} {self.truth.split} has no true boxes")
        return self.boxes

    def require_masks(self) -> MaskEvaluator:
        """Return the evaluator of masks.

        Raises:
            InputError: the split has no true masks.
        """
        if self.masks is None:
            raise InputError(f"{self.truth.dataset_name} {self.truth.split} has no true masks")
        return self.masks

    @property
    def has_ranks(self) -> bool:
        """Whether the rank of every scored image is known, so that classification can be measured."""
        return bool(self.ranks) and len(self.ranks) == len(self.scored_ids)

    def score(self, score_map: np.ndarray, image_id: str) -> Scored:
        """Return what one map gives; changes nothing, so that threads and processes may do it."""
        return Scored(
            image_id,
            self.boxes.score(score_map, image_id) if self.boxes else None,
            self.masks.score(score_map, image_id) if self.masks else None,
            score_map.shape[::-1],
        )

    def score_box(self, box: Sequence[float] | None, size: tuple[int, int], image_id: str) -> Scored:
        """Return what a detector's box gives, in pixels of a view of the image of the given (w, h); None: no box."""
        return Scored(image_id, self.require_boxes().score_box(box, image_id, size[::-1]), size=size)

    def add(self, scored: Scored) -> None:
        """Count what one image gave."""
        self.images.append(scored)
        if scored.skipped:
            self.skipped_ids.append(scored.image_id)
            return
        if self.boxes:
            self.boxes.add(scored.counts_of("boxes"), scored.image_id)
        if self.masks:
            self.masks.add(scored.counts_of("masks"))
        self.scored_ids.append(scored.image_id)
        if scored.size:
            self.map_sizes[scored.image_id] = scored.size
        if scored.rank is not None:
            self.ranks[scored.image_id] = scored.rank

    def accumulate(self, score_map: np.ndarray, image_id: str) -> None:
        """Score and count one map."""
        self.add(self.score(score_map, image_id))

    @property
    def has_pseudo_boxes(self) -> bool:
        """Whether nobody has drawn the boxes that maps are compared with."""
        return self.truth.source == PSEUDO

    @property
    def settings(self) -> dict[str, Any]:
        """What two evaluators must have in common for their counts to mean the same."""
        kinds = [name for name in ("boxes", "masks") if getattr(self, name)]
        return {
            "dataset_name": self.truth.dataset_name,
            "split": self.truth.split,
            "box_rule": self.box_rule,
            "cam_curve_interval": self.cam_curve_interval,
            "iou_threshold_list": list(self.iou_threshold_list),
            "truth": [f"{PSEUDO_BOXES}{self.truth.pseudo_hash}"] if self.has_pseudo_boxes else kinds,
        }

    def merge(self, other: "SplitEvaluator") -> None:
        """Add an evaluator of other images of the same split: the sum is exactly that of one pass over both.

        Raises:
            InputError: its settings differ, or both have counted the same image.
        """
        for name, value in self.settings.items():
            if other.settings[name] != value:
                raise InputError(f"evaluators of a different {name} cannot be merged")
        if both := {one.image_id for one in self.images} & {one.image_id for one in other.images}:
            raise InputError(f"both evaluators have counted {min(both)!r} ({len(both)} images); expected different images")
        for scored in other.images:
            self.add(scored)
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def state_dict(self) -> dict[str, Any]:
        """Return what has been counted, as dicts, lists, plain values and NumPy arrays."""
        images, counts = to_columns(self.images), dict(self.counts)
        return {"format": STATE_FORMAT, "settings": self.settings, "images": images, "counts": counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Count what an evaluator of the same split and options had counted when its `state_dict` was made.

        Raises:
            InputError: this evaluator has counted something already; the state has other settings, images or shapes.
        """
        if self.images:
            raise InputError("this evaluator has counted images already; expected a new one to load counts into")
        if not _is_same(state.get("format"), STATE_FORMAT):
            raise InputError(f"counts of format {state.get('format')!r:.60}; expected format {STATE_FORMAT}")
        if not all(isinstance(state.get(name), Mapping) for name in ("settings", "images", "counts")):
            raise InputError("counts without settings, images or counts")
        for name, value in self.settings.items():
            if not _is_same(found := state["settings"].get(name), value):
                raise InputError(f"counts for {name} {found!r:.60}; expected {value!r:.60}")
        images = from_columns(state["images"])
        if unknown := {one.image_id for one in images} - set(self.image_ids):
            raise InputError(f"counts of {len(unknown)} images that are not to be scored:" + first_names(sorted(unknown)))
        for scored in images:
            self.check_shapes(scored)
            self.add(scored)
        self.counts = dict(state["counts"])

    def check_shapes(self, scored: Scored) -> None:
        """Raise InputError if an image was scored with other kinds of truth or other thresholds than this evaluator's."""
        for truth, found in ((self.boxes, scored.boxes), (self.masks, scored.masks)):
            expected = truth.shape if truth and not scored.skipped else None
            if (None if found is None else found.shape) != expected:
                raise InputError(f"counts of {scored.image_id!r} that do not match this split and these options")

    def results(self, val_thresholds: Mapping[str, float] | None = None) -> dict:
        """Return the metrics in percent, the best score-map thresholds, and the counts they come from.

        `val_thresholds`, IoU threshold (its name, such as "50") to the score-map threshold that val chose: the accuracy
        there is what one could deploy. The results have a "box_source" only if the boxes are pseudo boxes.
        """
        results: dict = {"MaxBoxAccV2": None, "MaxBoxAcc": None, "PxAP": None}
        if self.has_pseudo_boxes:
            results["box_source"] = PSEUDO
        counts: dict = {"images": len(self.scored_ids)}
        if boxes := self.boxes:
            names = {iou: f"{iou:g}" for iou in boxes.iou_threshold_list}
            accuracies = dict(zip(names.values(), boxes.compute(), strict=True))
            best = {iou: boxes.best_index(iou) for iou in names}
            results["MaxBoxAcc"] = accuracies
            results["MaxBoxAccV2"] = self._mean(accuracies)
            results["gt_known_loc"] = accuracies.get(str(LOC_IOU))
            results["box_rule"] = self.box_rule
            results["best_threshold"] = None
            if self.box_rule != DETECTIONS:
                results["best_threshold"] = {names[iou]: boxes.cam_threshold_list[best[iou]] for iou in names}
            counts["correct"] = {names[iou]: int(boxes.num_correct[iou][best[iou]]) for iou in names}
        if masks := self.masks:
            results["PxAP"] = masks.compute()
            counts["foreground_pixels"] = int(masks.gt_true_score_hist.sum())
            counts["background_pixels"] = int(masks.gt_false_score_hist.sum())
        if self.has_ranks:
            figures, top_counts = self._top_k()
            results |= figures
            counts |= top_counts
        if val_thresholds and self.boxes:
            results |= self._at_thresholds(self.positions(val_thresholds))
        return {**results, "counts": counts | self.counts}

    def _mean(self, accuracies: Mapping[str, float]) -> float | None:
        """Return MaxBoxAccV2, which the largest contour's rule does not have."""
        return None if self.box_rule == "largest_contour" else float(np.mean(list(accuracies.values())))

    def _top_k(self) -> tuple[dict, dict]:
        """Return (figures, counts) of top-k classification, and of localization with the right class among k."""
        rank = np.array([self.ranks[image_id] for image_id in self.scored_ids])
        localized = None
        if self.boxes and LOC_IOU in self.boxes.iou_threshold_list:
            localized = self._localized(self.boxes.best_index(LOC_IOU))
        figures: dict = {}
        counts: dict = {}
        for k in TOP:
            counts[f"top{k}_cls"] = int((rank < k).sum())
            counts[f"top{k}_loc"] = None if localized is None else int(((rank < k) & localized).sum())
            for name in (f"top{k}_cls", f"top{k}_loc"):
                figures[name] = None if counts[name] is None else 100 * counts[name] / len(rank)
        return figures, counts

    def _localized(self, position: int) -> np.ndarray:
        """Return bool (images,), in the order scored: right at IoU 50 and a score-map threshold's position."""
        right = self.require_boxes().correct_at(LOC_IOU, position)
        return np.array([right[image_id] for image_id in self.scored_ids])

    def positions(self, thresholds: Mapping[str, float], interval: float | None = None) -> dict[int, int]:
        """Return IoU threshold to the position of the score-map threshold that val chose for it.

        `interval`: that of val's score-map thresholds, for the message, where it is known.

        Raises:
            InputError: val chose none for one of the IoU thresholds, or one that this evaluator does not have.
        """
        own = np.array(self.require_boxes().cam_threshold_list)
        found = {}
        for iou in self.iou_threshold_list:
            if f"{iou:g}" not in thresholds:
                known = ", ".join(thresholds)
                raise OptionError("iou_threshold_list", f"{iou:g}", f"val chose score-map thresholds for IoU {known} only")
            threshold = thresholds[f"{iou:g}"]
            if not np.isclose(own, threshold, rtol=0, atol=1e-9).any():
                step = own[1] if len(own) > 1 else 1
                known = "" if interval in (None, step) else f", {interval:g}"
                raise InputError(
                    f"val's score-map threshold {threshold} for IoU {iou:g} is not one of ",
                    OptionName("cam_curve_interval"),
                    f" {step:g}; expected the interval with which val was scored{known}",
                )
            found[iou] = int(np.abs(own - threshold).argmin())
        return found

    def _at_thresholds(self, positions: Mapping[int, int]) -> dict:
        """Return localization at the positions of score-map thresholds chosen elsewhere, one per IoU threshold."""
        boxes = self.require_boxes()
        accuracies = {f"{iou:g}": 100.0 * int(boxes.num_correct[iou][p]) / boxes.cnt for iou, p in positions.items()}
        figures = {
            "MaxBoxAccV2_at_val_threshold": self._mean(accuracies),
            "MaxBoxAcc_at_val_threshold": accuracies,
            "val_threshold": {f"{iou:g}": boxes.cam_threshold_list[p] for iou, p in positions.items()},
        }
        if LOC_IOU in positions and self.has_ranks:
            rank = np.array([self.ranks[image_id] for image_id in self.scored_ids])
            localized = self._localized(positions[LOC_IOU])
            for k in TOP:
                figures[f"top{k}_loc_at_val_threshold"] = 100 * int(((rank < k) & localized).sum()) / len(rank)
        return figures


def _is_same(value: object, other: object) -> bool:
    """Return whether two values are equal; an array, of which neither may be one, equals nothing."""
    try:
        return bool(value == other)
    except ValueError:
        return False


def headline(results: Mapping, multi_iou_eval: bool) -> float | None:
    """Return the one figure of a split's results: the mean over IoU thresholds or IoU 50's; PxAP without boxes; None without
    masks too."""
    if results["MaxBoxAcc"] is None:
        return results["PxAP"]
    return float(np.mean(list(results["MaxBoxAcc"].values()))) if multi_iou_eval else results["MaxBoxAcc"]["50"]


def read_known_ids(metadata_root: str | os.PathLike, dataset_name: str, splits: Iterable[str]) -> dict[str, list[str]]:
    """Return the image ids of every one of `splits` that the data set has."""
    folders = {split: Path(metadata_root) / dataset_name / split for split in splits}
    return {
        split: get_image_ids(configure_metadata(folder))
        for split, folder in folders.items()
        if (folder / "image_ids.txt").is_file()
    }
