r"""One experiment: train from image-level labels at one label level, map, score.

    python main.py                                            # Toy, about a minute on two cores
    python main.py --dataset_name OxfordPet --label_level species --experiment_name pets \
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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wsol.core.machine import resolve_threads, use_threads  # before torch, whose threads it tells to sleep while they wait

# isort: split
from config import LOG_ROOT, get_config, write_config
from wsol.core.errors import command, refuse_early

if __name__ == "__main__":  # before the seconds in which torch is loaded
    refuse_early(partial(get_config, description=__doc__))

import torch
from munch import Munch
from torch import nn

from data_loaders import EpochShuffle, LabeledImages, make_loader
from dataset import toy
from dataset.known import how_to_prepare, require_dataset
from evaluation import format_results, rescoring_command
from wsol.core import registry
from wsol.core.files import write_json, write_text
from wsol.core.log import start_logging
from wsol.core.progress import progress
from wsol.data.batches import Batch
from wsol.data.loading import loading_failures
from wsol.maps.mapper import Mapper, make_mapper
from wsol.maps.prediction import predict
from wsol.maps.score_maps import MAPS_OF_A_RUN, being_written, save_score_map
from wsol.methods.draws import DrawSource, on_device
from wsol.methods.method import Method
from wsol.metrics.images_file import images_name, write_images
from wsol.metrics.map_sizes import small_map_note
from wsol.metrics.split_evaluator import SplitEvaluator, headline
from wsol.networks.device import autocast, resolve_device, to_device
from wsol.runs.checkpoints import write_checkpoint
from wsol.runs.final_evaluation import (
    SaveMap,
    analysis_threshold,
    count_predictions,
    evaluate_split,
    final_results,
    new_evaluator,
    run_figures,
    stop_at_bad_images,
    write_tables,
)
from wsol.runs.predictor import restore
from wsol.runs.run_data import RunData, read_run_data
from wsol.runs.run_folder import LOG, RESULTS, check_run_folder, finish_folder, make_folder, replaced_note
from wsol.runs.run_record import RunRecord, recorded
from wsol.runs.starting_weights import start_model
from wsol.runs.trackers import Trackers, check_logins, tracking
from wsol.runs.train_state import TrainState, to_arrays
from wsol.runs.training import TrainingStep, check_network, set_learning_rate, start_training
from wsol.runs.val_thresholds import read_val_thresholds

logger = logging.getLogger("wsol")


@dataclass
class Experiment:
    """What a run is made of; only `state` and the model's weights change while it runs."""

    config: Munch
    folder: Path
    device: torch.device
    data: RunData
    model: Method
    mapper: Mapper  # what makes the maps: the model, or the model with its maps aggregated
    step: nn.Module  # what trains the model: `TrainingStep`, or a wrapper of it
    state: TrainState
    loaders: dict[str, torch.utils.data.DataLoader]  # of train, and of val unless nothing validates
    shuffle: EpochShuffle
    thresholds: dict[str, float] | None  # for score maps, chosen by another run (--thresholds_from)
    replaced: Path | None  # the earlier run's folder, kept until this one is finished
    record: RunRecord  # its run.json
    trackers: Trackers = field(default_factory=Trackers)  # of --logger


def build(config: Munch) -> Experiment:
    """Read the data, build the model, then make the run's folder: nothing is written before all is checked."""
    check_logins(config.logger)
    folder = Path(LOG_ROOT) / config.experiment_name
    check_run_folder(folder, Path(LOG_ROOT), config.override_cache)
    device = resolve_device(config.device, config.amp)
    require_dataset(config.metadata_root, config.dataset_name)
    data = read_run_data(config, how_to_prepare(config.dataset_name))
    config.label_level = None if config.coarsening else data.levels.level
    thresholds = chosen_thresholds(config, data)

    torch.manual_seed(config.seed)
    model, notes = start_model(config, data.levels)
    check_network(model, config, len(data.splits["train"].image_ids))
    model.to(device).to(memory_format=torch.channels_last)
    mapper = make_mapper(registry.OWN_MAPS if data.ancestors is None else registry.CAM_AGG, model, data.ancestors)
    shuffle = EpochShuffle(len(data.splits["train"].image_ids), config.seed)
    splits = [name for name in data.splits if name != "test"]
    loaders = {name: split_loader(config, data, model, name, device, shuffle) for name in splits}
    step, state = TrainingStep(model), start_training(model, config, device)
    replaced = make_folder(folder, partial(write_config, config), config.override_cache)
    data.levels.notes += [*notes, replaced_note(replaced)] if replaced else notes
    run_record = RunRecord(folder, device, config.threads)
    return Experiment(
        config,
        folder,
        device,
        data,
        model,
        mapper.to(device),
        step,
        state,
        loaders,
        shuffle,
        thresholds,
        replaced,
        run_record,
    )


def chosen_thresholds(config: Munch, data: RunData) -> dict[str, float] | None:
    """Return the score-map thresholds that the run of --thresholds_from chose, None without this option."""
    if not (config.thresholds_from and data.targets):
        return None
    chosen = read_val_thresholds(config.thresholds_from)
    return chosen.fit(config.dataset_name, new_evaluator(config, data.targets.truth))


def split_loader(
    config: Munch, data: RunData, model: Method, name: str, device: torch.device, shuffle: EpochShuffle
) -> torch.utils.data.DataLoader:
    """Return the loader of train, or of a split to evaluate."""
    images = LabeledImages(
        Path(config.data_root) / config.dataset_name,
        data.splits[name],
        config.crop_size,
        config.resize_size if name == "train" else None,
        config.max_megapixels,
        model.backbone.offer.preprocessing,
        data.targets if name == "train" else None,
    )
    return make_loader(images, config.batch_size, config.workers, device, shuffle if name == "train" else None)


def handle_bad_images(run: Experiment, bad: list[str]) -> None:
    """Stop at images that could not be read, or log each one and skip it."""
    if run.config.on_bad_image == "stop":
        stop_at_bad_images(bad)
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
    batch = to_device(batch, run.device)
    with autocast(run.device, run.config.amp):
        outputs, loss = run.step(batch, draws)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.step(state.optimizer)
    state.scaler.update()
    right = torch.zeros((), device=run.device)
    if "logits" in outputs:
        right = (outputs["logits"].detach().argmax(dim=1) == batch.labels).sum()
    state.count(loss.detach(), right, len(batch.labels))


def train_one_epoch(run: Experiment) -> None:
    """Train on every image once, from the state's step on; record the mean loss, and the accuracy in percent if the method
    tells classes apart."""
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
    is_finite = math.isfinite(loss)
    if not is_finite:
        logger.warning("the training loss of epoch %d is not finite; a smaller --lr may help", epoch)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    top1 = accuracy if run.data.targets is None else None
    record(run, epoch, "train", {"loss": loss if is_finite else None, "top1_cls": top1, "lr": rates[0]})
    run.trackers.figures(epoch, "lr", {f"group{number}": rate for number, rate in enumerate(rates)})


def map_writer(run: Experiment) -> SaveMap:
    """Return a function that saves a score map in the run's folder."""
    return lambda image_id, score_map: save_score_map(
        run.folder / MAPS_OF_A_RUN, image_id, score_map, run.config.scoremap_format
    )


def record(run: Experiment, epoch: int, split: str, results: Mapping) -> None:
    """Add one line to metrics.jsonl; the file is written whole each time."""
    run.state.metrics.append({"epoch": epoch, "split": split, **results})
    lines = [json.dumps(line, allow_nan=False) for line in run.state.metrics]
    write_text(run.folder / "metrics.jsonl", "\n".join(lines) + "\n")
    figures = {name: value for name, value in results.items() if isinstance(value, float)}
    figures |= {f"MaxBoxAcc{iou}": value for iou, value in (results.get("MaxBoxAcc") or {}).items()}
    run.trackers.figures(epoch, split, figures)
    logger.info("epoch %d %s: %s", epoch, split, ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))


def save_checkpoint(run: Experiment, kind: str) -> None:
    """Write best_ or last_checkpoint.pth.tar: the model, how it was built, and the state of its training."""
    ancestors = run.data.ancestors
    chosen = run.state.validation[kind].results.get("best_threshold")
    write_checkpoint(
        run.folder / f"{kind}_checkpoint.pth.tar",
        {
            "architecture": run.config.architecture,
            "config": dict(run.config),
            "label_level": run.data.levels.level,
            "class_names": run.data.levels.class_names,
            "file_labels": run.data.levels.file_labels,
            "ancestors": None if ancestors is None else {run.config.cam_agg_level: ancestors.tolist()},
            "score_map_thresholds": run.thresholds or chosen,
            "state_dict": run.model.state_dict(),
            **run.state.state_dict(),
        },
    )


def validate(run: Experiment) -> None:
    """Evaluate val; write the last checkpoint, and the best one if this is it. Save validation maps here if the last
    checkpoint's are wanted. Without images to validate on, only write the last checkpoint."""
    state, config = run.state, run.config
    if "val" not in run.loaders:
        state.keep_validation({}, {}, None)
        save_checkpoint(run, "last")
        return
    maps_wanted = config.eval_checkpoint_type == "last" and config.save_scoremaps in ("val", "both")
    save = map_writer(run) if maps_wanted and state.epoch == config.epochs else None
    evaluator, bad = new_evaluator(config, run.data.truths["val"]), list[str]()
    predictions = predict(run.mapper, run.loaders["val"], run.device, config.amp, bad)
    save = run.trackers.keeping_examples(save)
    count_predictions(predictions, evaluator, bad, partial(handle_bad_images, run), save)
    results = run_figures(evaluator)
    record(run, state.epoch, "val", results)
    run.trackers.examples(state.epoch, "val")
    is_best = state.keep_validation(results, evaluator.state_dict(), headline(results, config.multi_iou_eval))
    # The best one first: if the run is killed in between, resuming from the last one writes the same best one again.
    for kind in ("best", "last") if is_best else ("last",):
        save_checkpoint(run, kind)


def train(run: Experiment) -> None:
    """Validate, then train and validate every epoch, starting from the current state."""
    while True:
        if not run.state.is_validated:
            with run.record.phase("validation", f"epoch {run.state.epoch} of {run.config.epochs}"):
                validate(run)
        if run.state.epoch == run.config.epochs:
            break
        with run.record.phase("training"):
            train_one_epoch(run)


def restored_validation(run: Experiment, kind: str) -> SplitEvaluator:
    """Return the evaluator of val as it was for the last or the best checkpoint, from the saved counts."""
    evaluator = new_evaluator(run.config, run.data.truths["val"])
    evaluator.load_state_dict(to_arrays(run.state.validation[kind].counts))
    return evaluator


def final_evaluation(run: Experiment) -> dict:
    """Evaluate the chosen checkpoint, on test once; return what results.json holds.

    Val is evaluated again only if the best checkpoint's maps of it are wanted.
    """
    config, kind = run.config, run.config.eval_checkpoint_type
    predictor = restore(run.folder / f"{kind}_checkpoint.pth.tar").to(run.device)
    results = {
        "dataset_name": config.dataset_name,
        "label_level": predictor.level,
        "cam_agg_level": predictor.cam_agg_level,
        "cam_curve_interval": config.cam_curve_interval,
        "num_classes": len(predictor.class_names),
        "checkpoint": {"type": kind, "epoch": predictor.epoch},
    }
    if run.data.targets:
        results["fullsup_images"] = {name: len(run.data.splits[name].image_ids) for name in run.loaders}
    for name, truth in run.data.truths.items():
        saved = config.save_scoremaps in (name, "both")
        again = name != "val" or (saved and kind == "best")
        if again:
            save, on_bad = map_writer(run) if saved else None, partial(handle_bad_images, run)
            evaluator = evaluate_split(predictor, run.data.splits[name], truth, run.device, config.workers, on_bad, save)
        else:
            evaluator = restored_validation(run, kind)
        if name != "val":
            record(run, predictor.epoch, name, run_figures(evaluator))
        results[name] = final_results(evaluator, config, predictor.thresholds)
        report_split(run, name, evaluator, results[name], predictor.epoch)
        threshold = analysis_threshold(predictor.thresholds) if again else None
        write_images(run.folder / images_name(name), evaluator, threshold)
        files = write_tables(run.folder, evaluator, config.metadata_root, predictor.thresholds)
        if not (run.data.splits[name].subset or evaluator.counts["skipped_images"]):
            del files["image_list"]  # evaluation.py takes all of a split by itself
        if run.thresholds:
            files["thresholds_from"] = predictor.path  # results.json has no val part
        if saved and evaluator.truth.has_any:
            logger.info("  score again: %s", rescoring_command(config, run.folder / MAPS_OF_A_RUN, name, files))
    return results


def report_split(run: Experiment, split: str, evaluator: SplitEvaluator, results: Mapping, epoch: int) -> None:
    """Log a split's final figures."""
    logger.info("%s, %s checkpoint (epoch %d):", split, run.config.eval_checkpoint_type, epoch)
    for line in format_results(results, run.config.multi_iou_eval).split("\n"):
        logger.info("  %s", line)
    note = small_map_note(run.config.dataset_name, evaluator.map_sizes.values())
    if note and evaluator.truth.has_any:  # classification does not depend on it
        logger.info("  note: %s", note)


def run_experiment(run: Experiment) -> None:
    """Train, evaluate and write the results; the maps are marked as unfinished until then."""
    saves = any(run.config.save_scoremaps in (name, "both") for name in run.data.truths)
    words = shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
    writing = being_written(run.folder / MAPS_OF_A_RUN, words) if saves else nullcontext()
    with loading_failures(run.config.workers), writing:
        train(run)
        with run.record.phase("final evaluation"):
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
    with toy.prepared(config.data_root, config.metadata_root) if is_toy else nullcontext():  # puts back an older Toy
        run = build(config)
    if run.device.type == "cpu":  # a GPU's deterministic kernels are slower, and some are missing
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property of the module
    start_logging(run.folder / LOG)
    for note in (*notes, *run.data.levels.notes):
        logger.info(note)
    sizes = ", ".join(f"{len(split.image_ids)} {name}" for name, split in run.data.splits.items())
    logger.info(
        "%s at level %s (of %s): %d classes, %s images; %s %s on %s",
        config.dataset_name,
        run.data.levels.level,
        ", ".join(run.data.levels.levels),
        len(run.data.levels.class_names),
        sizes,
        config.architecture,
        config.wsol_method,
        run.device,
    )
    validated = run.data.splits["val"].image_ids if "val" in run.data.splits else ()
    with recorded(run.record), tracking(config, run.folder, validated) as run.trackers:
        run_experiment(run)


if __name__ == "__main__":
    main()
