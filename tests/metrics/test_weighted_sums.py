import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.simulate_paired_test import FIGURES, rejections, score_histograms, summary
from wsol.metrics.evaluators import MaskEvaluator
from wsol.metrics.weighted_sums import (
    WeightedSums,
    average_precision,
    average_precision_gradient,
    image_weights,
    interval,
    max_accuracies,
    paired_test,
)


def test_weights_depend_on_image_kind_and_seed_alone():
    first = image_weights("a.jpg", "bootstrap", 50, 0)
    np.testing.assert_array_equal(first, image_weights("a.jpg", "bootstrap", 50, 0))
    for other in (("b.jpg", "bootstrap", 50, 0), ("a.jpg", "swap", 50, 0), ("a.jpg", "bootstrap", 50, 1)):
        assert (first != image_weights(*other)).any()


def test_weights_are_poisson_and_coin_tosses():
    weights = np.concatenate([image_weights(str(i), "bootstrap", 1000, 0) for i in range(50)])
    assert weights.mean() == pytest.approx(1, abs=0.02)
    assert weights.var() == pytest.approx(1, abs=0.05)
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.01)
    swaps = np.concatenate([image_weights(str(i), "swap", 1000, 0) for i in range(50)])
    assert set(swaps.tolist()) == {0, 1}
    assert swaps.mean() == pytest.approx(0.5, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 600), st.booleans())
def test_weighted_sums_are_exact(count, boolean):
    rng = np.random.default_rng(count)
    counts = rng.integers(0, 2 if boolean else 60_000, (count, 3, 2))
    counts = counts.astype(bool) if boolean else counts
    sums = WeightedSums("bootstrap", 20, 3, (3, 2))
    for i in range(count):
        sums.add(f"{i}", counts[i])
    weights = np.array([image_weights(f"{i}", "bootstrap", 20, 3) for i in range(count)])
    expected = np.einsum("ir,iab->rab", weights, counts.astype(np.int64))
    np.testing.assert_array_equal(sums.total, expected)


def test_interval_of_an_accuracy_is_that_of_the_binomial():
    rng = np.random.default_rng(0)
    right = rng.random(2000) < 0.3
    sums = WeightedSums("bootstrap", 2000, 0, (2,))
    for i, one in enumerate(right):
        sums.add(str(i), np.array([one, True]))
    low, high = interval(100 * sums.total[:, 0] / sums.total[:, 1])
    p = right.mean()
    half = 196 * np.sqrt(p * (1 - p) / 2000)
    assert low == pytest.approx(100 * p - half, abs=0.2)
    assert high == pytest.approx(100 * p + half, abs=0.2)


def test_the_threshold_is_chosen_anew_in_every_resample():
    sums = np.array([[[3, 5]], [[6, 2]], [[0, 0]]], dtype=float)
    best, position = max_accuracies(sums, np.array([10.0, 10.0, 0.0]))
    assert best[:2, 0].tolist() == [50, 60]
    assert position[:2, 0].tolist() == [1, 0]
    assert np.isnan(best[2, 0])
    assert interval(best[:, 0]) == pytest.approx([50.25, 59.75])
    assert interval(best[2]) is None


def test_average_precision_of_many_histograms_is_that_of_each():
    rng = np.random.default_rng(0)
    hist = rng.integers(0, 9, (5, 2, 13)).astype(float)
    hist[:, :, -1] = 0
    for i, both in enumerate(hist):
        evaluator = MaskEvaluator.__new__(MaskEvaluator)
        evaluator.gt_false_score_hist, evaluator.gt_true_score_hist = both
        assert average_precision(hist[:, 1], hist[:, 0])[i] == pytest.approx(evaluator.compute(), rel=1e-14)
    assert np.isnan(average_precision(np.zeros(4), np.ones(4)))


def test_paired_test_by_hand():
    test = paired_test(2.0, np.array([1.0, 2.0, 3.0]), np.array([0.0, -2.0, 1.0, 5.0]))
    assert test == {"difference": 2.0, "interval": [1.05, 2.95], "p_value": 3 / 5}


def test_p_values_of_equal_runs_are_spread_evenly():
    """Two runs whose images differ at random by nothing but chance: a small p-value comes as often as it says."""
    rng = np.random.default_rng(0)
    p_values = []
    for trial in range(60):
        a, b = rng.random((2, 150)) < 0.5
        difference = (a.astype(float) - b).sum()
        swaps = np.array([image_weights(f"{trial}/{i}", "swap", 400, 0) for i in range(150)])
        swapped = difference - 2 * (swaps * (a.astype(float) - b)[:, None]).sum(axis=0)
        p_values.append(paired_test(difference, swapped, swapped)["p_value"])
    assert 0.35 < np.mean(p_values) < 0.65
    assert np.mean(np.array(p_values) < 0.2) < 0.35


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_gradient_of_precision_is_what_a_pixel_more_changes(seed):
    rng = np.random.default_rng(seed)
    hist = rng.integers(0, 50, (2, 12)).astype(float) * (rng.random((2, 12)) < 0.8)  # some bins are empty
    hist[1, 3], hist[:, 11] = 9, 0
    hist[0, 1] = 5
    gradient = average_precision_gradient(*hist)
    assert (gradient * hist).sum() == pytest.approx(0, abs=1e-9)  # twice the pixels: the same figure
    for place in zip(*np.nonzero(hist), strict=True):
        change = np.zeros_like(hist)
        change[place] = 1e-4
        slope = (average_precision(*(hist + change)[::-1]) - average_precision(*(hist - change)[::-1])) / 2e-4
        assert gradient[place] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("figure", FIGURES)
def test_equal_runs_are_found_different_as_seldom_as_p_says_and_the_interval_agrees(figure):
    """The twin of scripts/simulate_paired_test.py. A test that mixes the counts of runs whose scores are spread differently
    never rejects, while the interval does."""
    shares = summary(rejections(figure, True, 100, 400, 0, range(100)))
    assert 1 <= shares["p < 0.05"] <= 10
    assert 1 <= shares["interval without 0"] <= 10
    assert shares["disagree"] < 5


@pytest.mark.parametrize("figure", FIGURES)
def test_how_the_scores_are_spread_plays_no_part(figure):
    draw, test = FIGURES[figure]
    alike, stretched = (test(draw(np.random.default_rng(5), 40, each), 0, 50) for each in (False, True))
    assert alike["p_value"] == stretched["p_value"]
    assert alike["interval"] == pytest.approx(stretched["interval"], abs=1e-6)


def test_stretched_scores_change_no_figure():
    """Otherwise the simulated runs would not be equally good."""
    alike, stretched = (score_histograms(np.random.default_rng(0), 20, each).sum(axis=0)[1] for each in (False, True))
    assert (alike != stretched).any()
    assert average_precision(*alike[::-1]) == pytest.approx(average_precision(*stretched[::-1]), rel=1e-12)


def test_a_better_run_is_found_whatever_its_scores_are_spread_like():
    """Its counts mixed with the other's would hide it: the second run finds a quarter of the foreground not at all."""
    for stretched in (False, True):
        counts = score_histograms(np.random.default_rng(1), 100, stretched)
        lost = 0.25 * counts[:, 1, 1]
        counts[:, 1, 1] -= lost
        counts[:, 1, 1, 0] += lost.sum(axis=1)
        result = FIGURES["PxAP"][1](counts, 0, 200)
        assert result["difference"] > 0 and result["interval"][0] > 0 and result["p_value"] < 0.02
