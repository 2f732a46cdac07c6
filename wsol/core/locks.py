"""Locks of files: held by a process until it lets go or ends, however it ends; nothing is left behind.

In: a file's path. Out: whether this process, or another one, also on another machine, holds its lock.
"""

import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wsol.core.errors import InputError

POLL_SECONDS = 0.05

_held: weakref.WeakSet[IO[str]] = weakref.WeakSet()


def _close_in_child() -> None:
    """Close the locked files of the parent: a process that loads images may outlive it, and must not hold its locks."""
    for file in list(_held):
        file.close()


os.register_at_fork(after_in_child=_close_in_child)


def hold(path: Path, patience: float = 0.0) -> IO[str] | None:
    """Return the open file if its lock is free within `patience` seconds, else None; closing it ends the lock.

    Processes forked from this one do not hold the lock; a program that inherits the file's number does. The lock is that of
    the file which has the name now: a file that was renamed while it was waited for does not count.

    Raises:
        InputError: the file cannot be opened, or its file system knows no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + patience
        while True:
            file = path.open("a", encoding="utf-8")
            if _try_lock(file, fcntl.LOCK_EX) and is_at(file, path):
                break
            file.close()
            if time.monotonic() >= until:
                return None
            time.sleep(POLL_SECONDS)
    except OSError as error:
        raise InputError(f"{path}: cannot be locked ({error.strerror})") from None
    _held.add(file)
    return file


@contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[IO[str] | None]:
    """Hold a file's lock in the context, and give the open file, or None if it is not free (see `hold`)."""
    file = hold(path, patience)
    try:
        yield file
    finally:
        if file:
            file.close()


def is_locked(path: Path) -> bool:
    """Return whether a process holds a file's lock; the file need not be writable."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        return not _try_lock(file, fcntl.LOCK_SH)


def is_at(file: IO[str], path: Path) -> bool:
    """Return whether an open file still has the name by which it was opened."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
