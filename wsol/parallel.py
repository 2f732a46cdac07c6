"""Work spread over threads or processes whose results come back in the order of the items, as if done one by one."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from wsol.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 64  # items that a process takes at a time, at most
THREADS = min(4, os.cpu_count() or 1)
AHEAD = 256  # items that may wait for a thread

_job: Any = None  # of a worker process: what it does with every chunk, received once


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


def _start(job: Any) -> None:
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    _job = job


def _run(chunk: Sequence) -> Any:
    return _job(chunk)


def map_chunks(job: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield a job's results, in the items' order, from `workers` processes (0 or 1: this one).

    `job` takes some of the items and returns one result each; with workers it is pickled once a process.
    """
    size = min(CHUNK, max(1, len(items) // (4 * max(workers, 1))))  # a few chunks a process, so that all end together
    chunks = [items[i : i + size] for i in range(0, len(items), size)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield from job(chunk)
        return
    # Fresh processes: a forked one would share OpenCV's and torch's threads with its parent, which may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job,)) as pool:
        try:
            for results in pool.map(_run, chunks):
                yield from results
        except BrokenProcessPool:
            raise InputError(
                f"--workers {workers}: a process was ended from outside; is there memory for so many?"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
