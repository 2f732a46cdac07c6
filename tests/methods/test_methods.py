"""What each method does to images, features, labels and loss: against plain loops, in distribution, at the extremes."""

import contextlib

import numpy as np
import pytest
import torch
from torch.nn import functional

from scripts.benchmark_methods import guided_loss_plainly, hide_cells_plainly, mix_plainly
from wsol import build_model
from wsol.core.errors import InputError
from wsol.maps.normalize import normalize_raw_map
from wsol.methods import spg
from wsol.methods.acol import erase
from wsol.methods.adl import attend
from wsol.methods.cutmix import CutMixDraw, cut_span, draw_cutmix, mix, symmetric_beta
from wsol.methods.draws import DrawSource, on_device
from wsol.methods.has import draw_hidden_cells, hide_cells
from wsol.methods.method import attention_of, min_max

LABELS = torch.tensor([1, 0, 3])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def source(seed=0, epoch=1, step=0, positions=(5, 3, 8)):
    return DrawSource(seed, epoch, step, positions)


def cells(x, grid_size, rate):
    """Return the hidden cells of a batch, bool (B, rows, columns)."""
    rng = np.random.default_rng(0)
    return torch.stack([draw_hidden_cells(x.shape[2:], grid_size, rate, rng) for _ in x])


def images(height=33, width=46, batch=3):
    return torch.randn(batch, 3, height, width, generator=generator(1))


# HaS


@pytest.mark.parametrize("grid_size", [1, 4, 7, 23, 46, 100])  # among them sizes that do not divide the image
def test_cells_are_hidden_as_one_by_one(grid_size):
    hidden = cells(images(), grid_size, 0.5)
    assert hidden.shape == (3, -(-33 // grid_size), -(-46 // grid_size))
    assert torch.equal(hide_cells(images(), hidden, grid_size), hide_cells_plainly(images(), hidden, grid_size))


@pytest.mark.parametrize("grid_size", [40, 1_000_000])  # wider than high; the whole image, at no cost for the rest
def test_a_cell_is_no_larger_than_the_image(grid_size):
    hidden = cells(images(), grid_size, 0.5)
    assert torch.equal(hide_cells(images(), hidden, grid_size), hide_cells_plainly(images(), hidden, grid_size))
    every = torch.ones_like(hidden)
    assert not hide_cells(images(), every, grid_size).any()


def test_cells_are_hidden_with_their_probability_independently_per_image():
    x = torch.zeros(64, 3, 128, 128)
    hidden = cells(x, 4, 0.3)
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.004)  # 65,536 draws: 2.2 standard errors
    assert len({tuple(one.flatten().tolist()) for one in hidden}) == 64
    pairs = (hidden[:, :, 1:] & hidden[:, :, :-1]).float().mean().item()
    assert pairs == pytest.approx(0.09, abs=0.004)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, False), (1.0, True)])
def test_no_cell_or_all_cells_are_hidden_at_the_extremes(rate, expected):
    assert bool((cells(images(), 4, rate) == expected).all())


def test_has_hides_in_training_only_and_nothing_with_grid_0():
    torch.manual_seed(0)
    model = build_model("resnet18", "has", 5, has_grid_size=4, has_drop_rate=1.0)
    seen = []
    model.backbone.conv1.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    x = images(64, 64)
    model.train().training_step(x, LABELS)
    model.eval()(x, LABELS)
    model.grid_size = 0
    model.train().training_step(x, LABELS)
    assert not seen[0].any()
    assert torch.equal(seen[1], x) and torch.equal(seen[2], x)


# CutMix


@pytest.mark.parametrize("ratio", [0.0, 1e-9, 0.3, 0.5, 1 - 1e-9, 1.0])
@pytest.mark.parametrize("x", [0.0, 0.49, 0.999])
def test_images_are_mixed_as_one_by_one(ratio, x):
    numbers = (torch.tensor(value, dtype=torch.float64) for value in (ratio, x, 0.7))
    draw = CutMixDraw(torch.tensor([2, 0, 1]), *numbers)
    mixed, left = mix(images(), draw)
    expected, expected_left = mix_plainly(images(), draw)
    assert torch.equal(mixed, expected)
    assert float(left) == pytest.approx(expected_left, abs=1e-12)
    if ratio > 0.999:
        assert torch.equal(mixed, images()) and float(left) == 1


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
    x = images(64, 64)
    draws = model.draw(source(), (64, 64))
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


# ADL


def attend_plainly(features, drop, threshold):
    result = features.clone()
    for i, image in enumerate(features):
        mean = image.mean(0)
        for y in range(mean.shape[0]):
            for x in range(mean.shape[1]):
                kept = float(mean[y, x] < threshold * mean.max())
                result[i, :, y, x] *= kept if drop else torch.sigmoid(mean[y, x])
    return result


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.9, 1.0])
def test_attention_is_that_of_each_position(drop, threshold):
    features = torch.rand(3, 8, 5, 6, generator=generator())
    got = attend(features, torch.tensor(drop), threshold)
    torch.testing.assert_close(got, attend_plainly(features, drop, threshold))
    if drop:
        dropped = (got == 0).all(dim=1).flatten(1).sum(1)
        assert bool((dropped == (30 if threshold == 0 else dropped.clamp(min=1))).all())  # at least each image's maximum


def test_the_gradient_goes_through_the_importance_map_and_not_through_the_mask():
    features = torch.rand(2, 4, 3, 3, generator=generator(), requires_grad=True)
    attend(features, torch.tensor(True), 0.9).sum().backward()
    kept = (attend(features, torch.tensor(True), 0.9) != 0).float()
    torch.testing.assert_close(features.grad, kept.detach())
    features.grad = None
    attend(features, torch.tensor(False), 0.9).sum().backward()
    assert not torch.allclose(features.grad, torch.sigmoid(features.mean(1, keepdim=True)).expand_as(features))


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (1.0, 60), (0.75, 45)])
def test_a_draw_a_layer_and_pass(rate, count, monkeypatch):
    from wsol.methods import adl

    drops = []

    def record(features, drop, threshold):
        drops.append(bool(drop))
        return features

    monkeypatch.setattr(adl, "attend", record)
    model = build_model("resnet18", "adl", 4, adl_drop_rate=rate).train()
    for step in range(20):
        model.training_step(images(32, 32), LABELS, model.draw(source(step=step), (32, 32)))
    assert len(drops) == 60 and sum(drops) == pytest.approx(count, abs=0 if rate in (0, 1) else 10)
    if 0 < rate < 1:
        assert any(len(set(drops[i : i + 3])) == 2 for i in range(0, 60, 3))  # not one draw for all layers
    model.eval()(images(32, 32))
    assert len(drops) == 60
    model.train()(images(32, 32))  # without a run's draws: with some of its own
    assert len(drops) == 63
    model.eval()(images(32, 32))
    assert len(drops) == 63


# SPG


def random_maps(kind):
    g = generator(4)
    if kind == "smooth":
        return functional.interpolate(torch.rand(4, 1, 5, 5, generator=g), (40, 40), mode="bilinear")[:, 0]
    if kind == "peaked":  # few pixels above any threshold
        maps = torch.rand(4, 40, 40, generator=g) * 0.4
        maps[:, 3, 3:9] = 0.95
        return maps
    if kind == "zero":
        return torch.zeros(4, 40, 40)
    return torch.full((4, 40, 40), 0.3)


@pytest.mark.parametrize("kind", ["smooth", "peaked", "zero", "constant"])
@pytest.mark.parametrize(("high", "low"), [(0.7, 0.01), (0.5, 0.05), (0.3, 0.3), (1.0, 0.0), (0.0, 0.0), (1.0, 1.0)])
def test_guidance_is_that_of_each_image(kind, high, low):
    logits = torch.randn(4, 40, 40, generator=generator(6))
    got = spg.guided_loss(logits, random_maps(kind), high, low)
    torch.testing.assert_close(got, guided_loss_plainly(logits, random_maps(kind), high, low), rtol=1e-5, atol=1e-7)


def test_few_pixels_fall_back_to_the_maximum_and_background_wins():
    maps = random_maps("peaked")
    foreground, kept = spg.guidance(maps, 0.7, 0.2)
    assert foreground.sum((1, 2)).tolist() == [6] * 4  # the row of 0.95, above 0.7 of it
    assert torch.equal(kept, foreground | (maps < 0.2))
    dark = maps * 0.1  # everything is below the low threshold: nothing is foreground, though some are near the maximum
    foreground, kept = spg.guidance(dark, 0.7, 0.2)
    assert not foreground.any() and bool(kept.all())


def test_nothing_kept_counts_zero_and_still_has_a_gradient():
    logits = torch.randn(1, 40, 40, generator=generator(), requires_grad=True)
    maps = torch.zeros(1, 40, 40)
    assert not any(mask.any() for mask in spg.guidance(maps, 0.5, 0.0))
    loss = spg.guided_loss(logits, maps, 0.5, 0.0)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


# ACoL


def test_a_position_is_erased_where_the_normalised_map_reaches_the_threshold():
    features, maps = torch.ones(1, 2, 1, 5), torch.tensor([[[0.0, 0.5, 0.69, 0.7, 1.0]]])
    assert erase(features, maps, 0.7)[0, 0, 0].tolist() == [1, 1, 1, 0, 0]
    assert erase(features, 3 * maps - 7, 0.5)[0, 1, 0].tolist() == [1, 0, 0, 0, 0]
    assert min_max(torch.full((1, 2, 2), 5.0)).tolist() == [[[0, 0], [0, 0]]]


def test_a_map_without_contrast_erases_nothing_and_teaches_nothing():
    """As 0 / 0 in the original code: such a value is neither above nor below a threshold."""
    nan, inf = float("nan"), float("inf")
    features = torch.ones(4, 2, 1, 4)
    maps = torch.tensor([[[5.0] * 4], [[nan, 1, 2, 3]], [[inf, 0, 1, 2]], [[0.0, 1, 2, 3]]])
    assert erase(features, maps, 0.0)[:2].all()
    assert erase(features, maps, 0.7)[:3].all()
    assert erase(features, maps, 0.7)[3, 0, 0].tolist() == [1, 1, 1, 0]
    foreground, kept = spg.guidance(attention_of(maps), 0.7, 0.2)
    assert kept[:, 0].tolist() == [[False] * 4, [False] * 4, [False, True, True, True], [True, False, False, True]]
    assert not foreground[:3].any()


@pytest.mark.parametrize("value", [0.0, float("inf"), float("nan")])
@pytest.mark.parametrize(("method", "layer"), [("acol", "branch_a"), ("acol", "branch_b"), ("spg", "classifier")])
def test_constant_and_infinite_maps_go_through_training_and_mapping(method, layer, value):
    torch.manual_seed(0)
    model = build_model("resnet18", method, 3).train()
    classifier = getattr(model, layer)
    classifier = classifier[-1] if method == "acol" else classifier
    with torch.no_grad():
        classifier.weight[:, :2] = value  # a few weights are enough for infinity and NaN
        if value == 0:
            classifier.weight.zero_()
    x, labels = images(64, 64), torch.tensor([0, 2, 1])
    _, loss = model.training_step(x, labels)
    assert bool(loss.isfinite()) == (value == 0)
    maps = model.eval().score_maps(x, labels)
    score_maps = [normalize_raw_map(one.numpy(), (32, 32)) for one in maps]
    assert all(np.isfinite(one).all() and one.min() >= 0 and one.max() <= 1 for one in score_maps)
    other_branch = method == "acol" and value == 0  # docs/evaluation.md, "Exceptions"
    assert all(bool(one.any()) == other_branch for one in score_maps)


@pytest.mark.parametrize("method", ["acol", "spg"])
def test_without_labels_the_predicted_class_takes_their_place(method):
    torch.manual_seed(0)
    model = build_model("resnet18", method, 5).eval()
    x = images(64, 64)
    outputs = model(x)
    again = model(x, outputs["logits"].argmax(1))
    assert all(torch.equal(outputs[name], again[name]) for name in outputs)


# All


@pytest.mark.parametrize("method", ["cam", "has", "acol", "spg", "adl", "cutmix"])
def test_a_training_step_never_asks_the_device_for_a_value(method, monkeypatch):
    """Tensors of the meta device have no values: whatever would wait for one raises there."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no meta device
    with pytest.raises((RuntimeError, NotImplementedError)):
        guided_loss_plainly(*torch.zeros(2, 1, 40, 40, device="meta"), 0.7, 0.1)
    model = build_model("resnet18", method, 5).to("meta").train()
    draws = on_device(model.draw(source(), (64, 64)), torch.device("meta"))
    _, loss = model.training_step(images(64, 64).to("meta"), LABELS.to("meta"), draws)
    loss.backward()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("has", {"has_grid_size": -1}, "has_grid_size -1: expected a whole number, 0 or more"),
        ("has", {"has_drop_rate": 1.5}, "has_drop_rate 1.5: expected 0 to 1"),
        ("has", {"has_grid_size": 4.5}, "has_grid_size 4.5: expected a whole number, 0 or more"),
        ("has", {"has_drop_rate": None}, "has_drop_rate None: expected 0 to 1"),
        ("cutmix", {"cutmix_beta": float("inf")}, "cutmix_beta inf: expected 0 to 1e+06"),
        ("spg", {"spg_thresholds": ((0.7, 0.1), (0.5, 0.05))}, "expected three pairs (high, low)"),
        ("spg", {"spg_thresholds": ((0.7, 0.1), (0.5, 0.05), (0.7,))}, "expected three pairs (high, low)"),
        ("spg", {"spg_thresholds": (0.7, 0.5, 0.7)}, "expected three pairs (high, low)"),
        ("spg", {"spg_thresholds": None}, "expected three pairs (high, low)"),
        ("acol", {"acol_threshold": float("nan")}, "acol_threshold nan: expected 0 to 1"),
        ("adl", {"adl_drop_rate": -0.1}, "adl_drop_rate -0.1: expected 0 to 1"),
        ("cutmix", {"cutmix_beta": -1.0}, "cutmix_beta -1.0: expected 0 to"),
        ("spg", {"spg_thresholds": ((0.7, 0.8), (0.5, 0.05), (0.7, 0.1))}, "spg_threshold_1l 0.8: expected at most"),
        ("cam", {"no_such": 1}, "no_such: no method has this option"),
        ("fancy", {}, "wsol_method fancy: expected one of cam, has, acol, spg, adl, cutmix"),
    ],
)
def test_impossible_options_are_refused(method, options, message):
    with pytest.raises(InputError) as caught:
        build_model("resnet18", method, 3, **options)
    assert message in str(caught.value) and "--" not in str(caught.value)


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, None, True])
def test_an_impossible_number_of_classes_is_refused(num_classes):
    with pytest.raises(InputError, match=f"num_classes {num_classes}: expected a whole number, 1 or more"):
        build_model("resnet18", "cam", num_classes)


def test_options_of_other_methods_are_not_checked():
    model = build_model("resnet18", "cam", 3, adl_threshold=7.0, has_grid_size=-1)
    assert type(model).__name__ == "CAM"
    with pytest.raises(InputError, match="adl_threshold 7"):
        build_model("resnet18", "adl", 3, adl_threshold=7.0)
