"""What a run is made of, and what it writes while it runs: metrics, checkpoints, maps.

In: the pieces that main.py builds. Out: files of the run's folder; a signal ends the run between two images.
"""

import json
import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import torch
from munch import Munch
from torch import nn

from wsol.core.errors import CHECKPOINTED, REFUSED, InputError, Stopped
from wsol.core.files import write_text
from wsol.core.launch import launched
from wsol.core.stopping import StopSignals
from wsol.data.batches import Batch, EpochShuffle
from wsol.maps.mapper import Mapper
from wsol.maps.score_maps import MAPS_OF_A_RUN, save_score_map
from wsol.methods.method import Method
from wsol.metrics.split_evaluator import PSEUDO_BOXES, SplitEvaluator
from wsol.networks import ranks
from wsol.runs.cached_features import EncodedBatches
from wsol.runs.checkpoints import write_checkpoint
from wsol.runs.final_evaluation import SaveMap, new_evaluator, stop_at_bad_images
from wsol.runs.resume import LAST, OF_A_CALL, STEP, Found, bring_best, checkpoint_path, continuing_command
from wsol.runs.run_data import RunData
from wsol.runs.run_folder import CONFIG, check_still_there, kept_run, make_folder, replaced_note
from wsol.runs.run_record import RunRecord, earlier_record
from wsol.runs.trackers import Trackers
from wsol.runs.train_state import TrainState, to_arrays
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
    loaders: Mapping[str, torch.utils.data.DataLoader | EncodedBatches]  # of train, and of val unless nothing validates
    shuffle: EpochShuffle
    thresholds: dict[str, float] | None  # for score maps, chosen by another run (--thresholds_from)
    found: Found | None = None  # the checkpoint that it continues from
    lock: IO[str] | None = None  # of the folder, which the first rank holds
    replaced: Path | None = None  # the earlier run's folder, kept until this one is finished
    record: RunRecord = field(init=False)  # its run.json
    trackers: Trackers = field(default_factory=Trackers)  # of --logger
    signals: StopSignals = field(default_factory=StopSignals)
    saved_at: float = field(default_factory=time.monotonic)  # when the last checkpoint was written


def stop_if_asked(run: Experiment, received: str) -> None:
    """Write a checkpoint and stop, if a signal came; `received` is its name, or empty."""
    if received:
        state = run.state
        if state.step or not state.is_validated:  # otherwise the last checkpoint holds it all
            save_checkpoint(run, STEP)
        if not ranks.is_first():
            ranks.leave_to(0, CHECKPOINTED)
        place = f"epoch {state.epoch}" + (f", step {state.step} of the next" if state.step else "")
        command = continuing_command(run.folder, launched().local_size)
        raise Stopped(f"{received}: checkpointed after {place}", command)


def save_if_due(run: Experiment) -> None:
    """Write a checkpoint within an epoch, if the last one is older than --checkpoint_minutes, by the first rank's clock."""
    minutes = run.config.checkpoint_minutes
    if minutes and ranks.gather_numbers([time.monotonic() - run.saved_at >= 60 * minutes])[0][0]:
        save_checkpoint(run, STEP)


def between_images(run: Experiment, bad: list[str]) -> None:
    """Stop if a signal asked for it, or at images that could not be read, or log and skip these.

    Several ranks agree on that, before each of their batches (`agree`).
    """
    if ranks.size() == 1:
        stop_if_asked(run, run.signals.received)
    if run.config.on_bad_image == "stop":
        if bad and not ranks.is_first():
            ranks.leave_to(0, REFUSED)
        stop_at_bad_images(bad)
    for message in bad:
        if message not in run.state.bad_images:
            logger.warning("skipped: %s", message)
            run.state.bad_images.append(message)


def agree(run: Experiment, batch: Batch) -> list[int]:
    """Do what `between_images` does, on all ranks at the same batch; return how many images each of them has in it."""
    if ranks.size() == 1:
        between_images(run, batch.bad)
        return [len(batch.image_ids)]
    received = run.signals.received
    number = signal.Signals[received] if received else 0
    images, numbers, bad = zip(*ranks.gather_numbers([len(batch.image_ids), number, len(batch.bad)]), strict=True)
    stop_if_asked(run, signal.Signals(max(numbers)).name if any(numbers) else "")
    if any(bad):
        between_images(run, [message for part in ranks.gather(batch.bad) for message in part])
    return list(images)


def agreed(run: Experiment, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the batches of an evaluation, of which every rank has others; all ranks are at the same number, and all stop."""
    for batch in batches:
        if ranks.size() == 1:
            yield batch
        else:
            agree(run, batch)
            yield batch._replace(bad=[])


def require_folder(run: Experiment) -> None:
    """Raise InputError if the run's folder is not its own any more, see `check_still_there`."""
    if run.lock:
        check_still_there(run.folder, run.lock)


def map_writer(run: Experiment) -> SaveMap:
    """Return a function that saves a score map in the run's folder."""

    def save(image_id: str, score_map: np.ndarray) -> None:
        require_folder(run)
        save_score_map(run.folder / MAPS_OF_A_RUN, image_id, score_map, run.config.scoremap_format)

    return save


def write_metrics(run: Experiment) -> None:
    """Write metrics.jsonl, whole."""
    if not ranks.is_first():
        return
    require_folder(run)
    write_text(run.folder / "metrics.jsonl", "".join(json.dumps(line, allow_nan=False) + "\n" for line in run.state.metrics))


def record(run: Experiment, epoch: int, split: str, results: Mapping) -> None:
    """Add one line to metrics.jsonl; the first rank does."""
    if not ranks.is_first():
        return
    run.state.metrics.append({"epoch": epoch, "split": split, **results})
    write_metrics(run)
    figures = {name: value for name, value in results.items() if isinstance(value, float)}
    figures |= {f"MaxBoxAcc{iou}": value for iou, value in (results.get("MaxBoxAcc") or {}).items()}
    is_pseudo = "box_source" in results
    run.trackers.figures(epoch, f"{split}_pseudo_boxes" if is_pseudo else split, figures)
    shown = f"{split} (pseudo boxes)" if is_pseudo else split
    logger.info("epoch %d %s: %s", epoch, shown, ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))


def save_checkpoint(run: Experiment, kind: str) -> None:
    """Write best_, last_ or step_checkpoint.pth.tar: the model, how it was built, and the state of its training.

    The first rank writes, with the others' parts of the sums within an epoch, which all ranks call this in.
    """
    training = run.state.state_dict()
    if not ranks.is_first():
        return
    require_folder(run)
    ancestors, validated = run.data.ancestors, run.state.validation
    chosen = validated[kind].results.get("best_threshold") if kind in validated else None
    write_checkpoint(
        checkpoint_path(run.folder, kind),
        {
            "architecture": run.config.architecture,
            "config": {name: value for name, value in run.config.items() if name not in OF_A_CALL},
            "label_level": run.data.levels.level,
            "class_names": run.data.levels.class_names,
            "file_labels": run.data.levels.file_labels,
            **({"trained_levels": [one.to_dict() for one in run.data.together]} if run.data.together else {}),
            "ancestors": None if ancestors is None else {run.config.cam_agg_level: ancestors.tolist()},
            "score_map_thresholds": run.thresholds or chosen,
            "state_dict": run.model.state_dict(),
            **training,
        },
    )
    if kind == LAST:
        checkpoint_path(run.folder, STEP).unlink(missing_ok=True)
    run.saved_at = time.monotonic()


def chosen_thresholds(config: Munch, data: RunData) -> dict[str, float] | None:
    """Return the score-map thresholds that the run of --thresholds_from chose, None without this option."""
    if not (config.thresholds_from and data.targets):
        return None
    chosen = read_val_thresholds(config.thresholds_from)
    return chosen.fit(config.dataset_name, new_evaluator(config, data.targets.truth))


def open_folder(run: Experiment, write_config: Callable[[Path], None]) -> None:
    """Make the run's folder, or go on in it if its lock is held; bring it to where the checkpoint stands that was found.

    Of several ranks, the first one does.
    """
    folder, earlier = run.folder, None
    if ranks.is_first():
        if run.lock:
            write_config(folder / CONFIG)
            run.replaced, earlier = kept_run(folder), earlier_record(folder)
        else:
            run.replaced, run.lock = make_folder(folder, write_config, run.config.override_cache)
    if run.replaced:
        run.data.levels.notes.append(replaced_note(run.replaced))
    run.record = RunRecord(folder, run.device, run.config.threads, run.lock, earlier)
    if run.found and ranks.is_first():
        take_up(run, run.found)


def take_up(run: Experiment, found: Found) -> None:
    """Bring a run's folder to where the checkpoint stands that it continues from."""
    write_metrics(run)
    bring_best(found, run.folder)
    at_the_end_of_an_epoch = run.state.is_validated and not run.state.step
    if at_the_end_of_an_epoch and found.path != checkpoint_path(run.folder, LAST):
        save_checkpoint(run, LAST)


def restored_validation(run: Experiment, kind: str) -> SplitEvaluator:
    """Return the evaluator of val as it was for the last or the best checkpoint, from the saved counts."""
    evaluator = new_evaluator(run.config, run.data.truths["val"])
    evaluator.load_state_dict(to_arrays(run.state.validation[kind].counts))
    return evaluator


def check_same_pseudo_boxes(state: TrainState, data: RunData, found: Found) -> None:
    """Raise InputError if a run that continues has chosen by other pseudo boxes of val before."""
    truth = data.truths.get("val")
    for validated in state.validation.values() if truth and truth.pseudo_hash else ():
        before = (validated.counts.get("settings") or {}).get("truth")
        if truth and before and before != [f"{PSEUDO_BOXES}{truth.pseudo_hash}"]:
            raise InputError(
                f"{found.path}: val was evaluated with other pseudo boxes than there are now; expected those of the start, "
                "or a new run"
            )


def log_start(run: Experiment, notes: list[str]) -> None:
    """Log what is run; `notes` come first."""
    for note in (*notes, *run.data.levels.notes):
        logger.info(note)
    sizes = ", ".join(f"{len(split.image_ids)} {name}" for name, split in run.data.splits.items())
    logger.info(
        "%s at level %s (of %s): %d classes, %s images; %s %s on %s%s",
        run.config.dataset_name,
        run.data.level_name(run.config.get("map_level")),
        ", ".join(run.data.levels.levels),
        len(run.data.levels.class_names),
        sizes,
        run.config.architecture,
        run.config.wsol_method,
        run.device,
        f", {ranks.size()} processes" if ranks.size() > 1 else "",
    )
