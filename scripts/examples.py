"""A page of images against runs, from the score maps that they saved (`--save_scoremaps`)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from wsol.maps.score_maps import MAPS_OF_A_RUN, ScoreMapFiles, find_score_maps, read_score_map
from wsol.plots.drawing import save_figure
from wsol.plots.examples_page import MapColumn, examples_figure
from wsol.runs.results import read_run


def val_threshold(run: Path) -> float | None:
    """Return the score-map threshold that val chose for IoU 50 (the first IoU threshold if 50 is not among them)."""
    thresholds = read_run(run).split("val").best_threshold
    return thresholds.get("50", next(iter(thresholds.values()))) if thresholds else None


def read_map(maps: ScoreMapFiles, image_id: str) -> np.ndarray:
    """Return an image's score map, float (H, W)."""
    return read_score_map(maps.paths[image_id])[0]


def spaced(image_ids: Sequence[str], count: int) -> list[str]:
    """Return `count` evenly spaced ids."""
    return list(image_ids[:: max(1, len(image_ids) // count)][:count])


def draw_examples(config: Mapping, split: str, image_ids: Sequence[str], runs: Mapping[str, Path], path: Path) -> None:
    """Draw a page (PNG or JPEG): a row per image, a column per run. `runs`: name to folder, with results.json and maps.

    The predicted box is the largest contour's at the run's `val_threshold`; without a threshold there is no box.
    """
    columns = {}
    for name, run in runs.items():
        maps = find_score_maps(run / MAPS_OF_A_RUN, image_ids)
        columns[name] = MapColumn(partial(read_map, maps), val_threshold(run))
    save_figure(examples_figure(config, split, image_ids, columns), path)
