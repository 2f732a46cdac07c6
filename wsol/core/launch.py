"""How this process was launched: alone, or by torchrun as one of several processes (ranks) of one run.

In: torchrun's environment variables. Out: a `Launch`. No torch: messages and progress bars ask too.
"""

import ctypes
import os
import sys
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Launch:
    """A process's number among all processes of its run, from 0, and how many these are; the same on its own machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def launched() -> Launch:
    """Return how this process was launched; without torchrun's variables, alone."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    values = [os.environ.get(name, "") for name in names]
    if "MASTER_ADDR" not in os.environ or not all(value.isdecimal() for value in values) or int(values[1]) < 2:
        return Launch()
    return Launch(*map(int, values))


def end_with_parent(number: int) -> None:
    """Have this process sent a signal when its parent ends, so that a killed parent leaves nothing behind (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def rank_prefix() -> str:
    """Return what a message of this process begins with: its rank, if it is not the first one."""
    rank = launched().rank
    return f"rank {rank}: " if rank else ""
