"""Trial: random files for every reader, made from valid ones by mutations that know the formats.

    python scripts/trials/fuzz.py --inputs 20000                     # all readers, evenly: about 20 minutes
    python scripts/trials/fuzz.py --inputs 2000 --only 'PNG' --save found/
    python scripts/trials/fuzz.py --only '^VOC$' --again 17          # one input again, in this process, with its traceback

An input must be read, or refused with an InputError that names a file, in at most 5 seconds and within MEMORY; no process
starts, no code of a file runs, and nothing is written outside the input's folder. Inputs depend on --seed, the reader and
their number alone.
"""

import argparse
import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import cv2

from scripts.trials.common import MESSAGE_LENGTH, _own_size, reset_peak
from scripts.trials.fuzz_mutations import mutated
from scripts.trials.fuzz_readers import READERS, Reader
from scripts.trials.fuzz_seeds import Files
from wsol.core.errors import InputError

SECONDS = 5.0  # of the processor, for one input
HANG = 4 * SECONDS  # of the processor, or 15 times as many of the clock, after which an input is given up
MEMORY = 256 << 20  # bytes that reading one input may add, to resident memory and to the address space; inputs have < 0.3 MB
READ, REFUSED = "read", "refused"
# What Python's interpreter reports before it starts a process, runs code of a pickle, or talks to the network.
EXECUTES: tuple[str, ...] = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.spawn",
    "subprocess.Popen",
    "pty.spawn",
)
EXECUTES += ("socket.connect", "socket.getaddrinfo", "urllib.Request", "pickle.find_class", "code.__new__", "builtins.input")
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
)


@dataclass(frozen=True)
class Outcome:
    """How one input ended: READ, REFUSED, or what is wrong with it."""

    number: int
    said: str
    detail: str = ""


def input_of(reader: Reader, seed: int, number: int) -> Files:
    """Return the input of a number: a valid one with one or two of its files mutated."""
    rng = Random(f"{seed} {reader.name} {number}")
    files = dict(rng.choice(reader.seeds()))
    names = [name for name in files if name.startswith(reader.mutated or "")]
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2)))):
        files[name] = mutated(files[name], reader.mutations, rng)
    return files


class Guard:
    """Notes what a reader does that none may do, from the audit events of the interpreter, while `root` is set."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.found: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if self.root is None:
            return
        if event in EXECUTES:
            self.found.append(f"executes: {event} {str(arguments)[:100]}")
        elif event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            self._check(event, arguments[0])

    def _check(self, event: str, path: object) -> None:
        if self.root is None or not isinstance(path, str | bytes | os.PathLike) or os.fsdecode(path) == os.devnull:
            return
        if not Path(os.path.abspath(os.fsdecode(path))).is_relative_to(self.root):
            self.found.append(f"writes outside: {event} {os.fsdecode(path)!a}")


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and those that it was raised from; none if Python's parser refused brackets in brackets, which it does
    with a MemoryError."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause:
        frames = traceback.extract_tb(cause.__traceback__)
        if frames and Path(frames[-1].filename).name == "ast.py":
            return []
        found.append(cause)
        cause = cause.__context__
    return found


def faults_of(error: BaseException, root: Path) -> str:
    """Return what is wrong with how a reader has refused an input; "" if nothing is."""
    for cause in causes_of(error):  # also one that was turned into a refusal: a larger machine would have allocated
        if isinstance(cause, MemoryError) or re.search(r"allocat|[Mm]emory", str(cause)):
            return f"allocates: {type(cause).__name__}: {str(cause)[:200]}"
    if not isinstance(error, InputError):
        return f"raises: {type(error).__name__}"
    message = error.on_command_line()
    if len(message) > MESSAGE_LENGTH:
        return "long message"
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\ud800-\udfff]", message):
        return "control characters in the message"
    if str(root) not in message:
        return f"names no file: {message[:200]}"
    return ""


def try_input(reader: Reader, files: Files, root: Path, guard: Guard) -> tuple[str, str]:
    """Write an input to an empty folder, read it, and return (how it ended, details)."""
    write_files(files, root)
    beside = set(os.listdir(root.parent))
    reset_peak()
    resident = _own_size("VmRSS")
    limit = _own_size("VmSize") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    guard.root, guard.found, start = root, [], time.process_time()
    said, detail = READ, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.call(root)
    except BaseException as error:  # noqa: BLE001 (whatever a reader raises is judged)
        guard.root = None
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        said = faults_of(error, root)
        detail = "" if not said else traceback.format_exc()
        said = said or REFUSED
    guard.root = None
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    seconds, grown = time.process_time() - start, _own_size("VmHWM") - resident
    if guard.found:
        return guard.found[0], "\n".join(guard.found)
    if new := set(os.listdir(root.parent)) - beside:
        return "writes outside", str(new)
    if said in (READ, REFUSED) and grown > MEMORY:
        return f"memory: {grown >> 20} MB", ""
    if said in (READ, REFUSED) and seconds > SECONDS:
        return f"slow: {seconds:.1f} s", ""
    return said, detail


def _serve(reader: Reader, numbers: Sequence[int], seed: int, root: Path, link: Connection) -> None:
    """Try the inputs of some numbers, and send how each ended."""
    cv2.setNumThreads(1)
    os.chdir(root.parent)
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # image libraries print
        os.dup2(silent, stream)
    guard = Guard()
    for files in reader.seeds():  # a first time, without limits: libraries load what they need
        with contextlib.suppress(InputError):  # a format that is not read
            read_valid(reader, files, root)
    link.send(None)
    for number in numbers:
        link.send(Outcome(number, *try_input(reader, input_of(reader, seed, number), root, guard)))


def write_files(files: Files, root: Path) -> None:
    """Write an input to a folder, which holds nothing else then."""
    shutil.rmtree(root, ignore_errors=True)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def read_valid(reader: Reader, files: Files, root: Path) -> object:
    """Return what a reader gives for a valid input."""
    write_files(files, root)
    return reader.call(root)


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _waits(link: Connection, process: int) -> bool:
    """Wait for a process to send something; return whether it did before it used up its time."""
    start = _processor_seconds(process)
    for _ in range(15):
        if link.poll(HANG):
            return True
        if _processor_seconds(process) - start > HANG:
            return False
    return False


def run_reader(reader: Reader, numbers: Sequence[int], seed: int, scratch: Path) -> Iterator[Outcome]:
    """Yield how the inputs of some numbers end; they are read in a process of their own, replaced when it hangs or dies."""
    left = list(numbers)
    reader.seeds()  # made once, for all processes
    root = scratch / re.sub(r"\W", "_", reader.name) / "root"
    root.parent.mkdir(parents=True)
    while left:
        ours, theirs = Pipe()
        server = os.fork()
        if not server:
            ours.close()
            try:
                _serve(reader, left, seed, root, theirs)
            except BaseException as error:  # noqa: BLE001 (of the trial itself)
                theirs.send(error)
            finally:
                os._exit(0)
        theirs.close()
        said = "process dies"
        with contextlib.suppress(EOFError, ConnectionResetError):
            if failure := ours.recv():
                raise failure
            while left and _waits(ours, server):
                outcome = ours.recv()
                if not isinstance(outcome, Outcome):
                    raise outcome
                yield outcome
                del left[0]
            said = f"hangs: more than {HANG:g} s of the processor"
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        ours.close()
        if left:
            yield Outcome(left.pop(0), said)


def again(reader: Reader, seed: int, number: int) -> None:
    """Try one input in this process, without limits, and print its files and what the reader says."""
    files = input_of(reader, seed, number)
    for name in files:
        if files[name] not in [one.get(name) for one in reader.seeds()]:
            print(f"{name}: {len(files[name])} bytes: {files[name][:600]!r}")
    with tempfile.TemporaryDirectory() as scratch:
        print(str(read_valid(reader, files, Path(scratch) / "root"))[:2000])


def save(folder: Path, reader: Reader, outcome: Outcome, seed: int) -> None:
    """Keep the input of a finding, and what is known about it."""
    place = folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', reader.name)}_{outcome.number}"
    for name, content in input_of(reader, seed, outcome.number).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    (place / "finding.txt").write_text(f"{outcome.said}\n{outcome.detail}", encoding="utf-8", errors="backslashreplace")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000, help="over all readers that are tried (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default: 0)")
    parser.add_argument("--only", default="", metavar="REGEX", help="try only the readers whose name matches")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the input of every finding here")
    parser.add_argument(
        "--again", type=int, metavar="NUMBER", help="try one input of the reader again, and show what it says"
    )
    return parser.parse_args()


def main() -> None:
    """Run the trial; exit with 1 if anything was found."""
    options = _options()
    readers = [reader for reader in READERS if re.search(options.only, reader.name)]
    if options.again is not None:
        again(readers[0], options.seed, options.again)
        return
    total: Counter[str] = Counter()
    each = -(-options.inputs // len(readers))
    with tempfile.TemporaryDirectory() as scratch:
        for reader in readers:
            counts: Counter[str] = Counter()
            start = time.monotonic()
            for outcome in run_reader(reader, range(each), options.seed, Path(scratch)):
                kind = outcome.said if outcome.said in (READ, REFUSED) else "found"
                counts[kind] += 1
                if kind == "found":
                    last = (outcome.detail.strip().splitlines() or [""])[-1][:300]
                    print(
                        f"    {reader.name} {outcome.number}: {outcome.said} {last}".encode(
                            "ascii", "backslashreplace"
                        ).decode()
                    )
                    if options.save:
                        save(options.save, reader, outcome, options.seed)
            seconds = time.monotonic() - start
            said = ", ".join(f"{counts[kind]} {kind}" for kind in (READ, REFUSED, "found"))
            print(f"{reader.name}: {sum(counts.values())} inputs: {said}; {seconds:.0f} s", flush=True)
            total += counts
    print(f"fuzz: {total.total()} inputs, {total[READ]} read, {total[REFUSED]} refused, {total['found']} found")
    sys.exit(1 if total["found"] else 0)


if __name__ == "__main__":
    main()
