"""What a checkpoint needs to be used without its data set: how it draws boxes, how much to believe them, and its hierarchy.

In: a checkpoint, val's images and boxes, the metadata. Out: the same checkpoint with the entries `box_rules`, `hierarchy`
and `version`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from wsol.core import registry
from wsol.core.errors import InputError
from wsol.core.progress import progress
from wsol.core.version import version
from wsol.data.batches import Batch, make_loader
from wsol.data.levels import LevelSplit, class_ancestors, read_class_names, read_levels
from wsol.data.metadata import dataset_folder
from wsol.data.truth import SplitTruth
from wsol.maps.class_maps import GIVEN, WAYS, PhotoMaps
from wsol.metrics.evaluators import BoxEvaluator
from wsol.networks import ranks
from wsol.runs.box_rules import THRESHOLDS, BoxRule, fit_rule, take_samples
from wsol.runs.checkpoints import read_checkpoint, write_checkpoint
from wsol.runs.experiment import Experiment, agreed, between_images, require_folder
from wsol.runs.predictor import Predictor, restore
from wsol.runs.resume import checkpoint_path
from wsol.runs.run_data import images_to_map

Through = Callable[[Iterable[Batch]], Iterable[Batch]]


def read_ancestry(predictor: Predictor, metadata_root: str | os.PathLike, dataset_name: str) -> dict[str, dict]:
    """Return the levels coarser than that of a model, finest first: name to "names", the class names, and "labels", the
    position there of each of the model's classes, -1 for none.

    A model of a --coarsening has no levels above it.
    """
    folder = dataset_folder(metadata_root, dataset_name)
    levels = read_levels(folder)
    if predictor.config.get("coarsening") or predictor.level not in levels:
        return {}
    found = {}
    for level in levels[levels.index(predictor.level) + 1 :]:
        known = class_ancestors(metadata_root, dataset_name, predictor.level, level)
        labels = [known.get(label) for label in predictor.file_labels]
        present = sorted({label for label in labels if label is not None})
        names = read_class_names(folder, level)
        found[level] = {
            "names": [names.get(label, str(label)) for label in present],
            "labels": [-1 if label is None else present.index(label) for label in labels],
        }
    return found


def find_box_rules(
    predictor: Predictor,
    split: LevelSplit,
    truth: SplitTruth,
    device: torch.device,
    workers: int,
    on_bad_images: Callable[[list[str]], None],
    cache_images: str | os.PathLike | None = None,
    through: Through = iter,
) -> dict[str, BoxRule]:
    """Return the box rule of each way, from a split with boxes, after one pass over its images; of several ranks, the first
    one returns them, the others nothing.

    Raises:
        InputError: no image could be read.
    """
    if truth.boxes is None:
        raise InputError(f"{truth.dataset_name} {truth.split} has no boxes, from which a threshold could be chosen")
    config = predictor.config
    batches = make_loader(
        images_to_map(config, split, predictor.preprocessing, cache_images),
        config.get("eval_batch_size") or config.batch_size,
        workers,
        device,
        place=ranks.place(),
    )
    bad: list[str] = []

    def photos() -> Iterator[PhotoMaps]:
        for photo in predictor.class_mapper().photos(through(batches), device, config.amp, bad, WAYS):
            on_bad_images(bad)
            yield photo
        on_bad_images(bad)

    evaluator = BoxEvaluator(truth.boxes, truth.dataset_name, truth.split, THRESHOLDS.tolist(), [50])
    own = take_samples(progress(photos(), "calibrating", len(split.image_ids)), evaluator, WAYS)
    known = {image_id: samples for part in ranks.gather_first(own) for image_id, samples in part.items()}
    with ranks.agreeing():
        if ranks.is_first() and not known:
            raise InputError(f"no image of the {truth.split} split could be read")
    if not ranks.is_first():
        return {}
    samples = [known[image_id] for image_id in split.image_ids if image_id in known]  # the order of a single process
    ways = WAYS if samples[0][GIVEN].probabilities is not None else (GIVEN,)
    return {way: fit_rule([sample[way] for sample in samples], truth.source, config.seed) for way in ways}


def complete_checkpoint(path: Path, rules: Mapping[str, BoxRule], ancestry: Mapping[str, Mapping[str, list]]) -> None:
    """Write a checkpoint again, with the entries that make it self-contained."""
    content = read_checkpoint(path)
    content |= {
        "box_rules": {way: rule.to_dict() for way, rule in rules.items()},
        "hierarchy": {level: dict(classes) for level, classes in ancestry.items()},
        "version": version(),
    }
    write_checkpoint(path, content)


def complete_run(run: Experiment) -> None:
    """Add to the chosen checkpoint of a trained run what it needs to be used without its data set, unless it has it."""
    config, path = run.config, checkpoint_path(run.folder, run.config.eval_checkpoint_type)
    ranks.wait()  # for the first one to have written it
    predictor = restore(path)
    if ranks.gather_numbers([predictor.version is not None])[0][0]:  # by now all have read it, before the first one writes
        return
    rules: dict[str, BoxRule] = {}
    predictor.hierarchy = ancestry = read_ancestry(predictor, config.metadata_root, config.dataset_name)
    truth = run.data.truths.get("val")
    if config.calibrate and truth and truth.boxes and not registry.method_entry(config.wsol_method).detects:
        rules = find_box_rules(
            predictor.to(run.device),
            run.data.splits["val"],
            truth,
            run.device,
            config.workers,
            partial(between_images, run),
            config.cache_images,
            partial(agreed, run),
        )
    if ranks.is_first():
        require_folder(run)
        complete_checkpoint(path, rules, ancestry)
    ranks.wait()
