"""CutMix: boxes, ratios and losses, against plain loops, in distribution and at the extremes."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from samples import generator, noise
from scripts.benchmark_methods import mix_plainly
from wsol import build_model
from wsol.methods.cutmix import CutMixDraw, cut_span, draw_cutmix, mix, symmetric_beta
from wsol.methods.draws import DrawSource

LABELS = torch.tensor([1, 0, 3])


@pytest.mark.parametrize("ratio", [0.0, 1e-9, 0.3, 0.5, 1 - 1e-9, 1.0])
@pytest.mark.parametrize("x", [0.0, 0.49, 0.999])
def test_images_are_mixed_as_one_by_one(ratio, x):
    numbers = (torch.tensor(value, dtype=torch.float64) for value in (ratio, x, 0.7))
    draw = CutMixDraw(torch.tensor([2, 0, 1]), *numbers)
    mixed, left = mix(noise(), draw)
    expected, expected_left = mix_plainly(noise(), draw)
    assert torch.equal(mixed, expected)
    assert float(left) == pytest.approx(expected_left, abs=1e-12)
    if ratio > 0.999:
        assert torch.equal(mixed, noise()) and float(left) == 1


def test_a_box_is_halved_by_integer_division_and_clipped():
    def span(size, ratio, position):
        numbers = (torch.tensor(value, dtype=torch.float64) for value in (ratio, position))
        return tuple(int(value) for value in cut_span(size, *numbers))

    assert span(10, 0.75, 0.5) == (3, 7)  # side int(10 * 0.5) = 5, 2 to each side of 5
    assert span(10, 0.0, 0.0) == (0, 5)  # the whole width around the first pixel: half of it is outside
    assert span(10, 1.0, 0.9) == (9, 9)


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.5, 1.0, 4.0])
def test_the_ratio_has_the_moments_and_quantiles_of_beta(beta):
    n = 40000
    uniform = torch.rand(2, n, generator=generator(3), dtype=torch.float64)
    ratio = symmetric_beta(beta, uniform[0], uniform[1])
    assert bool(torch.isfinite(ratio).all()) and float(ratio.min()) >= 0 and float(ratio.max()) <= 1
    variance = 1 / (4 * (2 * beta + 1))
    assert float(ratio.mean()) == pytest.approx(0.5, abs=4 * (variance / n) ** 0.5)
    assert float(ratio.var()) == pytest.approx(variance, rel=0.03)
    points = np.linspace(0.001, 0.999, 500)
    reference = np.random.default_rng(0).beta(beta, beta, n)
    distance = np.abs((reference[:, None] < points).mean(0) - (ratio.numpy()[:, None] < points).mean(0)).max()
    assert distance < 1.95 * (2 / n) ** 0.5  # Kolmogorov and Smirnov's, at 0.001


def test_partners_are_a_permutation_and_batches_are_mixed_with_their_probability():
    rng = np.random.default_rng(5)
    draws = [draw_cutmix(8, 1.0, 0.25, rng) for _ in range(2000)]
    assert all(sorted(draw.partners.tolist()) == list(range(8)) for draw in draws)
    mixed = sum(float(draw.ratio) < 1 for draw in draws) / 2000
    assert mixed == pytest.approx(0.25, abs=0.03)
    assert all(float(draw_cutmix(2, 1.0, 0.0, rng).ratio) == 1 for _ in range(100))
    assert all(float(draw_cutmix(2, 1.0, 1.0, rng).ratio) < 1 for _ in range(100))
    extreme = [float(draw_cutmix(2, 1e-4, 1.0, rng).ratio) for _ in range(100)]
    assert all(min(ratio, 1 - ratio) < 1e-6 for ratio in extreme)  # all or nothing, and no NaN


def test_losses_are_mixed_by_the_ratio_that_the_real_box_leaves():
    model = build_model("resnet18", "cutmix", 5).eval()  # eval: batch statistics do not matter here
    x = noise(64, 64)
    draws = model.draw(DrawSource(0, 1, 0, (5, 3, 8)), (64, 64))
    outputs, loss = model.training_step(x, LABELS, draws)
    draw = CutMixDraw(**draws)
    assert float(draw.ratio) < 1
    mixed, ratio = mix_plainly(x, draw)
    logits = model(mixed)["logits"]
    torch.testing.assert_close(outputs["logits"], logits)
    own, other = functional.cross_entropy(logits, LABELS), functional.cross_entropy(logits, LABELS[draw.partners])
    torch.testing.assert_close(loss, ratio * own + (1 - ratio) * other, rtol=1e-5, atol=1e-6)
    for option in ({"cutmix_prob": 0.0}, {"cutmix_beta": 0.0}):
        plain = build_model("resnet18", "cutmix", 5, **option).eval()
        outputs, loss = plain.training_step(x, LABELS)
        torch.testing.assert_close(loss, functional.cross_entropy(plain(x)["logits"], LABELS))
