"""A split's evaluators as one: what its metadata has (boxes, masks or both) is scored, counted and put into results."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsol.declared_size import MAX_MEGAPIXELS
from wsol.errors import InputError, MetadataError, OptionError, OptionName, did_you_mean
from wsol.evaluators import BoxEvaluator, MaskEvaluator
from wsol.files import missing_files
from wsol.metadata import configure_metadata, dataset_folder, first_names, get_image_ids, has_boxes, has_masks

LOC_IOU = 50  # the IoU threshold, in percent, of GT-known, Top-1 and Top-5 Loc
TOP = (1, 5)
DETECTIONS = "detections"  # the box rule of a detector's boxes, which have no score-map threshold


class Scored(NamedTuple):
    """What one map of a size (w, h) gave: packed bits of the boxes and histograms of the pixels, None where a split has no
    such truth; no size where there was no map."""

    image_id: str
    boxes: np.ndarray | None
    masks: np.ndarray | None
    size: tuple[int, int] | None = None


class SplitEvaluator:
    """The evaluators that a split's metadata calls for, `boxes` and `masks` (None where it has none), as one.

    `detections`: a detector's boxes are scored, so masks are left alone. `needs_truth`: a split with neither is an error;
    without it the classification alone comes out.

    `image_ids` are to be scored, `scored_ids` have been; `ranks`, where known, is each image's true class among the
    logits (0: top), from which the classification and Top-1 and Top-5 Loc come; `counts` are the caller's own, of images
    skipped and the like, for the results; `map_sizes`, image id to (w, h), are those of the maps that have been scored.
    """

    def __init__(
        self,
        metadata_root: str | os.PathLike,
        mask_root: str | os.PathLike,
        dataset_name: str,
        split: str,
        cam_curve_interval: float,
        iou_threshold_list: Sequence[int],
        multi_contour_eval: bool,
        image_ids: Sequence[str] | None = None,
        detections: bool = False,
        needs_truth: bool = True,
        max_megapixels: float = MAX_MEGAPIXELS,
    ):
        folder = dataset_folder(metadata_root, dataset_name) / split
        if not folder.is_dir():
            splits = [path.parent.name for path in folder.parent.glob("*/image_ids.txt")]
            hint = did_you_mean(split, splits) or f"; it has {', '.join(sorted(splits)) or 'none'}"
            raise InputError(f"{folder}: no metadata of the split {split!r} of {dataset_name!r}{hint}")
        metadata = configure_metadata(folder)
        self.split_ids = get_image_ids(metadata)
        self.image_ids = self.split_ids if image_ids is None else list(image_ids)
        if not self.image_ids:
            raise InputError(f"{dataset_name} {split}: no image to evaluate")
        if unknown := sorted(set(self.image_ids) - set(self.split_ids)):
            raise InputError(
                f"{metadata.image_ids}: lacks {len(unknown)} images that are to be scored:" + first_names(unknown)
            )
        thresholds = np.arange(
            0, 1, 1 if detections else cam_curve_interval
        )  # a detector's box has no threshold: one will do
        options = {
            "metadata": metadata,
            "dataset_name": dataset_name,
            "split": split,
            "cam_threshold_list": thresholds.tolist(),
            "iou_threshold_list": list(iou_threshold_list),
            "mask_root": Path(mask_root) / dataset_name,
            "multi_contour_eval": multi_contour_eval,
        }
        self.dataset_name, self.split = dataset_name, split
        self.box_rule = DETECTIONS if detections else "multi_contour" if multi_contour_eval else "largest_contour"
        self.scored_ids: list[str] = []
        self.map_sizes: dict[str, tuple[int, int]] = {}
        self.ranks: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.resampling: tuple[int, int] | None = None
        self.boxes = BoxEvaluator(**options) if has_boxes(metadata) else None
        self.masks = None
        if has_masks(metadata) and not detections:
            self.masks = MaskEvaluator(**options, max_megapixels=max_megapixels)
        if needs_truth and not self.has_truth:
            truth = "box" if detections else "box and no mask"
            raise MetadataError(
                f"{metadata.localization}: no {truth}, so that localization cannot be measured; expected one for every "
                f"image of {split} (an import takes them by --boxes or --masks)"
            )
        self._check_truth(folder)

    @property
    def has_truth(self) -> bool:
        """Whether there is anything to compare maps with."""
        return bool(self.boxes or self.masks)

    def _check_truth(self, folder: Path) -> None:
        """Refuse images without their truth, and mask files that are not there, before anything is scored."""
        for kind, truth in (
            ("box", self.boxes and self.boxes.original_bboxes),
            ("mask", self.masks and self.masks.mask_paths),
        ):
            missing = [image_id for image_id in self.image_ids if truth is not None and image_id not in truth]
            if missing:
                raise MetadataError(f"{folder}: {len(missing)} images have no true {kind}:" + first_names(missing))
        if masks := self.masks:
            paths = [path for image_id in self.image_ids for path in masks.mask_paths[image_id]]
            paths += [masks.ignore_paths[image_id] for image_id in self.image_ids if masks.ignore_paths[image_id]]
            if missing := missing_files(masks.mask_root, paths):
                raise InputError(
                    f"{masks.mask_root}: {len(missing)} of {len(paths)} masks are missing:" + first_names(missing)
                )

    @classmethod
    def of(
        cls,
        config: Mapping,
        split: str,
        image_ids: Sequence[str] | None = None,
        detections: bool = False,
        needs_truth: bool = True,
    ) -> "SplitEvaluator":
        """Return the evaluator of a split as a command's options say, of some of its images or of all."""
        names = (
            "metadata_root",
            "mask_root",
            "dataset_name",
            "cam_curve_interval",
            "iou_threshold_list",
            "multi_contour_eval",
        )
        given = {name: config[name] for name in names}
        given["max_megapixels"] = config.get("max_megapixels", MAX_MEGAPIXELS)  # runs before this option lack it
        return cls(split=split, image_ids=image_ids, detections=detections, needs_truth=needs_truth, **given)

    def resample(self, kinds: Sequence[str], resamples: int, seed: int) -> None:
        """Keep from here on what bootstrap intervals (and a paired test: kind `swap`) need; 0 resamples: nothing."""
        if resamples:
            self.resampling = (resamples, seed)
            if self.masks:
                self.masks.resample(kinds, resamples, seed)

    def score(self, score_map: np.ndarray, image_id: str) -> Scored:
        """Return what one map gives; changes nothing, so that threads and processes may do it."""
        return Scored(
            image_id,
            self.boxes.score(score_map, image_id) if self.boxes else None,
            self.masks.score(score_map, image_id) if self.masks else None,
            score_map.shape[::-1],
        )

    def add(self, scored: Scored) -> None:
        """Count what one map gave."""
        if self.boxes:
            self.boxes.add(scored.boxes, scored.image_id)
        if self.masks:
            self.masks.add(scored.masks, scored.image_id)
        self.scored_ids.append(scored.image_id)
        if scored.size:
            self.map_sizes[scored.image_id] = scored.size

    def accumulate(self, score_map: np.ndarray, image_id: str) -> None:
        """Score and count one map."""
        self.add(self.score(score_map, image_id))

    def merge(self, other: "SplitEvaluator") -> None:
        """Add an evaluator of other images of the same split."""
        if self.boxes:
            self.boxes.merge(other.boxes)
        if self.masks:
            self.masks.merge(other.masks)
        self.scored_ids.extend(other.scored_ids)
        self.map_sizes.update(other.map_sizes)
        self.ranks.update(other.ranks)

    def results(self, val_thresholds: Mapping[str, float] | None = None) -> dict:
        """Return the metrics in percent, the best score-map thresholds, and the counts they come from.

        `val_thresholds`, IoU threshold (its name, such as "50") to the score-map threshold that val chose: the accuracy
        there is what one could deploy.
        """
        results: dict = {"MaxBoxAccV2": None, "MaxBoxAcc": None, "PxAP": None}
        counts: dict = {"images": (self.boxes or self.masks).cnt if self.has_truth else len(self.scored_ids)}
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
        if self.ranks:
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
        right = self.boxes.correct_at(LOC_IOU, position)
        return np.array([right[image_id] for image_id in self.scored_ids])

    def positions(self, thresholds: Mapping[str, float], interval: float | None = None) -> dict[int, int]:
        """Return IoU threshold to the position of the score-map threshold that was chosen for it elsewhere, of those of an
        interval, where it is known.

        Raises:
            InputError: none was chosen for one of the IoU thresholds, or none of this evaluator's.
        """
        own = np.array(self.boxes.cam_threshold_list)
        found = {}
        for iou in self.boxes.iou_threshold_list:
            if f"{iou:g}" not in thresholds:
                known = ", ".join(thresholds)
                raise OptionError("iou_threshold_list", f"{iou:g}", f"val chose score-map thresholds for IoU {known} only")
            threshold = thresholds[f"{iou:g}"]
            if not np.isclose(own, threshold, rtol=0, atol=1e-9).any():
                step = own[1] if len(own) > 1 else 1
                known = "" if interval in (None, step) else f", {interval:g}"
                raise InputError(
                    f"val's score-map threshold {threshold} for IoU {iou:g} is none of those of ",
                    OptionName("cam_curve_interval"),
                    f" {step:g}; expected the interval with which val was scored{known}",
                )
            found[iou] = int(np.abs(own - threshold).argmin())
        return found

    def _at_thresholds(self, positions: Mapping[int, int]) -> dict:
        """Return localization at the positions of score-map thresholds chosen elsewhere, one per IoU threshold."""
        boxes = self.boxes
        accuracies = {f"{iou:g}": 100.0 * int(boxes.num_correct[iou][p]) / boxes.cnt for iou, p in positions.items()}
        figures = {
            "MaxBoxAccV2_at_val_threshold": self._mean(accuracies),
            "MaxBoxAcc_at_val_threshold": accuracies,
            "val_threshold": {f"{iou:g}": boxes.cam_threshold_list[p] for iou, p in positions.items()},
        }
        if LOC_IOU in positions and self.ranks:
            rank = np.array([self.ranks[image_id] for image_id in self.scored_ids])
            localized = self._localized(positions[LOC_IOU])
            for k in TOP:
                figures[f"top{k}_loc_at_val_threshold"] = 100 * int(((rank < k) & localized).sum()) / len(rank)
        return figures


def headline(results: Mapping, multi_iou_eval: bool) -> float | None:
    """Return the one figure of a split's results: the mean over IoU thresholds or IoU 50's; PxAP without boxes; None without
    masks too."""
    if results["MaxBoxAcc"] is None:
        return results["PxAP"]
    return float(np.mean(list(results["MaxBoxAcc"].values()))) if multi_iou_eval else results["MaxBoxAcc"]["50"]


def read_known_ids(metadata_root: str | os.PathLike, dataset_name: str, splits: Iterable[str]) -> dict[str, list[str]]:
    """Return the image ids of those of the splits that the data set has."""
    folders = {split: Path(metadata_root) / dataset_name / split for split in splits}
    return {
        split: get_image_ids(configure_metadata(folder))
        for split, folder in folders.items()
        if (folder / "image_ids.txt").is_file()
    }
