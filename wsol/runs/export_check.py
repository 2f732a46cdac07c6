"""How far an exported model is from the one that it was made from: logits, raw maps, and the boxes that follow.

In: a function that runs the exported model, the mapper, 8-bit images. Out: `Deviations`, and whether they are tolerated.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from wsol.core.errors import InputError
from wsol.data.images import load_image
from wsol.data.preprocessing import Preprocessing, resize
from wsol.maps.class_maps import UNKNOWN
from wsol.maps.mapper import Mapper
from wsol.maps.normalize import normalize_raw_map
from wsol.metrics.boxes import boxes_at, calculate_multiple_iou
from wsol.runs.predictor import Predictor

LOGITS_TOLERANCE = 1e-4
MAPS_TOLERANCE = 1e-3
LEAST_BOX_IOU = 0.95  # on average
FLOOR = 1e-3  # a map's range counts as at least this part of its largest value, of which float32 rounds
BATCH_SIZES = (1, 3)
RANDOM = PHOTOS = 4
COARSE = 8  # cells per side of smooth random images

# Images uint8 (B, 3, side, side) and labels int64 (B,) to arrays by the names of the outputs.
Run = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


class CheckImages(NamedTuple):
    """Images to compare on, uint8 RGB (n, 3, side, side) each: random ones, and photos."""

    random: np.ndarray
    photos: np.ndarray


@dataclass
class Deviations:
    """The largest deviations over all images.

    logits: of a logit, over the image's largest absolute logit or 1, whichever is larger.
    maps: of a raw map's value, over the map's range (or FLOOR times its largest absolute value, if that is larger).
    boxes, equal_boxes: how many boxes were compared, and how many are the same to the pixel.
    box_iou: the mean IoU of the boxes with the model's; 1 if there are none.
    """

    logits: float = 0.0
    maps: float = 0.0
    boxes: int = 0
    equal_boxes: int = 0
    box_iou: float = 1.0

    def exceeded(self) -> str:
        """Return what is not tolerated, as part of a message; "" if all is."""
        limits = (
            ("logits", self.logits, self.logits <= LOGITS_TOLERANCE, f"at most {LOGITS_TOLERANCE:g}"),
            ("raw maps", self.maps, self.maps <= MAPS_TOLERANCE, f"at most {MAPS_TOLERANCE:g} of their range"),
            ("mean IoU of boxes", self.box_iou, self.box_iou >= LEAST_BOX_IOU, f"at least {LEAST_BOX_IOU:g}"),
        )
        return "; ".join(f"{name} {found:.2g}, expected {limit}" for name, found, holds, limit in limits if not holds)

    def __str__(self) -> str:
        """Return the figures, with what is tolerated."""
        boxes = f"{self.equal_boxes} of {self.boxes} boxes equal" if self.boxes else "no threshold to draw boxes at"
        return (
            f"logits within {self.logits:.1e} (tolerance {LOGITS_TOLERANCE:g}), raw maps within {self.maps:.1e} of their "
            f"range (tolerance {MAPS_TOLERANCE:g}), {boxes}"
        )


def check_images(predictor: Predictor, side: int, photos: Sequence[str | os.PathLike] | None) -> CheckImages:
    """Return the images to compare a model on; photos from these files, or (None) from val, if the run's data set is there.

    Raises:
        InputError: a given file is not a readable image.
    """
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8) for cells in (side, COARSE) for _ in range(RANDOM // 2)]
    opened = [Image.fromarray(each) for each in noise]
    found = [load_image(path) for path in photos] if photos is not None else _photos_of_val(predictor)
    return CheckImages(_as_input(opened, side), _as_input(found, side))


def _photos_of_val(predictor: Predictor) -> list[Image.Image]:
    """Return up to PHOTOS images of the run's val split; none where it is not found."""
    config = predictor.config
    try:
        ids = predictor.load_splits(("val",)).splits["val"].image_ids
    except InputError:
        return []
    opened = []
    for image_id in ids[:: max(1, len(ids) // PHOTOS)][:PHOTOS]:
        try:
            opened.append(load_image(Path(config["data_root"]) / config["dataset_name"] / image_id))
        except InputError:
            continue
    return opened


def _as_input(images: Sequence[Image.Image], side: int) -> np.ndarray:
    """Return RGB images as uint8 (n, 3, side, side)."""
    resized = [np.asarray(resize(image, side)).transpose(2, 0, 1) for image in images]
    return np.array(resized, dtype=np.uint8).reshape(-1, 3, side, side)


def compare(
    run: Run, mapper: Mapper, preprocessing: Preprocessing, images: np.ndarray, classes: int, threshold: float | None
) -> Deviations:
    """Return how far an exported model is from its mapper, on images uint8 RGB (n, 3, side, side).

    Every image goes through it with and without a label, at each of BATCH_SIZES. `classes`: how many the model has.
    `threshold`: of the boxes; None: none are compared.
    """
    found = Deviations()
    ious: list[float] = []
    side = images.shape[2]
    for turn, size in enumerate(BATCH_SIZES):
        for start in range(0, len(images), size):
            part = images[start : start + size]
            place = np.arange(start, start + len(part))
            labels = np.where((place + turn) % 2, UNKNOWN, place % classes)
            outputs = run(part, labels)
            shown = outputs["label"]
            logits, maps = _of_mapper(mapper, preprocessing, part, torch.from_numpy(shown))
            if logits is not None:
                found.logits = _larger(found.logits, _logits_deviation(outputs["logits"], logits, shown, labels))
            found.maps = _larger(found.maps, _maps_deviation(outputs["raw_maps"], maps))
            if threshold is not None:
                pairs = zip(outputs["raw_maps"], maps, strict=True)
                ious += [_box_iou(raw_map, expected, threshold, side) for raw_map, expected in pairs]
    found.boxes, found.equal_boxes = len(ious), sum(iou == 1 for iou in ious)
    found.box_iou = float(np.mean(ious)) if ious else 1.0
    return found


def _of_mapper(
    mapper: Mapper, preprocessing: Preprocessing, images: np.ndarray, labels: torch.Tensor
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the model's own logits, if it has any, and raw maps."""
    normalized = torch.stack([preprocessing.normalize(Image.fromarray(each.transpose(1, 2, 0))) for each in images])
    with torch.inference_mode():
        outputs = mapper(normalized, labels)
        maps = mapper.raw_maps(outputs, labels).numpy()
    return outputs["logits"].numpy() if "logits" in outputs else None, maps


def _larger(one: float, other: float) -> float:
    """Return the larger number, NaN if one is."""
    return float(np.maximum(one, other))


def _logits_deviation(logits: np.ndarray, expected: np.ndarray, shown: np.ndarray, labels: np.ndarray) -> float:
    """Return the largest deviation of logits (B, num_classes); infinite if the class shown is not the label that was given.

    Where none was given, the class shown has the model's highest logit too, up to twice the deviation.
    """
    given = labels != UNKNOWN
    if not np.array_equal(shown[given], labels[given]):
        return np.inf
    scale = np.maximum(np.abs(expected).max(axis=1), 1)
    own = np.take_along_axis(expected, shown[:, None], axis=1)[:, 0]
    behind = np.where(given, 0, expected.max(axis=1) - own) / 2
    return float((np.maximum(np.abs(logits - expected).max(axis=1), behind) / scale).max())


def _maps_deviation(maps: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest deviation of raw maps (B, h, w), over each one's range."""
    expected = expected.reshape(len(expected), -1)
    deviation = np.abs(maps.reshape(expected.shape) - expected).max(axis=1)
    scale = np.maximum(np.ptp(expected, axis=1), FLOOR * np.abs(expected).max(axis=1))
    return float((deviation / np.maximum(scale, np.finfo(np.float32).tiny)).max())


def _box_iou(raw_map: np.ndarray, expected: np.ndarray, threshold: float, side: int) -> float:
    """Return the IoU of the boxes that two raw maps (h, w) of an image give."""
    maps = (normalize_raw_map(each, (side, side)) for each in (raw_map, expected))
    first, second = (boxes_at(score_map, threshold, multi_contour=False) for score_map in maps)
    return float(calculate_multiple_iou(first, second)[0, 0])
