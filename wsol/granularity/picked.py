"""Runs that take each image's results from a level of its own: as rights of one level, with thresholds and shares.

In: rights of all levels. Out: those of a single level, of chosen levels, or of the levels that the truth would choose.
"""

import numpy as np

from wsol.granularity.rights import Rights


def pick(rights: Rights, level_of: np.ndarray) -> Rights:
    """Return the rights of the run that takes each image's results from a level, as of a single level.

    level_of: int (S, N), each image's level with the runs of each seed.
    """
    images = np.arange(level_of.shape[1])
    packed = np.stack([own[levels, images] for own, levels in zip(rights.packed, level_of, strict=True)])
    return Rights(packed[:, None], rights.thresholds, rights.leaf_of, rights.leaves)


def one_level(rights: Rights, level: int) -> Rights:
    """Return the rights of a single level."""
    return Rights(rights.packed[:, level : level + 1], rights.thresholds, rights.leaf_of, rights.leaves)


def shares_of(rights: Rights, positions: np.ndarray) -> np.ndarray:
    """Return float64 (N,): each image's share in percent, of rights of one level, at positions (S, J)."""
    return rights.shares(np.zeros(len(rights.leaf_of), dtype=np.int64), positions)


def best_level(rights: Rights) -> tuple[int, np.ndarray, np.ndarray]:
    """Return (level, int (S, J), float64 (L,)): the best single level, the finest on ties, the positions of its best
    score-map thresholds, the first on ties, and every level's MaxBoxAccV2 in percent."""
    images = len(rights.leaf_of)
    total = rights.sums(np.zeros(images, dtype=np.int64), 1)[:, :, 0]
    right = total.max(axis=3).sum(axis=(0, 2))
    level = int(right.argmax())
    seeds, _, ious, _ = total.shape
    return level, total[:, level].argmax(axis=2), right * (100 / (images * seeds * ious))


def level_shares(rights: Rights, positions: np.ndarray) -> np.ndarray:
    """Return float64 (S, L, N): the share in [0, 1] that each level's map gets of each image, at positions (S, J)."""
    seeds, levels, images, _, _ = rights.packed.shape
    found = np.empty((seeds, levels, images))
    for seed in range(seeds):
        own = Rights(rights.packed[seed : seed + 1], rights.thresholds, rights.leaf_of, rights.leaves)
        for level in range(levels):
            found[seed, level] = shares_of(one_level(own, level), positions[seed : seed + 1]) / 100
    return found


def oracle_levels(rights: Rights, positions: np.ndarray) -> np.ndarray:
    """Return int64 (S, N): the level whose map gets the largest share of each image, which takes the truth to know."""
    return level_shares(rights, positions).argmax(axis=1)


def oracle_score(rights: Rights, positions: np.ndarray) -> float:
    """Return MaxBoxAccV2 in percent of `oracle_levels` at positions (S, J): no choice among the levels is above it there."""
    return float(100 * level_shares(rights, positions).max(axis=1).mean())
