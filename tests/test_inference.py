import cv2
import numpy as np
import pytest
import torch

from data_loaders import Batch
from inference import normalize_raw_map, predict, resolve_device
from wsol.errors import InputError


def test_a_raw_map_is_resized_bicubically_then_normalised():
    raw = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    resized = cv2.resize(raw.astype(np.float64), (224, 112), interpolation=cv2.INTER_CUBIC)
    expected = (resized - resized.min()) / (resized.max() - resized.min())
    got = normalize_raw_map(raw, (224, 112))
    assert (got.dtype, got.shape) == (np.float64, (112, 224))
    np.testing.assert_array_equal(got, expected)
    assert (got.min(), got.max()) == (0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_value_gives_all_zeros(value):
    raw = np.eye(3)
    raw[1, 1] = value
    assert not normalize_raw_map(raw, (9, 9)).any()


def test_a_constant_map_gives_all_zeros():
    assert not normalize_raw_map(np.full((3, 3), 0.3), (3, 3)).any()


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


def test_devices_that_do_not_exist_are_refused():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="--device cuda:99: expected cpu or one of"):
        resolve_device("cuda:99")
    with pytest.raises(InputError, match="--amp fp16"):
        resolve_device("cpu", "fp16")
