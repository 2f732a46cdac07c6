"""What the machine offers to this process: cores, and threads to run on them.

Import this module before torch: it says how torch's threads wait, and makes Ctrl-C a single line while torch loads.
"""

import ctypes
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from wsol.core.options import AUTO

# OpenMP's threads (torch's) sleep while they wait, instead of spinning on a core that another process needs. torch reads
# this when it is loaded, so commands that train or map import this module first (docs/runs.md, "Threads").
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# glibc's malloc.h: the size of the heap's free end above which it is returned, and of blocks that are mapped one by one.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_IN_HEAP = 1 << 27  # bytes; holes that larger blocks leave in a heap would cost too much memory
LARGEST_IN_OLD_HEAP = 1 << 25  # the most that older versions of glibc accept
MALLOC_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

MOST_WORKERS = 4  # the default number of processes that load images, if there are as many cores
CGROUPS = Path("/sys/fs/cgroup")


def _quotas(root: Path, membership: str) -> Iterator[float]:
    """Yield the processor quotas, in cores, of this process's control groups (versions 1 and 2) and of their parents.

    `membership`: the content of /proc/self/cgroup.
    """
    for line in membership.splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        folder = top / name.lstrip("/")
        for group in (folder, *folder.parents):
            try:
                if controllers:
                    quota, period = ((group / f"cpu.cfs_{kind}_us").read_text() for kind in ("quota", "period"))
                else:
                    quota, period = (group / "cpu.max").read_text().split()
                if int(quota) > 0:
                    yield int(quota) / int(period)
            except (OSError, ValueError):  # no such file in this group; "max": no quota
                pass
            if group == top:
                break


def usable_cores(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores this process may use, at least 1: those it is bound to, limited by its control group's quota
    (rounded up)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quotas = list(_quotas(root, membership.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not Linux, or no control groups
        quotas = []
    return max(1, math.ceil(min([cores, *quotas])))


def default_workers(most: int = MOST_WORKERS) -> int:
    """Return the default number of processes that load images: one per core, at most `most`."""
    return min(most, usable_cores())


def resolve_threads(threads: int | str) -> int:
    """Return the number of threads for `--threads`: the given number; for "auto" OMP_NUM_THREADS if set, else what torch
    would use, at most the number of cores. The number of workers has no influence: threads decide how sums are rounded."""
    if threads != AUTO:
        return int(threads)
    import torch

    own = torch.get_num_threads()
    return own if os.environ.get("OMP_NUM_THREADS", "").strip() else min(own, usable_cores())


def use_threads(threads: int) -> None:
    """Make torch and OpenCV compute with this many threads."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def keep_freed_memory() -> bool:
    """Make malloc keep freed memory for the next allocation; return whether it will.

    By default glibc maps large blocks, such as a layer's activations, one by one, and returns them when they are freed. The
    kernel then clears the same pages anew in every step (docs/benchmarks.md, "Memory pages"). Only glibc is set, and only if
    the environment does not set it already. Processes forked later inherit this.
    """
    if any(name in os.environ for name in MALLOC_VARIABLES):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (an AttributeError: another C library)
        mallopt = library.mallopt
    except (OSError, TypeError, AttributeError):  # TypeError: Windows
        return False
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP) or mallopt(M_MMAP_THRESHOLD, LARGEST_IN_OLD_HEAP)
    return bool(kept and mallopt(M_TRIM_THRESHOLD, -1))


def _one_line_if_interrupted(hook: Callable[..., None]) -> Callable[..., None]:
    """Return an exception hook that prints Ctrl-C as a command does (wsol.core.errors) and leaves the rest to `hook`."""

    def show(kind: type[BaseException], *details: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        else:
            hook(kind, *details)

    return show


# For the seconds while torch is loaded, before a command begins; Python itself then exits with 130.
sys.excepthook = _one_line_if_interrupted(sys.excepthook)
