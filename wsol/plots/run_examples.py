"""Fig. A10: pages of images with the score maps of the runs of every level, made from the runs' checkpoints.

In: the runs of one data set (shown_runs.py). Out: a page for each method; maps of the images on it alone are made.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from wsol.core.errors import InputError
from wsol.data.levels import LevelSplit
from wsol.data.metadata import dataset_folder, read_id_list
from wsol.metrics.images_file import images_name, read_images
from wsol.metrics.split_evaluator import LOC_IOU
from wsol.plots.examples_page import MapColumn, Truth, examples_figure, read_truth
from wsol.plots.shown_runs import ShownRun, ShownRuns
from wsol.runs.final_evaluation import analysis_threshold, predict_split, stop_at_bad_images
from wsol.runs.predictor import restore

CHOICES = ("seed", "gain")
CANDIDATES = 10  # times the images of a page: so many are mapped to find the largest gains
ANY_CONTOUR = "The predicted box is, of all contours' boxes, the one that fits the true box best, as MaxBoxAccV2 counts it."
PAGE_CELL, PAGE_POINTS = 1.05, 9  # inches, of text: five columns fit the width of a page
NOTE_LETTERS = (30, 10)  # that fit a line of notes: at least, and more for each column
Maps = Mapping[str, np.ndarray]  # image id to score map


@dataclass(frozen=True)
class LevelMaps:
    """The maps of one level's run, and how its box is found on them."""

    maps: Maps
    threshold: float | None
    multi_contour: bool

    @property
    def column(self) -> MapColumn:
        """The column of a page."""
        return MapColumn(self.maps.__getitem__, self.threshold, self.multi_contour)


def map_images(run: ShownRun, split: str, image_ids: Sequence[str], device: torch.device) -> LevelMaps:
    """Return a run's score maps of some images of a split, from the checkpoint that it was evaluated with.

    Raises:
        InputError: the checkpoint or an image is missing or cannot be read.
    """
    config = run.entry.config
    predictor = restore(run.entry.checkpoint, map_level=config.get("map_level")).to(device)
    whole = predictor.load_splits((split,)).splits[split]
    position = {image_id: i for i, image_id in enumerate(whole.image_ids)}
    images = LevelSplit(list(image_ids), whole.labels[[position[image_id] for image_id in image_ids]], subset=True)
    bad_images: list[str] = []
    found = {one.image_id: one.score_map() for one in predict_split(predictor, images, device, 0, bad_images)}
    stop_at_bad_images(bad_images)
    thresholds = predictor.thresholds  # of the level that a run of several reports
    if thresholds is None and "val" in run.entry.results.splits:
        thresholds = run.entry.results.split("val").best_threshold
    return LevelMaps(found, analysis_threshold(thresholds), bool(config["multi_contour_eval"]))


def runs_by_level(shown: ShownRuns, name: str) -> dict[str, ShownRun]:
    """Return level to the run with the lowest seed of a line, finest first."""
    found: dict[str, ShownRun] = {}
    for run in sorted(shown.named(name).runs, key=lambda run: (shown.levels.index(run.level), run.seed)):
        found.setdefault(run.level, run)
    return found


def common_images(runs: Mapping[str, ShownRun], split: str) -> list[str]:
    """Return the images that all runs scored, in the order of the first."""
    first, *others = (read_id_list(run.entry.folder / f"{split}_image_ids.txt") for run in runs.values())
    shared = set(first).intersection(*others)
    return [image_id for image_id in first if image_id in shared]


def reached(run: ShownRun, split: str) -> dict[str, int]:
    """Return image id to the number of IoU thresholds that its box reaches at val's score-map threshold for IoU 50.

    Raises:
        InputError: the run has no boxes, or val chose no threshold.
    """
    file = read_images(run.entry.folder / images_name(split))
    threshold = (run.entry.results.split("val").best_threshold or {}).get(str(LOC_IOU))
    if threshold is None:
        raise InputError(f"{run.entry.folder}: no score-map threshold of val for IoU {LOC_IOU}; expected one for the gains")
    column = round(threshold / file.settings["cam_curve_interval"])
    scored = (one for one in file.images.values() if not one.skipped)
    return {one.image_id: int(np.unpackbits(one.counts_of("boxes"), axis=1)[:, column].sum()) for one in scored}


def _by_gain(maps: Sequence[LevelMaps], truth: Truth, image_ids: Sequence[str], count: int) -> list[str]:
    """Return the images whose IoU rises most from the first maps, of the finest level, to those of another level."""

    def gain(image_id: str) -> float:
        ious = []
        for level in maps:
            score_map = level.maps[image_id]
            true_boxes = truth.scaled(image_id, (score_map.shape[1], score_map.shape[0]))
            ious.append(level.column.box(score_map, true_boxes)[1] or 0.0)
        return max(ious[1:]) - ious[0]

    return sorted(image_ids, key=gain, reverse=True)[:count]


def example_page(
    shown: ShownRuns, name: str, count: int, choose: str, seed: int, device: torch.device
) -> tuple[Figure, list[str]]:
    """Return a page of a line's examples, a column for each level, and its images.

    `choose`: seed, `count` images at random; gain, those whose IoU rises most from the finest level to another, of the
    CANDIDATES x `count` images that reach the most IoU thresholds more there (ties at random), which alone are mapped.

    Raises:
        InputError: one level only for gains, no boxes, a checkpoint or image that is missing.
    """
    split, runs = shown.split, runs_by_level(shown, name)
    images = common_images(runs, split)
    drawn = [images[i] for i in np.random.default_rng(seed).permutation(len(images))]
    if choose == "seed":
        candidates = drawn[:count]
    else:
        if len(runs) < 2:
            raise InputError(f"{name}: runs at {', '.join(runs)} alone; expected two or more levels for the gains")
        first, *others = (reached(run, split) for run in runs.values())
        rise = {image_id: max(other[image_id] for other in others) - first[image_id] for image_id in drawn}
        candidates = sorted(drawn, key=lambda image_id: -rise[image_id])[: CANDIDATES * count]
    maps = {level: map_images(run, split, candidates, device) for level, run in runs.items()}
    config = next(iter(runs.values())).entry.config
    chosen = candidates
    if choose == "gain":
        truth = read_truth(dataset_folder(config["metadata_root"], config["dataset_name"]), split)
        chosen = _by_gain(list(maps.values()), truth, candidates, count)
    how = f"drawn with seed {seed}" if choose == "seed" else "largest gains in IoU over the finest level"
    columns = {level: each.column for level, each in maps.items()}
    with mpl.rc_context({"font.size": PAGE_POINTS}):
        said = [*([ANY_CONTOUR] if config["multi_contour_eval"] else []), *shown.named(name).notes()]
        letters = NOTE_LETTERS[0] + NOTE_LETTERS[1] * (1 + len(columns))
        notes = [line for one in said for line in textwrap.wrap(one, letters)]
        title = "\n".join([f"{shown.dataset}, {split}, {name}: {how}", *notes])
        figure = examples_figure(config, split, chosen, columns, title, PAGE_CELL)
    return figure, chosen
