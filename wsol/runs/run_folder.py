"""A run's folder: created together with its configuration; a run that it replaces is kept until it is finished."""

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from wsol.core.errors import InputError, OptionError, OptionName
from wsol.core.files import MOST_BYTES, remove_stale_files, temporary_sibling, to_disk, write_json
from wsol.core.locks import hold, is_at

CONFIG, RESULTS, LOG = "config.yaml", "results.json", "log.txt"
LEVELS = "levels"  # the folder in a run's with the results of each of several levels that were learned at once
NEVER = "never"  # of the option `resume`
PREVIOUS = ".previous"
PATIENCE_SECONDS = 1.0  # `is_locked` of another process holds a lock for a moment
MOST_NAME = MOST_BYTES - len(f".{PREVIOUS}")  # bytes of a run's name, so that the run can be set aside (`previous_of`)


def previous_of(folder: Path) -> Path:
    """Return the folder in which a replaced run is kept until the new one is finished.

    >>> str(previous_of(Path("train_log/pets")))
    'train_log/.pets.previous'
    """
    return folder.with_name(f".{folder.name}{PREVIOUS}")


def check_kept(folder: Path) -> None:
    """Raise InputError if a run's folder is missing while the run before it is kept, since that one could be lost."""
    kept = previous_of(folder)
    if os.path.isdir(kept) and not os.path.lexists(folder):
        raise InputError(
            f"{folder}: the run before it is kept in {kept}; expected that folder to be renamed back to {folder.name}, or ",
            OptionName("override_cache"),
            " TRUE to replace that run",
        )


def hold_run(folder: Path) -> IO[str]:
    """Return the open log of a run's folder, which holds the run's lock until it is closed or the process ends.

    Temporary files of processes that were killed at the run are removed.

    Raises:
        InputError: another process is at the run.
    """
    if lock := hold(folder / LOG, PATIENCE_SECONDS):
        remove_stale_files(folder)
        return lock
    raise InputError(
        f"{folder}: another process is at this run; expected it to end first, or another ", OptionName("experiment_name")
    )


def check_still_there(folder: Path, lock: IO[str]) -> None:
    """Check that a run's folder has neither vanished nor been replaced, before anything is written into it.

    Raises:
        InputError: it has; otherwise a new folder would be made, with a part of the run.
    """
    log = folder / LOG
    if not (folder / CONFIG).is_file() or (log.exists() and not is_at(lock, log)):
        raise InputError(f"{folder}: the run's folder was removed or replaced while it was running; what it held is gone")


def check_run_folder(folder: Path, log_root: Path, override: bool, to_continue: str = "") -> None:
    """Check that a run's folder can be created, or may be replaced if it exists.

    `to_continue`: the command that continues the run in the folder, for the message.

    Raises:
        InputError: part of the path is a file, or another run's folder; the folder, or a run kept next to it, exists and
            `override` is not set; the folder is a link, is not a run's, or holds other runs.
    """
    inside = folder.relative_to(log_root)
    if hidden := [part for part in inside.parts if part.startswith(".") and part.endswith((PREVIOUS, ".tmp"))]:
        raise OptionError("experiment_name", inside, f"{hidden[0]} is a name for a run set aside; expected another name")
    for path in (folder, *folder.parents):
        if os.path.lexists(path) and not path.is_dir():
            raise OptionError("experiment_name", inside, f"{path} is a file; expected a folder")
    for above in list(folder.parents)[: len(inside.parts) - 1]:
        if (above / CONFIG).is_file():
            raise OptionError("experiment_name", inside, f"{above} is a run's own folder; expected a name outside it")
    if not override:
        check_kept(folder)
    if not folder.exists():
        return
    if not override:
        kept = previous_of(folder)
        also = f" (the run before it is kept in {kept})" if os.path.isdir(kept) else ""
        raise InputError(
            f"{folder} exists{also}; expected a new ",
            OptionName("experiment_name"),
            ", or ",
            OptionName("override_cache"),
            f" TRUE to replace that run{_or_continue(folder, to_continue)}",
        )
    if folder.is_symlink():
        raise InputError(f"{folder} is a link, so it is not replaced; expected a folder, or an unused name")
    if any(folder.iterdir()) and not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is not the folder of one run (no {CONFIG}), so it is not replaced")
    if below := [path for path in folder.glob(f"*/**/{CONFIG}") if path.parent.parent != folder / LEVELS]:
        raise InputError(f"{folder} holds other runs ({below[0].parent}), so it is not replaced")


def _or_continue(folder: Path, command: str) -> str:
    """Return the end of a message: the command that continues a run, if there is one to continue."""
    unfinished = command and (folder / CONFIG).is_file() and not (folder / RESULTS).is_file()
    return f", or to continue it:\n{command}" if unfinished else ""


def make_folder(folder: Path, write_config: Callable[[Path], None], override: bool) -> tuple[Path | None, IO[str]]:
    """Create the run's folder together with its config.yaml; return (the folder of the run that it replaces, or None; the
    run's lock, see `hold_run`).

    The replaced run is kept next to the new one (`previous_of`) until `finish_folder`. If one is kept already, it stays, and
    the unfinished run in the folder is removed; but a run with results is kept in place of the older one. If two processes
    start the same run, one gets the folder and the other an InputError; a run that is running is never replaced.
    """
    new, old, kept = temporary_sibling(folder), temporary_sibling(folder).with_suffix(".old"), previous_of(folder)
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    replacing = folder.exists() and override
    try:
        with hold_run(folder) if replacing else nullcontext():
            write_config(new / CONFIG)
            lock = hold_run(new)
            if replacing:
                if os.path.isdir(kept) and (folder / RESULTS).is_file():  # killed between its results and `finish_folder`
                    os.rename(kept, old)
                os.rename(folder, old if os.path.isdir(kept) else kept)
            os.rename(new, folder)  # fails if another process has put its folder there
        to_disk(folder.parent)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be created ({error.strerror}); expected one process per run, and a writable folder"
        ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return kept_run(folder) if override else None, lock


def kept_run(folder: Path) -> Path | None:
    """Return the folder of the run that the one in `folder` replaces, if it is kept still."""
    kept = previous_of(folder)
    return kept if os.path.isdir(kept) else None


def replaced_note(kept: Path) -> str:
    """Return the message for the log about the run that a new one replaces."""
    state = "the finished run" if (kept / RESULTS).is_file() else "the run"
    return f"{state} that this one replaces is kept in {kept} until this one is finished"


def write_results(folder: Path, results: dict) -> None:
    """Write results.json, with which a run is finished; its tables would survive a loss of power before it is there."""
    for path in folder.iterdir():
        if path.is_file():
            to_disk(path)
    write_json(folder / RESULTS, results, durable=True)


def finish_folder(replaced: Path | None) -> None:
    """Remove the run that a finished one replaces; `replaced` is what `make_folder` returned."""
    if replaced:
        shutil.rmtree(replaced, ignore_errors=True)
