"""What the trials share: cases, the process that runs them, and the checks of how each ended.

A case is a command line and how it should end. Cases run in one forked process, so a command's imports take seconds only
once, and in a copy of a workspace. If a case hangs or crashes that process, the next case gets a new one.
"""

import argparse
import contextlib
import errno
import hashlib
import importlib
import logging
import os
import re
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

from wsol.core.arguments import Parser

CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(CHECKOUT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the commands are short: threads would only slow them down

REFUSED, ACCEPTED, EITHER = "refused", "accepted", "either"
SECONDS = 60  # a case that takes longer counts as a hang
MEMORY = 3 << 30  # most bytes that a case may use
BIG = 1 << 20  # larger files (bytes) are hard links in a copy of the workspace
ROOM = 8 << 30  # address space that a case gets, to protect the machine
CHILDREN = 40  # most processes that a case may start
MESSAGE_LINES, MESSAGE_LENGTH = 20, 2500  # of one clear paragraph, which may list ten names
WARNING = re.compile(r"^.*\b[A-Za-z]+Warning: .*$|^libpng .*$|^\[ WARN.*$", re.MULTILINE)
TEMPORARY = re.compile(r"^\..+\.(tmp|old|part)$")


@dataclass
class Case:
    """One command line and how it should end.

    `names`: a refusal must contain one of these texts (the file or option at fault). `setup` makes the case's files in the
    workspace. `leaves`: where a refused command may leave files, such as a preparation that a later call finishes.
    `prints`: a library may print its own warning about the file.
    """

    name: str
    command: str
    words: Sequence[str] = ()
    expected: str = REFUSED
    names: Sequence[str] = ()
    setup: Callable[[Path], object] | None = None
    leaves: str | None = None
    prints: bool = False
    seconds: float = SECONDS


@dataclass
class Outcome:
    """How a case ended: exit code (None: killed at its time limit), faults ("kind: detail") and output."""

    name: str
    command: str
    words: list[str]
    expected: str
    code: int | None
    seconds: float
    memory: int  # peak resident bytes
    faults: list[str] = field(default_factory=list)
    output: str = ""


def shown(words: Iterable[str], longest: int = 60) -> list[str]:
    """Return words that fit into a report: long ones shortened, characters that no file can hold escaped."""
    cut = [word if len(word) <= longest else f"{word[: longest - 20]}...({len(word)} characters)" for word in words]
    return [word.encode("unicode_escape", "backslashreplace").decode() for word in cut]


_digests: dict[tuple, str] = {}  # of files seen before, by device, inode, size and time


def digest(path: Path, status: os.stat_result) -> str:
    """Return a digest of a file's bytes."""
    key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def snapshot(folder: Path) -> dict[str, str]:
    """Return a dict from relative path to content: a digest of a file's bytes, a link's target, or the kind of entry."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            mode = (status := path.lstat()).st_mode
            if stat.S_ISLNK(mode):
                content = f"link to {os.readlink(path)}"
            elif stat.S_ISREG(mode):
                content = digest(path, status)
            else:
                content = f"kind {stat.S_IFMT(mode):o}"
            found[str(path.relative_to(folder))] = content
    return found


def judge(case: Case, code: int | None, output: str, before: dict, after: dict, memory: int) -> list[str]:
    """Return what is wrong with how a case ended, each fault as "kind: detail"."""
    faults = []
    last = (output.strip().splitlines() or ["no output"])[-1][:200]
    if code is None:
        faults.append(f"hang: longer than {case.seconds:g} s")
    if "Traceback (most recent call last)" in output:
        faults.append(f"traceback: {last}")
    elif code not in (0, 2, None):
        faults.append(f"exit code: {code}: {last}")
    if code == 0 and case.expected == REFUSED:
        faults.append("accepted: exit code 0")
    if code == 2 and case.expected == ACCEPTED:
        faults.append(f"refused: {last}")
    if code == 2:
        faults += message_faults(case, output)
    if (warned := list(WARNING.finditer(output))) and not case.prints:
        faults.append(f"warning of a library: {warned[0][0][:200]} ({len(warned)})")
    if changed := [name for name, content in before.items() if after.get(name) != content]:
        faults.append(f"input changed or lost: {', '.join(changed[:3])} ({len(changed)})")
    new = [name for name in after if name not in before]
    if left := [name for name in new if TEMPORARY.match(Path(name).name)]:
        faults.append(f"temporary files left: {', '.join(left[:3])} ({len(left)})")
    elif code == 2 and (new := [name for name in new if case.leaves is None or not name.startswith(case.leaves)]):
        faults.append(f"files left by a refused command: {', '.join(new[:3])} ({len(new)})")
    if memory > MEMORY:
        faults.append(f"memory: {memory / 2**30:.1f} GB")
    return faults


def message_faults(case: Case, output: str) -> list[str]:
    """Return what is wrong with a refusal's message, which must be one paragraph: "error:", then the option or file."""
    found = re.search(r"^error: .*", output, re.MULTILINE | re.DOTALL)
    faults = []
    if re.search(r"^usage: ", output, re.MULTILINE):
        faults.append("usage printed: lines of usage before the message")
    if not found and not faults:
        faults.append(f"no error line: {output.strip()[-200:]!r}")
    message = found[0] if found else output
    if found and (message.count("\n") > MESSAGE_LINES or len(message) > MESSAGE_LENGTH):
        faults.append(f"long message: {len(message)} characters, {message.count(chr(10))} lines")
    if found and re.search(r"[\x00-\x08\x0b-\x1f\x7f]", message):
        faults.append(f"control characters in the message: {message[:200]!r}")
    if case.names and not any(name in message for name in case.names):
        said = message.strip()[-300:] if not found else message.strip()[:300]
        faults.append(f"does not name: {' or '.join(shown(dict.fromkeys(case.names)))}: {said!r}")
    return faults


@contextlib.contextmanager
def captured() -> Iterator[Path]:
    """Redirect stdout and stderr, including those of C libraries, to a file; yield its path. Standard input is empty."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output"
        kept = [os.dup(fd) for fd in range(3)]
        with path.open("wb") as file, open(os.devnull, "rb") as nothing:
            sys.stdout.flush(), sys.stderr.flush()
            os.dup2(nothing.fileno(), 0)
            for fd in (1, 2):
                os.dup2(file.fileno(), fd)
            streams = [open(fd, "w", encoding="utf-8", buffering=1, closefd=False) for fd in (1, 2)]  # noqa: SIM115
            try:
                with mock.patch.multiple(sys, stdout=streams[0], stderr=streams[1]):
                    yield path
            finally:
                for stream in streams:
                    with contextlib.suppress(OSError, ValueError):
                        stream.flush()
                for fd, old in enumerate(kept):
                    os.dup2(old, fd)
                    os.close(old)


def module_of(command: str) -> str:
    """Return the module of a command's script."""
    return command.removesuffix(".py").replace("/", ".")


def call(command: str, words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command of the checkout in this process, in `folder`; return its exit code and output."""
    with captured() as printed, contextlib.chdir(folder), mock.patch.object(sys, "argv", [command, *words]):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            try:
                importlib.import_module(module_of(command)).main()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
            except BaseException:  # noqa: BLE001 (whatever a command raises is a fault of it)
                traceback.print_exc()
                code = 1
        for handler in list(logging.root.handlers):  # a run's log handlers write to streams that are closed now
            logging.root.removeHandler(handler)
            handler.close()
        sys.stdout.flush(), sys.stderr.flush()
        return code, printed.read_text(encoding="utf-8", errors="replace")


def reset_peak() -> None:
    """Reset the peak that `peak` returns, where the system supports it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _own_size(name: str) -> int:
    """Return a size of this process in bytes, by its name in /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) << 10


def peak() -> int:
    """Return the largest resident size of this process, in bytes."""
    return _own_size("VmHWM")


def perform(case: Case, folder: Path, before: dict[str, str] | None = None) -> Outcome:
    """Make a case's files in `folder`, run it there in this process, and return its outcome.

    `before`: the folder's snapshot if known; used for a case without a setup.
    """
    if case.setup:
        case.setup(folder)
    if case.setup or before is None:
        before = snapshot(folder)
    reset_peak()
    start = time.monotonic()
    code, output = call(case.command, list(case.words), folder)
    seconds, memory = time.monotonic() - start, peak()
    faults = judge(case, code, output, before, snapshot(folder), memory)
    return Outcome(case.name, case.command, list(case.words), case.expected, code, seconds, memory, faults, output)


def _copy_entry(source: str, target: str) -> str:
    if stat.S_ISFIFO(os.lstat(source).st_mode):
        os.mkfifo(target)
    elif os.path.getsize(source) > BIG:  # the snapshot detects a change of it, too
        os.link(source, target)
    else:
        shutil.copy2(source, target)
    return target


def copy_workspace(template: Path, folder: Path) -> None:
    """Make `folder` a fresh copy of a workspace."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True, copy_function=_copy_entry)


def _limited_fork() -> Callable[[], int]:
    """Return an os.fork that fails after CHILDREN calls, as on a machine without free processes."""
    fork, left = os.fork, iter(range(CHILDREN))

    def limited() -> int:
        if next(left, None) is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    return limited


def _serve(cases: Sequence[Case], template: Path, folder: Path, link: Connection) -> None:
    """Run the cases whose numbers arrive on the link, each in a clean workspace, and send back their outcomes."""
    os.setsid()
    size = _own_size("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    clean = snapshot(template)
    while True:
        case = cases[link.recv()]
        if not folder.is_dir() or snapshot(folder) != clean:
            copy_workspace(template, folder)
        with mock.patch.object(os, "fork", _limited_fork()):
            outcome = perform(case, folder, clean)
        link.send(outcome)


def run_cases(cases: Sequence[Case], template: Path, folder: Path) -> Iterator[Outcome]:
    """Yield every case's outcome. All run in one process, which is replaced when it hangs or dies, and in `folder`, a copy
    of the workspace `template`."""
    server = None
    for number, case in enumerate(cases):
        if server is None:
            ours, theirs = Pipe()
            server = os.fork()
            if not server:
                ours.close()
                try:
                    _serve(cases, template, folder, theirs)
                except EOFError:  # no more cases
                    os._exit(0)
                finally:
                    traceback.print_exc()
                    os._exit(1)
            theirs.close()
        ours.send(number)
        try:
            if ours.poll(case.seconds):
                yield ours.recv()
                continue
            code, faults = None, [f"hang: longer than {case.seconds:g} s"]
        except EOFError:
            code, faults = -1, ["process died"]
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                end(server, signal.SIGKILL)
        os.waitpid(server, 0)
        ours.close()
        server = None
        shutil.rmtree(folder, ignore_errors=True)
        yield Outcome(case.name, case.command, list(case.words), case.expected, code, case.seconds, 0, faults)
    if server is not None:
        ours.close()
        os.waitpid(server, 0)


def import_commands(commands: Iterable[str]) -> None:
    """Import the commands once, before any process is forked."""
    for command in sorted(set(commands)):
        importlib.import_module(module_of(command))


class _Found(Exception):  # noqa: N818 (it is not an error)
    """Carries a command's parser out of `main`."""


def parser_of(command: str, words: Sequence[str] = ()) -> Parser:
    """Return a command's parser, caught when it starts to parse."""

    def catch(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _Found(parser)

    main = importlib.import_module(module_of(command)).main
    arguments = mock.patch.object(sys, "argv", [command, *words])
    with arguments, mock.patch.object(argparse.ArgumentParser, "parse_known_args", catch):
        try:
            getattr(main, "__wrapped__", main)()
        except _Found as found:
            return found.args[0]
    raise RuntimeError(f"{command} parses no options")
