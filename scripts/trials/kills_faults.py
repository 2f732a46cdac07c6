"""Faults for kills.py: workers that die, outputs that are closed or full, full disks, read-only folders.

Each fault runs commands in a copy of the workspace and returns what went wrong, as "kind: detail". It raises `Skip` with the
reason if this machine does not allow it.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.trials.common import CHECKOUT, Outcome, snapshot
from scripts.trials.processes import end_session, processes, session
from scripts.trials.workspace import BASE, NAME, TINY, enlarge

SECONDS = 120
EVALUATION: tuple[str, ...] = ("--dataset_name", NAME, "--scoremap_root", "maps", "--bootstrap", "2000")
EVALUATION += ("--json", "out.json", "--curve", "c.csv")
RUN = (*TINY, "--epochs", "1", "--experiment_name", "faulty")


class Skip(Exception):  # noqa: N818 (it is not an error)
    """The fault cannot be produced on this machine."""


def start(command: str, words: tuple[str, ...], folder: Path, **options: Any) -> subprocess.Popen:
    """Start a command in its own session; its output is a pipe unless `options` say otherwise."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True} | options
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, str(CHECKOUT / command), *words], cwd=folder, stdin=subprocess.DEVNULL, env=environment, **options
    )


def ended(process: subprocess.Popen, codes: tuple[int, ...], names: tuple[str, ...] = ()) -> list[str]:
    """Wait for a command and return what is wrong with how it ended; its output must contain one of `names`."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        end_session(process.pid)
        process.communicate()
        return [f"hang: longer than {SECONDS} s"]
    printed = ((out or b"") + (err or b"")).decode(errors="replace")
    last = (printed.strip().splitlines() or ["nothing printed"])[-1][:200]
    faults = []
    if "Traceback (most recent call last)" in printed or "Exception ignored" in printed:
        faults.append(f"traceback: {last}")
    if process.returncode not in codes:
        faults.append(f"exit code: {process.returncode}: {last}")
    elif process.returncode == 2 and not any(line.startswith("error: ") for line in printed.splitlines()):
        faults.append(f"no error line: {last}")
    if names and not any(name in printed for name in names):
        faults.append(f"does not name {' or '.join(names)}: {printed.strip()[-200:]!r}")
    time.sleep(0.2)
    if left := session(process.pid):
        faults.append(f"children left: {len(left)}")
        end_session(process.pid)
    return faults


def children(parent: int, count: int, holding: str = "") -> list[int]:
    """Wait for `count` children whose command line contains `holding`, and return their process ids."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = [number for number, above, _, line in processes() if above == parent and holding in line]
        if len(found) >= count:
            return sorted(found)
        time.sleep(0.002)
    return []


def loader_worker_killed(folder: Path) -> list[str]:
    """Kill one of main.py's loader workers."""
    process = start("main.py", (*RUN, "--epochs", "200", "--workers", "2"), folder)
    if not (found := children(process.pid, 2)):
        end_session(process.pid)
        return ["no children: main.py --workers 2 started none"]
    time.sleep(0.5)
    os.kill(found[0], signal.SIGKILL)
    return ended(process, (2,), ("worker", "process"))


def evaluation_worker_killed(folder: Path, after: float) -> list[str]:
    """Kill one of evaluation.py's scoring processes `after` some seconds."""
    enlarge(folder)
    process = start("evaluation.py", (*EVALUATION, "--workers", "2", "--cam_curve_interval", "0.001"), folder)
    found = children(process.pid, 1, "spawn_main")
    if not found:
        return [*ended(process, (0, 2)), "no children: evaluation.py --workers 2 started none"]
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):
        os.kill(found[0], signal.SIGKILL)
    return ended(process, (0, 2) if after > 1 else (2,))


def evaluation_parent_killed(folder: Path) -> list[str]:
    """Kill evaluation.py itself: its workers must end, too."""
    enlarge(folder)
    process = start("evaluation.py", (*EVALUATION, "--workers", "2", "--cam_curve_interval", "0.0001"), folder)
    if not children(process.pid, 2, "spawn_main"):
        return [*ended(process, (0, 2)), "no children: evaluation.py --workers 2 started none"]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 15
    while (left := session(process.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    end_session(process.pid)
    return [f"children left: {len(left)} after 15 s"] if left else []


OUTPUTS = ("out.json", "c.csv")


def stdout_closed(folder: Path) -> list[str]:
    """Score with a closed standard output: the files must still be written."""
    process = start("evaluation.py", EVALUATION, folder, stdout=None, preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE)
    return ended(process, (0, 2)) + missing(folder)


def stdout_full(folder: Path) -> list[str]:
    """Score with /dev/full as standard output: the files must still be written."""
    with open("/dev/full", "wb") as full:
        process = start("evaluation.py", EVALUATION, folder, stdout=full, stderr=subprocess.PIPE)
        return ended(process, (0, 2)) + missing(folder)


def broken_pipe(folder: Path, command: str, words: tuple[str, ...], files: tuple[str, ...] = ()) -> list[str]:
    """Run with a pipe as output that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    process = start(command, words, folder, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    return ended(process, (0, 141, -signal.SIGPIPE)) + missing(folder, files)


def missing(folder: Path, files: tuple[str, ...] = OUTPUTS) -> list[str]:
    """Return the outputs that were not written."""
    return [f"output lost: {name}" for name in files if not (folder / name).is_file()]


def file_limit(folder: Path, command: str, words: tuple[str, ...], size: int) -> list[str]:
    """Run with a file size limit, which acts like a full disk; no half-written file may remain."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    before = snapshot(folder)
    faults = ended(start(command, words, folder, preexec_fn=limit), (2,))
    return faults + unchanged(folder, before)


def unchanged(folder: Path, before: dict[str, str]) -> list[str]:
    """Return the files that a failed command changed, and temporary ones that it left."""
    after = snapshot(folder)
    faults = [f"input changed or lost: {name}" for name, content in before.items() if after.get(name) != content]
    left = [name for name in after if name not in before and any(part.startswith(".") for part in name.split("/"))]
    return faults + [f"temporary files left: {', '.join(left[:3])} ({len(left)})"] * bool(left)


def full_disk(folder: Path, command: str, words: tuple[str, ...], target: str, size: str) -> list[str]:
    """Run with a small tmpfs mounted where the command writes."""
    place = folder / target
    place.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True).returncode:
        raise Skip("mounting is not permitted")
    try:
        before = snapshot(folder)
        return ended(start(command, words, folder), (2,)) + unchanged(folder, before)
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True)


def read_only(folder: Path, command: str, words: tuple[str, ...], target: str) -> list[str]:
    """Run with the output folder mounted read-only (file modes would not stop root)."""
    place = folder / target
    place.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], capture_output=True).returncode:
        raise Skip("mounting is not permitted")
    try:
        return ended(start(command, words, folder), (2,), (target,))
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True)


INFERENCE, IMPORT, PREPARE = BASE["inference.py"], BASE["dataset/import_dataset.py"], BASE["dataset/prepare.py"]
# The same commands, writing to a folder on a small or read-only disk.
DISK_RUN, SMALL_MAPS = (*RUN[:-1], "disk/faulty"), (*INFERENCE, "--scoremap_root", "small")
SMALL_JSON, SMALL_IMPORT = (
    (*EVALUATION, "--json", "small/a.json", "--curve", "small/c.csv"),
    (*IMPORT, "--data_root", "small"),
)
FAULTS: dict[str, Callable[[Path], list[str]]] = {
    "fault: a loading process of main.py killed": loader_worker_killed,
    "fault: an evaluation process killed at its start": lambda folder: evaluation_worker_killed(folder, 0.0),
    "fault: an evaluation process killed early": lambda folder: evaluation_worker_killed(folder, 0.3),
    "fault: an evaluation process killed later": lambda folder: evaluation_worker_killed(folder, 2.0),
    "fault: evaluation.py killed, its processes end": evaluation_parent_killed,
    "fault: evaluation.py with its output closed": stdout_closed,
    "fault: evaluation.py with its output full": stdout_full,
    "fault: evaluation.py into a broken pipe": lambda f: broken_pipe(f, "evaluation.py", EVALUATION, OUTPUTS),
    "fault: main.py into a broken pipe": lambda f: broken_pipe(f, "main.py", RUN, ("train_log/faulty/results.json",)),
    "fault: inference.py into a broken pipe": lambda f: broken_pipe(
        f, "inference.py", INFERENCE, ("out/val_class_ranks.csv",)
    ),
    "fault: the import into a broken pipe": lambda f: broken_pipe(f, "dataset/import_dataset.py", IMPORT),
    "fault: tables into a broken pipe": lambda f: broken_pipe(f, "scripts/dataset_tables.py", (NAME,)),
    "fault: --help into a broken pipe": lambda f: broken_pipe(f, "main.py", ("--help",)),
    "fault: main.py, no file above 1 MB": lambda f: file_limit(f, "main.py", RUN, 1 << 20),
    "fault: main.py, no file above 10 kB": lambda f: file_limit(f, "main.py", RUN, 10 << 10),
    "fault: inference.py, no file above 2 kB": lambda f: file_limit(f, "inference.py", INFERENCE, 2 << 10),
    "fault: evaluation.py, no file above 100 B": lambda f: file_limit(f, "evaluation.py", EVALUATION, 100),
    "fault: the import, no file above 100 B": lambda f: file_limit(f, "dataset/import_dataset.py", IMPORT, 100),
    "fault: prepare.py, no file above 1 kB": lambda f: file_limit(f, "dataset/prepare.py", PREPARE, 1 << 10),
    "fault: Toy, no file above 1 kB": lambda f: file_limit(f, "dataset/prepare.py", ("Toy",), 1 << 10),
    "fault: main.py on a full disk": lambda f: full_disk(f, "main.py", DISK_RUN, "train_log/disk", "50M"),
    "fault: inference.py on a full disk": lambda f: full_disk(f, "inference.py", SMALL_MAPS, "small", "20k"),
    "fault: evaluation.py on a full disk": lambda f: full_disk(f, "evaluation.py", SMALL_JSON, "small", "4k"),
    "fault: the import on a full disk": lambda f: full_disk(f, "dataset/import_dataset.py", SMALL_IMPORT, "small", "20k"),
    "fault: main.py, train_log read-only": lambda f: read_only(f, "main.py", DISK_RUN, "train_log/disk"),
    "fault: inference.py, its folder read-only": lambda f: read_only(f, "inference.py", SMALL_MAPS, "small"),
    "fault: evaluation.py, its folder read-only": lambda f: read_only(f, "evaluation.py", SMALL_JSON, "small"),
    "fault: the import, its folder read-only": lambda f: read_only(f, "dataset/import_dataset.py", SMALL_IMPORT, "small"),
    "fault: prepare.py, its folder read-only": lambda f: read_only(
        f, "dataset/prepare.py", ("Toy", "--data_root", "small"), "small"
    ),
}


def outcome_of(name: str, fault: Callable[[Path], list[str]], folder: Path) -> Outcome:
    """Return how one fault went."""
    begin = time.monotonic()
    try:
        faults, said = fault(folder), ""
    except Skip as skip:
        faults, said = [], f"skipped: {skip}"
        print(f"{name}: {said}", flush=True)
    return Outcome(name, "", [], "", None, time.monotonic() - begin, 0, faults, said)
