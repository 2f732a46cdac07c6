"""Compiled steps: the same losses as plain ones, other sizes plainly, and a refusal where there is no compiler."""

import copy
import logging

import pytest
import torch

from samples import OF_LABELS
from wsol import build_model
from wsol.core.errors import OptionError
from wsol.methods.draws import DrawSource
from wsol.networks import compiled
from wsol.networks.compiled import CompiledStep, require_compiler
from wsol.runs.training import TrainingStep, blank_batch

CPU = torch.device("cpu")
SIDE = 64


def batch(size, seed=0, at_levels=False):
    images = torch.randn(size, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    masks = (images[:, 0] > 0).to(torch.uint8)
    labels = torch.arange(size) % 3
    labels = torch.stack([labels, labels % 2], dim=1) if at_levels else labels
    return blank_batch(size, SIDE)._replace(images=images, labels=labels, masks=masks)


def loss_and_gradients(step, model, seed, size):
    draws = model.draw(DrawSource(0, 1, seed, range(size)), (SIDE, SIDE))
    torch.manual_seed(seed)
    model.zero_grad()
    _, loss = step(batch(size, seed, bool(model.label_shape)), draws)
    loss.backward()
    return loss.detach(), [parameter.grad.clone() for parameter in model.parameters()]


def check_same(method, backend, tolerance, levels=()):
    torch._dynamo.reset()
    torch.manual_seed(0)
    classes = sum(levels) or (3 if method in OF_LABELS else 1)
    model = build_model("timm:test_efficientnet", method, classes, level_sizes=levels).train()
    twin = copy.deepcopy(model)
    step, plain = CompiledStep(TrainingStep(twin), 3, backend), TrainingStep(model)
    for seed, size in enumerate((3, 3, 2)):  # an epoch's last batch is smaller
        loss, gradients = loss_and_gradients(step, twin, seed, size)
        expected, expected_gradients = loss_and_gradients(plain, model, seed, size)
        torch.testing.assert_close(loss, expected, **tolerance)
        for got, wanted in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(got, wanted, **tolerance)
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize("method", [*OF_LABELS, "fsl_seg"])
def test_the_step_that_is_traced_gives_the_losses_and_gradients_of_the_plain_one(method):
    check_same(method, "aot_eager", {"rtol": 1e-4, "atol": 1e-5})


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cutmix", "spg", "acol"])
def test_a_step_at_several_levels_is_traced_too(method):
    check_same(method, "aot_eager", {"rtol": 1e-4, "atol": 1e-5}, levels=(3, 2))


@pytest.mark.slow
def test_the_step_that_is_compiled_gives_the_losses_and_gradients_of_the_plain_one():
    try:
        require_compiler(CPU)
    except OptionError as error:
        pytest.skip(str(error))
    check_same("cam", "inductor", {"rtol": 1e-3, "atol": 1e-4})


@pytest.mark.parametrize("levels", [(), (3, 2)])
def test_the_names_of_the_weights_are_those_of_the_step_and_the_graphs_are_counted(caplog, levels):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = build_model("timm:test_efficientnet", "cam", sum(levels) or 3, level_sizes=levels).train()
    names = list(model.state_dict())
    step = CompiledStep(TrainingStep(model), 2, "eager")
    with caplog.at_level(logging.INFO, "wsol"):
        step(batch(3, at_levels=bool(levels)), {})
        assert caplog.messages == []  # not compiled
        step(batch(2, at_levels=bool(levels)), {})
        step(batch(2, at_levels=bool(levels)), {})
    assert caplog.messages == ["compiled: 1 graphs, 0 breaks"]
    assert list(model.state_dict()) == names
    torch._dynamo.reset()


def test_breaks_are_counted_with_their_reason():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()

    @torch.compile(backend="eager")
    def broken(x):
        y = x + 1
        torch._dynamo.graph_break()
        return y * 2

    broken(torch.ones(2))
    said = compiled.describe_graphs()
    assert said.startswith("compiled: 2 graphs, 1 breaks (1 x ") and said.endswith(")")
    torch._dynamo.reset()


def test_a_missing_compiler_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(OptionError, match=r"^compile TRUE: there is no C\+\+ compiler here.*expected g\+\+ or clang\+\+"):
        require_compiler(CPU)


def test_a_compiler_that_fails_is_refused(monkeypatch):
    def fail(_):
        raise RuntimeError("no headers")

    monkeypatch.setattr(compiled.shutil, "which", lambda _: "/bin/g++")
    monkeypatch.setattr(torch, "compile", lambda _: fail)
    with pytest.raises(OptionError, match=r"torch\.compile does not work here \(RuntimeError: no headers"):
        require_compiler(CPU)
