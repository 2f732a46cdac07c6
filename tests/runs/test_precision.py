"""--amp auto: what is chosen, and that measuring leaves the model and torch's generators as they were."""

import copy
import time

import pytest
import torch

from samples import OF_LABELS
from wsol import build_model
from wsol.runs import precision
from wsol.runs.precision import fastest_amp, images_of_a_step, resolve_amp, resolve_mapping_amp

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("seconds", "chosen"), [({"off": 0.02, "bf16": 0.001}, "bf16"), ({"off": 0.001, "bf16": 0.02}, "off")]
)
def test_the_faster_precision_is_chosen_and_the_line_says_the_times(seconds, chosen):
    called = []

    def step(name):
        called.append(name)
        time.sleep(seconds[name])

    name, line = fastest_amp(CPU, step)
    assert name == chosen and line.startswith(f"amp auto: {chosen} (") and "off " in line and "bf16 " in line
    assert called == ["off", "bf16"] * (precision.ROUNDS + 1)  # they take turns


def test_no_difference_leaves_it_off_and_slow_steps_are_few(monkeypatch):
    monkeypatch.setattr(precision, "MOST_SECONDS", 0.0)
    called = []
    name, _ = fastest_amp(CPU, lambda name: (called.append(name), time.sleep(0.05)))
    assert name == "off" and len(called) == 4


def test_a_given_precision_is_taken_without_a_step():
    assert resolve_amp("bf16", None, 4, 32, CPU) == ("bf16", [])
    assert resolve_mapping_amp("off", None, 4, 32, CPU) == ("off", [])


def test_a_step_on_a_cpu_has_few_images():
    assert [images_of_a_step(size, CPU) for size in (0, 4, 16, 256)] == [2, 4, 16, 16]
    assert images_of_a_step(256, torch.device("cuda")) == 256


@pytest.mark.parametrize("method", [*OF_LABELS, "fsl_seg", "fsl_det"])
def test_measuring_leaves_the_model_and_the_generator_alone(method, monkeypatch):
    monkeypatch.setattr(precision, "MOST_SECONDS", 0.0)
    torch.manual_seed(0)
    model = build_model("timm:test_efficientnet", method, 3 if method in OF_LABELS else 1).eval()
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    name, lines = resolve_amp("auto", model, 2, 64, CPU)
    assert name in ("off", "bf16") and lines[0].startswith(f"amp auto: {name} ")
    if method != "fsl_det":
        assert resolve_mapping_amp("auto", model, 2, 64, CPU)[0] in ("off", "bf16")
    assert torch.equal(torch.get_rng_state(), generator) and not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
