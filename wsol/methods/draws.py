"""Random draws of training, so that a run can start at any step and on any number of processes.

In: the run's seed, and where in the run a draw is made. Out: generators and tensors. No draw depends on an earlier one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Draws = dict[str, torch.Tensor]
STEP, IMAGE, TORCH = range(3)  # what is drawn for: with numbers of their own, no two see the same stream


@dataclass(frozen=True)
class DrawSource:
    """Where the random draws of one training step come from.

    seed: the run's.
    epoch: from 1.
    step: of the epoch, from 0.
    positions: of the batch's images in the data set.
    """

    seed: int
    epoch: int
    step: int
    positions: Sequence[int]

    def _generator(self, kind: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(kind, self.epoch, number)))

    def of_step(self) -> np.random.Generator:
        """Return the generator of what the whole global batch shares, from (seed, epoch, step)."""
        return self._generator(STEP, self.step)

    def of_images(self) -> Iterator[np.random.Generator]:
        """Yield each image's generator, from (seed, epoch, position): whichever batch or process the image is in."""
        return (self._generator(IMAGE, position) for position in self.positions)

    def seed_torch(self) -> None:
        """Seed torch's own generators, on all devices, from (seed, epoch, step): dropout and the like draw from them."""
        torch.manual_seed(int(self._generator(TORCH, self.step).integers(2**63)))


def unnumbered(num_images: int) -> DrawSource:
    """Return the source of a step outside any run, seeded from torch's own generator on the CPU."""
    return DrawSource(int(torch.randint(2**62, ())), 0, 0, range(num_images))


def on_device(draws: Mapping[str, torch.Tensor], device: torch.device) -> Draws:
    """Return draws on a device; neither side waits for the copies."""
    if device.type == "cuda":
        draws = {name: value.pin_memory() for name, value in draws.items()}
    return {name: value.to(device, non_blocking=True) for name, value in draws.items()}
