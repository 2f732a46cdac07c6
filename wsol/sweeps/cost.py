"""What a sweep costs before it is run: images trained on and mapped, and hours on one GPU under stated assumptions.

In: a `Plan`, the number of images of every run, floating-point operations counted on the real networks. Out: a `Cost`. It is
an estimate: nothing is timed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from wsol.core import registry
from wsol.methods.build import build_from_config
from wsol.runs.training import TrainingStep, blank_batch
from wsol.sweeps.plan import Plan, PlannedRun

COUNTED_IMAGES = 2  # per batch on which operations are counted
NUM_CLASSES = 1000  # of its network: the most of any data set; with fewer, ACoL and SPG need a few percent less
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Assumptions:
    """What turns operations into hours.

    peak: floating-point operations per second of the GPU, dense. utilisation: the share of it that training reaches.
    loaded: images that the loader gives per second. seconds_per_run: of a run's start, up to its first step, and of its end.
    """

    peak: float
    utilisation: float
    loaded: float
    seconds_per_run: float


@dataclass(frozen=True)
class Images:
    """The images of a run: trained on per epoch, validated on per epoch, and of test."""

    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Operations:
    """Floating-point operations per image: a training step, forward and backward, and a forward pass for a map."""

    train: float
    forward: float


@dataclass
class Cost:
    """Runs (those that only map again among them), images trained on and mapped over all passes, and hours on one GPU."""

    runs: int = 0
    only_mapped: int = 0
    trained: int = 0
    mapped: int = 0
    hours: float = 0.0

    def add(self, trained: int, mapped: int, seconds: float) -> None:
        """Add a run."""
        self.runs += 1
        self.only_mapped += trained == 0
        self.trained += trained
        self.mapped += mapped
        self.hours += seconds / 3600


def count_operations(architecture: str, wsol_method: str, large_feature_map: bool, crop_size: int) -> Operations:
    """Return the operations per image of a network with a method on it; a multiplication and an addition are two.

    torch counts them on a batch on the CPU: convolutions and matrix products, not normalisation and activations.
    """
    config = {"architecture": architecture, "wsol_method": wsol_method, "large_feature_map": large_feature_map}
    with torch.random.fork_rng(devices=[]):
        model = build_from_config(config, NUM_CLASSES)
        batch = blank_batch(COUNTED_IMAGES, crop_size)
        step = TrainingStep(model.train())
        with FlopCounterMode(display=False) as training:
            step(batch)[1].backward()
        model.eval()
        with FlopCounterMode(display=False) as mapping, torch.no_grad():
            model(batch.images, batch.labels)
    return Operations(training.get_total_flops() / COUNTED_IMAGES, mapping.get_total_flops() / COUNTED_IMAGES)


def passes(options: Options, images: Images, opens_test: bool) -> tuple[int, int]:
    """Return (images trained on, images mapped) of a run: val before the first epoch and after each, test once."""
    epochs = options["epochs"]
    return images.train * epochs, images.val * (epochs + 1) + images.test * opens_test


def run_seconds(trained: int, mapped: int, operations: Operations, assumed: Assumptions) -> float:
    """Return the seconds of a run: each image takes what is longer, computing or loading it."""
    speed = assumed.peak * assumed.utilisation
    train, forward = (max(one / speed, 1 / assumed.loaded) for one in (operations.train, operations.forward))
    return trained * train + mapped * forward + assumed.seconds_per_run


def plan_cost(
    plan: Plan,
    complete: Callable[[Options], Options],
    images: Callable[[Options], Images],
    operations: Callable[[Options], Operations],
    assumed: Assumptions,
) -> Cost:
    """Return the cost of all runs of a plan, test included.

    What will be chosen is not known, so of every point the candidate that takes longest is taken as the chosen one.
    `complete` adds the options that a run leaves at their defaults.
    """
    total = Cost()

    def of(run: PlannedRun, opens_test: bool) -> tuple[int, int, float]:
        options = complete(run.options)
        trained, mapped = passes(options, images(options), opens_test)
        return trained, mapped, run_seconds(trained, mapped, operations(options), assumed)

    for point in plan.points:
        candidates = plan.candidates(point)
        longest = max(candidates, key=lambda run: of(run, False)[2], default=None)
        reported = plan.reported(point, longest.chosen or {} if longest else {})
        names = {run.name for run in reported}
        for run in [*(one for one in candidates if one.name not in names), *reported]:
            total.add(*of(run, run.name in names))
    return total


def by_supervision(wsol_method: str, images: Images, held_out: float) -> Images:
    """Return the images of a run of a method, from those of its data set: a method with full supervision trains on val.

    `held_out` is the share of val that then validates (--fsl_val_share).
    """
    if registry.method_entry(wsol_method).classifies:
        return images
    validated = round(images.val * held_out)
    return Images(images.val - validated, validated, images.test)
