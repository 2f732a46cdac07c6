"""The choice of a cut: a penalty per split, cross-validated, and what the cut may be expected to gain over a single level.

Everything is measured on images that the cut, its thresholds, its penalty and the single level it is compared with did not
see. A cut is returned only if the interval of that gain is above zero; otherwise the best single level is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsol.granularity.fit import Fitted, best_single, fit, fit_single
from wsol.granularity.rights import Rights
from wsol.granularity.tree import LevelTree
from wsol.metrics.weighted_sums import image_weights, interval

MULTIPLES = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, np.inf)  # of `penalty_unit`
FOLDS = 5
REPEATS = 3  # of every cross-validation, with other folds, so that the choice depends less on how they were drawn
RESAMPLES = 1000


@dataclass(frozen=True)
class Tried:
    """A penalty in percent per split; the cross-validated gain of its cuts over the best single level, in percent, and that
    gain's standard error over images; and the splits of the cut that it gives on all images."""

    penalty: float
    gain: float
    standard_error: float
    splits: int


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and why.

    fitted: the chosen cut, or the best single level, with its thresholds. candidate: the cut at the chosen penalty, which is
    `fitted` if its gain is sure enough. singles: every single level. gain: what choosing in this way gains over the best
    single level on images not used, in percent; interval: 95 %, over images. sure: whether the interval is above zero.
    penalty: the chosen one, in percent per split; infinite: a single level. tried: all penalties, empty if one was given.
    """

    fitted: Fitted
    candidate: Fitted
    singles: Sequence[Fitted]
    gain: float
    interval: tuple[float, float]
    sure: bool
    penalty: float
    tried: Sequence[Tried]

    @property
    def single(self) -> Fitted:
        """The best single level."""
        return best_single(list(self.singles))

    @property
    def expected_gain(self) -> float:
        """What the returned cut promises over the best single level, in percent; 0 if it is that level."""
        return self.gain if self.fitted.cut.splits else 0.0


def penalty_unit(images: int, leaves: int) -> float:
    """Return about what chance changes in MaxBoxAccV2, in percent, at one leaf: sqrt(images of a leaf) of all images.

    >>> penalty_unit(400, 4)
    2.5
    """
    return 100 / float(np.sqrt(images * leaves))


def draw_folds(leaf_of: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return int (N,): a fold for each image, drawn so that the folds differ by at most one in each class, and in size.

    >>> sorted(draw_folds(np.array([0, 0, 0, 1, 1, 1]), 3, np.random.default_rng(0))[:3].tolist())
    [0, 1, 2]
    """
    shuffled = rng.permutation(len(leaf_of))
    by_class = shuffled[np.argsort(leaf_of[shuffled], kind="stable")]
    found = np.empty(len(leaf_of), dtype=np.int64)
    found[by_class] = np.arange(len(leaf_of)) % folds
    return found


def held_out_gains(tree: LevelTree, rights: Rights, folds: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Return float64 (penalties, N): how many percent higher each image's share is with a penalty's cut than with the
    best single level, both fitted, thresholds too, to the images of the other folds."""
    count = int(folds.max()) + 1
    cells = rights.sums(rights.leaf_of * count + folds, rights.leaves * count)
    cells = cells.reshape(*cells.shape[:2], rights.leaves, count, *cells.shape[3:])
    whole = cells.sum(axis=3, dtype=np.int32)
    gains = np.zeros((len(penalties), len(folds)))
    for fold in range(count):
        counts = whole - cells[:, :, :, fold]
        out = folds == fold
        seen, held_out = int((~out).sum()), rights.take(out)
        singles = fit_single(tree, counts, seen)
        base = best_single(singles)
        known = held_out.shares(base.cut.level_of[held_out.leaf_of], base.positions)
        for i, penalty in enumerate(penalties):
            found = fit(tree, counts, seen, penalty, singles)
            if found is not base:
                gains[i, out] = held_out.shares(found.cut.level_of[held_out.leaf_of], found.positions) - known
    return gains


def repeated_gains(
    tree: LevelTree, rights: Rights, penalties: Sequence[float], folds: int, repeats: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the mean of `held_out_gains` over several draws of the folds."""
    drawn = (draw_folds(rights.leaf_of, folds, rng) for _ in range(repeats))
    return np.mean([held_out_gains(tree, rights, each, penalties) for each in drawn], axis=0)


def standard_error(gains: np.ndarray) -> float:
    """Return the standard error over images of a mean gain."""
    return float(gains.std(ddof=1) / np.sqrt(len(gains)))


def choose_penalty(gains: np.ndarray) -> int:
    """Return the position of a penalty by the rule of one standard error: of ascending penalties, the largest whose gain is
    at most a standard error (of the best gain) below the best.

    >>> gains = np.array([[4.0, 5.0, 6.0, 5.0], [4.0, 5.0, 5.5, 5.0], [0.0, 0.0, 0.0, 0.0]])
    >>> choose_penalty(gains)
    1
    """
    means = gains.mean(axis=1)
    best = int(means.argmax())
    return int(np.flatnonzero(means >= means[best] - standard_error(gains[best]))[-1])


def nested_gains(
    tree: LevelTree, rights: Rights, penalties: Sequence[float], folds: int, repeats: int, rng: np.random.Generator
) -> np.ndarray:
    """Return float64 (N,): each image's gain where the whole choice, penalty and all, was made on other folds' images."""
    gains = np.zeros((repeats, len(rights.leaf_of)))
    for gain in gains:
        outer = draw_folds(rights.leaf_of, folds, rng)
        for fold in range(folds):
            out = outer == fold
            seen, held_out = rights.take(~out), rights.take(out)
            penalty = penalties[0]
            if len(penalties) > 1:
                penalty = penalties[choose_penalty(repeated_gains(tree, seen, penalties, folds, repeats, rng))]
            counts, count = seen.leaf_sums(), len(seen.leaf_of)
            singles = fit_single(tree, counts, count)
            both = fit(tree, counts, count, penalty, singles), best_single(singles)
            shares = [held_out.shares(one.cut.level_of[held_out.leaf_of], one.positions) for one in both]
            gain[out] = shares[0] - shares[1]
    return gains.mean(axis=0)


def bootstrap_interval(gains: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean over images; `weights`: (resamples, N), how often each image counts."""
    total = weights.sum(axis=1)
    low, high = interval(weights @ gains / np.where(total, total, np.nan)) or (0.0, 0.0)
    return low, high


def bootstrap_weights(image_ids: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Return float64 (resamples, N): the weights of `wsol.metrics.weighted_sums`."""
    weights = np.empty((resamples, len(image_ids)))
    for i, image_id in enumerate(image_ids):
        weights[:, i] = image_weights(image_id, "bootstrap", resamples, seed)
    return weights


def choose(
    tree: LevelTree,
    rights: Rights,
    weights: np.ndarray,
    seed: int = 0,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    penalty: float | None = None,
) -> Choice:
    """Return the choice of a cut on a split's images.

    weights: of `bootstrap_weights`. seed: of the folds. folds, repeats: of every cross-validation. penalty: in percent of
    MaxBoxAccV2 per split, instead of a cross-validated one; then its cut is returned whether its gain is sure or not.
    """
    rng = np.random.default_rng(seed)
    unit = penalty_unit(len(rights.leaf_of), rights.leaves)
    penalties = [multiple * unit for multiple in MULTIPLES] if penalty is None else [penalty]
    counts, images = rights.leaf_sums(), len(rights.leaf_of)
    singles = fit_single(tree, counts, images)
    chosen, tried = penalties[0], []
    if penalty is None:
        gains = repeated_gains(tree, rights, penalties, folds, repeats, rng)
        fits = [fit(tree, counts, images, each, singles) for each in penalties]
        tried = [
            Tried(each, float(gain.mean()), standard_error(gain), found.cut.splits)
            for each, gain, found in zip(penalties, gains, fits, strict=True)
        ]
        chosen = penalties[choose_penalty(gains)]
    candidate = fit(tree, counts, images, chosen, singles)
    nested = nested_gains(tree, rights, penalties, folds, repeats, rng)
    low, high = bootstrap_interval(nested, weights)
    sure = low > 0
    fitted = candidate if sure or penalty is not None else best_single(singles)
    return Choice(fitted, candidate, singles, float(nested.mean()), (low, high), sure, chosen, tried)
