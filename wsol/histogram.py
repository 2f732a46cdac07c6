"""Histograms of foreground and background scores in one pass, compiled by numba."""

import numpy as np
from numba import njit

CELLS = 4096  # of equal width in [0, 1]: a power of two, so that a score's cell is exact; many more than edges


@njit(cache=True, nogil=True)
def _edges_before(bounds: np.ndarray) -> tuple[np.ndarray, int]:
    """Return how many bounds, ascending, are <= each cell's start, uint32 (CELLS + 1,), and the most inside one cell."""
    before = np.zeros(CELLS + 1, np.uint32)
    for bound in bounds:
        if bound <= 1:
            before[max(0, int(np.ceil(bound * CELLS)))] += 1
    most = before[1:].max()
    for cell in range(CELLS):
        before[cell + 1] += before[cell]
    return before, most


@njit(cache=True, nogil=True)
def count_scores(scores: np.ndarray, mask: np.ndarray, edges: np.ndarray, counts: np.ndarray) -> None:
    """Add the scores, float64 (H, W) in [0, 1], to `counts`, int64 (2, bins): row 1 where mask is 1, row 0 where it is 0.

    Bin i holds edges[i] <= score < edges[i + 1], and the last one its end too, as in np.histogram; `edges` float64
    (bins + 1,), ascending. `mask` uint8 (H, W): pixels of other values count nowhere.

    A score's cell tells its bin but for the edges inside the cell, which are compared: one at most if a thousand edges
    are evenly spaced. The comparison is added, since a branch on it could not be predicted, and indices are unsigned,
    since numba looks whether a signed one counts from the end.
    """
    bounds = np.append(edges, np.inf)
    bounds[-2] = np.nextafter(edges[-1], np.inf)
    before, most_inside = _edges_before(bounds)
    stride = np.uint64(len(bounds))
    rows = np.zeros(3 * len(bounds), np.int32)  # of those of mask 0, of mask 1, and of those that count nowhere
    scores, mask = scores.ravel(), mask.ravel()
    for i in range(len(scores)):
        number = np.uint64(before[np.uint32(scores[i] * CELLS)])  # of bounds <= the score
        for _ in range(most_inside):
            number += np.uint64(bounds[number] <= scores[i])
        rows[number + stride * np.uint64(min(mask[i], np.uint8(2)))] += 1
    counts += rows.reshape((3, len(bounds)))[:2, 1:-1]
