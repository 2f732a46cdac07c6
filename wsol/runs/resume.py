"""Continuing a run: from which checkpoint, and with which options.

In: a run's folder, or a checkpoint file, and the configuration asked for. Out: the checkpoint to continue from and the
configuration to continue with; a change that would make another run of it is an OptionError.
"""

import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from munch import Munch

from wsol.core.errors import InputError, OptionError, OptionName
from wsol.core.files import whole_file
from wsol.core.options import AUTO
from wsol.runs.checkpoints import read_checkpoint
from wsol.runs.run_folder import CONFIG, RESULTS
from wsol.runs.train_state import TrainState

# Options that may change when a run is continued: how it is done, not what it gives.
MAY_CHANGE = (
    "cache_features",
    "cache_images",
    "calibrate",
    "checkpoint_minutes",
    "data_root",
    "device",
    "eval_batch_size",
    "logger",
    "mask_root",
    "workers",
)
OF_A_CALL = ("override_cache", "resume")  # of a call of main.py, not of the run
KEPT = ("amp", "threads")  # resolved when the run began; auto keeps that
STEP, LAST, BEST = "step", "last", "best"  # checkpoints, by what they hold: within an epoch, after the last one, the best


def checkpoint_path(folder: Path, kind: str) -> Path:
    """Return the path of a run's checkpoint.

    >>> str(checkpoint_path(Path("train_log/pets"), "last"))
    'train_log/pets/last_checkpoint.pth.tar'
    """
    return folder / f"{kind}_checkpoint.pth.tar"


def continuing_command(folder: Path, processes: int = 1) -> str:
    """Return the command that continues the run in a folder."""
    program = ["python"] if processes == 1 else ["torchrun", "--nproc_per_node", str(processes)]
    return shlex.join([*program, sys.argv[0], "--config", str(folder / CONFIG), "--resume", AUTO])


@dataclass(frozen=True)
class Found:
    """The checkpoint to continue from, and notes for the log about others that could not be read."""

    path: Path
    content: dict[str, Any]
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the message for the log."""
        step = self.content["step"]
        return f"continuing from {self.path}: epoch {self.content['epoch']}" + (f", step {step} of the next" if step else "")


def _most_advanced(found: Iterable[tuple[Path, dict[str, Any]]]) -> tuple[Path, dict[str, Any]]:
    return max(found, key=lambda one: (one[1]["epoch"], one[1]["step"]))


def find_checkpoint(folder: Path) -> Found | None:
    """Return the most advanced checkpoint of a run that can be continued from, None if there is none yet.

    A damaged one is left out with a note; where neither the last nor a later one can be read, the best one stands in.

    Raises:
        InputError: there are checkpoints, and none can be continued from.
    """
    read: list[tuple[Path, dict[str, Any]]] = []
    notes: list[str] = []
    for kinds in ((STEP, LAST), (BEST,)):
        for path in (checkpoint_path(folder, kind) for kind in kinds):
            if not path.is_file():
                continue
            try:
                read.append((path, _with_state(path)))
            except InputError as error:
                notes.append(str(error))
        if read:
            path, content = _most_advanced(read)
            return Found(path, content, tuple(f"{note}; continuing from {path.name} instead" for note in notes))
    if notes:
        raise InputError(
            f"{notes[0]}; no checkpoint of the run can be continued from; expected ", OptionName("override_cache"), " TRUE"
        )
    return None


def _with_state(path: Path) -> dict[str, Any]:
    """Return a checkpoint that holds the state of its training.

    Raises:
        InputError: it cannot be read, or has no such state.
    """
    content = read_checkpoint(path)
    if "format" not in content:
        raise InputError(f"{path}: of an older version, which kept no state of the training to continue from")
    return content


def read_to_resume(path: str, folder: Path) -> Found | None:
    """Return the checkpoint of the option `resume`: a file, or auto for that of the run's own folder.

    Raises:
        InputError: it cannot be continued from; OptionError: a file is to be continued from in the folder of a finished run,
            whose results would stay there and belong to another state.
    """
    if path == AUTO:
        return find_checkpoint(folder)
    if (folder / RESULTS).is_file():
        raise OptionError(
            "resume", path, f"the run of {folder} is finished; expected another ", OptionName("experiment_name"), ", or auto"
        )
    return Found(Path(path), _with_state(Path(path)))


def load_state(state: TrainState, found: Found) -> None:
    """Restore the state of a training from its checkpoint.

    Raises:
        InputError: the checkpoint is of another network.
    """
    try:
        state.load_state_dict(found.content)
    except Exception as error:  # noqa: BLE001 (torch takes the optimiser's dict apart without a look at its types)
        raise InputError(f"{found.path}: its optimiser does not fit the network ({error})") from None


def _lacks_best(found: Found, folder: Path) -> bool:
    """Return whether a run has a best checkpoint that the folder in which it is to be continued does not hold."""
    return BEST in found.content["validation"] and not checkpoint_path(folder, BEST).is_file()


def check_best(found: Found, folder: Path, eval_checkpoint_type: str) -> None:
    """Check that the best checkpoint is at hand if a run may need it at its end.

    Raises:
        InputError: it is neither in the run's folder nor beside the checkpoint to continue from.
    """
    other = checkpoint_path(found.path.parent, BEST)
    if eval_checkpoint_type == BEST and _lacks_best(found, folder) and not other.is_file():
        raise InputError(f"{other}: no such file; expected the best checkpoint beside {found.path}")


def bring_best(found: Found, folder: Path) -> None:
    """Copy the best checkpoint from beside the one that a run in another folder continues from, if it is there."""
    other = checkpoint_path(found.path.parent, BEST)
    if _lacks_best(found, folder) and other.is_file():
        with whole_file(checkpoint_path(folder, BEST), durable=True) as temporary:
            shutil.copyfile(other, temporary)


def check_same_run(config: Mapping[str, Any], saved: Mapping[str, Any], source: Path) -> None:
    """Check that a run is continued with the options that it began with, apart from those of MAY_CHANGE.

    config, saved: the options asked for, and those of the run, each with all options.

    Raises:
        OptionError: another option differs; the message has both values.
    """
    for name in config:
        kept = name in KEPT and config[name] == AUTO
        if kept or name in (*MAY_CHANGE, *OF_A_CALL, "experiment_name") or saved.get(name) == config[name]:
            continue
        raise OptionError(
            name,
            _shown(config[name]),
            f"the run of {source} began with {_shown(saved.get(name))}; expected the same when it is continued (only "
            f"{', '.join(MAY_CHANGE)} may change), or another ",
            OptionName("experiment_name"),
        )


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def continued(config: Mapping[str, Any], saved: Mapping[str, Any]) -> Munch:
    """Return the configuration with which a run goes on: its own, and of what may change that which is asked for now."""
    asked = (*MAY_CHANGE, *OF_A_CALL, "experiment_name")
    return Munch({name: value if name in asked else saved.get(name, value) for name, value in config.items()})
