"""Signals that ask a run to stop: noted when they come, obeyed where nothing is lost.

In: SIGTERM, SIGUSR1, SIGUSR2 (a cluster's warnings that time is up) and the first Ctrl-C. Out: the name of the signal that
came; a second Ctrl-C raises KeyboardInterrupt at once.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from wsol.core.errors import Stopped

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """A context in which the signals are noted instead of ending the process; `received` names the first of them."""

    def __init__(self) -> None:
        self.received = ""
        self._interrupts = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt


@contextmanager
def stopping_at_once(command: str) -> Iterator[None]:
    """Raise Stopped at a signal but Ctrl-C, which keeps its meaning; `command` continues what is done in the context."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name, command)

    before = {number: signal.signal(number, stop) for number in STOPPING if number != signal.SIGINT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stopping() -> None:
    """Leave the signals to the parent process, which they reach too: a cluster sends them to all processes of a job."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
