"""Work spread over threads or processes whose results come back in the order of the items, as if done one by one."""

import mmap
import multiprocessing
import multiprocessing.process
import os
import pickle
import signal
import sys
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.resource_sharer import DupFd
from typing import IO, TypeVar, cast

from wsol.core.errors import InputError, OptionError, OptionName, add_file_at_hand, plain_warning
from wsol.core.machine import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
Job = tuple[Callable[[Sequence], list], Sequence]  # what is done with some items, and all items
CHUNK = 64  # items that a process takes at a time, at most
THREADS = min(4, usable_cores())
AHEAD = 256  # items that may wait for a thread

MOST_START = 1 << 15  # bytes of what a process is sent when it starts; a pipe holds 64 KiB
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)

_job: Job  # of a worker process, received once


def map_beside(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Yield (item, result) in order; threads work while the caller's iterator makes the next items.

    For functions that leave Python's lock (NumPy, OpenCV, numba with nogil).
    """
    waiting: deque[tuple[Item, Future]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                while waiting and (len(waiting) > AHEAD or waiting[0][1].done()):
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:  # of an error, or of a caller that stops
            for _, future in waiting:
                future.cancel()


@dataclass
class _JobFile:
    """A job in a file without a name, which a worker gets opened and reads: what is unpickled is the job.

    What a process is sent when it starts has to fit a pipe's buffer: Python writes it while the process starts, and would
    wait for ever for one that died.
    """

    file: IO[bytes]

    def __reduce__(self) -> tuple:
        return _read_job, (DupFd(self.file.fileno()),)


def _read_job(duplicate: DupFd) -> Job:
    """Return the job; all workers share the file's position, so it is mapped, not read."""
    with os.fdopen(duplicate.detach(), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pickle.loads(content)  # noqa: S301 (what this process's own parent wrote)


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)  # nobody is left to read what this process finds


def _start(job: Job) -> None:
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    warnings.formatwarning = plain_warning
    _job = job


def _run(positions: range) -> list:
    function, items = _job
    try:
        return function(items[positions.start : positions.stop])
    except Exception as error:
        add_file_at_hand(error)
        raise


@contextmanager
def _starting_workers() -> Iterator[None]:
    """Let processes start with one thread each for every library, and deaf to a Ctrl-C, which waits."""
    _check_start_size()
    resource_tracker.ensure_running()  # the first process would start it, and that unblocks Ctrl-C
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _check_start_size() -> None:
    """Refuse to start a process that would be sent more than fits a pipe's buffer; see `_JobFile`."""
    size = sum(len(os.fsencode(word)) for word in (*sys.argv, *sys.path))  # the rest is a few hundred bytes
    if size > MOST_START:
        raise InputError(f"a command line of {size} bytes; expected at most {MOST_START} with ", OptionName("workers"))


def map_chunks(job: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield a job's results, in the items' order, from `workers` processes (0 or 1: this one).

    `job` takes some of the items and returns one result each; with workers both are pickled once, into a file that all read.

    Raises:
        InputError: a process was killed, or could not start.
    """
    size = min(CHUNK, max(1, len(items) // (4 * max(workers, 1))))  # a few chunks a process, so that all end together
    chunks = [range(i, min(i + size, len(items))) for i in range(0, len(items), size)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield from job(items[chunk.start : chunk.stop])
        return
    if workers > (cores := usable_cores()):
        warnings.warn(f"--workers {workers}: more than the {cores} cores there are; each costs memory", stacklevel=2)
    # Fresh processes: a forked one would share OpenCV's and torch's threads with its parent, which may hang.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryFile() as file:
        pickle.dump((job, items), file, pickle.HIGHEST_PROTOCOL)
        file.flush()
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(cast("Job", _JobFile(file)),))
        try:
            with _starting_workers():
                futures = [pool.submit(_run, chunk) for chunk in chunks]
            for future in futures:
                yield from future.result()
        except BrokenProcessPool:
            raise OptionError(
                "workers", workers, "a process was ended from outside, or could not start; is there memory for so many?"
            ) from None
        except BaseException:  # an error, Ctrl-C, a caller that stops: nobody waits for the rest
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
