"""Histograms of foreground and background scores in one pass, compiled by numba."""

import numpy as np

from wsol.core.jit import compiled

CELLS = 4096  # of equal width in [0, 1]: a power of two, so that a score's cell is exact; more than there are edges
KINDS = 4  # mask 0, mask 1, pixels that count nowhere, and an unused one, since times four costs nothing


@compiled
def _bounds_before(bounds: np.ndarray) -> tuple[np.ndarray, int]:
    """Return how many bounds, ascending, are <= each cell's start, uint32 (CELLS + 1,), and the most inside one cell."""
    before = np.zeros(CELLS + 1, np.uint32)
    for bound in bounds:
        if bound <= 1:
            before[max(0, int(np.ceil(bound * CELLS)))] += 1
    most = before[1:].max()
    for cell in range(CELLS):
        before[cell + 1] += before[cell]
    return before, most


@compiled
def _count(
    scores: np.ndarray, mask: np.ndarray, bounds: np.ndarray, before: np.ndarray, most_inside: int, totals: np.ndarray
) -> None:
    """Add the scores to `totals`, flat int32 (bounds * KINDS,), by the number of bounds <= the score.

    A comparison is added to that number, since a branch on it could not be predicted. Indices are unsigned, since numba
    checks whether a signed one counts from the end.
    """
    height, width = scores.shape
    cells = np.empty(width, np.int32)
    for y in range(height):
        row, kinds = scores[y], mask[y]
        for x in range(width):  # a separate loop compiles to vector instructions
            cells[x] = np.int32(row[x] * CELLS)
        for x in range(width):
            number = np.uint64(before[np.uint64(np.uint32(cells[x]))])
            for _ in range(most_inside):
                number += np.uint64(bounds[number] <= row[x])
            totals[np.uint64(KINDS) * number + np.uint64(min(kinds[x], np.uint8(2)))] += 1


@compiled
def count_scores(scores: np.ndarray, mask: np.ndarray, edges: np.ndarray, counts: np.ndarray) -> None:
    """Add the scores, float64 (H, W) in [0, 1], to `counts`, int64 (2, bins): row 1 where mask is 1, row 0 where it is 0.

    Bin i holds edges[i] <= score < edges[i + 1], and the last one its end too, as in np.histogram; `edges` float64
    (bins + 1,), ascending. `mask` uint8 (H, W): pixels of other values count nowhere.
    """
    bounds = np.append(edges, np.inf)  # a score is below the last one
    bounds[-2] = np.nextafter(edges[-1], np.inf)
    before, most_inside = _bounds_before(bounds)
    totals = np.zeros(len(bounds) * KINDS, np.int32)
    if most_inside <= 1:  # as for a thousand evenly spaced edges: compiled with the number known
        _count(scores, mask, bounds, before, 1, totals)
    else:
        _count(scores, mask, bounds, before, most_inside, totals)
    counts += totals.reshape((len(bounds), KINDS))[1:-1, :2].T
