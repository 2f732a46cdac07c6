"""Jobs of test_parallel's worker processes, in a module that imports little: each process imports it."""

import importlib
import os
import signal
import sys

from wsol.core.files import check_input


def doubled(items):
    return [2 * item for item in items]


def fails_at_70(items):
    if 70 in items:
        raise ValueError("70")
    return list(items)


class Large:
    """A job that fills a pipe's buffer many times; `where` it is to be killed: as it arrives in a process, or at work."""

    def __init__(self, where):
        self.where, self.ballast = where, bytes(1_000_000)

    def __setstate__(self, state):
        self.__dict__ |= state
        if self.where == "arriving":
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, items):
        if self.where == "working" and 3 in items:
            os.kill(os.getpid(), signal.SIGKILL)
        return [item + len(self.ballast) for item in items]


def threads_and_file(items):
    import cv2

    check_input(__file__)
    if 5 in items:
        raise KeyError
    return [(os.environ["OMP_NUM_THREADS"], cv2.getNumThreads())] * len(items)


def run_and_die(folder, words, module, function, number):
    """Call main.py in `folder`; be killed at the n-th call of a function of a module, counted from 1."""
    place = importlib.import_module(module)
    original, calls = getattr(place, function), iter(range(1, 10**9))

    def instead(*arguments, **options):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(place, function, instead)
    os.chdir(folder)
    sys.argv = ["main.py", *words]
    importlib.import_module("main").main()
