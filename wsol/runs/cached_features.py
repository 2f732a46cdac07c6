"""Batches of a frozen network's features in place of images (`cache_features`): each image goes through the network once.

In: a split's images, a model with a frozen backbone, a folder. Out: a loader of batches whose `images` are what
`Backbone.encode` makes of the images, the same bits as without the folder (on a CPU; on a GPU, rounding may depend on the
batch). While it is iterated, the backbone takes these instead of images.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sized
from typing import cast

import timm
import torch
import torchvision

from wsol.core.version import version
from wsol.data.batches import Batch, EpochShuffle, LabeledImages, make_loader
from wsol.data.feature_cache import FeatureCache, FeatureImages, Kept, Unseen
from wsol.methods.method import Method
from wsol.networks.backbone import Backbone
from wsol.networks.device import autocast
from wsol.networks.frozen import lay_out
from wsol.runs.training import blank_batch


def network_digest(backbone: Backbone, device: torch.device, config: Mapping) -> str:
    """Return a digest of all that a frozen backbone's features of an image depend on, but the image.

    These are its weights and structure, the preprocessing, and what decides how sums are rounded: precision, device, number
    of threads, versions.
    """
    own = {name: stage for name, stage in backbone.named_children() if name not in backbone.offer.new_stages}
    digest = hashlib.sha256()
    settings = (
        version(),
        *(library.__version__ for library in (torch, torchvision, timm)),
        config["architecture"],
        config["large_feature_map"],
        backbone.offer.preprocessing,
        config.get("amp", "off"),
        config.get("tf32", False),
        torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability(),
        torch.get_num_threads() if device.type == "cpu" else 0,
        backbone.is_watched,
        own,
    )
    digest.update(repr(settings).encode())
    for stage, module in own.items():
        for name, value in module.state_dict().items():
            digest.update(f"\0{stage}.{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class EncodedBatches:
    """A loader of batches of features. Those of images that the folder lacks are computed here, and kept."""

    def __init__(
        self,
        loader: torch.utils.data.DataLoader,
        cache: FeatureCache,
        backbone: Backbone,
        device: torch.device,
        amp: str,
        side: int,
    ):
        self.loader, self.cache, self.backbone, self.device, self.amp = loader, cache, backbone, device, amp
        self.size = (side, side)
        self.encoded = 0  # images that went through the network

    def __len__(self) -> int:
        return len(cast("Sized", self.loader))

    def __iter__(self) -> Iterator[Batch]:
        self.backbone.image_size = self.size
        self.backbone.takes_encoded = True
        try:
            for unseen in self.loader:
                yield self.completed(unseen)
        finally:
            self.backbone.takes_encoded = False

    def encode(self, batch: Batch) -> Batch:
        """Return a batch of images as one of features."""
        images = batch.images.to(self.device, memory_format=torch.channels_last)
        with autocast(self.device, self.amp):
            features = self.backbone.encode(images)
        self.encoded += len(images)
        return batch._replace(images=features, input_size=self.size)

    def completed(self, unseen: Unseen) -> Batch:
        """Return a batch with the features of all its images."""
        batch = unseen.batch
        if not batch.image_ids:
            return batch._replace(input_size=self.size)
        new = iter(self.encode(batch).images.cpu() if len(batch.images) else ())
        features = []
        for kept, source, size in zip(unseen.kept, unseen.sources, batch.sizes, strict=True):
            features.append(next(new) if kept is None else kept)
            if kept is None and source:
                self.cache.put(source, Kept(features[-1], size))
        return batch._replace(images=lay_out(torch.stack(features)), input_size=self.size)


def load_batches(
    images: LabeledImages,
    model: Method,
    config: Mapping,
    batch_size: int,
    workers: int,
    device: torch.device,
    shuffle: EpochShuffle | None = None,
    place: tuple[int, int] = (0, 1),
    cache_features: str | os.PathLike | None = None,
) -> torch.utils.data.DataLoader | EncodedBatches:
    """Return a loader of batches as `make_loader` does; with `cache_features`, a folder, of a frozen model's features.

    `config`: the run's, with the amp that it took; the model is on the device.
    """
    if not cache_features:
        return make_loader(images, batch_size, workers, device, shuffle, place)
    backbone, cache = model.backbone, FeatureCache(cache_features)
    known = FeatureImages(images, cache, network_digest(backbone, device, config))
    loader = make_loader(known, batch_size, workers, device, shuffle, place)
    return EncodedBatches(loader, cache, backbone, device, config["amp"], images.crop_size)


def stand_in(
    loader: torch.utils.data.DataLoader | EncodedBatches, num_images: int, side: int, label_shape: tuple[int, ...]
) -> Batch:
    """Return a batch of blank images, or of their features if the loader's batches have these; see `blank_batch`."""
    blank = blank_batch(num_images, side, label_shape)
    return loader.encode(blank) if isinstance(loader, EncodedBatches) else blank
