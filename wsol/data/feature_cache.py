"""A folder of a frozen network's features, so that each image goes through the network once and not in every epoch.

In: what the features were made from, and the features. Out: the same features, or None if they are not there, or no longer
those that the network would give. A data set with them, whose batches also have the images that the network has yet to see.

An entry is a line of JSON that says what it was made from, a line about its layout, the raw numbers, and the checksum of
`EntryFolder`. Any number of processes may use a folder at once, for any number of networks.
"""

import json
import math
import os
from typing import NamedTuple

import numpy as np
import torch

from wsol.core.declared_size import check_pixels
from wsol.core.errors import InputError
from wsol.data.batches import Batch, Batched, LabeledImages, Sample, collate
from wsol.data.crops import draw_crop
from wsol.data.entry_folder import EntryFolder
from wsol.data.image_cache import DECODER, Source

FORMAT = 1  # of entries; also goes up when images are read or resized differently
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MOST_BYTES = 2**30  # of an entry; no network comes near


class FeatureSource(NamedTuple):
    """What features were made from: the network, as a digest of all that they depend on but the image; the image's file and
    side; whether it was flipped from left to right."""

    network: str
    image: Source
    flipped: bool


class Kept(NamedTuple):
    """An image's features, and the (width, height) that its file declares."""

    features: torch.Tensor
    size: tuple[int, int]


class FeatureCache(EntryFolder):
    """The features in a folder."""

    def __init__(self, folder: str | os.PathLike):
        super().__init__(folder, "features")

    def get(self, source: FeatureSource) -> Kept | None:
        """Return what is kept of a source; None if that is nothing, damaged, or made from another state of the file."""
        heading = _heading(source)
        content = self.read(_name(source), MOST_BYTES)
        if content is None or content[: len(heading)] != heading:
            return None
        line, newline, numbers = bytes(content[len(heading) :]).partition(b"\n")
        try:
            dtype, shape, (width, height) = json.loads(line)
            features = torch.frombuffer(bytearray(numbers), dtype=DTYPES[dtype], count=math.prod(shape)).reshape(shape)
        except (ValueError, TypeError, KeyError, RecursionError, RuntimeError):
            return None
        return Kept(features, (int(width), int(height))) if newline and features.nbytes == len(numbers) else None

    def put(self, source: FeatureSource, kept: Kept) -> None:
        """Keep an image's features, of a dtype of DTYPES, unless earlier ones could not be written."""
        features = kept.features.detach().cpu().contiguous()
        layout = [str(features.dtype).removeprefix("torch."), list(features.shape), list(kept.size)]
        numbers = features.flatten().view(torch.uint8).numpy().tobytes()
        self.write(_name(source), _heading(source) + json.dumps(layout).encode() + b"\n" + numbers)


def _name(source: FeatureSource) -> str:
    """Return the name of a source's entry; not of the file's state, so that what is stale is replaced."""
    image = source.image
    return f"{source.network}\0{image.path}\0{image.side}\0{image.decode_scale}\0{source.flipped}"


def _heading(source: FeatureSource) -> bytes:
    image = source.image._asdict()
    made_from = {"format": FORMAT, "decoder": DECODER, "network": source.network, **image, "flipped": source.flipped}
    return json.dumps(made_from, ensure_ascii=True).encode() + b"\n"


class Unseen(NamedTuple):
    """A batch of which the network may have yet to see some images.

    batch: `images` has only those; all else is of the whole batch, in order.
    kept: of each image of the batch, its features, or None: it is the next of `images`.
    sources: of each image of the batch, what its features are made from; None: that cannot be told, so they are not kept.
    """

    batch: Batch
    kept: list[torch.Tensor | None]
    sources: list[FeatureSource | None]


class _Item(NamedTuple):
    sample: Sample  # without pixels where features are kept
    kept: torch.Tensor | None
    source: FeatureSource | None


class FeatureImages(Batched):
    """A split's images, each as the features that are kept of it, or else as the image itself; indexed as `images` is.

    Without `images.resize_size` they are whole; with it, it has to be the crop's size, so that only flips are drawn.
    `network`: a digest of all that features depend on but the image.
    """

    def __init__(self, images: LabeledImages, cache: FeatureCache, network: str):
        if images.resize_size not in (None, images.crop_size) or images.targets is not None:
            raise InputError("the features of images that are cropped at random, or have targets, cannot be kept")
        self.images, self.cache, self.network = images, cache, network

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int | tuple[int, int]) -> _Item | str:
        images = self.images
        position, seed = index if isinstance(index, tuple) else (index, 0)
        flipped = False
        if images.resize_size is not None:
            flipped = draw_crop(images.resize_size, images.crop_size, np.random.default_rng(seed)).flipped
        image_id = images.split.image_ids[position]
        made_from = images.reader.source(image_id, images.crop_size)
        source = FeatureSource(self.network, made_from, flipped) if made_from else None
        kept = self.cache.get(source) if source else None
        if kept is None:
            sample = images[index]
            return sample if isinstance(sample, str) else _Item(sample, None, source)
        try:
            check_pixels(images.reader.root / image_id, kept.size, images.reader.max_megapixels)
        except InputError as error:
            return error.on_command_line()
        sample = Sample(torch.empty(0), images.split.trained_label(position), image_id, position, kept.size)
        return _Item(sample, kept.features, source)

    def collate(self, items: list) -> Unseen:
        """Return the batch of some items."""
        good: list[_Item] = [item for item in items if not isinstance(item, str)]
        bad = [item for item in items if isinstance(item, str)]
        unseen: list[Sample | str] = [item.sample for item in good if item.kept is None]
        whole = collate([*(item.sample._replace(image=torch.empty(0)) for item in good), *bad])
        batch = whole._replace(images=collate(unseen).images)
        return Unseen(batch, [item.kept for item in good], [item.source for item in good])
