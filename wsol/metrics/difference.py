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


class Measured:
    """What a method gave on a split with each of its seeds, each at the score-map thresholds that are best on the split
    itself, as MaxBoxAccV2 is usually reported; they are chosen again in every resample.

    figure: MaxBoxAccV2, mean over seeds, in percent. shares: of each image in it. resampled: (R,), the figure in every
    bootstrap resample.
    """

    def __init__(self, evaluators: Sequence[SplitEvaluator], resamples: int, seed: int):
        """Measure evaluators that have counted a split, one for each seed.

        Raises:
            InputError: the split has no MaxBoxAccV2.
        """
        figures = [evaluator.results()["MaxBoxAccV2"] for evaluator in evaluators]
        if None in figures:
            raise InputError("no MaxBoxAccV2; expected runs scored with boxes and every contour")
        self.resamples, self.seed = resamples, seed
        self.figure = float(np.mean(figures))
        self.shares = mean_shares([image_shares(evaluator, "MaxBoxAccV2") for evaluator in evaluators])
        accuracies = [Resampled(evaluator, resamples, seed).accuracies()[0].mean(axis=1) for evaluator in evaluators]
        self.resampled = np.mean(accuracies, axis=0)

    def less(self, other: "Measured") -> Difference:
        """Return the comparison with another method, measured with the same resamples and seed."""
        low, high = interval(np.round(self.resampled - other.resampled, 9) + 0.0) or (0.0, 0.0)
        p_value = seeds_p_value(self.shares, other.shares, self.resamples, self.seed)
        return Difference(self.figure, other.figure, self.figure - other.figure, (low, high), p_value)


def check_comparable(evaluators: Sequence[SplitEvaluator]) -> None:
    """Raise InputError if evaluators have counted different images, or with different settings or sizes of maps."""
    first, *others = evaluators
    for other in others:
        for name, value in first.settings.items():
            if other.settings[name] != value:
                raise InputError(f"runs scored with {name} {value} and {other.settings[name]}; expected the same")
        if set(other.scored_ids) != set(first.scored_ids):
            counts = f"{len(first.scored_ids)} and {len(other.scored_ids)}"
            raise InputError(f"runs of {counts} images, not the same ones; expected the same")
        check_same_sizes(first.map_sizes, other.map_sizes)
