"""A page of images against models: each one's score map, the true boxes and the predicted one with its IoU.

In: photos and metadata of a data set, and each column's score maps. Out: a figure with a row per image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from wsol.data.images import load_image
from wsol.data.levels import labels_by_level, read_class_names
from wsol.data.metadata import configure_metadata, has_boxes
from wsol.data.truth import BoxTruth
from wsol.metrics.boxes import boxes_at, calculate_multiple_iou, resize_bbox
from wsol.plots.drawing import MAP_COLORS, PREDICTED_BOX, TRUE_BOX, draw_boxes, show_photo, wrapped

CELL = 2.1  # inches, the side of a photo's place


@dataclass
class Truth:
    """What the metadata says of a split's images: their boxes, None where it has none, and their finest classes."""

    boxes: BoxTruth | None
    classes: dict[str, str]

    def scaled(self, image_id: str, size: tuple[int, int]) -> list[tuple[int, ...]]:
        """Return an image's boxes as they are at another size (width, height); none where it has none."""
        if self.boxes is None:
            return []
        return [resize_bbox(box, self.boxes.sizes[image_id], size) for box in self.boxes.boxes.get(image_id, ())]


def read_truth(dataset_folder: Path, split: str) -> Truth:
    """Return what a split's metadata has of boxes and classes; either may be absent."""
    metadata = configure_metadata(dataset_folder / split)
    level, labels = next(iter(labels_by_level(dataset_folder, split).items()), ("", {}))
    names = read_class_names(dataset_folder, level) if level else {}
    classes = {image_id: names.get(label, str(label)) for image_id, label in labels.items()}
    return Truth(BoxTruth.read(metadata) if has_boxes(metadata) else None, classes)


@dataclass(frozen=True)
class MapColumn:
    """A column of a page: an image's score map (H, W) in [0, 1], and the score-map threshold of its box (None: no box).

    multi_contour: of the boxes of all contours, the one with the best IoU is drawn, as MaxBoxAccV2 counts it; else that of
        the largest contour.
    """

    score_map: Callable[[str], np.ndarray]
    threshold: float | None
    multi_contour: bool = False

    def box(self, score_map: np.ndarray, true_boxes: Sequence[Sequence[float]]) -> tuple[np.ndarray, float | None]:
        """Return the predicted box (4,) on a score map, and its best IoU with the true boxes at the map's size, None without
        any. There has to be a threshold."""
        if self.threshold is None:
            raise ValueError("no threshold")
        boxes = boxes_at(score_map, self.threshold, self.multi_contour)
        if not len(true_boxes):
            return boxes[0], None
        ious = calculate_multiple_iou(boxes, np.array(true_boxes)).max(axis=1)
        return boxes[ious.argmax()], float(ious.max())


def draw_map(axes: Axes, photo: Image.Image, column: MapColumn, truth: Truth, image_id: str) -> None:
    """Draw a photo under its score map, with both kinds of boxes and, under it, the IoU, measured on the map as the
    evaluation does."""
    score_map = column.score_map(image_id)
    show_photo(axes, photo)
    width, height = photo.size
    axes.imshow(
        score_map, cmap=MAP_COLORS, alpha=0.5, vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="bilinear"
    )
    axes.set_aspect("equal")
    draw_boxes(axes, truth.scaled(image_id, photo.size), photo.size, TRUE_BOX)
    if column.threshold is None:
        return
    map_height, map_width = score_map.shape
    box, iou = column.box(score_map, truth.scaled(image_id, (map_width, map_height)))
    scale = np.array([width / map_width, height / map_height] * 2)
    draw_boxes(axes, [box * scale], photo.size, PREDICTED_BOX)
    if iou is not None:
        axes.set_xlabel(f"IoU {iou:.2f}", fontsize="small", labelpad=2)


def examples_figure(
    config: Mapping,
    split: str,
    image_ids: Sequence[str],
    columns: Mapping[str, MapColumn],
    title: str = "",
    cell: float = CELL,
) -> Figure:
    """Return a page: a row per image with its id and class, a column for the photo and one for each of `columns`, by name.

    `config`: options with data_root, metadata_root and dataset_name. `cell`: the side of a photo's place in inches.
    """
    truth = read_truth(Path(config["metadata_root"]) / config["dataset_name"], split)
    photos = [load_image(Path(config["data_root"]) / config["dataset_name"] / image_id) for image_id in image_ids]
    heights = [min(1.4, photo.height / photo.width) for photo in photos]
    count = len(columns) + 1
    size = (cell * count + 1.4, (cell + 0.1) * sum(heights) + 0.25 * len(photos) + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(image_ids), count, squeeze=False, height_ratios=heights)
    for line, image_id, photo in zip(grid, image_ids, photos, strict=True):
        show_photo(line[0], photo)
        draw_boxes(line[0], truth.scaled(image_id, photo.size), photo.size, TRUE_BOX)
        text = "\n".join(wrapped(each, 24) for each in (image_id, truth.classes.get(image_id, "")) if each)
        style = {"rotation": 0, "ha": "right", "va": "center", "fontsize": "x-small", "parse_math": False}
        line[0].set_ylabel(text, **style)
        for axes, column in zip(line[1:], columns.values(), strict=True):
            draw_map(axes, photo, column, truth, image_id)
    for axes, name in zip(grid[0], ["photo", *columns], strict=True):
        axes.set_title(wrapped(name, 24), fontsize="small", parse_math=False)
    colors = ScalarMappable(cmap=MAP_COLORS)
    colors.set_clim(0, 1)
    bar = figure.colorbar(colors, ax=grid, location="bottom", label="score", shrink=0.5, aspect=40, pad=0.01)
    bar.ax.tick_params(labelsize="x-small")
    drawn = any(column.threshold is not None for column in columns.values())
    styles = [style for style, there in ((TRUE_BOX, truth.boxes), (PREDICTED_BOX, drawn)) if there]
    figure.suptitle(title or f"{config['dataset_name']} {split}", fontsize="medium", parse_math=False)
    if styles:
        figure.legend(handles=[style.handle() for style in styles], loc="outside lower center", ncols=2, fontsize="small")
    return figure
