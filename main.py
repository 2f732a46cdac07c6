"""One experiment: train from image-level labels at one label level, map, score.

    python main.py                                            # Toy, about a minute on two cores
    python main.py --dataset_name OxfordPet --label_level species --experiment_name pets \\
        --architecture timm:tf_efficientnet_lite0 --pretrained_path weights.pth
    python main.py --config train_log/pets/config.yaml --experiment_name pets_again

Validates before training and after every epoch, evaluates the test split once at the end, and writes
train_log/<experiment_name>/: config.yaml, log.txt, metrics.jsonl, checkpoints, scoremaps/, results.json (docs/runs.md).
"""

import copy
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

from wsol.machine import resolve_threads, use_threads  # before torch, whose threads it tells to sleep while they wait

# isort: split
from config import LOG_ROOT, get_config, write_config
from wsol.errors import InputError, command, reason, refuse_early

if __name__ == "__main__":  # before the seconds in which torch is loaded
    refuse_early(partial(get_config, description=__doc__))

import torch
from munch import Munch
from torch import nn

from data_loaders import EpochShuffle, LabeledImages, load_level, make_loader, require_images
from dataset import toy
from dataset.known import require_dataset
from evaluation import format_results, rescoring_command
from inference import Prediction, autocast, predict, resolve_device, to_device
from wsol.cam_agg import aggregate, ancestors_at, keep_with_ancestor
from wsol.checkpoints import read_checkpoint, write_checkpoint
from wsol.confidence import Resampled, intervals
from wsol.files import write_json, write_text
from wsol.levels import LevelData
from wsol.loading import loading_failures
from wsol.log import start_logging
from wsol.map_sizes import small_map_note
from wsol.method import draws_of_epoch
from wsol.parallel import map_beside
from wsol.progress import progress
from wsol.run_folder import LOG, RESULTS, check_run_folder, finish_folder, make_folder, replaced_note
from wsol.score_maps import MAPS_OF_A_RUN, being_written, save_score_map
from wsol.split_evaluator import Scored, SplitEvaluator, headline
from wsol.starting_weights import start_model
from wsol.tables import class_rows, curve_rows, read_classes, write_class_ranks, write_table

logger = logging.getLogger("wsol")


@dataclass
class Experiment:
    """What a run is made of; `bad_images` grows while it runs."""

    config: Munch
    folder: Path
    device: torch.device
    data: LevelData
    model: nn.Module
    mapper: nn.Module  # what makes the maps: the model, or the model with its maps aggregated
    optimizer: torch.optim.Optimizer
    loaders: dict[str, torch.utils.data.DataLoader]
    shuffle: EpochShuffle
    replaced: Path | None  # the earlier run's folder, kept until this one is finished
    bad_images: list[str] = field(default_factory=list)
    metrics: list[dict] = field(default_factory=list)


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
            require_images(image_root, split.image_ids, name, config.dataset_name)
    data.notes += check_truth(config, data)

    torch.manual_seed(config.seed)
    model, notes = start_model(config, data)
    data.notes += notes
    check_network(model, config, len(data.splits["train"].image_ids))
    model.to(device, memory_format=torch.channels_last)
    mapper = model if ancestors is None else aggregate(model, ancestors).to(device)
    optimizer = torch.optim.SGD(
        model.parameter_groups(config.lr, config.lr_classifier_ratio),
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
        fused=device.type == "cuda",  # keeps fp16's overflow check on the device
    )
    shuffle = EpochShuffle(len(datasets["train"]), config.seed)
    loaders = {
        name: make_loader(dataset, config.batch_size, config.workers, device, shuffle if name == "train" else None)
        for name, dataset in datasets.items()
    }
    replaced = make_folder(folder, partial(write_config, config), config.override_cache)
    data.notes += [replaced_note(replaced)] if replaced else []
    return Experiment(config, folder, device, data, model, mapper, optimizer, loaders, shuffle, replaced)


def check_truth(config: Mapping, data: LevelData) -> list[str]:
    """Refuse images without their truth before anything is trained; return what a log should say of splits without any."""
    has_truth = {
        name: SplitEvaluator.of(config, name, split.image_ids, needs_truth=False).has_truth
        for name, split in data.splits.items()
        if name != "train"
    }
    if not has_truth["val"] and config["eval_checkpoint_type"] == "best":
        raise InputError(
            f"--eval_checkpoint_type best: {config['dataset_name']} val has no boxes and no masks, so no checkpoint is the "
            "best at localization; expected last"
        )
    without = [name for name, has in has_truth.items() if not has]
    notes = [f"{name}: no boxes and no masks: classification alone is measured, not localization" for name in without]
    if "val" in without:
        notes.append("without boxes or masks of val, no best checkpoint and no score-map threshold can be chosen")
    return notes


def check_network(model: nn.Module, config: Mapping, num_train: int) -> None:
    """Refuse a network that does not take images of the crop size, gives no spatial map of them, or cannot train on the
    last batch where that is a single image."""
    crop = config["crop_size"]
    try:
        with torch.no_grad():
            shape = model.eval().score_maps(torch.zeros(1, 3, crop, crop), torch.zeros(1, dtype=torch.int64)).shape
    except Exception as error:  # whatever a network of a library says of images of another size
        raise InputError(
            f"--crop_size {crop}: {config['architecture']} does not take such images ({reason(error)})"
        ) from None
    if min(shape[1:]) < 2:
        raise InputError(
            f"--crop_size {crop}: {config['architecture']} gives a map of {shape[1]} x {shape[2]}; expected 2 x 2 or more, "
            "from larger images or with --large_feature_map TRUE"
        )
    if num_train % config["batch_size"] == 1 or config["batch_size"] == 1:
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                copy.deepcopy(model).train()(torch.zeros(1, 3, crop, crop))
        except ValueError as error:  # batch normalisation of pooled features
            raise InputError(
                f"--batch_size {config['batch_size']}: {config['architecture']} cannot train on a single image, "
                f"which is the last batch of {num_train} ({error}); expected another batch size"
            ) from None


def handle_bad_images(run: Experiment, bad: list[str]) -> None:
    """Stop at images that could not be read, or count each once and say so."""
    if bad and run.config.on_bad_image == "stop":
        raise InputError(f"{bad[0]} (--on_bad_image skip leaves such images out)")
    for message in bad:
        if message not in run.bad_images:
            logger.warning("skipped: %s", message)
            run.bad_images.append(message)


def train_one_epoch(run: Experiment, epoch: int, scaler: torch.amp.GradScaler) -> dict:
    """Train on every image once; return the mean loss and the accuracy in percent, read once, at the end."""
    run.shuffle.epoch = epoch
    if epoch % run.config.lr_decay_frequency == 0:
        for group in run.optimizer.param_groups:
            group["lr"] *= 0.1
    run.model.train()
    run.model.generator = draws_of_epoch(run.config.seed, epoch, run.device)
    totals = torch.zeros(2, dtype=torch.float64, device=run.device)  # summed on the device: no step waits for it
    count = 0
    for batch in progress(run.loaders["train"], f"epoch {epoch}"):
        handle_bad_images(run, batch.bad)
        if not batch.image_ids:
            continue
        images, labels = to_device(batch, run.device)
        with autocast(run.device, run.config.amp):
            outputs, loss = run.model.training_step(images, labels)
        run.optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(run.optimizer)
        scaler.update()
        right = (outputs["logits"].detach().argmax(dim=1) == labels).sum()
        totals += torch.stack([loss.detach() * len(labels), right.to(loss.dtype)])
        count += len(labels)
    loss, right = totals.tolist()
    if not math.isfinite(loss):
        logger.warning("the training loss of epoch %d is not finite; a smaller --lr may help", epoch)
        loss = None
    return {
        "loss": loss and loss / max(count, 1),
        "top1_cls": 100 * right / max(count, 1),
        "lr": run.optimizer.param_groups[0]["lr"],
    }


def evaluate(run: Experiment, split: str, save: bool = False) -> tuple[dict, SplitEvaluator]:
    """Return a split's metrics in percent, and its evaluator; one forward pass gives both accuracy and maps, which threads
    score beside it."""
    evaluator = SplitEvaluator.of(run.config, split, run.data.splits[split].image_ids, needs_truth=False)
    evaluator.resample(("bootstrap",), run.config.bootstrap, run.config.seed)

    def score(prediction: Prediction) -> Scored:
        score_map = prediction.score_map()
        if save:
            save_score_map(run.folder / MAPS_OF_A_RUN, prediction.image_id, score_map, run.config.scoremap_format)
        return evaluator.score(score_map, prediction.image_id)

    bad: list[str] = []
    predictions = predict(run.mapper, run.loaders[split], run.device, run.config.amp, bad)
    for prediction, scored in progress(map_beside(score, predictions), split, len(evaluator.image_ids)):
        handle_bad_images(run, bad)
        evaluator.add(scored)
        evaluator.ranks[prediction.image_id] = prediction.rank
    handle_bad_images(run, bad)
    if not evaluator.scored_ids:
        raise InputError(f"no image of the {split} split could be read")
    evaluator.counts["skipped_images"] = len(bad)
    return evaluator.results(), evaluator


def record(run: Experiment, epoch: int, split: str, results: Mapping) -> None:
    """Add one line to metrics.jsonl; the file is written whole each time."""
    run.metrics.append({"epoch": epoch, "split": split, **results})
    lines = [json.dumps(line, allow_nan=False) for line in run.metrics]
    write_text(run.folder / "metrics.jsonl", "\n".join(lines) + "\n")
    figures = {name: value for name, value in results.items() if isinstance(value, float)}
    figures |= {f"MaxBoxAcc{iou}": value for iou, value in (results.get("MaxBoxAcc") or {}).items()}
    logger.info("epoch %d %s: %s", epoch, split, ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))


def save_checkpoint(run: Experiment, name: str, epoch: int, val: Mapping) -> None:
    """Write best_ or last_checkpoint.pth.tar, with the score-map thresholds that val chose."""
    write_checkpoint(
        run.folder / f"{name}_checkpoint.pth.tar",
        {
            "architecture": run.config.architecture,
            "epoch": epoch,
            "state_dict": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "config": dict(run.config),
            "label_level": run.data.level,
            "class_names": run.data.class_names,
            "file_labels": run.data.file_labels,
            "score_map_thresholds": val.get("best_threshold"),
        },
    )


def train(run: Experiment) -> dict[str, tuple[dict, SplitEvaluator]]:
    """Validate, then train and validate every epoch, keeping the last and the best checkpoint; return the validation
    of each. Validation maps are saved here where the last checkpoint's are wanted."""
    config = run.config
    scaler = torch.amp.GradScaler(run.device.type, enabled=config.amp == "fp16")
    save_last = config.eval_checkpoint_type == "last" and config.save_scoremaps in ("val", "both")
    best = -math.inf
    validation = {}
    for epoch in range(config.epochs + 1):
        if epoch:
            record(run, epoch, "train", train_one_epoch(run, epoch, scaler))
        validation["last"] = results, _ = evaluate(run, "val", save_last and epoch == config.epochs)
        record(run, epoch, "val", results)
        save_checkpoint(run, "last", epoch, results)
        figure = headline(results, config.multi_iou_eval)
        if figure is not None and figure > best:
            best = figure
            validation["best"] = validation["last"]
            save_checkpoint(run, "best", epoch, results)
    return validation


def final_evaluation(run: Experiment, validation: Mapping[str, tuple[dict, SplitEvaluator]]) -> dict:
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
    for split in (name for name in run.data.splits if name != "train"):
        save = run.config.save_scoremaps in (split, "both")
        again = split != "val" or (save and kind == "best")
        split_results, evaluator = evaluate(run, split, save) if again else validation[kind]
        if split == "val":
            val_thresholds = split_results.get("best_threshold")
        else:
            record(run, checkpoint["epoch"], split, split_results)
        results[split] = evaluator.results(val_thresholds)
        results[split]["intervals"] = intervals(Resampled(evaluator), results[split])
        logger.info("%s, %s checkpoint (epoch %d):", split, kind, checkpoint["epoch"])
        for line in format_results(results[split], run.config.multi_iou_eval).split("\n"):
            logger.info("  %s", line)
        note = small_map_note(run.config.dataset_name, evaluator.map_sizes.values())
        if note and evaluator.has_truth:  # classification does not depend on it
            logger.info("  note: %s", note)
        files = write_tables(run, split, evaluator, val_thresholds)
        if save and evaluator.has_truth:
            logger.info("  score again: %s", rescoring_command(run.config, run.folder / MAPS_OF_A_RUN, split, files))
    return results


def write_tables(run: Experiment, split: str, evaluator: SplitEvaluator, val_thresholds: Mapping | None) -> dict[str, Path]:
    """Write a split's tables into the run's folder; return the options of evaluation.py that take files of the run."""
    files = {"class_ranks": run.folder / f"{split}_class_ranks.csv"}
    write_class_ranks(files["class_ranks"], evaluator.ranks)
    if evaluator.has_truth:
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
        results = final_evaluation(run, train(run))
    if run.bad_images:
        logger.warning("%d images could not be read and were skipped", len(run.bad_images))
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
