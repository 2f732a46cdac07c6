"""Random draws of training that let a run start at any step and on any number of processes.

In: the run's seed, and the place in the run where a draw is made. Out: generators and tensors. No draw depends on an earlier
one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Draws = dict[str, torch.Tensor]
STEP, IMAGE, TORCH = range(3)  # what a draw is for; each has its own stream


@dataclass(frozen=True)
class DrawSource:
    """The source of the random draws of one training step.

    seed: the seed of the run.
    epoch: counted from 1.
    step: counted from 0 in each epoch.
    positions: the positions of the batch's images in the data set.
    """

    seed: int
    epoch: int
    step: int
    positions: Sequence[int]

    def _generator(self, kind: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(kind, self.epoch, number)))

    def of_step(self) -> np.random.Generator:
        """Return the generator of draws that the whole global batch shares, from (seed, epoch, step)."""
        return self._generator(STEP, self.step)

    def of_images(self) -> Iterator[np.random.Generator]:
        """Yield each image's generator, from (seed, epoch, position), whatever batch or process the image is in."""
        return (self._generator(IMAGE, position) for position in self.positions)

    def seed_torch(self) -> None:
        """Seed torch's own generators on all devices from (seed, epoch, step); dropout and the like draw from them."""
        torch.manual_seed(int(self._generator(TORCH, self.step).integers(2**63)))


def unnumbered(num_images: int) -> DrawSource:
    """Return the source of a step outside of a run, seeded from torch's own generator on the CPU."""
    return DrawSource(int(torch.randint(2**62, ())), 0, 0, range(num_images))


def on_device(draws: Mapping[str, torch.Tensor], device: torch.device) -> Draws:
    """Return draws on a device; the copies are not waited for."""
    if device.type == "cuda":
        draws = {name: value.pin_memory() for name, value in draws.items()}
    return {name: value.to(device, non_blocking=True) for name, value in draws.items()}
