"""A trained model as a function from photos to boxes.

    localizer = Localizer.load("train_log/my_birds/last_checkpoint.pth.tar")
    found = localizer("garden.jpg")
    found.box, found.label, found.confidence, found.expected_iou

In: paths, PIL images or arrays. Out: a `Localization`, or a list of them. No folder is read but the checkpoint's file and
the photos.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image

from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError, did_you_mean
from wsol.data.batches import Batch
from wsol.data.images import load_upright, upright_rgb
from wsol.data.preprocessing import resize
from wsol.maps.class_maps import UNKNOWN
from wsol.photos.localization import Judge, Localization
from wsol.runs.predictor import Predictor, restore

Photo = str | os.PathLike | Image.Image | np.ndarray
BATCH = 32  # photos of a list at a time


class Localizer:
    """A restored model, and how it draws boxes; see `Judge` for the options."""

    def __init__(
        self,
        predictor: Predictor,
        *,
        device: str | torch.device = "cpu",
        threshold: float | None = None,
        max_boxes: int = 1,
        top_k: int = 1,
    ):
        self.device = torch.device(device)
        self.predictor = predictor.to(self.device)
        self.judge = Judge(predictor, threshold, max_boxes, top_k)
        self.mapper = predictor.class_mapper()

    @classmethod
    def load(cls, path: str | os.PathLike, *, map_level: str | None = None, **options: float | str | None) -> "Localizer":
        """Return the localizer of a checkpoint of main.py; options as for `Localizer`, `map_level` as for `restore`.

        Raises:
            InputError: not a checkpoint, or one without box rules and no `threshold` is given.
        """
        return cls(restore(path, map_level=map_level), **options)  # type: ignore[arg-type]  # as they were given

    @overload
    def __call__(self, photos: Photo, labels: str | None = None) -> Localization: ...

    @overload
    def __call__(
        self, photos: list[Any] | tuple[Any, ...], labels: Sequence[str | None] | None = None
    ) -> list[Localization]: ...

    def __call__(
        self, photos: Photo | list[Any] | tuple[Any, ...], labels: str | Sequence[str | None] | None = None
    ) -> Localization | list[Localization]:
        """Return what the model says of a photo, or of each of a list.

        A photo is a path (turned upright as its EXIF orientation says), a PIL image (the same), or an array: uint8 (H, W, 3)
        RGB, or (H, W) grey. `labels`: the names of the classes if they are known; None: predicted.

        Raises:
            InputError: a file that cannot be read, an array of another shape or type, a name that is no class.
        """
        if isinstance(photos, str | os.PathLike | Image.Image | np.ndarray):
            if not isinstance(labels, str | None):
                raise InputError(f"labels {labels!r} for one photo; expected one name, or None")
            return next(self._each([photos], [labels]))
        given = [None] * len(photos) if labels is None else list(labels)
        if isinstance(labels, str) or len(given) != len(photos):
            raise InputError(f"{len(given)} labels for {len(photos)} photos; expected one for each, or None")
        return list(self._each(photos, given))

    def _each(self, photos: Sequence[Photo], labels: Sequence[str | None]) -> Iterator[Localization]:
        numbers = [UNKNOWN if label is None else self.class_number(label) for label in labels]
        for start in range(0, len(photos), BATCH):
            part = photos[start : start + BATCH]
            given = numbers[start : start + BATCH]
            upright = [_upright(photo) for photo in part]
            side = self.predictor.config.crop_size
            images = torch.stack([self.predictor.preprocessing.normalize(resize(image, side)) for image in upright])
            names = [os.fspath(photo) if isinstance(photo, str | os.PathLike) else "" for photo in part]
            batch = Batch(images, torch.tensor(given), names, [], sizes=[image.size for image in upright])
            for photo, label in zip(self.mapper.photos([batch], self.device, "off", []), given, strict=True):
                yield self.judge(photo, label != UNKNOWN)

    def class_number(self, name: str) -> int:
        """Return the label of a class.

        Raises:
            InputError: no class has this name, or two have.
        """
        names = self.predictor.class_names
        if (count := names.count(name)) != 1:
            problem = "is the name of two classes" if count else f"is none of the {len(names)} classes"
            raise InputError(f"{self.predictor.path}: {name!r} {problem}{did_you_mean(name, names)}")
        return names.index(name)


def _upright(photo: Photo) -> Image.Image:
    """Return a photo as an upright RGB image.

    Raises:
        InputError: it cannot be read, or is not an image.
    """
    if isinstance(photo, Image.Image):
        return upright_rgb("a photo", photo)
    if isinstance(photo, np.ndarray):
        grey, rgb = photo.ndim == 2, photo.ndim == 3 and photo.shape[2] == 3
        if photo.dtype != np.uint8 or not (grey or rgb) or not photo.size:
            raise InputError(f"a photo of shape {photo.shape} and type {photo.dtype}; expected uint8 (H, W, 3) or (H, W)")
        return Image.fromarray(photo).convert("RGB")
    return load_upright(Path(photo), MAX_MEGAPIXELS)
