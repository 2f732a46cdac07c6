"""`--amp auto`: which precision is fastest here, measured on a few steps before a run starts.

In: a model, or a mapper, and the device that it is on. Out: the name of a precision, and a line for the log.
"""

import copy
import statistics
import time
from collections.abc import Callable

import torch

from wsol.core.options import AUTO
from wsol.maps.mapper import Mapper
from wsol.methods.draws import DrawSource, on_device
from wsol.methods.method import Method
from wsol.networks.device import autocast, reduced_amp, to_device
from wsol.runs.training import TrainingStep, blank_batch

ROUNDS = 5  # of one step in each precision
MOST_SECONDS = 20.0  # no round begins later
MOST_IMAGES = 16  # per step on a CPU, where a step of more takes proportionally longer
LEAST_GAIN = 1.05  # a smaller gain is not worth the rounding, nor above the noise of so few steps


def fastest_amp(device: torch.device, step: Callable[[str], object]) -> tuple[str, str]:
    """Return ("off", "bf16" or "fp16", a line about it): the precision in which `step`, called with its name, is fastest.

    The steps take turns, so that other load on the machine affects all alike; medians are compared.
    """
    names = ("off", reduced_amp(device))
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        step(name)  # chooses kernels, and touches memory for the first time
    began = time.monotonic()
    for _ in range(ROUNDS):
        for name in names:
            _wait(device)
            start = time.perf_counter()
            step(name)
            _wait(device)
            times[name].append(time.perf_counter() - start)
        if time.monotonic() - began > MOST_SECONDS:
            break
    off, reduced = (statistics.median(times[name]) for name in names)
    chosen = names[1] if off >= LEAST_GAIN * reduced else names[0]
    figures = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in zip(names, (off, reduced), strict=True))
    return chosen, f"amp auto: {chosen} (a step of {device.type}, median of {len(times[names[0]])}: {figures})"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def images_of_a_step(batch_size: int, device: torch.device) -> int:
    """Return how many images a measured step has."""
    wanted = max(2, batch_size)  # batch normalisation of pooled features takes two or more
    return min(wanted, MOST_IMAGES) if device.type == "cpu" else wanted


def resolve_amp(amp: str, model: Method, batch_size: int, crop_size: int, device: torch.device) -> tuple[str, list[str]]:
    """Return (the precision to train in, lines for the log): `amp` itself, or for auto what is fastest in training steps.

    The model, on the device, and torch's generators stay as they are. The steps are not compiled.
    """
    if amp != AUTO:
        return amp, []
    trained = copy.deepcopy(model).train()
    batch = to_device(blank_batch(images_of_a_step(batch_size, device), crop_size, model.label_shape), device)
    draws = on_device(trained.draw(DrawSource(0, 1, 0, range(len(batch.labels))), (crop_size, crop_size)), device)
    whole = TrainingStep(trained)

    def step(name: str) -> None:
        with autocast(device, name):
            loss = whole(batch, draws)[1]
        trained.zero_grad(set_to_none=True)
        loss.backward()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        chosen, line = fastest_amp(device, step)
    return chosen, [line]


def resolve_mapping_amp(
    amp: str, mapper: Mapper, batch_size: int, crop_size: int, device: torch.device
) -> tuple[str, list[str]]:
    """Return (the precision to map in, lines to print), as `resolve_amp` does for training."""
    if amp != AUTO:
        return amp, []
    mapper.eval()
    batch = to_device(blank_batch(images_of_a_step(batch_size, device), crop_size), device)

    def step(name: str) -> None:
        with torch.inference_mode(), autocast(device, name):
            outputs = mapper(batch.images, batch.labels)
        mapper.raw_maps(outputs, batch.labels)

    chosen, line = fastest_amp(device, step)
    return chosen, [line]
