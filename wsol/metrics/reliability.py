"""How well predicted probabilities fit what happened: expected calibration error, Brier score, and the diagram's points.

In: predictions in [0, 1] and outcomes in [0, 1] (right or wrong, or an IoU). Out: `Reliability`.
"""

from typing import NamedTuple

import numpy as np

BINS = 10


class Bin(NamedTuple):
    """One point of a reliability diagram: the mean prediction and outcome of so many `images`."""

    predicted: float
    observed: float
    images: int


class Reliability(NamedTuple):
    """Calibration of n predictions p with the outcomes y.

    ece: sum over bins of their part of the images times |mean p - mean y|, with bins of width 0.1 (Guo et al., ICML 2017).
    ece_low, ece_high: its 95 % interval over resampled images (percentiles of the bootstrap).
    brier: mean of (p - y)^2.
    """

    ece: float
    ece_low: float
    ece_high: float
    brier: float
    bins: list[Bin]


def _sums(predicted: np.ndarray, observed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return float64 (3, BINS): the weighted sums of predictions, outcomes, and the weights of each bin."""
    places = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    sums = [np.bincount(places, weights=weights * values, minlength=BINS) for values in (predicted, observed, 1.0)]
    return np.stack(sums)


def _error(sums: np.ndarray) -> float:
    return float(np.abs(sums[0] - sums[1]).sum() / sums[2].sum())


def reliability(predicted: np.ndarray, observed: np.ndarray, resamples: int = 1000, seed: int = 0) -> Reliability:
    """Return how well predictions, float (n,) in [0, 1], fit outcomes, float (n,) in [0, 1].

    >>> reliability(np.array([0.25, 0.25, 0.75, 0.75]), np.array([0, 0.5, 1, 0.5]), resamples=0)[0]
    0.0
    """
    predicted, observed = np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    count = len(predicted)
    sums = _sums(predicted, observed, np.ones(count))
    rng = np.random.default_rng(seed)
    errors = [_error(_sums(predicted, observed, rng.multinomial(count, [1 / count] * count))) for _ in range(resamples)]
    low, high = np.percentile(errors, (2.5, 97.5)) if errors else (np.nan, np.nan)
    bins = [Bin(p / n, y / n, int(n)) for p, y, n in sums.T.tolist() if n]
    return Reliability(_error(sums), float(low), float(high), float(((predicted - observed) ** 2).mean()), bins)
