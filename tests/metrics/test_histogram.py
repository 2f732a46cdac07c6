"""The compiled histograms against those of NumPy."""

import numpy as np
import pytest

from wsol.metrics.histogram import count_scores


@pytest.mark.parametrize(
    "edges",
    [
        np.append(np.arange(0, 1, 0.001), [1, 2, 3]),
        [0.0, 0.01, 0.5, 0.7, 1, 2, 3],
        [0.2, 0.2, 0.5, 0.5, 1, 2, 3],  # twice the same, and scores below the first
        [0.3, 0.3001, 0.3002, 0.9, 1, 2, 3],  # close together
        [0, 0.5, 1.0],  # the last bin holds its end
    ],
)
def test_counting_scores_equals_two_histograms(edges):
    edges = np.array(edges, dtype=np.float64)
    rng = np.random.default_rng(0)
    inside = edges[edges <= 1]
    scores = rng.choice([0.0, 1.0, *inside, *np.nextafter(inside[1:], 0), *rng.random(50)], (64, 48))
    mask = rng.choice([0, 1, 255], (64, 48)).astype(np.uint8)
    counts = np.zeros((2, len(edges) - 1), dtype=np.int64)
    count_scores(scores, mask, edges, counts)
    for kind in (0, 1):
        np.testing.assert_array_equal(counts[kind], np.histogram(scores[mask == kind], bins=edges)[0])
