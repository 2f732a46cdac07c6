"""A cut and its score-map thresholds for counts: each the best for the other, in turns, from every single level.

The objective is MaxBoxAccV2 in percent, mean over seeds, less a penalty per split. The thresholds, one for every seed and
IoU threshold, are shared by all nodes of a cut.
"""

from dataclasses import dataclass

import numpy as np

from wsol.granularity.cut import Cut, best_cut
from wsol.granularity.tree import LevelTree, single

MOST_TURNS = 100  # far more than were ever needed; no turn lowers the objective, which has finitely many values


@dataclass(frozen=True, eq=False)
class Fitted:
    """A cut; `positions`, int (S, J), of its score-map thresholds; `score`, its MaxBoxAccV2 in percent on what it was fitted
    to; `objective`, that less the penalties."""

    cut: Cut
    positions: np.ndarray
    score: float
    objective: float


def best_positions(counts: np.ndarray, level_of: np.ndarray) -> tuple[np.ndarray, int]:
    """Return (int (S, J), sum): the positions of a cut's best score-map thresholds, the first on ties, and how many images
    are right there, a sum over seeds and IoU thresholds. `counts`: int (S, L, C, J, T)."""
    total = counts[:, level_of, np.arange(len(level_of))].sum(axis=1)
    return total.argmax(axis=2), int(total.max(axis=2).sum())


def values_at(counts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return float64 (L, C): how many images of each leaf are right at each level, a sum over seeds and IoU thresholds."""
    seeds, _, _, ious, _ = counts.shape
    picked = (counts[s, :, :, j, positions[s, j]] for s in range(seeds) for j in range(ious))
    return np.stack(list(picked)).sum(axis=0).astype(np.float64)


def _percent(counts: np.ndarray, images: int) -> float:
    """Return what one right image, at one IoU threshold with one seed, adds to MaxBoxAccV2."""
    return 100 / (images * counts.shape[0] * counts.shape[3])


def fit_single(tree: LevelTree, counts: np.ndarray, images: int) -> list[Fitted]:
    """Return every single level, with its best thresholds."""
    found = []
    for level in range(len(tree.levels)):
        positions, right = best_positions(counts, single(tree, level))
        score = right * _percent(counts, images)
        found.append(Fitted(Cut(single(tree, level), level, ()), positions, score, score))
    return found


def best_single(singles: list[Fitted]) -> Fitted:
    """Return the single level with the highest score, the finest on ties."""
    return max(singles, key=lambda one: one.score)


def climb(tree: LevelTree, counts: np.ndarray, images: int, start: Fitted, penalty: float) -> list[Fitted]:
    """Return the turns from a start on: each has the best cut for the thresholds before it, then the best thresholds for
    that cut, and a higher objective; the last can't be raised by either."""
    unit = _percent(counts, images)
    turns = [start]
    for _ in range(MOST_TURNS):
        cut = best_cut(tree, values_at(counts, turns[-1].positions), penalty / unit)
        if (cut.level_of == turns[-1].cut.level_of).all():  # whose thresholds are the best already
            break
        positions, right = best_positions(counts, cut.level_of)
        objective = right * unit - (penalty * cut.splits if cut.splits else 0.0)
        if objective <= turns[-1].objective + 1e-9:
            break
        turns.append(Fitted(cut, positions, right * unit, objective))
    return turns


def fit(tree: LevelTree, counts: np.ndarray, images: int, penalty: float, singles: list[Fitted] | None = None) -> Fitted:
    """Return the best cut found, with its thresholds: on `counts` it is never below the best single level.

    counts: int (S, L, C, J, T), the right images of every leaf. images: how many there are. penalty: in percent of
    MaxBoxAccV2 per split; infinite: the best single level. singles: of `fit_single`, if it is known.
    """
    singles = singles or fit_single(tree, counts, images)
    best = best_single(singles)
    if np.isfinite(penalty):
        # From the best single level first, so that it stays on ties.
        for start in sorted(singles, key=lambda one: -one.score):
            last = climb(tree, counts, images, start, penalty)[-1]
            if last.objective > best.objective + 1e-9:
                best = last
    return best
