"""Intervals of a split's figures, and the comparison of two runs, from resampled counts (wsol/metrics/weighted_sums.py)."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from wsol.metrics.map_sizes import check_same_sizes
from wsol.metrics.split_evaluator import LOC_IOU, TOP, SplitEvaluator
from wsol.metrics.weighted_sums import (
    LEVEL,
    WeightedSums,
    accuracy_differences,
    average_precision,
    interval,
    max_accuracies,
    paired_test,
    precision_difference,
)


def _percent(sums: np.ndarray, images: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * sums / images


class Resampled:
    """A scored evaluator's figures in every resample, from which intervals and tests are made; 0 resamples: neither."""

    def __init__(self, evaluator: SplitEvaluator, resamples: int, seed: int):
        self.evaluator, self.resamples, self.seed = evaluator, resamples, seed

    def _sums(self, kind: str, counts: Iterable[tuple[str, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
        """Return (R, *shape): the sums of counts, given as (image id, array), over the images of every resample."""
        sums = WeightedSums(kind, self.resamples, self.seed, shape)
        for image_id, count in counts:
            sums.add(image_id, count)
        return sums.total

    @cached_property
    def right(self) -> np.ndarray:
        """(R, IoU thresholds, score-map thresholds): how many images of every bootstrap resample are right."""
        boxes = self.evaluator.require_boxes()
        return self._sums("bootstrap", boxes.images(), (len(boxes.iou_threshold_list), len(boxes.cam_threshold_list)))

    def histograms(self, kind: str) -> np.ndarray:
        """Return (R, 2, bins): background and foreground pixels by score, of the images of every resample of a kind."""
        masks = ((one.image_id, one.counts_of("masks")) for one in self.evaluator.images if not one.skipped)
        return self._sums(kind, masks, self.evaluator.require_masks().shape)

    @cached_property
    def _classified(self) -> np.ndarray:
        """(R, 1 + len(TOP)): the images of every resample, and those whose class is among the top k."""
        ranks = self.evaluator.ranks
        rows = (
            (image_id, np.array([True, *(image_id in ranks and ranks[image_id] < k for k in TOP)]))
            for image_id in self.evaluator.scored_ids
        )
        return self._sums("bootstrap", rows, (1 + len(TOP),))

    @property
    def images(self) -> np.ndarray:
        """(R,): how many images there are in every resample."""
        return self._classified[:, 0]

    def classification(self) -> dict[str, np.ndarray]:
        """Return top-k classification (R,) in percent."""
        return {f"top{k}_cls": _percent(self._classified[:, 1 + i], self.images) for i, k in enumerate(TOP)}

    @cached_property
    def _right_in_top(self) -> dict[int, np.ndarray]:
        """Map k to (R, score-map thresholds): how many images are right at IoU 50 with their class among the top k."""
        boxes, ranks = self.evaluator.require_boxes(), self.evaluator.ranks
        row = boxes.iou_threshold_list.index(LOC_IOU)
        rows = (
            (image_id, np.array([correct[row] & (ranks[image_id] < k) for k in TOP])) for image_id, correct in boxes.images()
        )
        total = self._sums("bootstrap", rows, (len(TOP), len(boxes.cam_threshold_list)))
        return {k: total[:, i] for i, k in enumerate(TOP)}

    def localization(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return Top-k Loc (R,) in percent, each resample at its score-map threshold's position (R,)."""
        every = np.arange(len(positions))
        return {f"top{k}_loc": _percent(sums[every, positions], self.images) for k, sums in self._right_in_top.items()}

    def accuracies(self) -> tuple[np.ndarray, np.ndarray]:
        """Return MaxBoxAcc (R, IoU thresholds) in percent, the best over score-map thresholds, and their positions."""
        return max_accuracies(self.right, self.images)

    def exchanged(self, other: "Resampled") -> np.ndarray:
        """Return (R, IoU thresholds): over the images of every swap, how many more are right here than in `other`, each run
        at its own best score-map thresholds."""
        boxes, others = self.evaluator.require_boxes(), other.evaluator.require_boxes()
        tables = [[one.correct_at(iou, one.best_index(iou)) for iou in boxes.iou_threshold_list] for one in (boxes, others)]
        rights = (
            (image_id, np.array([[table[image_id] for table in of_run] for of_run in tables], dtype=np.int64))
            for image_id, _ in boxes.correct
        )
        rows = ((image_id, right[0] - right[1]) for image_id, right in rights)
        return self._sums("swap", rows, (len(boxes.iou_threshold_list),))

    @property
    def swapped_images(self) -> np.ndarray:
        """(R,): how many images there are in every swap."""
        return self._sums("swap", ((image_id, np.array([True])) for image_id in self.evaluator.scored_ids), (1,))[:, 0]


def _box_intervals(resampled: Resampled, results: dict) -> dict:
    evaluator = resampled.evaluator
    ious = evaluator.iou_threshold_list
    accuracies, best = resampled.accuracies()
    choices = {"": (accuracies, best)}
    if "val_threshold" in results:
        places = evaluator.positions(results["val_threshold"])
        fixed = np.tile([places[iou] for iou in ious], (len(best), 1))
        right = np.take_along_axis(resampled.right, fixed[..., None], axis=2)[..., 0]
        choices["_at_val_threshold"] = (_percent(right, resampled.images[:, None]), fixed)
    found: dict = {}
    for suffix, (values, positions) in choices.items():
        found[f"MaxBoxAcc{suffix}"] = {f"{iou:g}": interval(values[:, i]) for i, iou in enumerate(ious)}
        mean = "mean_MaxBoxAcc" if results["MaxBoxAccV2"] is None else "MaxBoxAccV2"
        found[mean + suffix] = interval(values.mean(axis=1))
        if LOC_IOU in ious and evaluator.has_ranks:
            top = resampled.localization(positions[:, ious.index(LOC_IOU)])
            found |= {name + suffix: interval(figures) for name, figures in top.items()}
    if LOC_IOU in ious:
        found["gt_known_loc"] = found["MaxBoxAcc"][str(LOC_IOU)]
    return found


def intervals(resampled: Resampled, results: dict) -> dict:
    """Return figure to [low, high], its 95 % bootstrap interval over images, for every figure of `results` in percent.

    The score-map threshold is chosen again in every resample, except where val chose it. Empty without resamples.
    """
    evaluator = resampled.evaluator
    if not resampled.resamples:
        return {}
    found: dict = {"percent": LEVEL, "resamples": resampled.resamples, "seed": resampled.seed}
    if evaluator.boxes:
        found |= _box_intervals(resampled, results)
    if evaluator.masks:
        hist = resampled.histograms("bootstrap")
        found["PxAP"] = interval(average_precision(hist[:, 1], hist[:, 0]))
    if evaluator.has_ranks:
        found |= {name: interval(figures) for name, figures in resampled.classification().items()}
    return found


def _box_figures(evaluator: SplitEvaluator, accuracies: np.ndarray) -> dict[str, np.ndarray]:
    """Return accuracies (R, IoU thresholds) by name, and their mean."""
    names = [f"MaxBoxAcc{iou:g}" for iou in evaluator.iou_threshold_list]
    mean = "mean MaxBoxAcc" if evaluator.box_rule == "largest_contour" else "MaxBoxAccV2"
    return {mean: accuracies.mean(axis=1), **dict(zip(names, accuracies.T, strict=True))}


def _compare_boxes(first: Resampled, second: Resampled) -> dict[str, dict]:
    own = [np.array(list(one.evaluator.require_boxes().num_correct.values())) for one in (first, second)]
    bootstrap = [one.right for one in (first, second)]
    count = len(first.evaluator.scored_ids)
    differences = accuracy_differences(own, bootstrap, first.images, first.exchanged(second), count)
    observed, resampled, swapped = (
        _box_figures(first.evaluator, np.atleast_2d(values))
        for values in differences  # of means: means
    )
    return {name: paired_test(float(observed[name][0]), resampled[name], swapped[name]) for name in observed}


def _compare_masks(first: Resampled, second: Resampled) -> dict:
    masks = [one.evaluator.require_masks() for one in (first, second)]
    own = [np.array([one.gt_false_score_hist, one.gt_true_score_hist]) for one in masks]
    bootstrap, swap = ([one.histograms(kind) for one in (first, second)] for kind in ("bootstrap", "swap"))
    return precision_difference(own, bootstrap, swap, first.swapped_images, len(first.evaluator.scored_ids))


def compare(first: Resampled, second: Resampled) -> dict[str, dict]:
    """Return figure to `paired_test` of two runs on the same images, the first's figures less the second's.

    Raises:
        InputError: an image's two maps differ in size.
    """
    check_same_sizes(first.evaluator.map_sizes, second.evaluator.map_sizes)
    found: dict[str, dict] = {}
    if first.evaluator.boxes:
        found |= _compare_boxes(first, second)
    if first.evaluator.masks:
        found["PxAP"] = _compare_masks(first, second)
    return found
