"""What a calibration that is a constant says of itself."""

from dataclasses import replace

import numpy as np
import pytest

from wsol.metrics.calibration import constant, fit_calibration
from wsol.photos.describe import constants_of
from wsol.runs.box_rules import BoxRule


@pytest.fixture
def calibration():
    rng = np.random.default_rng(0)
    signs = rng.normal(size=(100, 2))
    return fit_calibration(["size", "margin"], signs, 1 / (1 + np.exp(-signs[:, 0])))


def test_a_belief_that_does_not_depend_on_the_photo_is_named(calibration):
    rule = BoxRule(threshold=0.2, images=100, accuracy=50.0, source="true", calibration=calibration)
    assert constants_of(rule) == [] and constants_of(replace(rule, calibration=None)) == []
    same = replace(calibration, expected_iou=constant(np.full(100, 0.5), 2))
    assert (
        same.constants == ("expected_iou",)
        and len({belief.expected_iou for belief in map(same.belief, ([0, 0], [3, 1]))}) == 1
    )
    (note,) = constants_of(replace(rule, calibration=same))
    assert note.startswith("expected_iou is the same for every box")
