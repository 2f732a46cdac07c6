"""FSL-Seg: its loss and its masks against loops over pixels, and what learns how fast."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samples import noise
from wsol import build_from_config, build_model
from wsol.core.errors import InputError
from wsol.data.batches import Batch
from wsol.methods.fsl_seg import balanced_loss, masks_at
from wsol.runs.training import TrainingStep

TINY = "timm:test_efficientnet"


@st.composite
def masks(draw, most=7):
    shape = [draw(st.integers(1, 3)), draw(st.integers(1, most)), draw(st.integers(1, most))]
    values = draw(st.lists(st.sampled_from([0, 1, 255]), min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(values, dtype=np.uint8).reshape(shape)


def slow_loss(logits, truth):
    """The loss of one batch, pixel by pixel."""
    losses = []
    for one_logits, one_truth in zip(logits, truth, strict=True):
        of_pixels = {0: [], 1: []}
        for logit, value in zip(one_logits.flat, one_truth.flat, strict=True):
            score = 1 / (1 + math.exp(-logit))
            if value != 255:
                of_pixels[int(value)].append(-math.log(score if value == 1 else 1 - score))
        means = [sum(found) / len(found) for found in of_pixels.values() if found]
        if means:
            losses.append(sum(means) / len(means))
    return sum(losses) / len(losses) if losses else 0.0


@given(masks(), st.integers(0, 2**32 - 1))
def test_the_loss_is_that_of_a_loop_over_pixels(truth, seed):
    logits = 3 * np.random.default_rng(seed).standard_normal(truth.shape)
    found = balanced_loss(torch.from_numpy(logits), torch.from_numpy(truth)).item()
    assert found == pytest.approx(slow_loss(logits, truth), rel=1e-4, abs=1e-6)


def test_an_image_of_one_kind_has_the_mean_of_that_kind_and_an_ignored_one_does_not_count():
    logits = torch.zeros(3, 2, 2)
    logits[2] = 50.0
    truth = torch.stack([torch.ones(2, 2), torch.zeros(2, 2), torch.full((2, 2), 255)]).to(torch.uint8)
    assert balanced_loss(logits, truth).item() == pytest.approx(math.log(2))
    assert balanced_loss(logits[2:], truth[2:]).item() == 0


def test_ignored_pixels_get_no_gradient_and_both_kinds_the_same():
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    balanced_loss(logits, torch.tensor([[[1, 0, 0], [0, 255, 255]]], dtype=torch.uint8)).backward()
    expected = [[-1 / 4, 1 / 12, 1 / 12], [1 / 12, 0, 0]]
    torch.testing.assert_close(logits.grad, torch.tensor([expected]))


def slow_mask(mask, size):
    """A mask at a size, by counting the pixels that each new pixel covers."""
    (height, width), (rows, columns) = mask.shape, size
    found = np.zeros(size, dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            covered = mask[
                row * height // rows : -(-(row + 1) * height // rows),
                column * width // columns : -(-(column + 1) * width // columns),
            ]
            ignored, foreground = int((covered == 255).sum()), int((covered == 1).sum())
            if 2 * ignored > covered.size:
                found[row, column] = 255
            else:
                found[row, column] = 2 * foreground > covered.size - ignored
    return found


@given(masks(most=8), st.integers(1, 8), st.integers(1, 8))
def test_a_pixel_of_a_smaller_mask_is_what_most_of_its_area_is(truth, rows, columns):
    found = masks_at(torch.from_numpy(truth), (rows, columns)).numpy()
    for one, mask in zip(found, truth, strict=True):
        assert np.array_equal(one, slow_mask(mask, (rows, columns)))


@pytest.mark.parametrize("architecture", ["resnet18", TINY, "vgg16", "inception_v3"])
def test_every_parameter_learns_and_the_convolution_at_the_classifiers_rate(architecture):
    torch.manual_seed(0)
    model = build_model(architecture, "fsl_seg", 1).train()
    slow, fast = model.parameter_groups(0.01, 10)
    assert (slow["lr"], fast["lr"]) == (0.01, 0.1)
    of_group = {id(parameter) for parameter in fast["params"]}
    assert {id(parameter) for parameter in model.foreground.parameters()} <= of_group
    truth = torch.zeros(2, 64, 64, dtype=torch.uint8)
    truth[:, :32] = 1
    batch = Batch(noise(64, 64, 2), torch.tensor([0, 0]), ["a", "b"], [], (0, 1), masks=truth)
    outputs, loss = TrainingStep(model)(batch)
    assert outputs.keys() == {"map_logits"}
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_map_is_the_sigmoid_whatever_the_label():
    model = build_model(TINY, "fsl_seg", 1).eval()
    outputs = model(noise(64, 64))
    maps = model.score_maps(noise(64, 64), torch.tensor([0, 7, 3]))
    torch.testing.assert_close(maps, torch.sigmoid(outputs["map_logits"]))
    assert not maps.requires_grad


def test_it_has_one_class_however_many_the_data_have():
    config = {"architecture": TINY, "wsol_method": "fsl_seg", "large_feature_map": False}
    assert build_from_config(config, 200).num_classes == 1
    with pytest.raises(InputError, match="num_classes 200: fsl_seg tells no classes apart; expected 1"):
        build_model(TINY, "fsl_seg", 200)
    with pytest.raises(InputError, match="no method has this option"):
        build_model(TINY, "fsl_seg", 1, fsl_val_share=0.5)


def test_a_batch_without_masks_is_refused():
    with pytest.raises(ValueError, match="a batch without masks"):
        build_model(TINY, "fsl_seg", 1).batch_step(Batch(noise(64, 64), torch.zeros(3, dtype=torch.int64), [], []))
