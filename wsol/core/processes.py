"""Work spread over threads or processes; results come back in the order of the items, as if done one by one."""

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
from multiprocessing.reduction import DupFd
from typing import IO, Any, TypeVar, cast

from wsol.core.errors import InputError, OptionError, OptionName, attach_last_file, plain_warning
from wsol.core.machine import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
Job = tuple[Callable[[Sequence], list], Sequence]  # the function for some of the items, and all items
CHUNK = 64  # the most items that a process takes at a time
THREADS = min(4, usable_cores())
AHEAD = 256  # the most items that wait for a thread

MOST_START = 1 << 15  # bytes sent to a process when it starts; a pipe holds 64 KiB
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)

_job: Job  # of this worker process, received once


def map_beside(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Yield (item, result) in order; threads work while the caller's iterator makes the next items.

    For functions that release the GIL (NumPy, OpenCV, numba with nogil).
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
        finally:  # after an error, or if the caller stops
            for _, future in waiting:
                future.cancel()


@dataclass
class _JobFile:
    """A job in an unnamed file, which each worker inherits open and reads; unpickling it gives the job itself.

    What a process is sent when it starts must fit in the buffer of a pipe: Python writes it while the process starts, and
    would wait forever for one that died.
    """

    file: IO[bytes]

    def __reduce__(self) -> tuple:  # while a process starts: `DupFd` lets it inherit the file
        return _read_job, (DupFd(self.file.fileno()),)


def _read_job(duplicate: Any) -> Job:  # noqa: ANN401 (a class that multiprocessing does not show)
    """Return the job; the file is mapped, not read, because all workers share its position."""
    with os.fdopen(duplicate.detach(), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pickle.loads(content)  # noqa: S301 (written by this process's own parent)


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)  # nobody is left to receive the results


def _start(job: Job) -> None:
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    warnings.formatwarning = plain_warning
    _job = job


def _run(positions: range) -> list:
    function, items = _job
    try:
        return function(items[positions.start : positions.stop])
    except Exception as error:
        attach_last_file(error)
        raise


@contextmanager
def _starting_workers() -> Iterator[None]:
    """Start processes with one thread per library, and with Ctrl-C held back until they have started."""
    _check_start_size()
    resource_tracker.ensure_running()  # else the first process starts it, which unblocks Ctrl-C
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # The mask is this thread's: a library's thread may take the signal, which Python would then raise here all the same.
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)  # None: not Python's own
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if came:
            signal.raise_signal(signal.SIGINT)


def _check_start_size() -> None:
    """Raise InputError if a process would be sent more than fits in the buffer of a pipe; see `_JobFile`."""
    size = sum(len(os.fsencode(word)) for word in (*sys.argv, *sys.path))  # the rest is a few hundred bytes
    if size > MOST_START:
        raise InputError(f"a command line of {size} bytes; expected at most {MOST_START} with ", OptionName("workers"))


def map_chunks(job: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield a job's results, in the items' order, from `workers` processes (0 or 1: this one).

    `job` takes some of the items and returns one result for each. With workers, the job and the items are pickled once, to a
    file that all of them read.

    Raises:
        InputError: a process was killed, or could not start.
    """
    size = min(CHUNK, max(1, len(items) // (4 * max(workers, 1))))  # a few chunks per process, so that all end together
    chunks = [range(i, min(i + size, len(items))) for i in range(0, len(items), size)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield from job(items[chunk.start : chunk.stop])
        return
    if workers > (cores := usable_cores()):
        warnings.warn(f"workers {workers}: more than the {cores} available cores; each worker costs memory", stacklevel=2)
    # New processes: forked ones would share OpenCV's and torch's threads with their parent, which may hang.
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
                "workers", workers, "a process was killed, or could not start; is there enough memory for so many?"
            ) from None
        except BaseException:  # an error, Ctrl-C, or a caller that stops: nobody needs the rest
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
