"""Where a training stands: all that a run needs to go on, but for the model's weights and the configuration.

In: what the loop of main.py reports. Out: entries of a checkpoint (wsol/runs/checkpoints.py), and back. Random states are
not among them: draws come from (seed, epoch, step) (wsol/methods/draws.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch


def _converted(value: object, kind: type, convert: Callable) -> object:
    """Return a nest of dicts and lists with all that is of one kind converted."""
    if isinstance(value, dict):
        return {key: _converted(one, kind, convert) for key, one in value.items()}
    if isinstance(value, list):
        return [_converted(one, kind, convert) for one in value]
    return convert(value) if isinstance(value, kind) else value


def to_tensors(state: dict) -> dict:
    """Return a nest of dicts and lists with tensors for its arrays, as a checkpoint holds it; they are copies."""
    return {name: _converted(value, np.ndarray, torch.tensor) for name, value in state.items()}


def to_arrays(state: dict) -> dict:
    """Return what `to_tensors` was given; its arrays are copies."""
    return {name: _converted(value, torch.Tensor, lambda tensor: tensor.numpy().copy()) for name, value in state.items()}


@dataclass(frozen=True)
class Validation:
    """What val gave after an epoch: its results, and its evaluator's state as `to_tensors` makes it."""

    epoch: int
    results: dict
    counts: dict


@dataclass
class TrainState:
    """Where a training stands.

    optimizer, scaler: torch's, of the model's parameters.
    epoch_sums: float64 (2,) on the device, of the steps of the epoch that has begun: the loss times images, and the images
        that were classified rightly. `epoch_images`: their number.
    epoch: epochs finished.
    step: steps finished of the next one; 0 between epochs.
    best: the highest figure of val so far, None without one.
    validation: what val gave for the checkpoints "last" and "best".
    metrics: the lines of metrics.jsonl.
    bad_images: messages of images that could not be read, each once.
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
        """Add a step's mean loss and number of right images, scalars; nothing waits for the device."""
        self.epoch_sums += torch.stack([loss * num_images, right.to(loss.dtype)])
        self.epoch_images += num_images

    def finish_epoch(self) -> tuple[float, float]:
        """Go on to the next epoch; return the mean loss and the accuracy in percent of the one that ends."""
        loss, right = self.epoch_sums.tolist()
        images = max(self.epoch_images, 1)
        self.epoch, self.step, self.epoch_images = self.epoch + 1, 0, 0
        self.epoch_sums.zero_()
        return loss / images, 100 * right / images

    @property
    def is_validated(self) -> bool:
        """Whether val has been evaluated since the last epoch that is finished."""
        return "last" in self.validation and self.validation["last"].epoch == self.epoch

    def keep_validation(self, results: dict, counts: dict, figure: float | None) -> bool:
        """Keep what val gave (`counts`: the state of its evaluator); return whether its figure is the best so far, the
        earliest on ties."""
        self.validation["last"] = Validation(self.epoch, results, to_tensors(counts))
        if figure is None or not (self.best is None or figure > self.best):
            return False
        self.best = figure
        self.validation["best"] = self.validation["last"]
        return True

    def state_dict(self) -> dict:
        """Return the entries of a checkpoint; those of `optimizer` are torch's own, not copies."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch_sums": self.epoch_sums,
            "epoch_images": self.epoch_images,
            "best": self.best,
            "validation": {kind: dict(vars(kept)) for kind, kept in self.validation.items()},
            "metrics": self.metrics,
            "bad_images": self.bad_images,
        }

    def load_state_dict(self, checkpoint: Mapping) -> None:
        """Go to where a checkpoint's training stood (`read_checkpoint` has checked its entries)."""
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scaler.load_state_dict(checkpoint["scaler"])
        self.epoch_sums.copy_(checkpoint["epoch_sums"])
        self.validation = {kind: Validation(**kept) for kind, kept in checkpoint["validation"].items()}
        self.metrics, self.bad_images = list(checkpoint["metrics"]), list(checkpoint["bad_images"])
        for name in ("epoch", "step", "epoch_images", "best"):
            setattr(self, name, checkpoint[name])
