"""A training step that is spread over ranks: means over the whole batch from each rank's part of it.

In: how many images of the step every rank has. Out: each rank's part of a mean over all of them: DistributedDataParallel
averages the gradients of N ranks, so a rank with n of all things contributes its own mean times n N / (all things). In a
process that is alone nothing is computed, so not a bit of its results changes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import distributed, nn
from torch.nn import functional

from wsol.networks import ranks

_images: tuple[int, ...] = ()  # of every rank in this step; empty: the step is not spread


@contextmanager
def spread_over(images: Sequence[int]) -> Iterator[None]:
    """Let a step be spread over ranks in the context; `images` has the number of every rank's images, one or more in all.

    A rank without images takes the step with a stand-in, which counts nowhere.
    """
    global _images
    _images = tuple(images) if len(images) > 1 else ()
    try:
        yield
    finally:
        _images = ()


def part_of_mean(mean: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of the mean over all images of the step, from the mean over its own images."""
    return mean * (_images[ranks.rank()] * len(_images) / sum(_images)) if _images else mean


def part_by_count(mean: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Return what `part_of_mean` turns into this rank's part of the mean over all ranks' things, from the mean over its own.

    For a loss whose mean is not over images: `count`, a scalar, is the number of this rank's things, such as pixels.
    """
    if not _images:
        return mean
    own = _images[ranks.rank()]
    total = (count if own else torch.zeros_like(count)).to(torch.float64, copy=True)
    distributed.all_reduce(total)
    if not own:
        return mean * 0
    share = count / total.clamp(min=1) * (sum(_images) / own)
    return mean * share.to(mean.dtype)


def rows(count: int) -> torch.Tensor:
    """Return int64 (count,): the positions of this rank's `count` images in the batch of all ranks.

    A stand-in takes the positions of any images.
    """
    if not _images:
        return torch.arange(count)
    return (sum(_images[: ranks.rank()]) + torch.arange(count)) % sum(_images)


def all_images(own: int) -> int:
    """Return the number of images of all ranks in the step, of which this one has `own`."""
    return sum(_images) or own


def gather_rows(values: torch.Tensor) -> torch.Tensor:
    """Return the rows (B, ...) of all ranks' images, in the batch's order; without gradients."""
    if not _images:
        return values
    most = max(_images)
    padded = values.new_zeros((most, *values.shape[1:]))
    kept = values[: _images[ranks.rank()]]
    padded[: len(kept)] = kept
    every = [torch.empty_like(padded) for _ in _images]
    distributed.all_gather(every, padded)
    return torch.cat([one[:count] for one, count in zip(every, _images, strict=True)])


class SharedDropout(nn.Dropout):
    """Dropout whose mask is that of the whole batch: each rank draws all of it and takes the rows of its own images.

    All ranks have the same random numbers, so the mask does not depend on their number.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values (B, ...), in training with some zeroed and the others scaled by 1 / (1 - p)."""
        if not (_images and self.training and self.p):
            return super().forward(values)
        channels_last = values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        ones = torch.ones((sum(_images), *values.shape[1:]), dtype=values.dtype, device=values.device)
        mask = functional.dropout(ones.contiguous(memory_format=layout), self.p)
        return values * mask[rows(len(values)).to(values.device)]
