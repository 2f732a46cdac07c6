"""How much better one method is than another, each with several seeds, on the same images.

In: evaluators that have counted a split, one for each seed. Out: the difference of their MaxBoxAccV2, its interval over
images, and the p-value of the paired test of `seeds_test`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsol.core.errors import InputError
from wsol.metrics.bootstrap import Resampled
from wsol.metrics.map_sizes import check_same_sizes
from wsol.metrics.seeds_test import image_shares, mean_shares, seeds_p_value
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.metrics.weighted_sums import interval


@dataclass(frozen=True)
class Difference:
    """MaxBoxAccV2, mean over seeds, of a method and of the one that it is compared with, in percent; the difference, its
    95 % bootstrap interval over images, and the p-value of the paired randomization test that swaps all seeds' results of an
    image."""

    composed: float
    single: float
    difference: float
    interval: tuple[float, float]
    p_value: float


def difference_at_best(
    ours: Sequence[SplitEvaluator], theirs: Sequence[SplitEvaluator], resamples: int, seed: int
) -> Difference:
    """Return the comparison of two runs, given an evaluator of each for every seed, where each seed's run has the score-map
    thresholds that are best on the split itself, as MaxBoxAccV2 is usually reported; they are chosen again in every
    resample.

    Raises:
        InputError: not all have the same images, or an image's maps differ in size, or the split has no boxes.
    """
    first, *others = [*ours, *theirs]
    for other in others:
        if set(other.scored_ids) != set(first.scored_ids):
            raise InputError(
                f"{len(first.scored_ids)} and {len(other.scored_ids)} images, not the same ones; expected runs on the same"
            )
        check_same_sizes(first.map_sizes, other.map_sizes)
    figures, shares, resampled = [], [], []
    for evaluators in (ours, theirs):
        figures.append(float(np.mean([evaluator.results()["MaxBoxAccV2"] for evaluator in evaluators])))
        shares.append(mean_shares([image_shares(evaluator, "MaxBoxAccV2") for evaluator in evaluators]))
        accuracies = [Resampled(evaluator, resamples, seed).accuracies()[0].mean(axis=1) for evaluator in evaluators]
        resampled.append(np.mean(accuracies, axis=0))
    low, high = interval(np.round(resampled[0] - resampled[1], 9) + 0.0) or (0.0, 0.0)
    p_value = seeds_p_value(shares[0], shares[1], resamples, seed)
    return Difference(figures[0], figures[1], figures[0] - figures[1], (low, high), p_value)
