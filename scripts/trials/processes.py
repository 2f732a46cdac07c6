"""The running processes of this machine, as /proc lists them, and how to end those that a trial started."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def processes() -> Iterator[tuple[int, int, int, str]]:
    """Yield (process id, parent, session, command line) of every running process."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if fields[0] != "Z":
                yield int(path.name), int(fields[1]), int(fields[3]), line


def session(leader: int) -> list[int]:
    """Return the running processes of a session."""
    return [number for number, _, own_session, _ in processes() if own_session == leader]


def end_session(leader: int) -> None:
    """Kill the remaining processes of a session that we started."""
    for number in session(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
