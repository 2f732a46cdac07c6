"""What a run is made of, and what it writes while it runs: metrics, checkpoints, maps.

In: the pieces that main.py builds. Out: files of the run's folder; a signal ends the run between two images.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch
from munch import Munch
from torch import nn

from wsol.core.errors import Stopped
from wsol.core.files import write_text
from wsol.core.stopping import StopSignals
from wsol.data.batches import EpochShuffle
from wsol.maps.mapper import Mapper
from wsol.maps.score_maps import MAPS_OF_A_RUN, save_score_map
from wsol.methods.method import Method
from wsol.runs.checkpoints import write_checkpoint
from wsol.runs.final_evaluation import SaveMap, stop_at_bad_images
from wsol.runs.resume import LAST, OF_A_CALL, STEP, checkpoint_path, continuing_command
from wsol.runs.run_data import RunData
from wsol.runs.run_record import RunRecord
from wsol.runs.trackers import Trackers
from wsol.runs.train_state import TrainState

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
    lock: IO[str]  # of the folder
    record: RunRecord  # its run.json
    trackers: Trackers = field(default_factory=Trackers)  # of --logger
    signals: StopSignals = field(default_factory=StopSignals)
    saved_at: float = field(default_factory=time.monotonic)  # when the last checkpoint was written


def stop_if_asked(run: Experiment) -> None:
    """Write a checkpoint and stop, if a signal asked for it."""
    if signal := run.signals.received:
        state = run.state
        if state.step or not state.is_validated:  # otherwise the last checkpoint holds it all
            save_checkpoint(run, STEP)
        place = f"epoch {state.epoch}" + (f", step {state.step} of the next" if state.step else "")
        raise Stopped(f"{signal}: checkpointed after {place}", continuing_command(run.folder))


def save_if_due(run: Experiment) -> None:
    """Write a checkpoint within an epoch, if the last one is older than --checkpoint_minutes."""
    minutes = run.config.checkpoint_minutes
    if minutes and time.monotonic() - run.saved_at >= 60 * minutes:
        save_checkpoint(run, STEP)


def between_images(run: Experiment, bad: list[str]) -> None:
    """Stop if a signal asked for it, or at images that could not be read, or log and skip these."""
    stop_if_asked(run)
    if run.config.on_bad_image == "stop":
        stop_at_bad_images(bad)
    for message in bad:
        if message not in run.state.bad_images:
            logger.warning("skipped: %s", message)
            run.state.bad_images.append(message)


def map_writer(run: Experiment) -> SaveMap:
    """Return a function that saves a score map in the run's folder."""
    return lambda image_id, score_map: save_score_map(
        run.folder / MAPS_OF_A_RUN, image_id, score_map, run.config.scoremap_format
    )


def write_metrics(run: Experiment) -> None:
    """Write metrics.jsonl, whole."""
    write_text(run.folder / "metrics.jsonl", "".join(json.dumps(line, allow_nan=False) + "\n" for line in run.state.metrics))


def record(run: Experiment, epoch: int, split: str, results: Mapping) -> None:
    """Add one line to metrics.jsonl."""
    run.state.metrics.append({"epoch": epoch, "split": split, **results})
    write_metrics(run)
    figures = {name: value for name, value in results.items() if isinstance(value, float)}
    figures |= {f"MaxBoxAcc{iou}": value for iou, value in (results.get("MaxBoxAcc") or {}).items()}
    run.trackers.figures(epoch, split, figures)
    logger.info("epoch %d %s: %s", epoch, split, ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))


def save_checkpoint(run: Experiment, kind: str) -> None:
    """Write best_, last_ or step_checkpoint.pth.tar: the model, how it was built, and the state of its training."""
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
            "ancestors": None if ancestors is None else {run.config.cam_agg_level: ancestors.tolist()},
            "score_map_thresholds": run.thresholds or chosen,
            "state_dict": run.model.state_dict(),
            **run.state.state_dict(),
        },
    )
    if kind == LAST:
        checkpoint_path(run.folder, STEP).unlink(missing_ok=True)
    run.saved_at = time.monotonic()
