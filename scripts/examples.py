"""A page of images against runs: each run's score map, the true boxes and the predicted one with its IoU."""

from collections.abc import Mapping, Sequence
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
from wsol.maps.score_maps import MAPS_OF_A_RUN, find_score_maps, read_score_map
from wsol.metrics.boxes import boxes_at, calculate_multiple_iou, resize_bbox
from wsol.plots.drawing import MAP_COLORS, PREDICTED_BOX, TRUE_BOX, draw_boxes, save_figure, show_photo, wrapped
from wsol.runs.results import read_run

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


def val_threshold(run: Path) -> float | None:
    """Return the score-map threshold that val chose for IoU 50 (the first IoU threshold if 50 is not among them)."""
    thresholds = read_run(run).split("val").best_threshold
    return thresholds.get("50", next(iter(thresholds.values()))) if thresholds else None


def spaced(image_ids: Sequence[str], count: int) -> list[str]:
    """Return `count` evenly spaced ids."""
    return list(image_ids[:: max(1, len(image_ids) // count)][:count])


def draw_map(
    axes: Axes, photo: Image.Image, score_map: np.ndarray, threshold: float | None, truth: Truth, image_id: str
) -> None:
    """Draw a photo under its score map (H, W), with both kinds of boxes and, under it, the IoU, measured on the map as the
    evaluation does."""
    show_photo(axes, photo)
    width, height = photo.size
    axes.imshow(
        score_map, cmap=MAP_COLORS, alpha=0.5, vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="bilinear"
    )
    axes.set_aspect("equal")
    draw_boxes(axes, truth.scaled(image_id, photo.size), photo.size, TRUE_BOX)
    if threshold is None:
        return
    box = boxes_at(score_map, threshold, False)
    map_height, map_width = score_map.shape
    scale = np.array([width / map_width, height / map_height] * 2)
    draw_boxes(axes, box * scale, photo.size, PREDICTED_BOX)
    if true := truth.scaled(image_id, (map_width, map_height)):
        axes.set_xlabel(f"IoU {calculate_multiple_iou(box, np.array(true)).max():.2f}", fontsize="small", labelpad=2)


def draw_examples(config: Mapping, split: str, image_ids: Sequence[str], runs: Mapping[str, Path], path: Path) -> None:
    """Draw a page (PNG or JPEG): a row per image, a column per run. `runs`: name to folder, with results.json and maps.

    The predicted box is the largest contour's at the run's `val_threshold`; without a threshold there is no box.
    """
    truth = read_truth(Path(config["metadata_root"]) / config["dataset_name"], split)
    thresholds = {name: val_threshold(run) for name, run in runs.items()}
    maps = {name: find_score_maps(run / MAPS_OF_A_RUN, image_ids) for name, run in runs.items()}
    photos = [load_image(Path(config["data_root"]) / config["dataset_name"] / image_id) for image_id in image_ids]
    heights = [min(1.4, photo.height / photo.width) for photo in photos]
    columns = len(runs) + 1
    size = (CELL * columns + 1.4, (CELL + 0.1) * sum(heights) + 0.25 * len(photos) + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(image_ids), columns, squeeze=False, height_ratios=heights)
    for line, image_id, photo in zip(grid, image_ids, photos, strict=True):
        show_photo(line[0], photo)
        draw_boxes(line[0], truth.scaled(image_id, photo.size), photo.size, TRUE_BOX)
        text = "\n".join(wrapped(each, 24) for each in (image_id, truth.classes.get(image_id, "")) if each)
        style = {"rotation": 0, "ha": "right", "va": "center", "fontsize": "x-small", "parse_math": False}
        line[0].set_ylabel(text, **style)
        for axes, name in zip(line[1:], runs, strict=True):
            score_map, _ = read_score_map(maps[name].paths[image_id])
            draw_map(axes, photo, score_map, thresholds[name], truth, image_id)
    for axes, name in zip(grid[0], ["photo", *runs], strict=True):
        axes.set_title(wrapped(name, 24), fontsize="small", parse_math=False)
    colors = ScalarMappable(cmap=MAP_COLORS)
    colors.set_clim(0, 1)
    bar = figure.colorbar(colors, ax=grid, location="bottom", label="score", shrink=0.5, aspect=40, pad=0.01)
    bar.ax.tick_params(labelsize="x-small")
    drawn = any(threshold is not None for threshold in thresholds.values())
    styles = [style for style, there in ((TRUE_BOX, truth.boxes), (PREDICTED_BOX, drawn)) if there]
    figure.suptitle(f"{config['dataset_name']} {split}", fontsize="medium", parse_math=False)
    if styles:
        figure.legend(handles=[style.handle() for style in styles], loc="outside lower center", ncols=2, fontsize="small")
    save_figure(figure, path)
