"""--amp auto: what is chosen, and that measuring leaves the model and torch's generators as they were."""

import copy

import pytest
import torch

from samples import OF_LABELS
from wsol import build_model
from wsol.runs import precision
from wsol.runs.precision import fastest_amp, images_of_a_step, resolve_amp, resolve_mapping_amp

CPU = torch.device("cpu")


class Clock:
    """A clock that stands still, except while a step takes its seconds."""

    def __init__(self, seconds):
        self.now, self.seconds, self.called = 0.0, seconds, []

    def perf_counter(self):
        return self.now

    monotonic = perf_counter

    def step(self, name):
        self.called.append(name)
        self.now += self.seconds[name]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"off": 0.2, "bf16": 0.1}, "bf16"),
        ({"off": 0.1, "bf16": 0.2}, "off"),
        ({"off": 0.104, "bf16": 0.1}, "off"),  # too small a gain
        ({"off": 0.106, "bf16": 0.1}, "bf16"),
    ],
)
def test_the_faster_precision_is_chosen_and_the_line_says_the_times(seconds, chosen, monkeypatch):
    clock = Clock(seconds)
    monkeypatch.setattr(precision, "time", clock)
    name, line = fastest_amp(CPU, clock.step)
    times = f"median of 5: off {1000 * seconds['off']:.0f} ms, bf16 {1000 * seconds['bf16']:.0f} ms"
    assert (name, line) == (chosen, f"amp auto: {chosen} (a step of cpu, {times})")
    assert clock.called == ["off", "bf16"] * (precision.ROUNDS + 1)  # they take turns


def test_slow_steps_are_few(monkeypatch):
    clock = Clock({"off": 40, "bf16": 30})
    monkeypatch.setattr(precision, "time", clock)
    assert fastest_amp(CPU, clock.step)[0] == "bf16"
    assert len(clock.called) == 4


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
