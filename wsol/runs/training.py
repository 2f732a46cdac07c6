"""The parts of a training: its step as one module, its optimiser, its learning rate, and a check that a network can train.

In: a model and a configuration. Out: what main.py's loop calls.
"""

import copy
from collections.abc import Mapping

import torch
from torch import nn

from wsol.core import registry
from wsol.core.errors import OptionError, OptionName, reason
from wsol.data.batches import Batch
from wsol.methods.draws import Draws
from wsol.methods.method import Method, Outputs
from wsol.runs.train_state import TrainState


class TrainingStep(nn.Module):
    """A training step: forward pass and loss in one `forward`, as DistributedDataParallel and torch.compile need it."""

    def __init__(self, model: Method):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, draws: Draws | None = None) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a batch on the model's device; `draws` as in `Method.training_step`."""
        return self.model.batch_step(batch, draws)


def start_training(model: Method, config: Mapping, device: torch.device) -> TrainState:
    """Return the state of a training before its first step: SGD with the method's parameter groups."""
    optimizer = torch.optim.SGD(
        model.parameter_groups(config["lr"], config["lr_classifier_ratio"]),
        momentum=config["momentum"],
        weight_decay=config["weight_decay"],
        nesterov=config["momentum"] > 0,
        fused=device.type == "cuda",  # keeps fp16's overflow check on the device
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    scaler = torch.amp.GradScaler(device.type, enabled=config["amp"] == "fp16")
    return TrainState(optimizer, scaler, torch.zeros(2, dtype=torch.float64, device=device))


def lr_at(initial_lr: float, epoch: int, decay_frequency: int) -> float:
    """Return the learning rate of an epoch, counted from 1: initial_lr * 0.1^floor(epoch / decay_frequency).

    It is computed by repeated multiplication with 0.1; a power of 0.1 would differ in the last bit.

    >>> [lr_at(0.01, epoch, 3) for epoch in (1, 2, 3, 6)]
    [0.01, 0.01, 0.001, 0.0001]
    """
    lr = initial_lr
    for _ in range(epoch // decay_frequency):
        lr *= 0.1
    return lr


def set_learning_rate(optimizer: torch.optim.Optimizer, epoch: int, decay_frequency: int) -> None:
    """Set the learning rate of every parameter group to that of an epoch."""
    for group in optimizer.param_groups:
        group["lr"] = lr_at(group["initial_lr"], epoch, decay_frequency)


def check_network(model: Method, config: Mapping, num_train: int) -> None:
    """Check that a network can train on `num_train` images of the crop size.

    Raises:
        InputError: it does not accept such images, its map is smaller than 2 x 2, or the last batch is a single image and it
            cannot train on that.
    """
    crop = config["crop_size"]
    blank = Batch(
        torch.zeros(1, 3, crop, crop),
        torch.zeros(1, dtype=torch.int64),
        ["a blank image"],
        [],
        boxes=[torch.tensor([[0.0, 0.0, crop, crop]])],
        masks=torch.ones(1, crop, crop, dtype=torch.uint8),
    )
    try:
        with torch.no_grad():
            model.eval()
            if registry.method_entry(config["wsol_method"]).detects:
                sides = model.backbone(blank.images).shape[2:]
            else:
                sides = model.score_maps(blank.images, blank.labels).shape[1:]
    except Exception as error:  # noqa: BLE001 (a network of a library may raise anything for images of the wrong size)
        raise OptionError(
            "crop_size", crop, f"{config['architecture']} does not take such images ({reason(error)})"
        ) from None
    if min(sides) < 2:
        raise OptionError(
            "crop_size",
            crop,
            f"{config['architecture']} gives a map of {sides[0]} x {sides[1]}; expected 2 x 2 or more, ",
            "from larger images or with ",
            OptionName("large_feature_map"),
            " TRUE",
        )
    if num_train % config["batch_size"] == 1 or config["batch_size"] == 1:
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                copy.deepcopy(model).train().batch_step(blank)
        except ValueError as error:  # batch normalisation of pooled features
            raise OptionError(
                "batch_size",
                config["batch_size"],
                f"{config['architecture']} cannot train on a single image, which is the last batch of {num_train} "
                f"images ({error}); expected another batch size",
            ) from None
