"""Which of two methods is better, each with several seeds, on the same images: the test behind a table's bold figures.

In: evaluators that have counted a split, one for each seed. Out: an image's share in a figure, and the p-value of a paired
randomization test that swaps an image's results of all seeds together; Holm's correction of several such tests.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.metrics.weighted_sums import WeightedSums, average_precision_gradient, swap_p_value

FIGURES = ("MaxBoxAccV2", "PxAP")
RESAMPLES, SEED = 9999, 0  # p is then a multiple of 1 / 10,000
Shares = Mapping[str, float]  # image id to its share in a figure, in percent


def image_shares(evaluator: SplitEvaluator, figure: str) -> dict[str, float]:
    """Return each image's share in a run's MaxBoxAccV2 or PxAP, in percent: the shares of all images add up to the figure.

    In MaxBoxAccV2: 100 / images times the share of IoU thresholds at which the image is right, each at the run's own best
    score-map threshold. In PxAP: PxAP / images, and what its pixels change to first order (`precision_difference`).

    Raises:
        InputError: the split has no boxes, or no masks, as the figure needs.
    """
    count = len(evaluator.scored_ids)
    if figure == "PxAP":
        masks = evaluator.require_masks()
        gradient = average_precision_gradient(masks.gt_false_score_hist, masks.gt_true_score_hist)
        even = masks.compute() / count
        found = ((one.image_id, one.counts_of("masks")) for one in evaluator.images if not one.skipped)
        return {image_id: even + float((counts * gradient).sum()) for image_id, counts in found}
    boxes = evaluator.require_boxes()
    tables = [boxes.correct_at(iou, boxes.best_index(iou)) for iou in boxes.iou_threshold_list]
    part = 100 / count / len(tables)
    return {image_id: part * sum(table[image_id] for table in tables) for image_id in evaluator.scored_ids}


def mean_shares(seeds: Sequence[Shares]) -> dict[str, float]:
    """Return the mean over seeds of every image's share; all seeds have the same images."""
    return {image_id: sum(shares[image_id] for shares in seeds) / len(seeds) for image_id in seeds[0]}


def seeds_p_value(first: Shares, second: Shares, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """Return the two-sided p-value that two methods' figures, means over their seeds, differ by chance of the images.

    `first` and `second`: the mean over a method's seeds of each image's share, of the same images. In every resample a coin
    is tossed for each image: heads, and all seeds' results of the image change sides. With d_i the difference of image i's
    shares, the swapped difference is sum d_i - 2 sum over swapped images of d_i.
    """
    sums = WeightedSums("swap", resamples, seed, (1,))
    for image_id, share in first.items():
        sums.add(image_id, np.array([share - second[image_id]]))
    difference = sum(first.values()) - sum(second.values())
    return swap_p_value(difference, difference - 2 * sums.total[:, 0])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, 1979): the k-th smallest of m times m - k + 1, never decreasing.

    >>> holm([0.25, 0.125]), holm([0.5, 0.75])
    ([0.25, 0.25], [1.0, 1.0])
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    found = np.empty(len(p_values))
    found[order] = corrected
    return found.tolist()
