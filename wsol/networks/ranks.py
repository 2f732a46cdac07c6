"""The processes (ranks) of one run under torchrun, each with its part of every batch and, on GPUs, its own GPU.

In: torchrun's environment. Out: what all ranks agree on. A single process joins nothing, and every function returns at once.
`shares.py` has the arithmetic of a step that is spread over ranks.
"""

import logging
import re
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from wsol.core.errors import REFUSED, InputError
from wsol.core.launch import Launch, end_with_parent, launched

LIMIT = timedelta(minutes=30)  # how long a rank waits for the others, as gloo does; a rank that died is noticed at once
LOST = re.compile(r"gloo|nccl|connection (?:closed|reset|refused)|timed out waiting|broken pipe", re.IGNORECASE)
HOW = re.compile(r"connection (?:closed|reset|refused)(?: by peer)?|timed out|broken pipe", re.IGNORECASE)

Value = TypeVar("Value")

_joined = Launch()


def rank() -> int:
    """Return this process's number, 0 if it is alone."""
    return _joined.rank


def size() -> int:
    """Return the number of ranks, 1 if this process is alone."""
    return _joined.size


def is_first() -> bool:
    """Return whether this is the rank that writes the run's files, logs and reports."""
    return _joined.rank == 0


def place() -> tuple[int, int]:
    """Return (this process's number, the number of ranks)."""
    return _joined.rank, _joined.size


@contextmanager
def running(device: str) -> Iterator[None]:
    """Be one of the ranks of a run in the context, if torchrun started this process as one of several.

    device: the option; GPUs talk through NCCL, CPUs, and all that is not on a GPU, through gloo. A rank that is through, or
    that leaves the message to another one, waits until the first one has ended: torchrun would end that one too.
    """
    global _joined
    launch = launched()
    if launch.size == 1:
        yield
        return
    on_gpus = device != "cpu" and torch.cuda.is_available()
    if on_gpus and launch.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(launch.local_rank)
    _joined = launch
    end_with_parent(signal.SIGTERM)  # a checkpoint, if torchrun is killed
    if launch.rank:
        logging.getLogger("wsol").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    try:
        with lost_ranks():
            distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=LIMIT)
            yield
        _wait_for_end(of=0)
    finally:
        _joined = Launch()
    distributed.destroy_process_group()


def _wait_for_end(of: int) -> None:
    """Wait until another rank has ended; it sends nothing, so that is when its connection closes."""
    if rank() != of:
        with suppress(RuntimeError):
            distributed.recv(torch.zeros(1), src=of)


def leave_to(other: int, code: int) -> None:
    """End this process, without a message, after another rank; that one says why.

    Raises:
        SystemExit: always, with the exit code.
    """
    _wait_for_end(other)
    raise SystemExit(code)


@contextmanager
def lost_ranks() -> Iterator[None]:
    """Raise InputError if another rank died in the context, which torch reports as a RuntimeError of any point of it."""
    try:
        yield
    except RuntimeError as error:
        if size() == 1 or not LOST.search(str(error)):
            raise
        how = f" ({found[0].lower()})" if (found := HOW.search(str(error))) else ""
        raise InputError(
            f"another process of this run ended, or does not answer{how}; torchrun's summary names the first that failed"
        ) from None


@contextmanager
def agreeing() -> Iterator[None]:
    """End all ranks if one of them fails in the context, which must not have them talk to each other.

    The first one that failed raises its error; the others end after it, without a message.
    """
    if size() == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is, the others have to know)
        failure = error
    failed = [said[0] for said in gather_numbers([failure is not None])]
    if any(failed):
        first = failed.index(1)
        if failure and first == rank():
            raise failure
        leave_to(first, REFUSED)


def gather_numbers(numbers: Sequence[int]) -> list[list[int]]:
    """Return the whole numbers of every rank, in their order; each gives as many."""
    if size() == 1:
        return [[*map(int, numbers)]]
    own = torch.tensor([*map(int, numbers)])
    every = [torch.zeros_like(own) for _ in range(size())]
    distributed.all_gather(every, own)
    return [one.tolist() for one in every]


def gather(value: Value) -> list[Value]:
    """Return the values of every rank, in their order, on every rank; any that can be pickled."""
    if size() == 1:
        return [value]
    every: list[Any] = [None] * size()
    distributed.all_gather_object(every, value)
    return every


def gather_first(value: Value) -> list[Value]:
    """Return the values of every rank, in their order, on the first rank; an empty list on the others."""
    if size() == 1:
        return [value]
    every: list[Any] | None = [None] * size() if is_first() else None
    distributed.gather_object(value, every)
    return every or []


def wait() -> None:
    """Wait until every rank is here."""
    gather_numbers([0])


def summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all ranks; of a process that is alone, the tensor itself."""
    if size() == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total


def take_buffers(model: nn.Module) -> None:
    """Give every rank the first one's buffers, the running statistics of normalisation among them."""
    if size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def spread(step: nn.Module, unused: bool, sync_batchnorm: bool) -> nn.Module:
    """Return a training step whose gradients are means over all ranks, in DistributedDataParallel; alone, the step itself.

    unused: some parameters get no gradient. sync_batchnorm: batch statistics are those of all ranks; on GPUs only.
    """
    if size() == 1:
        return step
    if sync_batchnorm:
        from timm.layers import convert_sync_batchnorm  # torch's does not know timm's own layers

        step = convert_sync_batchnorm(step)
    return nn.parallel.DistributedDataParallel(step, find_unused_parameters=unused)


def has_unused(loss: torch.Tensor, parameters: Iterable[nn.Parameter]) -> bool:
    """Return whether some parameters have no part in a loss."""
    gradients = torch.autograd.grad(loss, [one for one in parameters if one.requires_grad], allow_unused=True)
    return any(one is None for one in gradients)
