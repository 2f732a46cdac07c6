"""The fit of proposals: against sums over pixels, and against the IoU where both are defined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol.data.proposals import Proposal
from wsol.metrics.proposal_fit import best_proposal, box_fits, mask_fit

SEEDS = st.integers(0, 2**32 - 1)


def slow_fit(score_map, region):
    """The soft IoU, pixel by pixel."""
    least = sum(min(m, float(r)) for m, r in zip(score_map.ravel(), region.ravel(), strict=True))
    most = sum(max(m, float(r)) for m, r in zip(score_map.ravel(), region.ravel(), strict=True))
    return least / most


def random_map(seed, shape=(7, 9)):
    rng = np.random.default_rng(seed)
    return rng, rng.random(shape)


@given(SEEDS)
def test_boxes_and_masks_fit_as_their_pixels_do(seed):
    rng, score_map = random_map(seed)
    x0, y0 = rng.integers(0, 8), rng.integers(0, 6)
    x1, y1 = rng.integers(x0 + 1, 10), rng.integers(y0 + 1, 8)
    region = np.zeros(score_map.shape, dtype=bool)
    region[y0:y1, x0:x1] = True
    expected = slow_fit(score_map, region)
    assert box_fits(score_map, np.array([[x0, y0, x1, y1]]), (9, 7))[0] == pytest.approx(expected)
    assert mask_fit(score_map, region) == pytest.approx(expected)
    # Three times as large an image, the same regions.
    assert box_fits(score_map, 3 * np.array([[x0, y0, x1, y1]]), (27, 21))[0] == pytest.approx(expected)
    assert mask_fit(score_map, region.repeat(3, 0).repeat(3, 1)) == pytest.approx(expected)


@given(SEEDS)
def test_for_zeros_and_ones_the_fit_is_the_iou(seed):
    rng, score_map = random_map(seed)
    binary, region = score_map > 0.5, rng.random(score_map.shape) > 0.3
    assert mask_fit(binary.astype(float), region) == pytest.approx((binary & region).sum() / (binary | region).sum())


@given(SEEDS)
def test_the_region_that_fits_best_is_the_map_above_a_threshold_of_its_own(seed):
    _, score_map = random_map(seed, (3, 4))
    numbers = np.arange(1, 2**12)
    regions = (numbers[:, None] >> np.arange(12) & 1).astype(bool).reshape(-1, 3, 4)
    inside = (regions * score_map).sum(axis=(1, 2))
    fits = inside / (regions.sum(axis=(1, 2)) + score_map.sum() - inside)
    best = int(fits.argmax())
    assert fits[best] == pytest.approx(mask_fit(score_map, regions[best]))
    np.testing.assert_array_equal(regions[best], score_map > fits[best] / (1 + fits[best]))


def test_boxes_smaller_than_a_pixel_of_the_map_and_at_its_edge_have_one():
    score_map = np.arange(12.0).reshape(3, 4) / 11
    fits = box_fits(score_map, np.array([[0, 0, 1, 1], [399, 299, 400, 300]]), (400, 300))
    assert fits.tolist() == pytest.approx([0, 1 / (1 + score_map.sum() - 1)])


def test_the_first_of_the_best_is_taken_and_a_segmentation_is_judged_by_its_pixels():
    score_map = np.zeros((4, 4))
    score_map[:2, :2] = 1
    corner, all_of_it = Proposal((0, 0, 2, 2), None, "a"), Proposal((0, 0, 4, 4), None, "b")
    diagonal = Proposal((0, 0, 2, 2), {"size": [4, 4], "counts": [0, 1, 4, 1, 10]}, "c")
    best, fit = best_proposal(score_map, [all_of_it, diagonal, corner, corner], (4, 4))
    assert best is corner and fit == 1
    assert best_proposal(score_map, [diagonal], (4, 4)) == (diagonal, 0.5)
    assert best_proposal(score_map, [], (4, 4)) is None
    # A map without anything in it says nothing, so that the first proposal is taken.
    assert best_proposal(np.zeros((4, 4)), [all_of_it, corner], (4, 4)) == (all_of_it, 0)
