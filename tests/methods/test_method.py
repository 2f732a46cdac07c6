"""What all methods share: maps, parameter groups, and steps that never wait for the device."""

import contextlib

import numpy as np
import pytest
import torch

from samples import noise
from scripts.benchmark_methods import guided_loss_plainly
from wsol import build_model
from wsol.maps.normalize import normalize_raw_map
from wsol.methods import spg
from wsol.methods.acol import erase
from wsol.methods.draws import DrawSource, on_device
from wsol.methods.method import attention_of

LABELS = torch.tensor([1, 0, 3])


def fast_names(architecture, method, **options):
    """Return the names of the parameters at ten times the rate; the groups are checked to be all parameters."""
    model = build_model(architecture, method, 3, **options)
    slow, fast = model.parameter_groups(0.01, 10)
    assert (slow["lr"], fast["lr"]) == (0.01, 0.1)
    assert len(slow["params"]) + len(fast["params"]) == len(list(model.parameters()))
    ids = {id(parameter) for parameter in fast["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in ids}, model


@pytest.mark.parametrize("method", ["cam", "adl", "acol", "spg"])
def test_of_resnet50_layer4_and_a_linear_classifier_learn_fast(method):
    fast, _ = fast_names("resnet50", method)
    assert {name for name in fast if not name.startswith("backbone.layer4.")} == (
        {"classifier.weight", "classifier.bias"} if method in ("cam", "adl") else set()
    )
    assert len(fast) > 20


@pytest.mark.parametrize("method", ["cam", "adl", "acol", "spg"])
def test_of_vgg16_all_but_its_first_stack_learns_fast(method):
    fast, model = fast_names("vgg16", method)
    end = 17 if method == "spg" else 30  # SPG's first stack ends at the third pool
    first = {f"backbone.features.{i}.{kind}" for i in range(end) for kind in ("weight", "bias")}
    assert fast == {name for name, _ in model.named_parameters()} - first


@pytest.mark.parametrize("method", ["cam", "adl", "acol", "spg"])
def test_of_inception_v3_all_after_mixed_6e_and_side_branches_learn_fast(method):
    fast, model = fast_names("inception_v3", method)
    first = ("backbone.Conv2d_", "backbone.Mixed_")
    assert fast == {name for name, _ in model.named_parameters() if not name.startswith(first)}


def test_of_a_timm_network_the_classifier_learns_fast():
    assert fast_names("timm:tf_efficientnet_lite0", "cam")[0] == {"classifier.weight", "classifier.bias"}
    assert fast_names("timm:tf_efficientnet_lite0", "spg")[0] == set()  # as of ResNets, only a linear one


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
    x, labels = noise(64, 64), torch.tensor([0, 2, 1])
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
    x = noise(64, 64)
    outputs = model(x)
    again = model(x, outputs["logits"].argmax(1))
    assert all(torch.equal(outputs[name], again[name]) for name in outputs)


@pytest.mark.parametrize("method", ["cam", "has", "acol", "spg", "adl", "cutmix"])
def test_a_training_step_never_asks_the_device_for_a_value(method, monkeypatch):
    """Tensors of the meta device have no values: whatever would wait for one raises there."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no meta device
    with pytest.raises((RuntimeError, NotImplementedError)):
        guided_loss_plainly(*torch.zeros(2, 1, 40, 40, device="meta"), 0.7, 0.1)
    model = build_model("resnet18", method, 5).to("meta").train()
    draws = on_device(model.draw(DrawSource(0, 1, 0, (5, 3, 8)), (64, 64)), torch.device("meta"))
    _, loss = model.training_step(noise(64, 64).to("meta"), LABELS.to("meta"), draws)
    loss.backward()
