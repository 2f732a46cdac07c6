"""Images and labels to batches: datasets, the protocol's transforms, loaders that keep an accelerator busy.

In: `LevelSplit` tables (wsol/levels.py) and a folder of images. The readers of wsol/metadata.py have their wsolevaluation
names here too.
Out: `Batch`es. Random crops and flips are drawn from (seed, epoch, position), never in a worker, so that the batches
are the same whatever the number of workers.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from dataset.known import how_to_prepare
from wsol.declared_size import MAX_MEGAPIXELS, check_pixels
from wsol.errors import InputError
from wsol.files import check_input, missing_files
from wsol.levels import LevelSplit, load_level
from wsol.metadata import (
    configure_metadata,
    first_names,
    get_bounding_boxes,
    get_class_labels,
    get_image_ids,
    get_image_sizes,
    get_mask_paths,
)

__all__ = [
    "Batch",
    "EpochShuffle",
    "LabeledImages",
    "configure_metadata",
    "eval_transform",
    "get_bounding_boxes",
    "get_class_labels",
    "get_image_ids",
    "get_image_sizes",
    "get_mask_paths",
    "load_image",
    "load_level",
    "make_loader",
    "require_images",
    "train_transform",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Batch(NamedTuple):
    """Images float32 (B, 3, crop, crop), labels int64 (B,), their ids, and the images that could not be read."""

    images: torch.Tensor
    labels: torch.Tensor
    image_ids: list[str]
    bad: list[str]


def _to_rgb(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    """Return an opened image as RGB; 16-bit grey is divided by 257 (65535 / 255), where Pillow would clip it to white."""
    if image.mode in ("I", "F"):
        raise InputError(
            f"{path}: pixels of 32 bits (mode {image.mode}), whose range is unknown; expected 8 or 16 bits a channel"
        )
    if image.mode.startswith("I;16"):
        values = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(values.astype(np.uint8))
    return image.convert("RGB")


def load_image(path: str | os.PathLike, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Return an image file as RGB, as it is stored: an EXIF orientation is not applied (docs/datasets.md).

    Raises:
        InputError: whatever is wrong with it, with its path; it declares more than `max_megapixels`, before any is decoded.
    """
    check_input(path)
    try:
        # A handle, not the path: Pillow maps some files given by path, and garbles TIFFs with an orientation in doing so.
        with open(path, "rb") as file, Image.open(file) as image:
            check_pixels(path, image.size, max_megapixels)
            return _to_rgb(path, image)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a readable image (of no kind that Pillow knows)") from None
    except Exception as error:  # noqa: BLE001 (Pillow's decoders raise many kinds, SyntaxError and struct.error among them)
        raise InputError(f"{path}: not a readable image ({type(error).__name__}: {error})") from None


def _resize(image: Image.Image, size: int) -> Image.Image:
    return tvf.resize(image, [size, size], interpolation=InterpolationMode.BILINEAR, antialias=True)


def _normalize(image: Image.Image) -> torch.Tensor:
    return tvf.normalize(tvf.to_tensor(image), IMAGENET_MEAN, IMAGENET_STD)


def train_transform(image: Image.Image, resize_size: int, crop_size: int, rng: np.random.Generator) -> torch.Tensor:
    """Return float32 (3, crop, crop): resized to a square, a random crop of it, flipped with probability 0.5."""
    top, left = rng.integers(0, resize_size - crop_size + 1, size=2).tolist()
    image = tvf.crop(_resize(image, resize_size), top, left, crop_size, crop_size)
    return _normalize(tvf.hflip(image) if rng.random() < 0.5 else image)


def eval_transform(image: Image.Image, crop_size: int) -> torch.Tensor:
    """Return float32 (3, crop, crop): the whole image, resized straight to `crop_size`."""
    return _normalize(_resize(image, crop_size))


class LabeledImages(Dataset):
    """The images of one split. `resize_size` None: evaluation transform, indexed by position; else the training
    transform, indexed by (position, seed of its draws). A bad image is returned as its error message."""

    def __init__(
        self,
        image_root: str | os.PathLike,
        split: LevelSplit,
        crop_size: int,
        resize_size: int | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
    ):
        self.image_root = Path(image_root)
        self.split = split
        self.crop_size = crop_size
        self.resize_size = resize_size
        self.max_megapixels = max_megapixels

    def __len__(self) -> int:
        return len(self.split.image_ids)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[torch.Tensor, int, str] | str:
        position, seed = index if isinstance(index, tuple) else (index, 0)
        image_id = self.split.image_ids[position]
        try:
            image = load_image(self.image_root / image_id, self.max_megapixels)
        except InputError as error:
            return str(error)
        if self.resize_size is None:
            tensor = eval_transform(image, self.crop_size)
        else:
            tensor = train_transform(image, self.resize_size, self.crop_size, np.random.default_rng(seed))
        return tensor, int(self.split.labels[position]), image_id


class EpochShuffle(Sampler):
    """Yields (position, seed of its draws) of every image, in an order drawn from (seed, epoch)."""

    def __init__(self, size: int, seed: int):
        self.size, self.seed, self.epoch = size, seed, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.size).tolist()
        return iter(zip(order, rng.integers(2**62, size=self.size).tolist(), strict=True))


def _collate(samples: list) -> Batch:
    good = [sample for sample in samples if not isinstance(sample, str)]
    bad = [sample for sample in samples if isinstance(sample, str)]
    if not good:
        return Batch(torch.empty(0), torch.empty(0, dtype=torch.int64), [], bad)
    images, labels, image_ids = zip(*good, strict=True)
    return Batch(torch.stack(images), torch.tensor(labels), list(image_ids), bad)


def make_loader(
    dataset: LabeledImages, batch_size: int, workers: int, device: torch.device, shuffle: EpochShuffle | None = None
) -> DataLoader:
    """Return a loader of Batches: in file order, or as `shuffle` says; the last partial batch is kept."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=shuffle,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # its own, so that the global stream does not depend on the workers
    )


def require_images(image_root: str | os.PathLike, image_ids: list[str], split: str, dataset_name: str) -> None:
    """Refuse a split whose image files are not all there."""
    if missing := missing_files(image_root, image_ids):
        raise InputError(
            f"{image_root}: {len(missing)} of {len(image_ids)} images of the {split} split are "
            f"missing{how_to_prepare(dataset_name)}; or name another --data_root, or pass --on_bad_image skip:"
            + first_names(missing)
        )
