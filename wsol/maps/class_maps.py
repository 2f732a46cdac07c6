"""Maps of photos whose class may not be known: of the given class, of the predicted one, and at coarser levels.

In: a mapper, batches of photos with or without labels. Out: per photo the class probabilities and raw maps.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from wsol.data.batches import Batch
from wsol.data.preprocessing import Preprocessing
from wsol.maps.cam_agg import AggregatedMaps
from wsol.maps.mapper import Mapper
from wsol.maps.prediction import whole_box
from wsol.methods.method import Method, Outputs
from wsol.networks.device import autocast, to_device

UNKNOWN = -1  # the label of a photo whose class is to be predicted
GIVEN, PREDICTED = WAYS = ("given", "predicted")  # which class a map is of; given: predicted where the label is UNKNOWN


class ClassMap(NamedTuple):
    """A raw map (h, w), any float, of a class, and those of its ancestors at coarser levels."""

    label: int
    raw_map: np.ndarray
    coarser: list[np.ndarray]


@dataclass
class PhotoMaps:
    """What a network gives for one photo.

    size: the input size (w, h) in pixels.
    photo_size: (w, h) of the photo.
    probabilities: float32 (num_classes,), the softmax of the logits; None from a method that tells no classes apart.
    maps: way (GIVEN, PREDICTED) to map; a method that tells no classes apart has the same for both, a detector none.
    box: a detector's box (x0, y0, x1, y1) in whole pixels of the input; None: it found nothing, or there are maps.
    image: uint8 RGB (H, W, 3) as the network sees it before normalisation, where a refiner needs it.
    """

    image_id: str
    size: tuple[int, int]
    photo_size: tuple[int, int]
    probabilities: np.ndarray | None
    maps: dict[str, ClassMap]
    box: tuple[int, ...] | None = None
    image: np.ndarray | None = None


@dataclass
class ClassMapper:
    """A mapper, and the coarser levels at which it maps too.

    ancestors: of each level int64 (num_classes,), the label of each class's ancestor there.
    preprocessing: that of the photos, where the images are kept for a refiner; None: they are not.
    """

    mapper: Mapper
    coarser: Sequence[AggregatedMaps] = ()
    preprocessing: Preprocessing | None = None

    @classmethod
    def of(
        cls, mapper: Mapper, model: Method, ancestors: Sequence[np.ndarray], preprocessing: Preprocessing | None = None
    ) -> "ClassMapper":
        """Return the mapper with CAM-Agg's maps at the levels of `ancestors`; an extractor's outputs have none."""
        own = isinstance(mapper, Method | AggregatedMaps)
        return cls(mapper, [AggregatedMaps(model, labels) for labels in ancestors] if own else [], preprocessing)

    def photos(
        self, batches: Iterable[Batch], device: torch.device, amp: str, bad: list[str], ways: Sequence[str] = (GIVEN,)
    ) -> Iterator[PhotoMaps]:
        """Yield every photo's maps, in the order of the batches; messages about unreadable photos are added to `bad`.

        `ways`: whose maps are wanted. One forward pass per batch, and another where a label differs from the prediction and
        the method's outputs depend on it.
        """
        self.mapper.eval()
        for part in self.coarser:
            part.to(device)
        with torch.inference_mode():
            for batch in batches:
                bad.extend(batch.bad)
                if batch.image_ids:
                    yield from self._batch(to_device(batch, device), device, amp, ways)

    def _batch(self, batch: Batch, device: torch.device, amp: str, ways: Sequence[str]) -> Iterator[PhotoMaps]:
        images, given = batch.images, batch.labels
        with autocast(device, amp):
            outputs = self.mapper(images)
        size = (images.shape[3], images.shape[2])
        if "boxes" in outputs:
            boxes = outputs["boxes"].cpu().numpy()
            for image_id, photo_size, box in zip(batch.image_ids, batch.sizes, boxes, strict=True):
                yield PhotoMaps(image_id, size, photo_size, None, {}, whole_box(box))
            return
        classifies = "logits" in outputs
        predicted = outputs["logits"].argmax(dim=1) if classifies else torch.zeros_like(given)
        probabilities = outputs["logits"].float().softmax(dim=1).cpu().numpy() if classifies else [None] * len(given)
        maps = {}
        for way in ways:
            labels = predicted if way == PREDICTED or not classifies else torch.where(given == UNKNOWN, predicted, given)
            own = outputs
            if not torch.equal(labels, predicted) and getattr(self.mapper, "forward_uses_labels", True):
                with autocast(device, amp):
                    own = self.mapper(images, labels)
            maps[way] = self._maps(own, labels)
        for number, image_id in enumerate(batch.image_ids):
            own_maps = {way: found[number] for way, found in maps.items()}
            image = self.preprocessing.to_rgb(images[number].cpu().numpy()) if self.preprocessing else None
            yield PhotoMaps(image_id, size, batch.sizes[number], probabilities[number], own_maps, image=image)

    def _maps(self, outputs: Outputs, labels: torch.Tensor) -> list[ClassMap]:
        raw = self.mapper.raw_maps(outputs, labels).cpu().numpy()
        coarser = [part.raw_maps(outputs, labels).cpu().numpy() for part in self.coarser]
        return [
            ClassMap(label, raw[number], [maps[number] for maps in coarser]) for number, label in enumerate(labels.tolist())
        ]
