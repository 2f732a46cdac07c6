"""The parts of a training: its step as one module, its optimiser, its learning rate, and a check that a network can train.

In: a model and a configuration. Out: what main.py's loop calls.
"""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn

from wsol.core import registry
from wsol.core.errors import InputError, OptionError, OptionName, reason
from wsol.data.batches import Batch, shares
from wsol.methods.draws import Draws, DrawSource, on_device
from wsol.methods.method import Method, Outputs
from wsol.networks import ranks
from wsol.networks.compiled import CompiledStep
from wsol.networks.device import to_device
from wsol.networks.shares import part_of_mean
from wsol.runs.train_state import TrainState


class TrainingStep(nn.Module):
    """A training step: forward pass and loss in one `forward`, as DistributedDataParallel and torch.compile need it."""

    def __init__(self, model: Method):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, draws: Draws | None = None) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a batch on the model's device; `draws` as in `Method.training_step`.

        Where the step is spread over ranks, the loss is this rank's part of it, see `part_of_mean`.
        """
        outputs, loss = self.model.batch_step(batch, draws)
        return outputs, part_of_mean(loss)


def start_training(model: Method, config: Mapping, device: torch.device) -> TrainState:
    """Return the state of a training before its first step: SGD with the method's parameter groups."""
    optimizer = torch.optim.SGD(
        model.parameter_groups(config["lr"], config["lr_classifier_ratio"]),
        momentum=config["momentum"],
        weight_decay=config["weight_decay"],
        nesterov=config["momentum"] > 0,
        fused=device.type == "cuda",  # keeps fp16's overflow check on the device; on a CPU its bits are others
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


def blank_batch(num_images: int, side: int, label_shape: tuple[int, ...] = ()) -> Batch:
    """Return a batch of black squares with whatever a method may be trained on: label 0, a box and a mask of everything.

    `label_shape`: that of `Method.label_shape`.
    """
    return Batch(
        torch.zeros(num_images, 3, side, side),
        torch.zeros(num_images, *label_shape, dtype=torch.int64),
        ["a blank image"] * num_images,
        [],
        range(num_images),
        boxes=[torch.tensor([[0.0, 0.0, side, side]])] * num_images,
        masks=torch.ones(num_images, side, side, dtype=torch.uint8),
    )


def spread_step(model: Method, config: Mapping, device: torch.device) -> nn.Module:
    """Return the step that trains a model on its device: compiled if asked for, or with several ranks in
    DistributedDataParallel."""
    step = TrainingStep(model)
    if ranks.size() == 1:
        return CompiledStep(step, config["batch_size"]) if config["compile"] else step
    with torch.random.fork_rng(devices=[]):
        blank = to_device(blank_batch(2, config["crop_size"], model.label_shape), device)
        size = (config["crop_size"], config["crop_size"])
        draws = on_device(model.draw(DrawSource(0, 0, 0, blank.positions), size), device)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        unused = ranks.has_unused(step.train()(blank, draws)[1], model.parameters())
        model.load_state_dict(buffers, strict=False)
    return ranks.spread(step, unused, config["sync_batchnorm"])


def check_sync_batchnorm(wanted: bool, device: torch.device) -> None:
    """Raise OptionError if batch statistics are to be those of all ranks where torch has no such layer."""
    if wanted and ranks.size() > 1 and device.type == "cpu":
        raise OptionError("sync_batchnorm", "TRUE", "torch has it for GPUs only; expected FALSE for processes on CPUs")


def check_map(maps_of: Callable[[Batch], torch.Tensor], config: Mapping) -> None:
    """Check that a network takes images of the crop size; `maps_of` gives its maps (..., h, w) of a batch.

    Raises:
        OptionError: it does not accept such images, or its map is smaller than 2 x 2.
    """
    crop = config["crop_size"]
    try:
        with torch.no_grad():
            sides = maps_of(blank_batch(1, crop)).shape[-2:]
    except InputError as error:
        raise OptionError("crop_size", crop, f"{config['architecture']} does not take such images: ", *error.parts) from None
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


def check_network(model: Method, config: Mapping, num_train: int) -> None:
    """Check that a network can train on `num_train` images of the crop size.

    Raises:
        InputError: it does not accept such images, its map is smaller than 2 x 2, or the last batch is a single image and it
            cannot train on that.
    """
    model.eval()
    if registry.method_entry(config["wsol_method"]).detects:
        check_map(lambda blank: model.backbone(blank.images), config)
    else:
        check_map(lambda blank: model.score_maps(blank.images, blank.labels), config)
    blank = blank_batch(1, config["crop_size"], model.label_shape)
    whole, last = config["batch_size"] * (num_train >= config["batch_size"]), num_train % config["batch_size"]
    if 1 in (*shares(whole, ranks.size()), *shares(last, ranks.size())):
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                copy.deepcopy(model).train().batch_step(blank)
        except ValueError as error:  # batch normalisation of pooled features
            raise OptionError(
                "batch_size",
                config["batch_size"],
                f"{config['architecture']} cannot train on a single image, which is the last batch of {num_train} "
                f"images, or a process's part of one ({error}); expected another batch size",
            ) from None
