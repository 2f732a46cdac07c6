"""Predictions: ranks, and the refiner after normalisation."""

import numpy as np
import pytest
import torch

from data_loaders import Batch
from wsol import build_model
from wsol.core.errors import InputError
from wsol.data.preprocessing import IMAGENET
from wsol.maps.mapper import make_mapper
from wsol.maps.normalize import normalize_raw_map
from wsol.maps.prediction import predict, ranks_of

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
BATCH = Batch(IMAGES, torch.tensor([1, 4]), ["a", "b"], [])


def predictions(refiner=None):
    torch.manual_seed(0)
    mapper = make_mapper("method", build_model("resnet18", "cam", 5))
    return list(predict(mapper, [BATCH], torch.device("cpu"), "off", [], refiner))


def test_without_a_refiner_a_score_map_is_the_normalised_raw_map():
    for one in predictions():
        np.testing.assert_array_equal(one.score_map(), normalize_raw_map(one.raw_map, (64, 64)))


def test_a_refiner_sees_the_image_and_the_normalised_map():
    seen = []

    def halve(image, score_map, image_id):
        seen.append((image, score_map, image_id))
        return score_map / 2

    for i, (one, plain) in enumerate(zip(predictions(halve), predictions(), strict=True)):
        np.testing.assert_array_equal(one.score_map(), plain.score_map() / 2)
        np.testing.assert_array_equal(seen[i][0], IMAGENET.to_rgb(IMAGES[i].numpy()))
        np.testing.assert_array_equal(seen[i][1], plain.score_map())
        assert seen[i][2] == plain.image_id


@pytest.mark.parametrize("wrong", [lambda m: m[:5], lambda m: m + 1, lambda m: m * np.nan])
def test_a_refiner_that_returns_no_score_map_is_refused(wrong):
    one = predictions(lambda image, score_map, image_id: wrong(score_map))[1]
    with pytest.raises(InputError, match=r"b: the refiner returned a map of shape .*; expected \(64, 64\), within \[0, 1\]"):
        one.score_map()


def test_ranks_are_those_of_a_stable_sort():
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 4, (50, 6)).astype(np.float32)  # many are equal
    logits[::7, 2] = np.nan  # counts as more than any number
    labels = rng.integers(0, 6, 50)
    order = np.argsort(np.where(np.isnan(logits), -np.inf, -logits), axis=1, kind="stable")
    expected = [int(np.flatnonzero(row == label)[0]) for row, label in zip(order, labels, strict=True)]
    got = ranks_of(torch.from_numpy(logits), torch.from_numpy(labels)).tolist()
    own_is_nan = np.isnan(logits[np.arange(50), labels])
    assert own_is_nan.any() and got == np.where(own_is_nan, 6, expected).tolist()


class _Fixed(torch.nn.Module):
    """Gives the logits it was made with."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images, labels=None):
        return {"logits": self.logits}

    def raw_maps(self, outputs, labels):
        return torch.rand(len(labels), 2, 2)


def test_ranks_are_those_of_a_stable_sort_and_nan_is_never_right():
    nan = float("nan")
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [nan, nan, nan], [0.0, nan, 0.0]])
    labels = torch.tensor([2, 0, 2, 1, 0])
    batch = Batch(torch.zeros(5, 3, 8, 8), labels, list("abcde"), [])
    found = list(predict(_Fixed(logits), [batch], torch.device("cpu"), "off", []))
    assert [p.rank for p in found] == [1, 0, 2, 3, 1]
    assert [p.image_id for p in found] == list("abcde")
    assert found[0].score_map().shape == (8, 8)


def test_images_that_could_not_be_read_are_passed_on():
    bad = []
    batches = [Batch(torch.empty(0), torch.empty(0, dtype=torch.int64), [], ["x.jpg: broken"])]
    assert list(predict(_Fixed(torch.zeros(0, 2)), batches, torch.device("cpu"), "off", bad)) == []
    assert bad == ["x.jpg: broken"]
