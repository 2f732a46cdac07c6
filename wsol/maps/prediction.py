"""From batches to raw maps to score maps: the predictions of a mapper for every image of a loader.

In: a mapper, batches. Out: per image, a score map in [0, 1] of the input size, or a detector's box, and the rank of its true
class.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from wsol.core.errors import InputError
from wsol.data.batches import Batch
from wsol.data.preprocessing import IMAGENET, Preprocessing
from wsol.maps.mapper import Mapper
from wsol.maps.normalize import normalize_raw_map
from wsol.maps.refine import Refiner, refine
from wsol.networks.device import autocast, to_device


@dataclass
class Prediction:
    """The prediction for one image.

    raw_map: (h, w), any float; None from a detector.
    size: the input size (w, h) in pixels.
    rank: the true class's rank among the logits, 0 for the top; None from a method that tells no classes apart.
    image: uint8 RGB (H, W, 3) as the network sees it before normalisation, for the refiner.
    refiner: changes the score map; None: it is not changed.
    box: a detector's box (x0, y0, x1, y1) in whole pixels of the input; None: it found nothing, or there is a map.
    """

    image_id: str
    raw_map: np.ndarray | None
    size: tuple[int, int]
    rank: int | None
    image: np.ndarray | None = None
    refiner: Refiner | None = None
    box: tuple[int, ...] | None = None

    def score_map(self) -> np.ndarray:
        """Return the score map of the input size, float64 (H, W) in [0, 1]: normalised, then refined.

        Raises:
            InputError: the refiner returned a different shape, or values outside [0, 1]; there is no map.
        """
        if self.raw_map is None:
            raise InputError(f"{self.image_id}: a detector's box, not a map")
        score_map = normalize_raw_map(self.raw_map, self.size)
        if self.refiner is None or self.image is None:
            return score_map
        return refine(self.refiner, self.image, score_map, self.image_id)


def ranks_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return int64 (B,): each label's rank among its image's logits (B, num_classes), 0 for the top.

    A class with a smaller number and the same logit ranks higher, as in a stable sort. NaN, in the label's own logit or
    another, counts against it.

    >>> ranks_of(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]]), torch.tensor([2, 1])).tolist()
    [1, 1]
    """
    own = logits.gather(1, labels[:, None])
    position = torch.arange(logits.shape[1], device=logits.device)
    ahead = ~(logits <= own) | ((logits == own) & (position < labels[:, None]))
    return ahead.sum(dim=1)


def whole_box(box: np.ndarray) -> tuple[int, ...] | None:
    """Return a detector's box, float (4,), with every coordinate truncated, as true boxes are at the input's size; None for
    NaN, which stands for no box.

    >>> whole_box(np.array([0.9, 2.0, 7.5, 8.0]))
    (0, 2, 7, 8)
    """
    return None if np.isnan(box).any() else tuple(box.astype(np.int64).tolist())


def predict(
    mapper: Mapper,
    batches: Iterable[Batch],
    device: torch.device,
    amp: str,
    bad_images: list[str],
    refiner: Refiner | None = None,
    preprocessing: Preprocessing = IMAGENET,
) -> Iterator[Prediction]:
    """Yield every image's prediction, in the order of the batches, from one forward pass per batch.

    Messages about images that could not be read are added to `bad_images`. `amp` is off, bf16 or fp16. `preprocessing`: that
    of the batches, which is undone for the refiner.
    """
    mapper.eval()
    with torch.inference_mode():
        for batch in batches:
            bad_images.extend(batch.bad)
            if not batch.image_ids:
                continue
            moved = to_device(batch, device)
            images, labels = moved.images, moved.labels
            with autocast(device, amp):
                outputs = mapper(images, labels)
            height, width = batch.size
            size = (width, height)
            if "boxes" in outputs:
                for image_id, box in zip(batch.image_ids, outputs["boxes"].cpu().numpy(), strict=True):
                    yield Prediction(image_id, None, size, None, box=whole_box(box))
                continue
            raw_maps = mapper.raw_maps(outputs, labels).cpu().numpy()
            ranks: list[int | None] = [None] * len(labels)
            if "logits" in outputs:
                ranks = ranks_of(outputs["logits"].float(), labels).cpu().tolist()
            seen = [None] * len(ranks) if refiner is None else map(preprocessing.to_rgb, batch.images.numpy())
            for image_id, raw_map, rank, image in zip(batch.image_ids, raw_maps, ranks, seen, strict=True):
                yield Prediction(image_id, raw_map, size, rank, image, refiner)
