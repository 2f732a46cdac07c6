"""The state of a training: all that a run needs to continue, except the model's weights and the configuration.

In: what the loop of main.py reports. Out: entries of a checkpoint (wsol/runs/checkpoints.py), and back. There are no random
states: draws come from (seed, epoch, step) (wsol/methods/draws.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from wsol.networks import ranks


def _converted(value: object, kind: type, convert: Callable) -> object:
    """Return nested dicts and lists with all values of one type converted."""
    if isinstance(value, dict):
        return {key: _converted(one, kind, convert) for key, one in value.items()}
    if isinstance(value, list):
        return [_converted(one, kind, convert) for one in value]
    return convert(value) if isinstance(value, kind) else value


def to_tensors(state: dict) -> dict:
    """Return nested dicts and lists with their arrays as tensors, as a checkpoint holds them; tensors are copies."""
    return {name: _converted(value, np.ndarray, torch.tensor) for name, value in state.items()}


def to_arrays(state: dict) -> dict:
    """Return nested dicts and lists with their tensors as arrays, the inverse of `to_tensors`; arrays are copies.

    >>> to_arrays(to_tensors({"counts": [np.array([1, 2], dtype=np.uint16)], "images": 2}))
    {'counts': [array([1, 2], dtype=uint16)], 'images': 2}
    """
    return {name: _converted(value, torch.Tensor, lambda tensor: tensor.numpy().copy()) for name, value in state.items()}


@dataclass(frozen=True)
class Validation:
    """Val's results after an epoch, and the state of its evaluator, converted by `to_tensors`."""

    epoch: int
    results: dict
    counts: dict


@dataclass
class TrainState:
    """The state of a training.

    optimizer, scaler: torch's, for the model's parameters.
    epoch_sums: float64 (2,) on the device, sums over the current epoch's steps so far: loss times images, and correctly
        classified images; of several ranks, each has its part.
    epoch_images: the number of these images.
    epoch: the number of finished epochs.
    step: the number of finished steps of the current epoch; 0 between epochs.
    best: val's highest figure so far, None if there is none.
    validation: val's results for the checkpoints "last" and "best".
    metrics: the lines of metrics.jsonl.
    bad_images: messages about images that could not be read, without duplicates.
    """

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch_sums: torch.Tensor
    epoch_images: int = 0
    epoch: int = 0
    step: int = 0
    best: float | None = None
    validation: dict[str, Validation] = field(default_factory=dict)
    metrics: list[dict] = field(default_factory=list)
    bad_images: list[str] = field(default_factory=list)

    def count(self, loss: torch.Tensor, right: torch.Tensor, num_images: int) -> None:
        """Add a step's mean loss and number of correctly classified images, both scalars; the device is not waited for.

        Of several ranks, each adds its part of the loss (`part_of_mean`) and its own correctly classified images, and the
        number of all images.
        """
        self.epoch_sums += torch.stack([loss * (num_images / ranks.size()), right.to(loss.dtype)])
        self.epoch_images += num_images

    def finish_epoch(self) -> tuple[float, float]:
        """End the current epoch; return its mean loss and its accuracy in percent."""
        loss, right = ranks.summed(self.epoch_sums).tolist()
        images = max(self.epoch_images, 1)
        self.epoch, self.step, self.epoch_images = self.epoch + 1, 0, 0
        self.epoch_sums.zero_()
        return loss / images, 100 * right / images

    @property
    def is_validated(self) -> bool:
        """Whether val has been evaluated since the last finished epoch."""
        return "last" in self.validation and self.validation["last"].epoch == self.epoch

    def keep_validation(self, results: dict, counts: dict, figure: float | None) -> bool:
        """Keep val's results and the state of its evaluator (`counts`); return whether `figure` is the best so far.

        On ties, the earlier figure is the best.
        """
        self.validation["last"] = Validation(self.epoch, results, to_tensors(counts))
        if figure is None or not (self.best is None or figure > self.best):
            return False
        self.best = figure
        self.validation["best"] = self.validation["last"]
        return True

    def state_dict(self) -> dict:
        """Return the entries of a checkpoint; the optimizer's tensors are not copies.

        Within an epoch, all ranks call it together.
        """
        return {
            "epoch": self.epoch,
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch_sums": ranks.summed(self.epoch_sums) if self.step else self.epoch_sums,
            "epoch_images": self.epoch_images,
            "best": self.best,
            "validation": {kind: dict(vars(kept)) for kind, kept in self.validation.items()},
            "metrics": self.metrics,
            "bad_images": self.bad_images,
        }

    def load_state_dict(self, checkpoint: Mapping) -> None:
        """Restore the state from a checkpoint whose entries `read_checkpoint` has checked."""
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scaler.load_state_dict(checkpoint["scaler"])
        self.epoch_sums.copy_(checkpoint["epoch_sums"] if ranks.is_first() else torch.zeros(2))
        self.validation = {kind: Validation(**kept) for kind, kept in checkpoint["validation"].items()}
        self.metrics, self.bad_images = list(checkpoint["metrics"]), list(checkpoint["bad_images"])
        for name in ("epoch", "step", "epoch_images", "best"):
            setattr(self, name, checkpoint[name])
