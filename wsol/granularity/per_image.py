"""A level for each image, from signs that need no truth, and what that may be expected to gain over a single level.

For every level a logistic function of the signs says which share of MaxBoxAccV2 its map will get. An image leaves the best
single level only where another one is expected to be better by a margin, which is cross-validated. Everything is measured on
images that neither functions nor margin, thresholds and single level had seen; where that gain is not surely above zero,
the best single level is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsol.core.errors import InputError
from wsol.granularity.choice import FOLDS, bootstrap_interval, choose_penalty, draw_folds, standard_error
from wsol.granularity.picked import best_level, level_shares, one_level, oracle_score, pick, shares_of
from wsol.granularity.rights import Rights
from wsol.metrics.calibration import LEAST_IMAGES, Calibration, fit_calibration

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, np.inf)  # of the expected share, which is in [0, 1]
SIGN_IOU = 50  # signs are seen at the score-map threshold that is best for this IoU threshold, in percent


@dataclass(frozen=True, eq=False)
class Rule:
    """How an image's level is chosen.

    single: the position of the best single level. margin: how much more another level must promise, of a share in [0, 1];
    infinite: none ever does. calibrations: from the signs of each level's map to the share that it is expected to get.
    positions: int (S, J), of the score-map thresholds of the composed run. sign_positions: int (S,), of those at which the
    signs are seen.
    """

    single: int
    margin: float
    calibrations: Sequence[Calibration]
    positions: np.ndarray
    sign_positions: np.ndarray

    def levels(self, signs: np.ndarray) -> np.ndarray:
        """Return int64 (S, N): each image's level with the runs of each seed; `signs`: float64 (S, L, N, K)."""
        return choose_levels(expected_shares(self.calibrations, signs), self.single, self.margin)


@dataclass(frozen=True)
class TriedMargin:
    """A margin; its cross-validated gain over the best single level, in percent, and that gain's standard error over images;
    and the percentage of images that leave the single level."""

    margin: float
    gain: float
    standard_error: float
    moved: float


@dataclass(frozen=True, eq=False)
class Promise:
    """What a way of using all levels gives on val.

    score: MaxBoxAccV2 in percent on all images, thresholds chosen there. gain: over the best single level on images not
    used, in percent. interval: 95 %, over images.
    """

    score: float
    gain: float
    interval: tuple[float, float]

    @property
    def sure(self) -> bool:
        """Whether the interval is above zero."""
        return self.interval[0] > 0


@dataclass(frozen=True, eq=False)
class PerImageChoice:
    """What was chosen, and why.

    rule: the one that was found. single, single_positions: the best single level, and its score-map thresholds, int (S, J).
    singles: MaxBoxAccV2 of every single level on val. per_image, mean: what the rule and the mean of all levels' maps
    promise. mean_positions: the thresholds of the mean. oracle: MaxBoxAccV2 if the truth chose each image's level, at
    the single level's thresholds. chosen: whether the rule is returned. tried: all margins, empty if one was given.
    """

    rule: Rule
    single: int
    single_positions: np.ndarray
    singles: Sequence[float]
    per_image: Promise
    mean: Promise
    mean_positions: np.ndarray
    oracle: float
    chosen: bool
    tried: Sequence[TriedMargin]

    def levels(self, signs: np.ndarray) -> np.ndarray:
        """Return int64 (S, N): the level that each image is given by what was chosen."""
        found = self.rule.levels(signs)
        return found if self.chosen else np.full_like(found, self.single)

    @property
    def positions(self) -> np.ndarray:
        """The score-map thresholds of what was chosen."""
        return self.rule.positions if self.chosen else self.single_positions


def fit_expectations(names: Sequence[Sequence[str]], signs: np.ndarray, shares: np.ndarray) -> list[Calibration]:
    """Return for each level a calibration of its signs, all seeds' together, to the share that its map gets.

    names: of each level's signs. signs: float64 (S, L, N, K). shares: float64 (S, L, N) in [0, 1]. The `expected_iou` of the
    calibration is the expected share.
    """
    kinds = signs.shape[-1]
    return [
        fit_calibration(own, signs[:, level].reshape(-1, kinds), shares[:, level].ravel()) for level, own in enumerate(names)
    ]


def expected_shares(calibrations: Sequence[Calibration], signs: np.ndarray) -> np.ndarray:
    """Return float64 (S, L, N): the expected share of every level's map."""
    seeds, _, images, kinds = signs.shape
    found = [
        one.predict(signs[:, level].reshape(-1, kinds))[0].reshape(seeds, images) for level, one in enumerate(calibrations)
    ]
    return np.stack(found, axis=1)


def choose_levels(expected: np.ndarray, single: int, margin: float) -> np.ndarray:
    """Return int64 (S, N): the level with the highest expected share (S, L, N), the finest on ties, where it is higher by
    more than a margin than that of the single level, which the other images keep.

    >>> choose_levels(np.array([[[0.5, 0.5], [0.55, 0.7]]]), single=0, margin=0.1).tolist()
    [[0, 1]]
    """
    gained = expected.max(axis=1) - expected[:, single]
    return np.where(gained > margin, expected.argmax(axis=1), single)


def cross_fitted(names: Sequence[Sequence[str]], signs: np.ndarray, shares: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return float64 (S, L, N): the expected shares of each fold's images, fitted to the other folds'."""
    found = np.empty(shares.shape)
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        fitted = fit_expectations(names, signs[:, :, ~out], shares[:, :, ~out])
        found[:, :, out] = expected_shares(fitted, signs[:, :, out])
    return found


def sign_positions(positions: np.ndarray, ious: Sequence[float]) -> np.ndarray:
    """Return int (S,): of positions (S, J), those for SIGN_IOU, or for the IoU threshold next to it."""
    return positions[:, int(np.abs(np.asarray(ious) - SIGN_IOU).argmin())]


@dataclass(frozen=True, eq=False)
class Plan:
    """Which images are held out of which fit, and at which score-map thresholds the signs are to be seen for each.

    folds: int64 (N,). positions: int (folds + 1, S), for the fit without each fold, and last for the fit to all images.
    """

    folds: np.ndarray
    positions: np.ndarray


def make_plan(rights: Rights, ious: Sequence[float], seed: int, folds: int = FOLDS) -> Plan:
    """Return the plan of val's images; the thresholds are those of the single level that is best on the images fitted to.

    Raises:
        InputError: there are too few images.
    """
    images = len(rights.leaf_of)
    if images < LEAST_IMAGES:
        raise InputError(f"{images} images of val; expected {LEAST_IMAGES} or more to choose a level for each image")
    drawn = draw_folds(rights.leaf_of, folds, np.random.default_rng(seed))
    kept = [*(drawn != fold for fold in range(folds)), np.ones(images, dtype=bool)]
    return Plan(drawn, np.array([sign_positions(best_level(rights.take(each))[1], ious) for each in kept]))


def fit_rule(
    names: Sequence[Sequence[str]],
    signs: np.ndarray,
    rights: Rights,
    seen_at: np.ndarray,
    margins: Sequence[float],
    folds: int,
    rng: np.random.Generator,
) -> tuple[Rule, list[TriedMargin], float]:
    """Return (rule, tried margins, MaxBoxAccV2 in percent of its cross-fitted levels on these images).

    signs: float64 (S, L, N, K), seen at the positions `seen_at` (S,). margins: ascending, of which the rule of one standard
    error (`choose_penalty`) takes one. The composed run's thresholds are the best ones for cross-fitted levels.
    """
    single, positions, _ = best_level(rights)
    shares = level_shares(rights, positions)
    expected = cross_fitted(names, signs, shares, draw_folds(rights.leaf_of, folds, rng))
    base = shares_of(one_level(rights, single), positions)
    gains, fits, tried = [], [], []
    for margin in margins:
        level_of = choose_levels(expected, single, margin)
        picked = pick(rights, level_of)
        own = best_level(picked)[1]
        gains.append(shares_of(picked, own) - base)
        fits.append(own)
        moved = 100 * float((level_of != single).mean())
        tried.append(TriedMargin(margin, float(gains[-1].mean()), standard_error(gains[-1]), moved))
    chosen = choose_penalty(np.array(gains)) if len(margins) > 1 else 0
    rule = Rule(single, margins[chosen], fit_expectations(names, signs, shares), fits[chosen], seen_at)
    return rule, tried, float(base.mean() + gains[chosen].mean())


def choose_per_image(
    names: Sequence[Sequence[str]],
    plan: Plan,
    signs: np.ndarray,
    rights: Rights,
    mean_rights: Rights,
    weights: np.ndarray,
    seed: int = 0,
    margin: float | None = None,
) -> PerImageChoice:
    """Return the choice of a level for each image, on val.

    names: of each level's signs. signs: float64 (folds + 1, S, L, N, K), seen as the plan says. rights, mean_rights: of
    every level, and of the mean of their maps. weights: of `bootstrap_weights`. seed: of inner folds. margin: instead of a
    cross-validated one; then its rule is returned whether its gain is sure or not.
    """
    rng = np.random.default_rng([seed, 1])  # other draws than the plan's
    margins = MARGINS if margin is None else (margin,)
    folds = len(plan.positions) - 1
    gains, mean_gains = np.zeros((2, len(plan.folds)))
    for fold in range(folds):
        out = plan.folds == fold
        seen, held_out = rights.take(~out), rights.take(out)
        rule, _, _ = fit_rule(names, signs[fold][:, :, ~out], seen, plan.positions[fold], margins, folds, rng)
        base = shares_of(one_level(held_out, rule.single), best_level(seen)[1])
        gains[out] = shares_of(pick(held_out, rule.levels(signs[fold][:, :, out])), rule.positions) - base
        mean_positions = best_level(mean_rights.take(~out))[1]
        mean_gains[out] = shares_of(mean_rights.take(out), mean_positions) - base
    rule, tried, score = fit_rule(names, signs[-1], rights, plan.positions[-1], margins, folds, rng)
    single, positions, singles = best_level(rights)
    _, mean_positions, mean_scores = best_level(mean_rights)
    per_image = Promise(score, float(gains.mean()), bootstrap_interval(gains, weights))
    mean = Promise(float(mean_scores[0]), float(mean_gains.mean()), bootstrap_interval(mean_gains, weights))
    return PerImageChoice(
        rule,
        single,
        positions,
        singles.tolist(),
        per_image,
        mean,
        mean_positions,
        oracle_score(rights, positions),
        (per_image.sure and np.isfinite(rule.margin)) or margin is not None,
        tried if margin is None else [],
    )
