"""Images and labels to batches: data sets, and loaders that keep an accelerator busy.

In: `LevelSplit` tables (wsol/data/levels.py) and a folder of images, or any photos. Out: `Batch`es. Random crops and flips
are drawn from (seed, epoch, position), never in a worker, so the batches do not depend on the number of workers.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError
from wsol.core.stopping import ignore_stopping
from wsol.data.crops import draw_crop
from wsol.data.image_cache import ImageCache
from wsol.data.images import FULL, load_upright
from wsol.data.levels import LevelSplit
from wsol.data.preprocessing import IMAGENET, Preprocessing, resize
from wsol.data.reading import ImageReader
from wsol.data.targets import BoxTargets, Targets


class Batch(NamedTuple):
    """The images of one step.

    images: float32 (B, 3, crop, crop).
    labels: int64 (B,), or (B, levels) in the training of several levels at once, -1: none.
    image_ids: B ids.
    bad: the errors of images that could not be read and are left out of the batch.
    positions: where the images are in the data set.
    boxes: per image float64 (m, 4), x0, y0, x1, y1 in pixels of `images`, if boxes are trained on.
    masks: uint8 (B, crop, crop), if masks are trained on.
    sizes: (w, h) of the images as they were before they were resized.
    input_size: (height, width) of the images, if `images` holds what a frozen network made of them.
    """

    images: torch.Tensor
    labels: torch.Tensor
    image_ids: list[str]
    bad: list[str]
    positions: Sequence[int] = ()
    boxes: list[torch.Tensor] | None = None
    masks: torch.Tensor | None = None
    sizes: Sequence[tuple[int, int]] = ()
    input_size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the network's input."""
        return self.input_size or (self.images.shape[2], self.images.shape[3])


class Sample(NamedTuple):
    """One image of a batch."""

    image: torch.Tensor
    label: int | list[int]
    image_id: str
    position: int
    size: tuple[int, int]
    target: torch.Tensor | None = None


class Batched(Dataset):
    """A data set whose items make batches."""

    targets: Targets | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        raise NotImplementedError

    def collate(self, samples: list) -> tuple:
        """Return the batch of some items, a `Batch` unless a data set says otherwise."""
        return collate(samples, self.targets)


class LabeledImages(Batched):
    """The images of one split.

    Without `resize_size`, items are indexed by position and get the evaluation transform; with it, they are indexed by
    (position, seed of the draws) and get the training transform. An image that cannot be read gives its error message.
    With `targets`, training items also have a mask or boxes, which move with the image. `decode_scale`: see `ImageReader`.
    `cache_images`: a folder that keeps the resized images.
    """

    def __init__(
        self,
        image_root: str | os.PathLike,
        split: LevelSplit,
        crop_size: int,
        resize_size: int | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        preprocessing: Preprocessing = IMAGENET,
        targets: Targets | None = None,
        decode_scale: str = FULL,
        cache_images: str | os.PathLike | None = None,
    ):
        cache = None if cache_images is None else ImageCache(cache_images)
        self.reader = ImageReader(Path(image_root), max_megapixels, decode_scale, cache)
        self.split = split
        self.crop_size = crop_size
        self.resize_size = resize_size
        self.preprocessing = preprocessing
        self.targets = targets

    def __len__(self) -> int:
        return len(self.split.image_ids)

    def __getitem__(self, index: int | tuple[int, int]) -> Sample | str:
        position, seed = index if isinstance(index, tuple) else (index, 0)
        image_id = self.split.image_ids[position]
        target = None
        try:
            image, size = self.reader.square(image_id, self.resize_size or self.crop_size)
            if self.resize_size is None:
                tensor = self.preprocessing.normalize(image)
            else:
                crop = draw_crop(self.resize_size, self.crop_size, np.random.default_rng(seed))
                tensor = self.preprocessing.normalize(crop.cut(image))
                if self.targets:
                    target = torch.from_numpy(self.targets.crop(image_id, size, crop))
        except InputError as error:
            return error.on_command_line()
        return Sample(tensor, self.split.trained_label(position), image_id, position, size, target)


class EpochShuffle(Sampler):
    """Yields (position, seed of its draws) of the images in an order drawn from (seed, epoch), without the first `start`."""

    def __init__(self, size: int, seed: int):
        self.size, self.seed, self.epoch, self.start = size, seed, 0, 0

    def __len__(self) -> int:
        return self.size - self.start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.size).tolist()
        seeds = rng.integers(2**62, size=self.size).tolist()
        return iter(zip(order[self.start :], seeds[self.start :], strict=True))


def shares(count: int, processes: int) -> list[int]:
    """Return how many of a batch's `count` images each process has: nearly the same number, the first ones more.

    >>> shares(5, 2), shares(1, 3)
    ([3, 2], [1, 0, 0])
    """
    return [count // processes + (number < count % processes) for number in range(processes)]


class ProcessBatches(Sampler):
    """Yields this process's part of every batch of `order`, lists of indices; every process gets as many lists.

    place: (this process's number, the number of processes N). In training, each has its rows of every batch, which may be
    none. `whole`: each has every N-th batch, whole, so that no image's batch depends on their number; the last list may be
    empty.
    """

    def __init__(self, order: EpochShuffle | range, batch_size: int, place: tuple[int, int] = (0, 1), whole: bool = False):
        self.order, self.batch_size, self.place, self.whole = order, batch_size, place, whole

    def __len__(self) -> int:
        batches = math.ceil(len(self.order) / self.batch_size)
        return math.ceil(batches / self.place[1]) if self.whole else batches

    def __iter__(self) -> Iterator[list]:
        own, processes = self.place
        order = iter(self.order)
        turns = self.batch_size * processes if self.whole else self.batch_size  # images for which all get a list
        while turn := list(islice(order, turns)):
            if self.whole:
                yield turn[own * self.batch_size : (own + 1) * self.batch_size]
            else:
                parts = shares(len(turn), processes)
                yield turn[sum(parts[:own]) : sum(parts[: own + 1])]


def collate(samples: list[Sample | str], targets: Targets | None = None) -> Batch:
    """Return the batch of some samples; with `targets`, what they have of these too."""
    good = [sample for sample in samples if not isinstance(sample, str)]
    bad = [sample for sample in samples if isinstance(sample, str)]
    if not good:
        return Batch(torch.empty(0), torch.empty(0, dtype=torch.int64), [], bad)
    images, labels, image_ids, positions, sizes, found = zip(*good, strict=True)
    # In a worker, `default_collate` stacks in shared memory, where `torch.stack` would take one copy more.
    stacked = default_collate(list(images))
    batch = Batch(stacked, torch.tensor(labels), list(image_ids), bad, positions, sizes=sizes)
    if targets is None:
        return batch
    if isinstance(targets, BoxTargets):
        return batch._replace(boxes=list(found))
    return batch._replace(masks=default_collate(list(found)))


def _start_worker(number: int) -> None:
    """Prepare a process that loads images: its parent handles signals, and says what has gone wrong."""
    ignore_stopping()
    sys.excepthook = partial(_unless_left_alone, sys.excepthook)


def _unless_left_alone(hook: Callable[..., object], kind: type[BaseException], *details: object) -> None:
    """Report an error of a thread, which multiprocessing does not raise, unless it is that the parent is gone.

    A thread of each process that loads images hands them to the parent, which may end at any time.
    """
    if not issubclass(kind, (ConnectionError, EOFError)):
        hook(kind, *details)


class Photos(Batched):
    """Photos of any folder, upright and whole, resized to `side`; `labels`, int64 (n,), may be negative: not known.

    A photo that cannot be read gives its error message.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        image_ids: Sequence[str],
        labels: np.ndarray,
        side: int,
        preprocessing: Preprocessing = IMAGENET,
        max_megapixels: float = MAX_MEGAPIXELS,
    ):
        self.paths, self.image_ids, self.labels, self.side = paths, image_ids, labels, side
        self.preprocessing, self.max_megapixels = preprocessing, max_megapixels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Sample | str:
        try:
            photo = load_upright(self.paths[position], self.max_megapixels)
        except InputError as error:
            return error.on_command_line()
        tensor = self.preprocessing.normalize(resize(photo, self.side))
        return Sample(tensor, int(self.labels[position]), self.image_ids[position], position, photo.size)


def make_loader(
    dataset: Batched,
    batch_size: int,
    workers: int,
    device: torch.device,
    shuffle: EpochShuffle | None = None,
    place: tuple[int, int] = (0, 1),
) -> DataLoader:
    """Return a loader of batches, in file order or in that of `shuffle`; a last partial batch is kept.

    `place`: (this process's number, the number of processes). With `shuffle` each has its rows of every batch, else its
    share of the batches (see `ProcessBatches`).
    """
    order = range(len(dataset)) if shuffle is None else shuffle
    return DataLoader(
        dataset,
        batch_sampler=ProcessBatches(order, batch_size, place, whole=shuffle is None),
        num_workers=workers,
        collate_fn=dataset.collate,
        worker_init_fn=_start_worker,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # its own, so that the global random stream does not depend on the workers
    )
