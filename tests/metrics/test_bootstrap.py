"""Intervals and tests of an evaluator's figures, from its resampled counts."""

import numpy as np
import pytest

from samples import BOTH
from wsol.core.errors import InputError
from wsol.data.truth import SplitTruth
from wsol.metrics.bootstrap import Resampled, compare, intervals
from wsol.metrics.split_evaluator import SplitEvaluator


@pytest.fixture
def evaluator(two_images, tmp_path):
    one = SplitEvaluator(SplitTruth.read(tmp_path / "metadata", tmp_path, "D", "val"), 0.1, [30, 50], True)
    for rank, image_id in enumerate(BOTH):
        one.add(one.score(np.eye(8), image_id)._replace(rank=rank))
    return one


def test_every_figure_in_percent_has_its_interval(evaluator):
    results = evaluator.results({"30": 0.2, "50": 0.3})
    found = intervals(Resampled(evaluator, 50, 0), results)
    percents = {name for name in results if name.startswith(("MaxBoxAcc", "top"))} | {"gt_known_loc"}
    assert set(found) == {"percent", "resamples", "seed", *percents}
    assert found["MaxBoxAcc"].keys() == results["MaxBoxAcc"].keys()


def test_without_resamples_there_is_none(evaluator):
    assert intervals(Resampled(evaluator, 0, 0), evaluator.results()) == {}


def test_a_resample_has_no_more_right_images_than_images(evaluator):
    resampled = Resampled(evaluator, 30, 1)
    first, second = (correct for _, correct in evaluator.boxes.images())
    assert resampled.right.shape == (30, 2, 10)
    assert (resampled.right <= resampled.images[:, None, None]).all()
    assert (resampled.right[:, ~(first | second)] == 0).all()


def test_a_run_does_not_differ_from_itself(evaluator):
    for test in compare(*[Resampled(evaluator, 20, 0)] * 2).values():
        assert test == {"difference": 0, "interval": [0, 0], "p_value": 1}


def test_a_split_without_masks_has_no_pixels_to_resample(evaluator):
    with pytest.raises(InputError, match="D val has no true masks"):
        Resampled(evaluator, 20, 0).histograms("bootstrap")
    with pytest.raises(InputError, match=r"'a\.jpg' was scored without masks"):
        evaluator.images[0].counts_of("masks")
