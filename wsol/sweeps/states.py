"""What has become of a planned run: nothing yet, running, finished, failed, or something that is not it.

In: a run's folder and the options that it should have. Out: a `State`; a folder of another run is an InputError.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.options import AUTO
from wsol.runs.results import read_run
from wsol.runs.resume import KEPT, MAY_CHANGE, OF_A_CALL
from wsol.runs.run_folder import CONFIG, RESULTS, check_kept
from wsol.runs.run_record import read_record
from wsol.runs.starting_weights import auto_is_false

# They change how a run is done or recorded, not what it gives (threads: beyond rounding).
NOT_COMPARED = ("experiment_name", "threads", *OF_A_CALL, *MAY_CHANGE)


@dataclass(frozen=True)
class State:
    """name: missing, interrupted, checkpointed, running, failed or finished.

    said: how far the run is, or what ended it.
    """

    name: str
    said: str = ""
    seconds: float | None = None
    host: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the run has its results."""
        return self.name == "finished"


def differing(config: Mapping, other: Mapping, ignored: Iterable[str] = NOT_COMPARED) -> list[str]:
    """Return the options in which two runs' configurations differ."""
    names = [name for name in {**config, **other} if name not in ignored]
    return [name for name in names if config.get(name) != other.get(name)]


def has_results(run: Path) -> bool:
    """Return whether a run has come to its end: its results are written last."""
    return (run / RESULTS).is_file()


def check_options(run: Path, config: Mapping[str, Any], saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check that the run in a folder has the options that are asked for.

    config, saved: the options asked for, and those of the folder's config.yaml. defaults: for what an older run lacks.

    Raises:
        InputError: they differ; the message says in what.
    """
    known = {**defaults, **saved}
    known.pop("config", None)
    other = [name for name in differing(config, known) if not (name in KEPT and config.get(name) == AUTO)]
    # FALSE was the default before auto was.
    if other == ["keep_classifier"] and {config[other[0]], known[other[0]]} == {False, AUTO} and auto_is_false(config):
        return
    if other:
        said = "; ".join(f"{name} was {known.get(name)}, now {config.get(name)}" for name in other)
        raise InputError(
            f"{run} is a run with other options ({said}); expected another name, or the folder to be removed first"
        )


def state_of(run: Path, is_locked: bool = False) -> State:
    """Return the state of the run in a folder; `is_locked`: a process holds its lock.

    Raises:
        InputError: a file of the run is damaged, or it was set aside for another one that was not finished.
    """
    check_kept(run)
    record = read_record(run) if run.is_dir() else None
    if has_results(run) and not (run / CONFIG).is_file():
        raise InputError(f"{run} has results, but no {CONFIG} that says of what; expected that file to be put back")
    about: dict[str, Any] = {}
    if record:
        about = {"seconds": record["wall_seconds"], "host": str(record.get("host", ""))}
    if has_results(run) and not is_locked:
        read_run(run)
        return State("finished", **about)
    if is_locked:
        return State("running", str((record or {}).get("progress") or "starting"), **about)
    if record and record["state"] in ("checkpointed", "failed"):
        return State(record["state"], str(record.get("error") or ""), **about)
    if (run / CONFIG).is_file():
        return State("interrupted", str((record or {}).get("progress") or ""), **about)
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise InputError(f"{run} is not the folder of a run (no {CONFIG}); expected it to be free, or another name")
    return State("missing")
