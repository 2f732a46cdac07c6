"""One experiment: train from image-level labels at one label level, map, score.

    python main.py                                            # Toy, about a minute on two cores
    python main.py --dataset_name OxfordPet --label_level species --experiment_name pets \\
        --architecture timm:tf_efficientnet_lite0 --pretrained_path weights.pth
    python main.py --config train_log/pets/config.yaml --experiment_name pets_again

Validates before training and after every epoch, evaluates the test split once at the end, and writes
train_log/<experiment_name>/: config.yaml, log.txt, metrics.jsonl, checkpoints, scoremaps/, results.json (docs/runs.md).
"""

import json
import logging
import math
import shlex
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wsol.core.machine import resolve_threads, use_threads  # before torch, whose threads it tells to sleep while they wait

# isort: split
from config import LOG_ROOT, get_config, write_config
from wsol.core.errors import InputError, command, refuse_early

if __name__ == "__main__":  # before the seconds in which torch is loaded
    refuse_early(partial(get_config, description=__doc__))

import torch
from munch import Munch
from torch import nn

from data_loaders import EpochShuffle, LabeledImages, load_level, make_loader, require_images
from dataset import toy
from dataset.known import how_to_prepare, require_dataset
from evaluation import format_results, rescoring_command
from wsol.core import registry
from wsol.core.files import write_json, write_text
from wsol.core.log import start_logging
from wsol.core.processes import map_beside
from wsol.core.progress import progress
from wsol.data.batches import Batch
from wsol.data.levels import LevelData
from wsol.data.loading import loading_failures
from wsol.data.truth import SplitTruth
from wsol.maps.cam_agg import ancestors_at, keep_with_ancestor
from wsol.maps.mapper import Mapper, make_mapper
from wsol.maps.prediction import Prediction, predict
from wsol.maps.score_maps import MAPS_OF_A_RUN, being_written, save_score_map
from wsol.methods.draws import DrawSource, on_device
from wsol.metrics.bootstrap import Resampled, intervals
from wsol.metrics.images_file import images_name, write_images
from wsol.metrics.map_details import analyze_map
from wsol.metrics.map_sizes import small_map_note
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import LOC_IOU, SplitEvaluator, headline
from wsol.networks.device import autocast, resolve_device, to_device
from wsol.runs.checkpoints import read_checkpoint, write_checkpoint
from wsol.runs.run_folder import LOG, RESULTS, check_run_folder, finish_folder, make_folder, replaced_note
from wsol.runs.run_tables import class_rows, curve_rows, read_classes, write_class_ranks, write_table
from wsol.runs.starting_weights import start_model
from wsol.runs.train_state import TrainState, to_arrays
from wsol.runs.training import TrainingStep, check_network, set_learning_rate, start_training

logger = logging.getLogger("wsol")


@dataclass
class Experiment:
    """What a run is made of; `state` alone changes while it runs, and the model's weights."""

    config: Munch
    folder: Path
    device: torch.device
    data: LevelData
    ancestors: dict[str, list[int]] | None  # CAM-Agg's level to each class's label there
    model: nn.Module
    mapper: Mapper  # what makes the maps: the model, or the model with its maps aggregated
    step: nn.Module  # what trains the model: `TrainingStep`, or a wrapper of it
    state: TrainState
    loaders: dict[str, torch.utils.data.DataLoader]
    shuffle: EpochShuffle
    replaced: Path | None  # the earlier run's folder, kept until this one is finished


def build(config: Munch) -> Experiment:
    """Read the data, build the model, then make the run's folder: nothing is written before all is checked."""
    folder = Path(LOG_ROOT) / config.experiment_name
    check_run_folder(folder, Path(LOG_ROOT), config.override_cache)
    device = resolve_device(config.device, config.amp)
    require_dataset(config.metadata_root, config.dataset_name)
    splits = ("train", "val", "test") if config.eval_test else ("train", "val")
    data = load_level(
        config.metadata_root,
        config.dataset_name,
        config.label_level,
        splits,
        config.proxy_training_set,
        config.num_val_sample_per_class,
        config.num_train_sample_per_class,
        config.seed,
        config.coarsening,
    )
    config.label_level = None if config.coarsening else data.level
    if len(data.class_names) < 2:
        asked = f"--coarsening {config.coarsening}" if config.coarsening else f"--label_level {data.level}"
        raise InputError(f"{asked}: {config.dataset_name} has one class at this level; expected two or more")
    ancestors = None
    if config.cam_agg_level:
        ancestors = ancestors_at(
            config.metadata_root, config.dataset_name, data.level, config.cam_agg_level, data.file_labels
        )
        for name, split in data.splits.items():
            if name != "train" and (left_out := keep_with_ancestor(split, ancestors)):
                data.notes.append(f"{name}: {left_out} images have no class at level {config.cam_agg_level!r}, left out")
    image_root = Path(config.data_root) / config.dataset_name
    datasets = {
        name: LabeledImages(image_root, split, config.crop_size, max_megapixels=config.max_megapixels)
        for name, split in data.splits.items()
    }
    datasets["train"].resize_size = config.resize_size
    for name, split in data.splits.items():
        if config.on_bad_image == "stop":
            require_images(image_root, split.image_ids, name, how_to_prepare(config.dataset_name))
    data.notes += check_truth(config, data)

    torch.manual_seed(config.seed)
    model, notes = start_model(config, data)
    data.notes += notes
    check_network(model, config, len(data.splits["train"].image_ids))
    model.to(device, memory_format=torch.channels_last)
    mapper = make_mapper(registry.OWN_MAPS if ancestors is None else registry.CAM_AGG, model, ancestors).to(device)
    shuffle = EpochShuffle(len(datasets["train"]), config.seed)
    loaders = {
        name: make_loader(dataset, config.batch_size, config.workers, device, shuffle if name == "train" else None)
        for name, dataset in datasets.items()
    }
    replaced = make_folder(folder, partial(write_config, config), config.override_cache)
    data.notes += [replaced_note(replaced)] if replaced else []
    step, state = TrainingStep(model), start_training(model, config, device)
    saved_ancestors = None if ancestors is None else {config.cam_agg_level: ancestors.tolist()}
    return Experiment(config, folder, device, data, saved_ancestors, model, mapper, step, state, loaders, shuffle, replaced)


def check_truth(config: Mapping, data: LevelData) -> list[str]:
    """Read the truth of every evaluated split, once a run, and refuse images without it before anything is trained; return
    what a log should say of splits without any."""
    without = []
    for name, split in data.splits.items():
        if name != "train":
            split.truth = SplitTruth.of(config, name, split.image_ids, needs_truth=False)
            without += [] if split.truth.has_any else [name]
    if "val" in without and config["eval_checkpoint_type"] == "best":
        raise InputError(
            f"--eval_checkpoint_type best: {config['dataset_name']} val has no boxes and no masks, so no checkpoint is the "
            "best at localization; expected last"
        )
    notes = [f"{name}: no boxes and no masks: classification alone is measured, not localization" for name in without]
    if "val" in without:
        notes.append("without boxes or masks of val, no best checkpoint and no score-map threshold can be chosen")
    return notes


def handle_bad_images(run: Experiment, bad: list[str]) -> None:
    """Stop at images that could not be read, or count each once and say so."""
    if bad and run.config.on_bad_image == "stop":
        raise InputError(f"{bad[0]} (--on_bad_image skip leaves such images out)")
    for message in bad:
        if message not in run.state.bad_images:
            logger.warning("skipped: %s", message)
            run.state.bad_images.append(message)


def train_one_step(run: Experiment, batch: Batch) -> None:
    """Take one step of SGD on a batch that is not empty."""
    state = run.state
    source = DrawSource(run.config.seed, state.epoch + 1, state.step, batch.positions)
    height, width = batch.images.shape[2:]
    draws = on_device(run.model.draw(source, (height, width)), run.device)
    source.seed_torch()
    images, labels = to_device(batch, run.device)
    with autocast(run.device, run.config.amp):
        outputs, loss = run.step(batch._replace(images=images, labels=labels), draws)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.step(state.optimizer)
    state.scaler.update()
    right = (outputs["logits"].detach().argmax(dim=1) == labels).sum()
    state.count(loss.detach(), right, len(labels))


def train_one_epoch(run: Experiment) -> None:
    """Train on every image once, from the state's step on; record the mean loss and the accuracy in percent."""
    state = run.state
    epoch = state.epoch + 1
    run.shuffle.epoch, run.shuffle.start = epoch, state.step * run.config.batch_size
    set_learning_rate(state.optimizer, epoch, run.config.lr_decay_frequency)
    run.step.train()
    for batch in progress(run.loaders["train"], f"epoch {epoch}"):
        handle_bad_images(run, batch.bad)
        if batch.image_ids:
            train_one_step(run, batch)
        state.step += 1
    loss, accuracy = state.finish_epoch()
    if not math.isfinite(loss):
        logger.warning("the training loss of epoch %d is not finite; a smaller --lr may help", epoch)
        loss = None
    record(run, epoch, "train", {"loss": loss, "top1_cls": accuracy, "lr": state.optimizer.param_groups[0]["lr"]})


def new_evaluator(run: Experiment, split: str) -> SplitEvaluator:
    """Return a split's evaluator, with nothing counted yet."""
    return SplitEvaluator.of(run.config, run.data.splits[split].truth)


def evaluate(
    run: Experiment, split: str, save: bool = False, analysis_threshold: float | None = None
) -> tuple[dict, SplitEvaluator]:
    """Return a split's metrics in percent, and its evaluator; one forward pass gives both accuracy and maps, which threads
    score, and analyze at a score-map threshold where one is known, beside it."""
    evaluator = new_evaluator(run, split)

    def score(prediction: Prediction) -> Scored:
        score_map = prediction.score_map()
        if save:
            save_score_map(run.folder / MAPS_OF_A_RUN, prediction.image_id, score_map, run.config.scoremap_format)
        scored = evaluator.score(score_map, prediction.image_id)._replace(rank=prediction.rank)
        if not evaluator.boxes:
            return scored
        true_boxes = evaluator.boxes.true_boxes(prediction.image_id, score_map.shape)
        return scored._replace(**analyze_map(score_map, true_boxes, analysis_threshold)._asdict())

    bad: list[str] = []
    predictions = predict(run.mapper, run.loaders[split], run.device, run.config.amp, bad)
    for _, scored in progress(map_beside(score, predictions), split, len(evaluator.image_ids)):
        handle_bad_images(run, bad)
        evaluator.add(scored)
    handle_bad_images(run, bad)
    if not evaluator.scored_ids:
        raise InputError(f"no image of the {split} split could be read")
    scored_ids = set(evaluator.scored_ids)
    for image_id in evaluator.image_ids:
        if image_id not in scored_ids:
            evaluator.add(Scored(image_id, skipped=True))
    evaluator.counts["skipped_images"] = len(evaluator.skipped_ids)
    return evaluator.results(), evaluator


def record(run: Experiment, epoch: int, split: str, results: Mapping) -> None:
    """Add one line to metrics.jsonl; the file is written whole each time."""
    run.state.metrics.append({"epoch": epoch, "split": split, **results})
    lines = [json.dumps(line, allow_nan=False) for line in run.state.metrics]
    write_text(run.folder / "metrics.jsonl", "\n".join(lines) + "\n")
    figures = {name: value for name, value in results.items() if isinstance(value, float)}
    figures |= {f"MaxBoxAcc{iou}": value for iou, value in (results.get("MaxBoxAcc") or {}).items()}
    logger.info("epoch %d %s: %s", epoch, split, ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))


def save_checkpoint(run: Experiment, kind: str) -> None:
    """Write best_ or last_checkpoint.pth.tar: the model, what it is, and where its training stands."""
    write_checkpoint(
        run.folder / f"{kind}_checkpoint.pth.tar",
        {
            "architecture": run.config.architecture,
            "config": dict(run.config),
            "label_level": run.data.level,
            "class_names": run.data.class_names,
            "file_labels": run.data.file_labels,
            "ancestors": run.ancestors,
            "score_map_thresholds": run.state.validation[kind].results.get("best_threshold"),
            "state_dict": run.model.state_dict(),
            **run.state.state_dict(),
        },
    )


def validate(run: Experiment) -> None:
    """Evaluate val, and write the last checkpoint and, where it is that, the best. Validation maps are saved here where the
    last checkpoint's are wanted."""
    state, config = run.state, run.config
    maps_wanted = config.eval_checkpoint_type == "last" and config.save_scoremaps in ("val", "both")
    results, evaluator = evaluate(run, "val", maps_wanted and state.epoch == config.epochs)
    record(run, state.epoch, "val", results)
    is_best = state.keep_validation(results, evaluator.state_dict(), headline(results, config.multi_iou_eval))
    # The best one first: killed in between, a run that goes on from the last one writes the same best one again.
    for kind in ("best", "last") if is_best else ("last",):
        save_checkpoint(run, kind)


def train(run: Experiment) -> None:
    """Validate, then train and validate every epoch, from where the state stands."""
    while True:
        if not run.state.is_validated:
            validate(run)
        if run.state.epoch == run.config.epochs:
            break
        train_one_epoch(run)


def restored_validation(run: Experiment, kind: str) -> tuple[dict, SplitEvaluator]:
    """Return what val gave for the last or the best checkpoint: its results, and an evaluator that has counted it."""
    kept = run.state.validation[kind]
    evaluator = new_evaluator(run, "val")
    evaluator.load_state_dict(to_arrays(kept.counts))
    return kept.results, evaluator


def final_evaluation(run: Experiment) -> dict:
    """Evaluate the chosen checkpoint, on test once; return what results.json holds.

    Val is not run again, unless for the maps of the best checkpoint.
    """
    kind = run.config.eval_checkpoint_type
    checkpoint = read_checkpoint(run.folder / f"{kind}_checkpoint.pth.tar")
    run.model.load_state_dict(checkpoint["state_dict"])
    results = {
        "dataset_name": run.config.dataset_name,
        "label_level": run.data.level,
        "cam_agg_level": run.config.cam_agg_level,
        "cam_curve_interval": run.config.cam_curve_interval,
        "num_classes": len(run.data.class_names),
        "checkpoint": {"type": kind, "epoch": checkpoint["epoch"]},
    }
    val_thresholds = None
    analysis_threshold = (run.state.validation[kind].results.get("best_threshold") or {}).get(
        str(LOC_IOU)
    )  # known before test is seen
    for split in (name for name in run.data.splits if name != "train"):
        save = run.config.save_scoremaps in (split, "both")
        again = split != "val" or (save and kind == "best")
        split_results, evaluator = (
            evaluate(run, split, save, analysis_threshold) if again else restored_validation(run, kind)
        )
        if split == "val":
            val_thresholds = split_results.get("best_threshold")
        else:
            record(run, checkpoint["epoch"], split, split_results)
        results[split] = evaluator.results(val_thresholds)
        results[split]["intervals"] = intervals(Resampled(evaluator, run.config.bootstrap, run.config.seed), results[split])
        logger.info("%s, %s checkpoint (epoch %d):", split, kind, checkpoint["epoch"])
        for line in format_results(results[split], run.config.multi_iou_eval).split("\n"):
            logger.info("  %s", line)
        note = small_map_note(run.config.dataset_name, evaluator.map_sizes.values())
        if note and evaluator.truth.has_any:  # classification does not depend on it
            logger.info("  note: %s", note)
        files = write_tables(run, split, evaluator, val_thresholds)
        write_images(run.folder / images_name(split), evaluator, analysis_threshold if again else None)
        if save and evaluator.truth.has_any:
            logger.info("  score again: %s", rescoring_command(run.config, run.folder / MAPS_OF_A_RUN, split, files))
    return results


def write_tables(run: Experiment, split: str, evaluator: SplitEvaluator, val_thresholds: Mapping | None) -> dict[str, Path]:
    """Write a split's tables into the run's folder; return the options of evaluation.py that take files of the run."""
    files = {"class_ranks": run.folder / f"{split}_class_ranks.csv"}
    write_class_ranks(files["class_ranks"], evaluator.ranks)
    if evaluator.truth.has_any:
        write_table(run.folder / f"{split}_curve.csv", curve_rows(evaluator))
    if evaluator.boxes:
        classes = read_classes(Path(run.config.metadata_root) / run.config.dataset_name, split)
        write_table(run.folder / f"{split}_per_class.csv", class_rows(evaluator, classes, val_thresholds))
        if val_thresholds:
            files["thresholds_from"] = run.folder / RESULTS
    id_list = run.folder / f"{split}_image_ids.txt"
    write_text(id_list, "\n".join(evaluator.scored_ids) + "\n")
    if run.data.splits[split].subset or evaluator.counts["skipped_images"]:
        files["image_list"] = id_list
    return files


def run_experiment(run: Experiment) -> None:
    """Train, evaluate, and write what a finished run has; its maps are marked as unfinished until then."""
    saves = run.config.save_scoremaps != "none"
    words = shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
    writing = being_written(run.folder / MAPS_OF_A_RUN, words) if saves else nullcontext()
    with loading_failures(run.config.workers), writing:
        train(run)
        results = final_evaluation(run)
    if bad_images := run.state.bad_images:
        logger.warning("%d images could not be read and were skipped", len(bad_images))
    write_json(run.folder / RESULTS, results)
    finish_folder(run.replaced)
    logger.info("written: %s", run.folder / RESULTS)


@command
def main() -> None:
    """Run one experiment."""
    config, notes = get_config(description=__doc__)
    config.threads = resolve_threads(config.threads)
    use_threads(config.threads)
    is_toy = config.dataset_name == toy.NAME
    with toy.prepared(config.data_root, config.metadata_root) if is_toy else nullcontext():  # undone if refused
        run = build(config)
    if run.device.type == "cpu":  # a GPU's deterministic kernels are slower, and some are missing
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False
    start_logging(run.folder / LOG)
    for note in (*notes, *run.data.notes):
        logger.info(note)
    sizes = ", ".join(f"{len(split.image_ids)} {name}" for name, split in run.data.splits.items())
    logger.info(
        "%s at level %s (of %s): %d classes, %s images; %s %s on %s",
        config.dataset_name,
        run.data.level,
        ", ".join(run.data.levels),
        len(run.data.class_names),
        sizes,
        config.architecture,
        config.wsol_method,
        run.device,
    )
    run_experiment(run)


if __name__ == "__main__":
    main()
