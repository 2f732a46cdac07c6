"""Intervals of a split's figures, and the comparison of two runs, from resampled counts (wsol/resampling.py)."""

import numpy as np

from wsol.resampling import LEVEL, WeightedSums, average_precision, interval, max_accuracies, paired_test
from wsol.split_evaluator import LOC_IOU, TOP, SplitEvaluator


def _box_sums(evaluator: SplitEvaluator, kind: str) -> dict[str, np.ndarray]:
    """Return, for every resample, the images that are right, by IoU and score-map threshold: `right` (R, n, T); the same
    at IoU 50 among those whose class is among the top k: `top1`, `top5` (R, T); and the numbers of images with it: `cls1`,
    `cls5`, and of all: `images` (R,)."""
    boxes = evaluator.boxes
    num_iou, num_thresholds = len(boxes.iou_threshold_list), len(boxes.cam_threshold_list)
    loc = boxes.iou_threshold_list.index(LOC_IOU) if LOC_IOU in boxes.iou_threshold_list else 0
    top = TOP if evaluator.ranks else ()
    sums = WeightedSums(kind, *evaluator.resampling, ((num_iou + len(top)) * num_thresholds + len(top) + 1,))
    for image_id, correct in boxes.images():
        in_top = [np.array([evaluator.ranks[image_id] < k]) for k in top]
        sums.add(image_id, np.concatenate([correct.ravel(), *(correct[loc] & one for one in in_top), *in_top, [True]]))
    blocks = sums.total[:, : (num_iou + len(top)) * num_thresholds].reshape(-1, num_iou + len(top), num_thresholds)
    result = {"right": blocks[:, :num_iou], "images": sums.total[:, -1]}
    for i, k in enumerate(top):
        result |= {f"top{k}": blocks[:, num_iou + i], f"cls{k}": sums.total[:, i - len(top) - 1]}
    return result


def _percent(sums: np.ndarray, images: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * sums / images


def _box_intervals(evaluator: SplitEvaluator, results: dict) -> dict:
    sums = _box_sums(evaluator, "bootstrap")
    images = sums["images"]
    ious = evaluator.boxes.iou_threshold_list
    accuracies, position = max_accuracies(sums["right"], images)
    found: dict = {"MaxBoxAcc": {f"{iou:g}": interval(accuracies[:, i]) for i, iou in enumerate(ious)}}
    if results["MaxBoxAccV2"] is not None:
        found["MaxBoxAccV2"] = interval(accuracies.mean(axis=1))
    if LOC_IOU in ious:
        loc = ious.index(LOC_IOU)
        found["gt_known_loc"] = interval(accuracies[:, loc])
        for k in TOP if evaluator.ranks else ():
            right = np.take_along_axis(sums[f"top{k}"], position[:, loc, None], axis=1)[:, 0]
            found[f"top{k}_loc"] = interval(_percent(right, images))
    for k in TOP if evaluator.ranks else ():
        found[f"top{k}_cls"] = interval(_percent(sums[f"cls{k}"], images))
    if "val_threshold" in results:
        places = evaluator.positions(results["val_threshold"])
        fixed = np.stack([_percent(sums["right"][:, i, places[iou]], images) for i, iou in enumerate(ious)], axis=1)
        found["MaxBoxAcc_at_val_threshold"] = {f"{iou:g}": interval(fixed[:, i]) for i, iou in enumerate(ious)}
        if results["MaxBoxAccV2_at_val_threshold"] is not None:
            found["MaxBoxAccV2_at_val_threshold"] = interval(fixed.mean(axis=1))
    return found


def intervals(evaluator: SplitEvaluator, results: dict) -> dict:
    """Return figure to [low, high], its 95 % bootstrap interval over images, for every figure of `results` in percent.

    The score-map threshold is chosen anew in every resample, except where val chose it. Empty without `resample`.
    """
    if evaluator.resampling is None:
        return {}
    resamples, seed = evaluator.resampling
    found: dict = {"percent": LEVEL, "resamples": resamples, "seed": seed}
    if evaluator.boxes:
        found |= _box_intervals(evaluator, results)
    if evaluator.masks:
        hist = evaluator.masks.resampled[0].total
        found["PxAP"] = interval(average_precision(hist[:, 1], hist[:, 0]))
    return found


def _box_figures(evaluator: SplitEvaluator, right: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures (R,) of weighted counts: accuracy at each IoU threshold, and their mean."""
    accuracies, _ = max_accuracies(right, images)
    names = [f"MaxBoxAcc{iou:g}" for iou in evaluator.boxes.iou_threshold_list]
    mean = "mean MaxBoxAcc" if evaluator.box_rule == "largest_contour" else "MaxBoxAccV2"
    return {mean: accuracies.mean(axis=1), **dict(zip(names, accuracies.T, strict=True))}


def compare(first: SplitEvaluator, second: SplitEvaluator) -> dict[str, dict]:
    """Return figure to `paired_test` of two runs on the same images, the first's figures less the second's.

    Both need `resample` of the kinds bootstrap and swap.
    """
    pairs: dict[str, list[dict[str, np.ndarray]]] = {"observed": [], "bootstrap": [], "swap": []}
    if first.boxes:
        count = np.array([first.boxes.cnt])
        own = [np.array([[e.boxes.num_correct[iou] for iou in e.boxes.iou_threshold_list]]) for e in (first, second)]
        swapped = [_box_sums(e, "swap")["right"] for e in (first, second)]
        exchange = swapped[1] - swapped[0]
        resampled = [_box_sums(e, "bootstrap") for e in (first, second)]
        pairs["observed"] = [_box_figures(e, right, count) for e, right in zip((first, second), own, strict=True)]
        pairs["bootstrap"] = [
            _box_figures(e, s["right"], s["images"]) for e, s in zip((first, second), resampled, strict=True)
        ]
        pairs["swap"] = [_box_figures(first, own[0] + exchange, count), _box_figures(second, own[1] - exchange, count)]
    if first.masks:
        own = [np.array([[e.masks.gt_false_score_hist, e.masks.gt_true_score_hist]]) for e in (first, second)]
        bootstrap, swapped = ([e.masks.resampled[i].total for e in (first, second)] for i in (0, 1))
        exchange = swapped[1] - swapped[0]
        histograms = {"observed": own, "bootstrap": bootstrap, "swap": [own[0] + exchange, own[1] - exchange]}
        for kind, both in histograms.items():
            figures = [{"PxAP": average_precision(hist[:, 1], hist[:, 0])} for hist in both]
            pairs[kind] = [old | new for old, new in zip(pairs[kind] or [{}, {}], figures, strict=True)]
    difference = {kind: {name: a[name] - b[name] for name in a} for kind, (a, b) in pairs.items()}
    return {
        name: paired_test(float(value[0]), difference["bootstrap"][name], difference["swap"][name])
        for name, value in difference["observed"].items()
    }
