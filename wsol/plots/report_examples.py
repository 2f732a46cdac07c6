"""The example maps of a report: photos under the score maps of a sweep's runs, as small pictures with their boxes.

In: the runs of one data set (shown_runs.py). Out: `Example`s, made from the runs' checkpoints.
"""

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from wsol.core.errors import InputError
from wsol.data.images import load_image
from wsol.data.levels import labels_by_level, read_class_names
from wsol.data.metadata import dataset_folder
from wsol.maps.overlay import overlay
from wsol.metrics.images_file import images_name, read_images
from wsol.metrics.split_evaluator import LOC_IOU
from wsol.plots.examples_page import Truth, read_truth
from wsol.plots.jpeg import jpeg_bytes
from wsol.plots.run_examples import LevelMaps, common_images, map_images, runs_by_level
from wsol.plots.shown_runs import ShownRun, ShownRuns

SIDE = 224  # pixels of a picture's longer side, unless the page would be too large
RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"
Rectangle = tuple[float, float, float, float]  # x, y, width, height in pixels of the picture


@dataclass(frozen=True)
class Example:
    """A map over its photo, as JPEG; `size` (width, height) is that of the picture in which the boxes are stated.

    number: the image's place among those drawn.
    class_name, finest_class: the true class at the run's level, and at the finest.
    box: whether the box is right at IoU 50, at val's score-map threshold. label: whether the top class is.
    """

    number: int
    method: str
    level: str
    image_id: str
    class_name: str
    finest_class: str
    box: str
    label: str
    iou: float | None
    jpeg: bytes
    size: tuple[int, int]
    true_boxes: Sequence[Rectangle]
    found_boxes: Sequence[Rectangle]

    @property
    def source(self) -> str:
        """The picture as a data address."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()

    def smaller(self, side: int) -> "Example":
        """Return this example with a picture of at most `side` pixels; the boxes stay, in the coordinates of `size`."""
        picture = Image.open(io.BytesIO(self.jpeg))
        if max(picture.size) <= side:
            return self
        picture.thumbnail((side, side))
        return replace(self, jpeg=jpeg_bytes(picture))


def _rectangles(boxes: Iterable[Sequence[float]], size: tuple[int, int]) -> list[Rectangle]:
    """Return boxes (x0, y0, x1, y1) cut to a picture, as x, y, width and height, rounded to tenths."""
    limits = (*size, *size)
    cut = [[min(max(float(edge), 0.0), limit) for edge, limit in zip(box, limits, strict=True)] for box in boxes]
    return [(round(x0, 1), round(y0, 1), round(x1 - x0, 1), round(y1 - y0, 1)) for x0, y0, x1, y1 in cut]


def _class_names(run: ShownRun, folder: Path, split: str) -> dict[str, str]:
    """Return image id to the name of its class at a run's level; empty for levels that the metadata do not have."""
    labels = labels_by_level(folder, split).get(run.level, {})
    names = read_class_names(folder, run.level) if labels else {}
    return {image_id: names.get(label, str(label)) for image_id, label in labels.items()}


def _example(number: int, image_id: str, run: ShownRun, maps: LevelMaps, truth: Truth, photo: Image.Image) -> Example:
    """Return an image's example, its class at the run's level and the rank of it still unknown."""
    small = photo.copy()
    small.thumbnail((SIDE, SIDE))
    score_map = maps.maps[image_id]
    height, width = score_map.shape
    shown = np.clip(cv2.resize(score_map, small.size, interpolation=cv2.INTER_LINEAR), 0, 1)
    iou, found = None, np.empty((0, 4))
    if maps.threshold is not None:
        box, iou = maps.column.box(score_map, truth.scaled(image_id, (width, height)))
        found = box[None] * np.array([small.width / width, small.height / height] * 2)
    return Example(
        number=number,
        method=run.name,
        level=run.level,
        image_id=image_id,
        class_name="",
        finest_class=truth.classes.get(image_id, ""),
        box=UNKNOWN if iou is None else RIGHT if iou >= LOC_IOU / 100 else WRONG,
        label=UNKNOWN,
        iou=iou,
        jpeg=jpeg_bytes(Image.fromarray(overlay(small, shown))),
        size=small.size,
        true_boxes=_rectangles(truth.scaled(image_id, small.size), small.size),
        found_boxes=_rectangles(found, small.size),
    )


def run_examples(run: ShownRun, split: str, image_ids: Sequence[str], device: torch.device) -> Iterator[Example]:
    """Yield a run's examples of some images of a split.

    Raises:
        InputError: the checkpoint or an image is missing or cannot be read.
    """
    config = run.entry.config
    folder = dataset_folder(config["metadata_root"], config["dataset_name"])
    truth, names = read_truth(folder, split), _class_names(run, folder, split)
    ranks = {one.image_id: one.rank for one in read_images(run.entry.folder / images_name(split)).images.values()}
    maps = map_images(run, split, image_ids, device)
    for number, image_id in enumerate(image_ids):
        photo = load_image(Path(config["data_root"]) / config["dataset_name"] / image_id)
        rank = ranks.get(image_id)
        label = UNKNOWN if rank is None else RIGHT if rank == 0 else WRONG
        example = _example(number, image_id, run, maps, truth, photo)
        yield replace(example, class_name=names.get(image_id, example.finest_class), label=label)


def all_examples(shown: ShownRuns, count: int, seed: int, device: torch.device) -> tuple[list[Example], list[str]]:
    """Return the examples of every method and level, each from its run with the lowest seed, and why runs have none.

    The `count` images are drawn with `seed` from those that all runs of a method scored.
    """
    examples, problems = list[Example](), list[str]()
    for name in dict.fromkeys(run.name for run in sorted(shown.on_all_images.runs, key=lambda run: run.style)):
        runs = runs_by_level(shown.on_all_images, name)
        images = common_images(runs, shown.split)
        drawn = [images[i] for i in np.random.default_rng(seed).permutation(len(images))[:count]]
        for run in runs.values():
            try:
                examples += run_examples(run, shown.split, drawn, device)
            except InputError as error:
                problems.append(f"{run.entry.name}: no example maps: {error.on_command_line()}")
    return examples, problems
