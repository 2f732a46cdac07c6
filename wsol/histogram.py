"""Histograms of foreground and background scores in one pass, compiled by numba."""

import numpy as np
from numba import njit


@njit(cache=True)
def count_scores(scores: np.ndarray, mask: np.ndarray, edges: np.ndarray, counts: np.ndarray) -> None:
    """Add the scores, float64 (H, W) in [0, 1], to `counts`, int64 (2, bins): row 1 where mask is 1, row 0 where it is 0.

    Bin i holds edges[i] <= score < edges[i + 1], as in np.histogram; `edges` float64 (bins + 1,), ascending. The first
    guess is right for evenly spaced edges, and corrected for others.
    """
    per_unit = np.searchsorted(edges, 1.0)
    for y in range(scores.shape[0]):
        for x in range(scores.shape[1]):
            kind = mask[y, x]
            if kind > 1:
                continue
            score = scores[y, x]
            if score < edges[0]:
                continue
            i = min(int(score * per_unit), len(edges) - 2)
            while edges[i] > score:
                i -= 1
            while edges[i + 1] <= score:
                i += 1
            counts[kind, i] += 1
