import json

import numpy as np
import pytest

from wsol.metrics.calibration import FOLDS, Calibration, fit_calibration, folds_of
from wsol.metrics.reliability import reliability


def known(count, seed=0):
    """Signs, and IoUs whose mean is a logistic function of them."""
    rng = np.random.default_rng(seed)
    signs = rng.normal([0, 5, 1], [1, 3, 0], (count, 3))  # the last one says nothing
    mean = 1 / (1 + np.exp(-(0.5 + signs[:, 0] - 0.2 * (signs[:, 1] - 5))))
    return signs, rng.beta(8 * mean, 8 * (1 - mean)), mean


def test_the_expected_iou_is_found_and_is_calibrated_on_other_images():
    signs, ious, _ = known(4000)
    calibration = fit_calibration(("a", "b", "c"), signs, ious)
    signs, ious, mean = known(4000, 1)
    expected, reaches = calibration.predict(signs)
    assert np.abs(expected - mean).mean() < 0.01
    assert reliability(reaches, ious >= 0.5, 0).ece < 0.02
    belief = calibration.belief(signs[3].tolist())
    assert belief == pytest.approx((expected[3], reaches[3]))


def test_plain_numbers_give_the_same_calibration_back():
    signs, ious, _ = known(100)
    calibration = fit_calibration(("a", "b", "c"), signs, ious)
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again == calibration
    assert (again.predict(signs)[0] == calibration.predict(signs)[0]).all()


def test_signs_beyond_those_seen_are_moved_to_their_range():
    signs, ious, _ = known(100)
    calibration = fit_calibration(("a", "b", "c"), signs, ious)
    assert calibration.belief([1e9, -1e9, 0]) == calibration.belief([signs[:, 0].max(), signs[:, 1].min(), 1])


@pytest.mark.parametrize(("iou", "expected"), [(1.0, 51 / 52), (0.0, 1 / 52)])
def test_without_right_and_wrong_ones_the_belief_is_a_constant(iou, expected):
    calibration = fit_calibration(("a", "b", "c"), known(50)[0], np.full(50, iou))
    assert calibration.belief([0, 0, 0]) == pytest.approx((expected, expected))


def test_whatever_is_not_a_calibration_is_refused():
    good = fit_calibration(("a", "b", "c"), *known(100)[:2]).to_dict()
    for name, value in [
        ("signs", []),
        ("signs", ["a", "b"]),
        ("mean", [0.0, 1.0]),
        ("mean", [0.0, 1.0, float("nan")]),
        ("scale", [1.0, 0.0, 1.0]),
        ("low", [9e9, 0.0, 0.0]),
        ("reaches_50", {"intercept": 1.0}),
        ("expected_iou", {"intercept": "1", "coefficients": [1.0, 1.0, 1.0]}),
        ("expected_iou", 3),
    ]:
        with pytest.raises(ValueError, match=r"."):
            Calibration.from_dict({**good, name: value})
    with pytest.raises(ValueError, match="fields"):
        Calibration.from_dict({**good, "more": 1})


def test_folds_have_nearly_the_same_size_and_come_from_the_seed():
    sizes = np.bincount(folds_of(43, 0))
    assert len(sizes) == FOLDS and sizes.max() - sizes.min() == 1
    assert (folds_of(43, 0) == folds_of(43, 0)).all() and (folds_of(43, 0) != folds_of(43, 1)).any()


def test_the_calibration_error_by_hand():
    predicted, observed = np.array([0.05, 0.07, 0.95, 1.0]), np.array([0, 1, 1, 1])
    found = reliability(predicted, observed)
    assert found.ece == pytest.approx(0.5 * abs(0.06 - 0.5) + 0.5 * abs(0.975 - 1))
    assert found.brier == pytest.approx(np.mean((predicted - observed) ** 2))
    assert [(bin.images, bin.observed) for bin in found.bins] == [(2, 0.5), (2, 1.0)]
    assert found.ece_low <= found.ece <= found.ece_high
    assert reliability(predicted, observed) == found  # the same resamples
