"""Trial: commands that are killed, and outputs that cannot be written.

    python scripts/trials/kills.py                      # 20 kills of each command, then the faults; about ten minutes
    python scripts/trials/kills.py --only evaluation --kills 5 --verbose

Each command runs to its end once, then is killed at moments spread over that time: by SIGKILL, every fourth time by SIGTERM
and every fifth by SIGINT. SIGKILL goes to all processes of a script, because nothing else could end the step it was running.
Afterwards every file with its final name must parse, existing files must be unchanged, no process may be left, and the next
call must succeed, or be refused with advice that works. evaluation.py must refuse a folder of maps that inference.py did not
finish. All commands but evaluation.py and the sweep run in forked processes, so that kills hit their work and not the import
of libraries. kills_faults.py has the other faults.
"""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
import yaml
from PIL import Image

from scripts.trials import kills_faults
from scripts.trials.common import (
    CHECKOUT,
    Outcome,
    call,
    copy_workspace,
    import_commands,
    snapshot,
)
from scripts.trials.processes import end_session, session
from scripts.trials.report import finish, trial_options
from scripts.trials.workspace import NAME, TINY, enlarge, make_archives, make_workspace

LOCK = ".lock"
LIMIT = 300  # seconds for one complete run
LINGER = 10  # seconds within which all children must end
INCOMPLETE = re.compile("unfinished|not finish|incomplete|interrupted|killed|stopped|half", re.IGNORECASE)


@dataclass
class Job:
    """A command to kill: its words, and the advised ones that must work if the next call is refused.

    `advice`: what such a refusal must contain. `forked`: run it in a fork of this process. `prepare` adds to the workspace.
    `same`: files whose bytes, after a kill and the next call, must be those of a run that was not killed.
    """

    command: str
    words: Sequence[str]
    advised: Sequence[str] | None = None
    advice: str = ""
    forked: bool = False
    prepare: Callable[[Path], object] = lambda folder: None
    same: Sequence[str] = ()


RUN = (*TINY, "--epochs", "2", "--scoremap_format", "npz", "--experiment_name")
SCORE = f"--dataset_name {NAME} --scoremap_root maps --workers 2 --bootstrap 200 --json out.json --curve curve.csv"
SCORE += " --per_image images.csv --per_class classes.parquet"
MAP = "--checkpoint train_log/mini/last_checkpoint.pth.tar --workers 0 --batch_size 1 --scoremap_root"
PHOTOS = f"--checkpoint train_log/mini/last_checkpoint.pth.tar --images dataset/{NAME} --output boxes --threshold 0.3"
PHOTOS += " --workers 0 --threads 1 --batch_size 8 --overlays"
PETS = "OxfordPet --archive archives/images.tar.gz archives/annotations.tar.gz"
OWN = "Own --images photos --boxes boxes.csv --masks photo_masks --taxonomy taxonomy.csv"
JOBS = {
    "main": Job("main.py", (*RUN, "killed"), (*RUN, "killed", "--override_cache"), advice="override_cache", forked=True),
    "main continued": Job(
        "main.py",
        (*RUN, "killed", "--resume", "auto", "--checkpoint_minutes", "1e-9"),
        forked=True,
        same=[f"train_log/killed/{name}" for name in ("metrics.jsonl", "results.json", "test_images.npz", "test_curve.csv")],
    ),
    "main replacing": Job("main.py", (*RUN, "mini", "--override_cache"), forked=True),
    "evaluation": Job("evaluation.py", SCORE.split()),
    "inference": Job(
        "inference.py",
        [*MAP.split(), "out"],
        [*MAP.split(), "other"],
        advice="out",
        forked=True,
        prepare=partial(enlarge, count=300),
    ),
    "boxes": Job(
        "inference.py",
        PHOTOS.split(),
        forked=True,
        prepare=partial(enlarge, count=700),
        same=["boxes/boxes.csv", "boxes/detections.json", "boxes/unreadable.csv"],
    ),
    "prepare": Job("dataset/prepare.py", PETS.split(), forked=True, prepare=partial(make_archives, per_breed=60)),
    "prepare Toy": Job("dataset/prepare.py", ["Toy"], forked=True),
    "import": Job("dataset/import_dataset.py", OWN.split(), forked=True),
    "sweep": Job("scripts/sweep_granularity.sh", (NAME, "--name", "swept", *TINY[2:], "--epochs", "0")),
}

_started: list[subprocess.Popen] = []  # keeps references: the next Popen would reap a process whose object is gone


def start(job: Job, words: Sequence[str], folder: Path, output: Path) -> int:
    """Start a command in its own session and return its process id; `output` receives what it prints."""
    if not job.forked:
        argv = ["bash" if job.command.endswith(".sh") else sys.executable, str(CHECKOUT / job.command), *words]
        with output.open("wb") as file:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, "PYTHON": sys.executable},
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore SIGINT
            )
        _started.append(process)
        return process.pid
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        with output.open("wb") as file:
            for fd in (1, 2):
                os.dup2(file.fileno(), fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code, printed = call(job.command, words, folder)
        os.write(1, printed.encode("utf-8", "replace"))
    finally:
        os._exit(code)


def wait(process: int, seconds: float) -> int | None:
    """Return a process's exit code (negative: its signal), or None if it is still running after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def run_to_end(
    job: Job, words: Sequence[str], folder: Path, output: Path, limit: float = LIMIT
) -> tuple[int | None, str, float]:
    """Return (exit code, output, seconds) of a complete run, which is ended after `limit` seconds."""
    begin = time.monotonic()
    process = start(job, words, folder, output)
    code = wait(process, limit)
    if code is None:
        end_session(process)
        wait(process, LINGER)
    return code, output.read_text(errors="replace"), time.monotonic() - begin


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
    ".yaml": lambda path: yaml.safe_load(path.read_text())["epochs"],
    ".npy": lambda path: np.load(path).shape,
    ".npz": lambda path: [value.shape for value in np.load(path).values()],
    ".png": lambda path: Image.open(path).load(),
    ".jpg": lambda path: Image.open(path).load(),
    ".parquet": lambda path: __import__("pyarrow.parquet").parquet.read_table(path),
    ".tar": lambda path: __import__("torch").load(path, weights_only=True, map_location="cpu")["epoch"],
}


def check_csv(path: Path) -> None:
    """Raise ValueError if rows differ in their number of fields, or if the last line is incomplete."""
    text = path.read_text()
    if not text.endswith("\n") or len({len(row) for row in csv.reader(text.splitlines())}) > 1:
        raise ValueError("cut off")


def half_written(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the files with final names that are incomplete or unreadable."""
    wrong = []
    for name in names:
        path = folder / name
        if path.name.startswith(".") or "/." in f"/{name}" or not path.is_file() or path.is_symlink():
            continue
        reader = check_csv if path.suffix == ".csv" else READERS.get(path.suffix)
        try:
            if reader:
                reader(path)
        except Exception as error:  # noqa: BLE001 (whatever keeps a reader from reading it)
            wrong.append(f"{name} ({type(error).__name__})")
    return wrong


def temporary(names: Sequence[str]) -> list[str]:
    """Return the names with a hidden component, as temporary files and folders have; the file of a lock stays."""
    return [name for name in names if any(part.startswith(".") and part != LOCK for part in name.split("/"))]


def lost(job: Job, before: dict[str, str], after: dict[str, str], folder: Path) -> list[str]:
    """Return the earlier files that are gone: neither unchanged, nor moved, nor replaced by a finished run."""
    kept = set(after.values())
    gone = [name for name, content in before.items() if after.get(name) != content and content not in kept]
    if "--override_cache" in job.words and (folder / "train_log/mini/results.json").is_file():
        return [name for name in gone if not name.startswith("train_log/mini/")]
    return gone


def one_kill(
    job: Job, name: str, after: float, number: int, template: Path, folder: Path, output: Path, whole: dict[str, str]
) -> Outcome:
    """Kill one run `after` some seconds, check what it left, call it again, and return the outcome of all this.

    `whole`: what a run that was not killed left, see `snapshot`.
    """
    copy_workspace(template, folder)
    before = snapshot(folder)
    kind = signal.SIGTERM if number % 4 == 3 else signal.SIGINT if number % 5 == 4 else signal.SIGKILL
    begin = time.monotonic()
    process = start(job, job.words, folder, output)
    code = wait(process, after)
    finished = code is not None
    faults = []
    if not finished:
        if kind == signal.SIGKILL and job.command.endswith(".sh"):
            end_session(process)
        elif kind == signal.SIGINT:  # Ctrl-C reaches a terminal's foreground group
            os.killpg(process, kind)
        else:
            os.kill(process, kind)
        code = wait(process, LINGER)
        if code is None:
            faults.append(f"survives: {LINGER} s after {kind.name}")
    end = time.monotonic() + LINGER
    while (left := session(process)) and time.monotonic() < end:
        time.sleep(0.05)
    if left:
        faults.append(f"children left: {len(left)} after {LINGER} s")
    end_session(process)
    if code is None:
        wait(process, LINGER)
    printed = output.read_text(errors="replace")
    if "Traceback (most recent call last)" in printed:
        faults.append(f"traceback: at {kind.name}: {printed.strip().splitlines()[-1][:160]}")
    now = snapshot(folder)
    if wrong := half_written(folder, [n for n in now if now[n] != before.get(n)]):
        faults.append(f"half written: {', '.join(wrong[:3])} ({len(wrong)})")
    if gone := lost(job, before, now, folder):
        faults.append(f"lost: {', '.join(gone[:3])} ({len(gone)})")
    if job.command == "inference.py" and not finished and (folder / "out").is_dir():
        faults += scored_half(folder, output)
    faults += call_again(job, folder, output, temporary(list(before)))
    now = snapshot(folder)
    if unlike := [path for path in job.same if now.get(path) != whole[path]]:
        faults.append(f"differs from a run that was not killed: {', '.join(unlike)}")
    return Outcome(
        f"{name} {kind.name} after {after:.2f} s",
        job.command,
        list(job.words),
        "",
        code,
        time.monotonic() - begin,
        0,
        faults,
        output.read_text(errors="replace"),
    )


def scored_half(folder: Path, output: Path) -> list[str]:
    """Return what is wrong with how evaluation.py treats an unfinished folder of maps."""
    job = Job("evaluation.py", ("--dataset_name", NAME, "--scoremap_root", "out", "--bootstrap", "20"))
    if not any((folder / "out").rglob("*.npy")):
        return []
    code, printed, _ = run_to_end(job, job.words, folder, output)
    if code == 0:
        return ["half-mapped folder scored: exit code 0"]
    if code != 2 or not INCOMPLETE.search(printed):
        return [f"half-mapped folder: the message does not say that it is unfinished: {printed.strip()[:120]!r}"]
    return []


def call_again(job: Job, folder: Path, output: Path, hidden: Sequence[str]) -> list[str]:
    """Return what is wrong with the next call of the same command, which must finish the killed run or say how to."""
    code, printed, _ = run_to_end(job, job.words, folder, output)
    if code == 2 and job.advised:
        if job.advice not in printed:
            return [f"next call: refused without advice: {printed.strip()[-160:]!r}"]
        code, printed, _ = run_to_end(job, job.advised, folder, output)
    if code:
        return [f"next call: exit code {code}: {printed.strip()[-200:]!r}"]
    if left := [name for name in temporary(list(snapshot(folder))) if name not in hidden]:
        return [f"temporary files left after the next call: {', '.join(left[:3])} ({len(left)})"]
    return []


def kills(name: str, job: Job, count: int, seed: int, template: Path, folder: Path, output: Path) -> Iterator[Outcome]:
    """Yield the outcome of a complete run, then those of `count` killed runs."""
    own = template.with_name("template of the job")
    copy_workspace(template, own)
    job.prepare(own)
    copy_workspace(own, folder)
    code, printed, seconds = run_to_end(job, job.words, folder, output)
    faults = [f"does not finish: exit code {code}: {printed.strip()[-300:]}"] if code else []
    yield Outcome(f"{name} to its end", job.command, list(job.words), "", code, seconds, 0, faults, printed)
    rng, whole = random.Random(seed), snapshot(folder)
    for number in range(0 if faults else count):
        after = seconds * (number + rng.random()) / count
        yield one_kill(job, name, after, number, own, folder, output, whole)


def main() -> None:
    """Run the trial."""
    options = trial_options(__doc__, kills={"type": int, "default": 20, "help": "kills of each command (default: 20)"})
    import_commands({job.command for job in JOBS.values() if job.forked})
    with tempfile.TemporaryDirectory() as scratch:
        template, folder, output = Path(scratch, "template"), Path(scratch, "work"), Path(scratch, "printed")
        make_workspace(template)

        def outcomes() -> Iterator[Outcome]:
            for name, job in JOBS.items():
                if re.search(options.only, name):
                    yield from kills(name, job, options.kills, options.seed, template, folder, output)
            for name, fault in kills_faults.FAULTS.items():
                if re.search(options.only, name):
                    copy_workspace(template, folder)
                    yield kills_faults.outcome_of(name, fault, folder)

        finish(outcomes(), options, "kills")


if __name__ == "__main__":
    main()
