"""The test behind bold figures: shares that add up, p-values of a test by every possible swap, and how often it is wrong."""

from itertools import product

import numpy as np
import pytest
from scipy.special import expit

from samples import scored_evaluator
from wsol.core.errors import InputError
from wsol.data.truth import MaskTruth, SplitTruth
from wsol.metrics.scored import Scored
from wsol.metrics.seeds_test import holm, image_shares, mean_shares, seeds_p_value
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.metrics.weighted_sums import average_precision

IOUS = np.array([0.3, 0.5, 0.7])
THRESHOLDS = np.arange(10) / 10


def right_boxes(rng, easy, better=0.0):
    """Bool (images, 3, 10): is a run right, on images that are as easy as `easy` says; an IoU rises to a peak and falls."""
    peak = expit(easy + better + rng.normal(0, 0.5, len(easy)))
    place = rng.normal(0.3, 0.1, len(easy))
    iou = peak[:, None] * np.exp(-(((THRESHOLDS - place[:, None]) / 0.3) ** 2))
    return iou[:, None] >= IOUS[:, None]


def method(rng, easy, seeds, better=0.0):
    """The mean over seeds of each image's share, of a method."""
    runs = [image_shares(scored_evaluator(right_boxes(rng, easy, better)), "MaxBoxAccV2") for _ in range(seeds)]
    return mean_shares(runs)


def test_shares_add_up_to_maxboxaccv2():
    evaluator = scored_evaluator(right_boxes(np.random.default_rng(0), np.linspace(-2, 2, 30)))
    shares = image_shares(evaluator, "MaxBoxAccV2")
    assert list(shares) == evaluator.scored_ids
    assert sum(shares.values()) == pytest.approx(evaluator.results()["MaxBoxAccV2"])


def test_the_p_value_is_that_of_every_possible_swap():
    """The slow way: the figures of both methods, made anew for every choice of images whose runs change sides."""
    rng = np.random.default_rng(1)
    first, second = (
        [right_boxes(rng, np.linspace(-1, 2, 9), better) for _ in range(seeds)] for better, seeds in ((1.5, 3), (0, 2))
    )

    def at_own_best(run):
        """Bool (images, IoUs): right at the best of the run's thresholds, over the images as they were."""
        best = [max(range(10), key=lambda t, iou=iou: run[:, iou, t].sum()) for iou in range(3)]
        return np.array([[run[image, iou, best[iou]] for iou in range(3)] for image in range(len(run))])

    tables = [np.mean([at_own_best(run).mean(axis=1) for run in runs], axis=0) for runs in (first, second)]
    observed = 100 * (tables[0].mean() - tables[1].mean())
    differences = []
    for swapped in product((False, True), repeat=9):
        one = np.where(swapped, tables[1], tables[0])
        other = np.where(swapped, tables[0], tables[1])
        differences.append(100 * (one.mean() - other.mean()))
    exact = np.mean(np.abs(differences) >= abs(observed) - 1e-9)
    of_methods = [
        mean_shares([image_shares(scored_evaluator(run), "MaxBoxAccV2") for run in runs]) for runs in (first, second)
    ]
    assert 0.01 < exact < 0.5  # neither end, where any test would agree
    assert seeds_p_value(*of_methods) == pytest.approx(exact, abs=0.02)
    assert seeds_p_value(*of_methods[::-1]) == pytest.approx(exact, abs=0.02)


def test_a_method_does_not_differ_from_itself():
    shares = method(np.random.default_rng(2), np.zeros(20), 2)
    assert seeds_p_value(shares, shares) == 1


def test_shares_of_pxap_are_its_slopes():
    """An image's share: PxAP / images, and how PxAP changes, per weight of the image, by small differences."""
    rng = np.random.default_rng(3)
    ids = ["a", "b", "c", "d"]
    truth = SplitTruth("D", "test", ids, ids, None, MaskTruth("", {}, {}, {}))
    evaluator = SplitEvaluator(truth, 0.1, [50], True)
    counts = rng.integers(1, 50, (4, 2, 12)).astype(np.uint8)
    for image_id, one in zip(ids, counts, strict=True):
        evaluator.add(Scored(image_id, masks=one))
    shares = image_shares(evaluator, "PxAP")
    assert sum(shares.values()) == pytest.approx(evaluator.masks.compute())

    def figure(weights):
        background, foreground = np.tensordot(weights, counts.astype(float), axes=1)
        return average_precision(foreground, background)

    step = 1e-4
    for i, share in enumerate(shares.values()):
        more, less = np.ones(4), np.ones(4)
        more[i] += step
        less[i] -= step
        slope = (figure(more) - figure(less)) / (2 * step)
        assert share == pytest.approx(evaluator.masks.compute() / 4 + slope, abs=1e-5)


def test_a_figure_that_the_data_set_lacks_is_refused():
    with pytest.raises(InputError, match="no true masks"):
        image_shares(scored_evaluator(right_boxes(np.random.default_rng(0), np.zeros(3))), "PxAP")


def test_holm_rejects_as_the_step_down_procedure_does():
    rng = np.random.default_rng(4)
    for _ in range(200):
        p_values = (rng.random(rng.integers(1, 7)) ** 3).round(2).tolist()
        rejected = set()
        for step, position in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[position] * (len(p_values) - step) >= 0.05:
                break
            rejected.add(int(position))
        assert {i for i, p_value in enumerate(holm(p_values)) if p_value < 0.05} == rejected
    assert holm([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("methods", [2, 4])
def test_equal_methods_are_separated_in_at_most_5_percent_and_a_better_one_is_found(methods):
    """The best of several equally good methods against the second, as in a table's column."""
    wrong, found = [], []
    for repeat in range(400):
        rng = np.random.default_rng([5, methods, repeat])
        easy = rng.normal(0.8, 1.2, 100)
        equal = sorted((method(rng, easy, 3) for _ in range(methods)), key=lambda shares: -sum(shares.values()))
        wrong.append(seeds_p_value(equal[0], equal[1], 999) < 0.05)
        found.append(seeds_p_value(method(rng, easy, 3, 1.0), equal[0], 999) < 0.05)
    assert np.mean(wrong) <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5
    assert np.mean(found) > 0.9
