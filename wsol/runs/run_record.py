"""`run.json` of a run: its state, time, memory and machine, everything that may differ between identical runs.

In: what main.py does, phase by phase. Out: a file written whole at the start, after every phase and at the end, so that
another process, also on another machine, can tell how far a run is.
"""

import os
import platform
import resource
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import torch

from wsol.core.errors import InputError, Stopped
from wsol.core.files import read_json, write_json
from wsol.core.plain_values import is_number, is_whole, shown
from wsol.networks import ranks
from wsol.runs.run_folder import check_still_there

NAME = "run.json"
FORMAT = 1
STATES = ("running", "checkpointed", "finished", "failed")
PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pillow")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in which the system states the peak memory


def now() -> str:
    """Return the time, in UTC, as text.

    >>> now().endswith("+00:00")
    True
    """
    return datetime.now(UTC).isoformat(timespec="seconds")


class RunRecord:
    """The record of a run, in its folder; `phase` and `end` write it, of several ranks those of the first.

    `lock`: of the folder, held by the first rank. `earlier`: the record of the run that is continued; its seconds count too.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        threads: int,
        lock: IO[str] | None,
        earlier: Mapping[str, Any] | None = None,
    ):
        self.folder, self.lock, self.device = folder, lock, device
        self._began = time.monotonic()
        self._seconds_before = float(earlier["wall_seconds"]) if earlier else 0.0
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "state": "running",
            "host": socket.gethostname(),
            "process": os.getpid(),
            "processes": ranks.size(),
            "device": _device_name(device),
            "threads": threads,
            "start": (earlier or {}).get("start") or now(),
            "continued": earlier.get("continued", 0) + 1 if earlier else 0,
            "updated": now(),
            "end": None,
            "progress": earlier.get("progress") if earlier else None,
            "seconds": dict(earlier["seconds"]) if earlier else {},
            "wall_seconds": 0.0,
            "peak_memory_bytes": None,
            "peak_device_memory_bytes": None,
            "versions": _versions(),
            "error": None,
        }
        self._write()

    @contextmanager
    def phase(self, name: str, progress: str | None = None) -> Iterator[None]:
        """Add the seconds of what is done in the context to a phase; `progress` says how far the run is after it."""
        began = time.monotonic()
        yield
        seconds = self.content["seconds"]
        seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - began, 3)
        if progress:
            self.content["progress"] = progress
        self._write()

    def end(self, state: str, error: str | None = None) -> None:
        """Record the end of the run: `finished`, `checkpointed`, or `failed`; the last two with the reason."""
        self.content |= {"state": state, "end": now(), "error": error}
        self._write()

    def _write(self) -> None:
        if not self.lock:
            return
        check_still_there(self.folder, self.lock)
        self.content["updated"] = now()
        self.content["wall_seconds"] = round(self._seconds_before + time.monotonic() - self._began, 3)
        self.content["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
        if self.device.type == "cuda":
            self.content["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated(self.device)
        write_json(self.folder / NAME, self.content)


@contextmanager
def recorded(record: RunRecord) -> Iterator[RunRecord]:
    """Record that what is done in the context has finished, or stopped at a signal, or failed, with the reason."""
    try:
        yield record
    except Stopped as stop:
        record.end("checkpointed", stop.why)
        raise
    except BaseException as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
        with suppress(InputError):  # on a full disk, say: the run's own error is the one to report
            record.end("failed", reason)
        raise
    record.end("finished")


def record_finished(folder: Path) -> None:
    """Record that the run in a folder is finished, if it ended between its results and this record."""
    content = earlier_record(folder)
    if content and content["state"] != "finished":
        write_json(folder / NAME, {**content, "state": "finished", "end": now(), "error": None})


def earlier_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run in a folder that is to be continued, None if there is none that can be read."""
    try:
        return read_record(folder)
    except InputError:  # only times are lost
        return None


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run in a folder, None if it has none (runs of older versions).

    Raises:
        InputError: the file is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    content = read_json(path)
    valid = (
        isinstance(content, Mapping)
        and content.get("state") in STATES
        and is_number(content.get("wall_seconds"))
        and isinstance(content.get("seconds"), Mapping)
        and all(is_number(value) for value in content["seconds"].values())
        and isinstance(content.get("start", ""), str)
        and is_whole(content.get("continued", 0))
        and isinstance(content.get("versions") or {}, Mapping)
    )
    if not valid:
        raise InputError(f"{path}: {shown(content)}; expected a run's record, which main.py writes")
    return dict(content)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # OpenCV, say, from another package
            continue
    return found
