"""The maps of every level's run for the images of a split: read where the run saved them, else made from its checkpoint.

In: runs, their material. Out: one image after the other, the signs of its maps and what their mean gives; no map is kept.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np
import torch

from wsol.core.errors import InputError, OptionName
from wsol.core.machine import resolve_threads, use_threads
from wsol.core.processes import map_beside
from wsol.core.progress import progress
from wsol.data.metadata import first_names
from wsol.data.truth import SplitTruth
from wsol.granularity.material import Material, Run, RunSet
from wsol.granularity.rights import Rights
from wsol.granularity.signs import Looked, mean_map, signs_of
from wsol.maps.score_maps import MAPS_OF_A_RUN, find_score_maps, read_score_map
from wsol.metrics.images_file import images_name
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.networks.device import resolve_device
from wsol.runs.final_evaluation import predict_split, stop_at_bad_images
from wsol.runs.level_results import restore_level
from wsol.runs.open_test import chosen_checkpoint
from wsol.runs.predictor import Predictor, restore
from wsol.runs.run_folder import LEVELS

MOST_DIFFERENT = 0.01  # of the images may have other results than the run's file says: maps made on another machine

ReadMap = Callable[[], np.ndarray]  # makes or reads a score map, in whichever thread calls it


def restore_run(run: Run, metadata_root: Path, data_root: Path | None) -> Predictor:
    """Return the model of a finished run, or of one of several levels that it learned at once, on its device.

    Raises:
        InputError: the run has no such checkpoint, or detects.
    """
    checkpoint = chosen_checkpoint(run.folder)
    if run.folder.parent.name == LEVELS:
        predictor = restore_level(run.folder.parent.parent / checkpoint.name, run.level)
    else:
        predictor = restore(checkpoint, cam_agg_level=run.config.get("cam_agg_level"), metadata_root=metadata_root)
    if predictor.detects:
        raise InputError(f"{run.folder}: {predictor.config.wsol_method} gives boxes, not maps; expected runs with maps")
    predictor.config.metadata_root = str(metadata_root)
    if data_root is not None:
        predictor.config.data_root = str(data_root)
    return predictor.to(resolve_device(predictor.config.get("device", "auto")))


def maps_from_checkpoint(
    run: Run, split: str, image_ids: Sequence[str], metadata_root: Path, data_root: Path | None
) -> Generator[ReadMap, None, None]:
    """Yield what makes the map of each image, in the order of `image_ids`, from a run's checkpoint.

    Raises:
        InputError: an image is missing or can't be read, or as of `restore_run`.
    """
    predictor = restore_run(run, metadata_root, data_root)
    use_threads(resolve_threads(predictor.config.get("threads", 1)))
    images = predictor.load_splits((split,)).splits[split]
    predictor.keep_mapped(images)
    position = {image_id: i for i, image_id in enumerate(images.image_ids)}
    if missing := [image_id for image_id in image_ids if image_id not in position]:
        raise InputError(
            f"{run.folder}: {len(missing)} images of its results are not in {split} of {metadata_root} at its level; "
            f"expected the metadata that it had:{first_names(missing)}"
        )
    order = [position[image_id] for image_id in image_ids]
    images.image_ids, images.labels = list(image_ids), images.labels[order]
    bad: list[str] = []
    device = next(predictor.model.parameters()).device
    for prediction in predict_split(predictor, images, torch.device(device), 0, bad):
        stop_at_bad_images(bad)
        yield prediction.score_map
    stop_at_bad_images(bad)


def maps_from_files(paths: Iterable[Path]) -> Generator[ReadMap, None, None]:
    """Yield what reads each map from its file."""
    for path in paths:
        yield partial(_read, path)


def _read(path: Path) -> np.ndarray:
    return read_score_map(path)[0]


def maps_of_run(
    run: Run, split: str, image_ids: Sequence[str], metadata_root: Path, data_root: Path | None
) -> Generator[ReadMap, None, None]:
    """Yield what gives the map of each image: from the run's folder of maps if it has all, else from its checkpoint."""
    root = run.folder / MAPS_OF_A_RUN
    if root.is_dir() and not (saved := find_score_maps(root, image_ids)).missing:
        return maps_from_files([saved.paths[image_id] for image_id in image_ids])
    return maps_from_checkpoint(run, split, image_ids, metadata_root, data_root)


def look(runs: RunSet, material: Material, positions: np.ndarray, data_root: Path | None = None) -> Looked:
    """Return what the maps of a split show, after one pass over its images for each seed, all levels side by side.

    positions: int (R, S), of the score-map thresholds at which the signs are to be seen. data_root: the folder with the
    images of all data sets, if maps have to be made and it is not where the runs had it.

    Raises:
        InputError: maps differ from those that the runs' results came from, have different sizes, or can't be made.
    """
    root = runs.folder.parent
    truth = SplitTruth.read(root, "", runs.dataset, material.split, list(material.image_ids), with_masks=False)
    settings = material.files[runs.seeds[0], runs.levels[0]].settings
    signs, evaluators = [], []
    for place, seed in enumerate(runs.seeds):
        evaluator = SplitEvaluator(truth, settings["cam_curve_interval"], settings["iou_threshold_list"], True)
        own = [runs.runs[seed, level] for level in runs.levels]
        sources = [maps_of_run(run, material.split, material.image_ids, root, data_root) for run in own]
        thresholds = [material.thresholds[p] for p in positions[:, place]]
        seen, differing = _look_at_seed(sources, material, evaluator, thresholds, place)
        _check_same(own, material, differing)
        signs.append(seen)
        evaluators.append(evaluator)
    packed = np.stack([[one.counts_of("boxes") for one in evaluator.images] for evaluator in evaluators])
    mean_rights = Rights(packed[:, None], material.rights.thresholds, material.rights.leaf_of, material.rights.leaves)
    return Looked(np.stack(signs, axis=1), evaluators, mean_rights)


def _look_at_seed(
    sources: Sequence[Generator[ReadMap, None, None]],
    material: Material,
    evaluator: SplitEvaluator,
    thresholds: Sequence[float],
    place: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (signs, float64 (R, L, N, K), in how many images each level's maps give other results than the run's file, int
    (L,)) of the seed at a place, and count the means of the maps."""
    boxes = evaluator.require_boxes()

    def see(item: tuple[str, Sequence[ReadMap]]) -> tuple[Scored, np.ndarray, list[np.ndarray]]:
        image_id, readers = item
        maps = [read() for read in readers]
        seen = {threshold: signs_of(maps, threshold) for threshold in set(thresholds)}
        packed = [boxes.score(one, image_id) for one in maps]
        return evaluator.score(mean_map(maps), image_id), np.stack([seen[each] for each in thresholds]), packed

    items: Iterable = ((image_id, readers) for image_id, *readers in zip(material.image_ids, *sources, strict=True))
    signs, differing = [], np.zeros(len(sources), dtype=np.int64)
    # Every source turns inference mode on and, at its end, back to what it found; side by side they would leave it on.
    with torch.inference_mode(), ExitStack() as stack:
        for source in sources:
            stack.enter_context(closing(source))
        for i, (_, (scored, seen, packed)) in enumerate(
            progress(map_beside(see, items), material.split, len(material.image_ids))
        ):
            evaluator.add(scored)
            signs.append(seen)
            for level, own in enumerate(packed):
                differing[level] += not np.array_equal(own, material.rights.packed[place, level, i])
    return np.stack(signs, axis=2), differing


def _check_same(own: Sequence[Run], material: Material, differing: np.ndarray) -> None:
    """Raise InputError if maps are not those that a run's results came from; `own`: a seed's runs; `differing`: int (L,), in
    how many images."""
    for run, count in zip(own, differing.tolist(), strict=True):
        if count > MOST_DIFFERENT * len(material.image_ids):
            raise InputError(
                f"{run.folder}: the maps of {count} of {len(material.image_ids)} images of {material.split} give other "
                f"results than {images_name(material.split)} has; expected the maps and images that it came from (",
                OptionName("data_root"),
                " names another folder of images)",
            )
