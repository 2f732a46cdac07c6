r"""One experiment: train from image-level labels at one label level, map, score.

    python main.py                                            # Toy, about a minute on two cores
    python main.py --dataset_name OxfordPet --label_level species --experiment_name pets \
        --architecture timm:tf_efficientnet_lite0 --pretrained_path weights.pth
    python main.py --config train_log/pets/config.yaml --experiment_name pets_again
    python main.py --config train_log/pets/config.yaml --resume auto           # continue a run that was stopped
    torchrun --nproc_per_node 4 main.py --experiment_name fast                 # on four GPUs (docs/scaling.md)

Validates before training and after every epoch, evaluates the test split once at the end, and writes
train_log/<experiment_name>/: config.yaml, log.txt, metrics.jsonl, checkpoints, scoremaps/, results.json (docs/runs.md).
"""

import logging
import math
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path

# Before torch, whose threads it tells to sleep while they wait.
from wsol.core.machine import keep_freed_memory, resolve_threads, use_threads

# isort: split
from config import (
    LOG_ROOT,
    check_saved_config,
    choose_preprocessing,
    get_config,
    read_config,
    training_defaults,
    write_config,
)
from wsol.core.errors import command, refuse_early

if __name__ == "__main__":  # before the seconds in which torch is loaded
    refuse_early(partial(get_config, description=__doc__))

import torch
from munch import Munch

from data_loaders import EpochShuffle
from dataset import toy
from dataset.known import how_to_prepare, require_dataset
from evaluation import format_results, rescoring_command
from wsol.core import registry
from wsol.core.launch import launched
from wsol.core.log import start_logging
from wsol.core.options import AUTO
from wsol.core.progress import progress, tell
from wsol.data.batches import Batch
from wsol.data.levels import finest_level
from wsol.data.loading import loading_failures
from wsol.data.metadata import dataset_folder
from wsol.data.truth import PSEUDO
from wsol.maps.mapper import make_mapper
from wsol.maps.prediction import predict
from wsol.maps.score_maps import MAPS_OF_A_RUN, being_written
from wsol.methods.draws import DrawSource, on_device
from wsol.methods.level_heads import learn_levels, level_view
from wsol.methods.method import Method
from wsol.metrics.images_file import images_name, write_images
from wsol.metrics.map_sizes import small_map_note
from wsol.metrics.split_evaluator import SplitEvaluator, headline
from wsol.networks import ranks
from wsol.networks.compiled import require_compiler
from wsol.networks.device import autocast, resolve_device, to_device, use_tf32
from wsol.networks.frozen import count_parameters
from wsol.networks.shares import all_images, spread_over
from wsol.runs.cached_features import EncodedBatches, load_batches, stand_in
from wsol.runs.calibrate import complete_run
from wsol.runs.checkpoints import read_checkpoint, restore_model
from wsol.runs.experiment import (
    Experiment,
    agree,
    agreed,
    between_images,
    check_same_pseudo_boxes,
    chosen_thresholds,
    log_start,
    map_writer,
    open_folder,
    record,
    restored_validation,
    save_checkpoint,
    save_if_due,
)
from wsol.runs.final_evaluation import (
    analysis_threshold,
    count_predictions,
    evaluate_split,
    final_results,
    new_evaluator,
    run_figures,
    write_tables,
)
from wsol.runs.level_results import add_split, describe_results, lines_of, restore_level, shown_of
from wsol.runs.precision import resolve_amp
from wsol.runs.predictor import restore
from wsol.runs.resume import (
    BEST,
    LAST,
    check_best,
    check_same_run,
    checkpoint_path,
    continued,
    continuing_command,
    load_state,
    read_to_resume,
)
from wsol.runs.run_data import RunData, images_to_map, images_to_train_on, read_run_data
from wsol.runs.run_folder import (
    CONFIG,
    LEVELS,
    LOG,
    NEVER,
    RESULTS,
    check_run_folder,
    finish_folder,
    hold_run,
    kept_run,
    write_results,
)
from wsol.runs.run_record import record_finished, recorded
from wsol.runs.starting_weights import start_model
from wsol.runs.trackers import check_logins, tracking
from wsol.runs.training import (
    check_network,
    check_sync_batchnorm,
    set_learning_rate,
    spread_step,
    start_training,
)

logger = logging.getLogger("wsol")


def saved_options(saved: Mapping, path: Path) -> dict:
    """Return the configuration that a checkpoint holds, checked, with the defaults of what it lacks."""
    return {**training_defaults(), **check_saved_config(saved, str(path))}


def begun_config(config: Munch, folder: Path) -> Munch | None:
    """Return the configuration of the run that --resume continues, None for a new run."""
    if config.resume != NEVER and (folder / CONFIG).is_file():
        saved, source = read_config(folder / CONFIG), folder / CONFIG
    elif config.resume in (NEVER, AUTO):
        return None
    else:
        source = Path(config.resume)
        saved = saved_options(read_checkpoint(config.resume)["config"], source)
    require_dataset(config.metadata_root, config.dataset_name)
    if config.label_level is None and not config.coarsening:  # a run records the level that it stands for
        config.label_level = finest_level(dataset_folder(config.metadata_root, config.dataset_name))
    saved = Munch({**training_defaults(), **saved})
    saved.preprocessing = choose_preprocessing(saved)  # which older runs do not state
    check_same_run(config, saved, source)
    return continued(config, saved)


def build(config: Munch) -> Experiment:
    """Read the data and build the model; nothing is written before all is checked (`open_folder`).

    Of several ranks, the first one has the folder and its lock; if one fails, all end.
    """
    folder = Path(LOG_ROOT) / config.experiment_name
    goes_on = config.resume != NEVER and (folder / CONFIG).is_file()
    lock = None
    with ranks.agreeing():
        if ranks.is_first():
            check_logins(config.logger)
            if not goes_on:
                check_run_folder(folder, Path(LOG_ROOT), config.override_cache, continuing_command(folder))
            lock = hold_run(folder) if goes_on else None
        found = read_to_resume(config.resume, folder) if goes_on or config.resume not in (NEVER, AUTO) else None
        if found:  # its run may be another one than config.yaml's: a file of another run, or an edited config.yaml
            check_same_run(config, saved_options(found.content["config"], found.path), found.path)
            check_best(found, folder, config.eval_checkpoint_type)
        device = resolve_device(config.device, config.amp, config.tf32)
        use_tf32(config.tf32)
        if config.compile:
            require_compiler(device)
        check_sync_batchnorm(config.sync_batchnorm, device)
        require_dataset(config.metadata_root, config.dataset_name)
        data = read_run_data(config, how_to_prepare(config.dataset_name))
        if not data.together:
            config.label_level = None if config.coarsening else data.levels.level
        thresholds = chosen_thresholds(config, data)

        torch.manual_seed(config.seed)
        if found:
            model, notes = restore_model(found.content, found.path), [*found.notes, found.describe()]
        else:
            model, notes = start_model(config, data.levels, data.together)
        check_network(model, config, len(data.splits["train"].image_ids))
        model.to(device).to(memory_format=torch.channels_last)
        amp, measured = resolve_amp(config.amp, model, config.batch_size // ranks.size(), config.crop_size, device)
    config.amp = ranks.gather(amp)[0]
    with ranks.agreeing():
        mapped = model
        if data.together:
            learn_levels(model, data.splits["train"])
            mapped = level_view(model, data.together, config.map_level)
        mapper = make_mapper(registry.OWN_MAPS if data.ancestors is None else registry.CAM_AGG, mapped, data.ancestors)
        shuffle = EpochShuffle(len(data.splits["train"].image_ids), config.seed)
        splits = [name for name in data.splits if name != "test"]
        loaders = {name: split_loader(config, data, model, name, device, shuffle) for name in splits}
        state = start_training(model, config, device)
        if found:
            load_state(state, found)
            check_same_pseudo_boxes(state, data, found)
    trained, every = count_parameters(model)
    data.levels.notes += [*notes, *measured, f"{trained:,} of {every:,} parameters are trained"]
    return Experiment(
        config,
        folder,
        device,
        data,
        model,
        mapper.to(device),
        spread_step(model, config, device),
        state,
        loaders,
        shuffle,
        thresholds,
        found,
        lock,
    )


def split_loader(
    config: Munch, data: RunData, model: Method, name: str, device: torch.device, shuffle: EpochShuffle
) -> torch.utils.data.DataLoader | EncodedBatches:
    """Return the loader of train, or of a split to evaluate."""
    preprocessing = model.backbone.offer.preprocessing
    if name == "train":
        images, size, order = images_to_train_on(config, data, preprocessing), config.batch_size, shuffle
    else:
        images = images_to_map(config, data.splits[name], preprocessing, config.cache_images)
        size, order = config.eval_batch_size or config.batch_size, None
    cache = config.cache_features
    return load_batches(images, model, config, size, config.workers, device, order, ranks.place(), cache)


def train_one_step(run: Experiment, batch: Batch) -> None:
    """Take one step of SGD on a batch; a rank without images, while others have some, takes it with a stand-in."""
    state, own = run.state, len(batch.image_ids)
    if not own:
        batch = stand_in(run.loaders["train"], 2, run.config.crop_size, run.model.label_shape)
    source = DrawSource(run.config.seed, state.epoch + 1, state.step, batch.positions)
    draws = on_device(run.model.draw(source, batch.size), run.device)
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
        labels = batch.labels if batch.labels.ndim == 1 else batch.labels[:, 0]  # the accuracy is that of the first level
        right = (outputs["logits"].detach().argmax(dim=1) == labels)[:own].sum()
    state.count(loss.detach(), right, all_images(own))


def train_one_epoch(run: Experiment) -> None:
    """Train on every image once, from the state's step on; record the mean loss, and the accuracy in percent if the method
    tells classes apart."""
    state = run.state
    epoch = state.epoch + 1
    run.shuffle.epoch, run.shuffle.start = epoch, state.step * run.config.batch_size
    set_learning_rate(state.optimizer, epoch, run.config.lr_decay_frequency)
    run.step.train()
    for batch in progress(run.loaders["train"], f"epoch {epoch}"):
        images = agree(run, batch)  # of every rank
        if sum(images):
            with spread_over(images):
                train_one_step(run, batch)
        state.step += 1
        save_if_due(run)
    loss, accuracy = state.finish_epoch()
    is_finite = math.isfinite(loss)
    if not is_finite:
        logger.warning("the training loss of epoch %d is not finite; a smaller --lr may help", epoch)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    top1 = accuracy if run.data.targets is None else None
    record(run, epoch, "train", {"loss": loss if is_finite else None, "top1_cls": top1, "lr": rates[0]})
    run.trackers.figures(epoch, "lr", {f"group{number}": rate for number, rate in enumerate(rates)})


def validate(run: Experiment) -> None:
    """Evaluate val; write the last checkpoint, and the best one if this is it. Save validation maps here if the last
    checkpoint's are wanted. Without images to validate on, only write the last checkpoint."""
    state, config = run.state, run.config
    if "val" not in run.loaders:
        state.keep_validation({}, {}, None)
        save_checkpoint(run, LAST)
        return
    maps_wanted = config.eval_checkpoint_type == "last" and config.save_scoremaps in ("val", "both")
    save = map_writer(run) if maps_wanted and state.epoch == config.epochs else None
    evaluator, bad = new_evaluator(config, run.data.truths["val"]), list[str]()
    ranks.take_buffers(run.model)
    predictions = predict(run.mapper, agreed(run, run.loaders["val"]), run.device, config.amp, bad)
    save = run.trackers.keeping_examples(save)
    count_predictions(predictions, evaluator, bad, partial(between_images, run), save)
    run.trackers.examples(state.epoch, "val")
    if not ranks.is_first():
        state.keep_validation({}, {}, None)  # the first one has the counts
        return
    results = run_figures(evaluator)
    record(run, state.epoch, "val", results)
    is_best = state.keep_validation(results, evaluator.state_dict(), headline(results, config.multi_iou_eval))
    # The best one first: if the run is killed in between, resuming from the last one writes the same best one again.
    for kind in (BEST, LAST) if is_best else (LAST,):
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
        save_if_due(run)


def final_evaluation(run: Experiment) -> dict:
    """Evaluate the chosen checkpoint, on test once; return what results.json holds.

    Val is evaluated again only if the best checkpoint's maps of it are wanted.
    """
    config, kind = run.config, run.config.eval_checkpoint_type
    ranks.wait()  # for the first one to have written it
    predictor = restore(checkpoint_path(run.folder, kind)).to(run.device)
    results = describe_results(predictor, kind)
    if config.select_on == PSEUDO:
        results |= {"select_on": PSEUDO, "pseudo_boxes_sha256": run.data.truths["val"].pseudo_hash}
    if run.data.targets:
        results["fullsup_images"] = {name: len(run.data.splits[name].image_ids) for name in run.loaders}
    for name, truth in run.data.truths.items():
        saved = config.save_scoremaps in (name, "both")
        again = name != "val" or (saved and kind == "best")
        if again:
            save, on_bad = map_writer(run) if saved else None, partial(between_images, run)
            evaluator = evaluate_split(
                predictor,
                run.data.splits[name],
                truth,
                run.device,
                config.workers,
                on_bad,
                save,
                config.cache_images,
                partial(agreed, run),
                config.cache_features,
            )
        elif ranks.is_first():
            evaluator = restored_validation(run, kind)
        if not ranks.is_first():
            continue
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
    if run.data.together:
        results[LEVELS] = evaluate_levels(run, kind)
    return results


def evaluate_levels(run: Experiment, kind: str) -> dict:
    """Evaluate the chosen checkpoint at each of the levels that were learned at once; return their main figures."""
    found = {}
    for level, (splits, truths) in run.data.each_level.items():
        predictor = restore_level(checkpoint_path(run.folder, kind), level).to(run.device)
        content: dict = {}
        for name, truth in truths.items():
            evaluator = evaluate_split(
                predictor,
                splits[name],
                truth,
                run.device,
                run.config.workers,
                partial(between_images, run),
                None,
                run.config.cache_images,
                partial(agreed, run),
                run.config.cache_features,
            )
            if ranks.is_first():
                content = add_split(run.folder, predictor, kind, name, evaluator)
        if ranks.is_first():
            found[level] = shown_of(content)
            shown = ", ".join(f"{name} {line}" for name, line in lines_of(found[level]).items())
            logger.info("level %s: %s", level, shown)
    return found


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
    writing = being_written(run.folder / MAPS_OF_A_RUN, words) if saves and ranks.is_first() else nullcontext()
    with ranks.lost_ranks(), loading_failures(run.config.workers), writing:
        train(run)
        with run.record.phase("calibration"):
            complete_run(run)
        with run.record.phase("final evaluation"):
            results = final_evaluation(run)
    if not ranks.is_first():
        return
    if bad_images := run.state.bad_images:
        logger.warning("%d images could not be read and were skipped", len(bad_images))
    write_results(run.folder, results)
    finish_folder(run.replaced)
    logger.info("written: %s", run.folder / RESULTS)


def run_as_rank(config: Munch, notes: list[str]) -> None:
    """Build the experiment of a configuration and run it, alone or as one of several ranks."""
    folder = Path(LOG_ROOT) / config.experiment_name
    with ExitStack() as held:
        with ExitStack() as prepared:  # puts back an older Toy, if the run is refused
            launch = launched()
            for turn in (launch.rank == 0, launch.rank > 0 == launch.local_rank):  # another machine may have its own disk
                with ranks.agreeing():
                    if turn and config.dataset_name == toy.NAME:
                        prepared.enter_context(toy.prepared(config.data_root, config.metadata_root))
            with ranks.agreeing():
                config = begun_config(config, folder) or config
                if config.resume == AUTO and (folder / CONFIG).is_file() and (folder / RESULTS).is_file():
                    if ranks.is_first():
                        finish_folder(kept_run(folder))
                        record_finished(folder)
                        tell(f"finished before: {folder / RESULTS}")
                    return
            config.threads = resolve_threads(config.threads)
            use_threads(config.threads)
            run = build(config)
            held.enter_context(run.signals)  # before there is a run.json, and until it says how the run ended
            with ranks.agreeing():
                open_folder(run, partial(write_config, config))
        if run.device.type == "cpu":  # a GPU's deterministic kernels are slower, and some are missing
            torch.use_deterministic_algorithms(True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # of the module
        if ranks.is_first():
            start_logging(run.folder / LOG)
        log_start(run, notes)
        validated = run.data.splits["val"].image_ids if "val" in run.data.splits else ()
        with (
            run.lock or nullcontext(),
            recorded(run.record),
            tracking(config, run.folder, validated, run.state.epoch) as run.trackers,
        ):
            run_experiment(run)


@command
def main() -> None:
    """Run one experiment."""
    config, notes = get_config(description=__doc__)
    keep_freed_memory()
    with ranks.running(config.device):
        run_as_rank(config, notes)


if __name__ == "__main__":
    main()
