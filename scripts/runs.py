"""What scripts over several runs share: whether a run is finished with the options asked for, and its configuration.

In: a run's folder below train_log/. Out: its configuration; a damaged file is an InputError that names it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from munch import Munch

from config import read_config as read_options
from config import training_parser
from wsol.core.errors import InputError
from wsol.core.options import AUTO
from wsol.runs.results import read_run
from wsol.runs.run_folder import RESULTS, check_kept
from wsol.runs.starting_weights import auto_is_false

# They change how a run is done, not what it gives (threads: beyond rounding).
NOT_COMPARED = ("experiment_name", "override_cache", "workers", "threads", "device", "logger")


def read_config(run: Path) -> Munch:
    """Return the configuration of a run."""
    try:
        return read_options(run / "config.yaml")
    except InputError as error:
        raise InputError(f"{error}; expected a run's configuration, which main.py writes") from None


def differing(config: Mapping, other: Mapping, ignored: Iterable[str] = NOT_COMPARED) -> list[str]:
    """Return the options in which two runs' configurations differ."""
    names = [name for name in {**config, **other} if name not in ignored]
    return [name for name in names if config.get(name) != other.get(name)]


def has_results(run: Path) -> bool:
    """Return whether a run has come to its end: its results are written last."""
    return (run / RESULTS).is_file()


def is_finished(run: Path, config: Mapping) -> bool:
    """Return whether a run has its results.

    Raises:
        InputError: its options differ from `config`, or an unfinished run with --override_cache has set it aside.
    """
    if config["override_cache"]:
        return False
    check_kept(run)
    if not has_results(run):
        return False
    read_run(run)
    saved = {**training_parser("").known_defaults, **read_config(run)}  # an older run lacks options that came after it
    saved.pop("config")
    other = differing(config, saved)
    # FALSE was the default before auto was.
    if other == ["keep_classifier"] and {config[other[0]], saved[other[0]]} == {False, AUTO} and auto_is_false(config):
        return True
    if other:
        said = "; ".join(f"{name} was {saved.get(name)}, now {config.get(name)}" for name in other)
        raise InputError(
            f"{run} is a finished run with other options ({said}); expected another --experiment_name, or "
            "--override_cache TRUE to train again"
        )
    return True
