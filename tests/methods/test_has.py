"""HaS: cells, against plain loops, in distribution and at the extremes."""

import numpy as np
import pytest
import torch

from samples import noise
from scripts.benchmark_methods import hide_cells_plainly
from wsol import build_model
from wsol.methods.draws import DrawSource
from wsol.methods.has import draw_hidden_cells, hide_cells

LABELS = torch.tensor([1, 0, 3])


def cells(x, grid_size, rate):
    """Return the hidden cells of a batch, bool (B, rows, columns)."""
    rng = np.random.default_rng(0)
    return torch.stack([draw_hidden_cells(x.shape[2:], grid_size, rate, rng) for _ in x])


@pytest.mark.parametrize("grid_size", [1, 4, 7, 23, 46, 100])  # among them sizes that do not divide the image
def test_cells_are_hidden_as_one_by_one(grid_size):
    hidden = cells(noise(), grid_size, 0.5)
    assert hidden.shape == (3, -(-33 // grid_size), -(-46 // grid_size))
    assert torch.equal(hide_cells(noise(), hidden, grid_size), hide_cells_plainly(noise(), hidden, grid_size))


@pytest.mark.parametrize("grid_size", [40, 1_000_000])  # wider than high; the whole image, at no cost for the rest
def test_a_cell_is_no_larger_than_the_image(grid_size):
    hidden = cells(noise(), grid_size, 0.5)
    assert torch.equal(hide_cells(noise(), hidden, grid_size), hide_cells_plainly(noise(), hidden, grid_size))
    every = torch.ones_like(hidden)
    assert not hide_cells(noise(), every, grid_size).any()


def test_cells_are_hidden_with_their_probability_independently_per_image():
    x = torch.zeros(64, 3, 128, 128)
    hidden = cells(x, 4, 0.3)
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.004)  # 65,536 draws: 2.2 standard errors
    assert len({tuple(one.flatten().tolist()) for one in hidden}) == 64
    pairs = (hidden[:, :, 1:] & hidden[:, :, :-1]).float().mean().item()
    assert pairs == pytest.approx(0.09, abs=0.004)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, False), (1.0, True)])
def test_no_cell_or_all_cells_are_hidden_at_the_extremes(rate, expected):
    assert bool((cells(noise(), 4, rate) == expected).all())


def test_has_hides_in_training_only_and_nothing_with_grid_0():
    torch.manual_seed(0)
    model = build_model("resnet18", "has", 5, has_grid_size=4, has_drop_rate=1.0)
    seen = []
    model.backbone.conv1.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    x = noise(64, 64)
    model.train().training_step(x, LABELS)
    model.eval()(x, LABELS)
    model.grid_size = 0
    model.train().training_step(x, LABELS)
    assert not seen[0].any()
    assert torch.equal(seen[1], x) and torch.equal(seen[2], x)


def test_a_process_without_images_draws_nothing():
    model = build_model("resnet18", "has", 3, has_grid_size=16)
    assert model.draw(DrawSource(0, 1, 0, []), (64, 48))["hidden"].shape == (0, 4, 3)
