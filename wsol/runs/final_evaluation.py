"""A model's score maps of a split, scored and counted: in training, at its end, and whenever a finished run is looked at.

    results, evaluator = evaluate_run("train_log/my_run/last_checkpoint.pth.tar", "test")

In: a checkpoint, or predictions. Out: a `SplitEvaluator` that has counted them, and its results as results.json has them.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from wsol.core import registry
from wsol.core.errors import InputError, OptionName
from wsol.core.files import write_text
from wsol.core.processes import map_beside
from wsol.core.progress import progress
from wsol.data.batches import Batch
from wsol.data.levels import LevelSplit
from wsol.data.truth import SplitTruth
from wsol.maps.prediction import Prediction
from wsol.metrics.bootstrap import Resampled, intervals
from wsol.metrics.map_details import analyze_map
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import DETECTIONS, LOC_IOU, SplitEvaluator
from wsol.networks import ranks
from wsol.runs.cached_features import load_batches
from wsol.runs.predictor import Predictor, restore
from wsol.runs.run_data import images_to_map
from wsol.runs.run_folder import RESULTS
from wsol.runs.run_tables import class_rows, curve_rows, read_classes, write_class_ranks, write_table

logger = logging.getLogger("wsol")

OF_CLASSES = ("top1_cls", "top1_loc", "top5_cls", "top5_loc")  # what a method that tells no classes apart does not have

Through = Callable[[Iterable[Batch]], Iterable[Batch]]
SaveMap = Callable[[str, np.ndarray], object]  # an image's id and its score map


def stop_at_bad_images(messages: list[str]) -> None:
    """Raise InputError at the first image that could not be read; `messages` say why."""
    if messages:
        raise InputError(f"{messages[0]} (", OptionName("on_bad_image"), " skip leaves such images out)")


def count_predictions(
    predictions: Iterable[Prediction],
    evaluator: SplitEvaluator,
    bad_images: list[str],
    on_bad_images: Callable[[list[str]], None] = stop_at_bad_images,
    save: SaveMap | None = None,
    analysis_threshold: float | None = None,
) -> None:
    """Score and count every prediction, in threads next to the network; images without one are counted as skipped.

    Several ranks have the predictions of different images; only the first one's evaluator counts, those of all.

    `bad_images`: what `predict` adds messages to; `on_bad_images` is called with it. `analysis_threshold`: the score-map
    threshold of each map's area ratio and components, if one is known.

    Raises:
        InputError: no image of the split could be read, or what `on_bad_images` raises.
    """

    def score(prediction: Prediction) -> Scored:
        if prediction.raw_map is None:
            return evaluator.score_box(prediction.box, prediction.size, prediction.image_id)
        score_map = prediction.score_map()
        if save:
            save(prediction.image_id, score_map)
        scored = evaluator.score(score_map, prediction.image_id)._replace(rank=prediction.rank)
        if not evaluator.boxes:
            return scored
        true_boxes = evaluator.boxes.true_boxes(prediction.image_id, score_map.shape)
        return scored._replace(**analyze_map(score_map, true_boxes, analysis_threshold)._asdict())

    split = evaluator.truth.split
    own: list[Scored] = []
    for _, scored in progress(map_beside(score, predictions), split, math.ceil(len(evaluator.image_ids) / ranks.size())):
        on_bad_images(bad_images)
        own.append(scored)
    on_bad_images(bad_images)
    for scored in _in_order(evaluator.image_ids, ranks.gather_first(own)):
        evaluator.add(scored)
    with ranks.agreeing():
        if ranks.is_first() and not evaluator.scored_ids:
            raise InputError(f"no image of the {split} split could be read")
    if not ranks.is_first():
        return
    scored_ids = set(evaluator.scored_ids)
    for image_id in evaluator.image_ids:
        if image_id not in scored_ids:
            evaluator.add(Scored(image_id, skipped=True))
    evaluator.counts["skipped_images"] = len(evaluator.skipped_ids)


def _in_order(image_ids: Sequence[str], parts: Sequence[Sequence[Scored]]) -> list[Scored]:
    """Return what all ranks have scored, in the order of a split's images: that of a single process."""
    if len(parts) == 1:
        return list(parts[0])
    position = {image_id: number for number, image_id in enumerate(image_ids)}
    return sorted(chain(*parts), key=lambda scored: position[scored.image_id])


def predict_split(
    predictor: Predictor,
    split: LevelSplit,
    device: torch.device,
    workers: int,
    bad_images: list[str],
    cache_images: str | os.PathLike | None = None,
    through: Through = iter,
    cache_features: str | os.PathLike | None = None,
) -> Iterator[Prediction]:
    """Return the predictions of a restored model, on its device, for a split's images; see `Predictor.predictions`.

    `cache_images`: a folder that keeps the resized images; `cache_features`: one that keeps a frozen network's features.
    `through`: what the batches go through first. Several ranks each have their share of the batches.
    """
    config = predictor.config
    images = images_to_map(config, split, predictor.preprocessing, cache_images)
    size = config.get("eval_batch_size") or config.batch_size
    batches = load_batches(images, predictor.model, config, size, workers, device, None, ranks.place(), cache_features)
    return predictor.predictions(through(batches), device, config.amp, bad_images)


def new_evaluator(config: Mapping, truth: SplitTruth) -> SplitEvaluator:
    """Return a split's evaluator for what the method of a run's configuration gives, with nothing counted yet."""
    return SplitEvaluator.of(config, truth, registry.method_entry(config["wsol_method"]).detects)


def evaluate_split(
    predictor: Predictor,
    split: LevelSplit,
    truth: SplitTruth,
    device: torch.device,
    workers: int = 0,
    on_bad_images: Callable[[list[str]], None] = stop_at_bad_images,
    save: SaveMap | None = None,
    cache_images: str | os.PathLike | None = None,
    through: Through = iter,
    cache_features: str | os.PathLike | None = None,
) -> SplitEvaluator:
    """Return the evaluator of a split's images, after one pass of a restored model, on its device, over them.

    Of several ranks, only the first one's has counted; see `count_predictions`, and `predict_split`
    for `through` and the folders.
    """
    evaluator = new_evaluator(predictor.config, truth)
    bad_images: list[str] = []
    predictions = predict_split(predictor, split, device, workers, bad_images, cache_images, through, cache_features)
    threshold = analysis_threshold(predictor.thresholds)
    count_predictions(predictions, evaluator, bad_images, on_bad_images, save, threshold)
    return evaluator


def analysis_threshold(thresholds: Mapping[str, float] | None) -> float | None:
    """Return the score-map threshold at which maps are analyzed: val's for IoU 50, or None."""
    return (thresholds or {}).get(str(LOC_IOU))


def run_figures(evaluator: SplitEvaluator, thresholds: Mapping[str, float] | None = None) -> dict:
    """Return a split's figures, also at val's `thresholds`; those of classification are None without classes."""
    results = evaluator.results(thresholds)
    return results if evaluator.has_ranks else {**results, **dict.fromkeys(OF_CLASSES)}


def final_results(evaluator: SplitEvaluator, config: Mapping, thresholds: Mapping[str, float] | None) -> dict:
    """Return what results.json holds of a split: its figures, also at val's `thresholds`, and their intervals."""
    results = run_figures(evaluator, thresholds)
    results["intervals"] = intervals(Resampled(evaluator, config["bootstrap"], config["seed"]), results)
    return results


def write_tables(
    folder: Path, evaluator: SplitEvaluator, metadata_root: str | os.PathLike, thresholds: Mapping[str, float] | None
) -> dict[str, Path]:
    """Write a split's tables into a run's folder; return the options of evaluation.py that take files of the run."""
    split = evaluator.truth.split
    files = {"image_list": folder / f"{split}_image_ids.txt"}
    if evaluator.has_ranks:
        files = {"class_ranks": folder / f"{split}_class_ranks.csv", **files}
        write_class_ranks(files["class_ranks"], evaluator.ranks)
    write_text(files["image_list"], "\n".join(evaluator.scored_ids) + "\n")
    if evaluator.truth.has_any and evaluator.box_rule != DETECTIONS:  # which have no score-map threshold
        write_table(folder / f"{split}_curve.csv", curve_rows(evaluator))
    if evaluator.boxes:
        classes = read_classes(Path(metadata_root) / evaluator.truth.dataset_name, split)
        write_table(folder / f"{split}_per_class.csv", class_rows(evaluator, classes, thresholds))
        if thresholds:
            files["thresholds_from"] = folder / RESULTS
    return files


def evaluate_run(
    path: str | os.PathLike,
    split: str = "test",
    *,
    map_level: str | None = None,
    device: str | torch.device = "cpu",
    workers: int = 0,
    **roots: str | os.PathLike,
) -> tuple[dict, SplitEvaluator]:
    """Return (results, evaluator) of a split, from a run's checkpoint only.

    `roots`: data_root, metadata_root and mask_root, if the images, the metadata or the masks are not where they were. The
    results are those of results.json, byte for byte on a CPU with as many threads (the run's config.threads), for a split
    that is not sampled. `map_level`: as for `restore`.

    Raises:
        InputError: not a checkpoint, no such split, images that are missing or cannot be read.
    """
    if unknown := set(roots) - {"data_root", "metadata_root", "mask_root"}:
        raise TypeError(f"evaluate_run has no argument {min(unknown)!r}")
    predictor = restore(path, map_level=map_level)
    predictor.config |= {name: os.fspath(root) for name, root in roots.items()}
    return evaluate_predictor(predictor, split, torch.device(device), workers)


def evaluate_predictor(
    predictor: Predictor,
    split: str,
    device: torch.device,
    workers: int = 0,
    on_bad_images: Callable[[list[str]], None] = stop_at_bad_images,
) -> tuple[dict, SplitEvaluator]:
    """Return (results, evaluator) of a split, as `evaluate_run` does, of a restored model."""
    config = predictor.config
    images = predictor.load_splits((split,)).splits[split]
    predictor.keep_mapped(images)
    detects = registry.method_entry(config.wsol_method).detects
    truth = SplitTruth.of(config, split, images.image_ids, with_masks=not detects, needs_truth=False)
    evaluator = evaluate_split(predictor.to(device), images, truth, device, workers, on_bad_images)
    return final_results(evaluator, config, predictor.thresholds), evaluator
