"""What the machine offers to this process: cores, and threads to put on them. Imports no torch: it has to come first.

It also keeps Ctrl-C from a traceback while torch is loaded.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from wsol.core.options import AUTO

# How the threads of OpenMP (torch's) wait for work: asleep, not spinning on a core that another process needs. It is read
# when torch is loaded, so this module comes first in the commands that train or map (docs/runs.md, "Threads").
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

MOST_WORKERS = 4  # the default number of processes that load images, where there are as many cores
CGROUPS = Path("/sys/fs/cgroup")


def _quotas(root: Path, membership: str) -> Iterator[float]:
    """Yield the processor quotas, in cores, of this process's control groups (versions 1 and 2) and of those above them.

    `membership`: what /proc/self/cgroup holds.
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
    """Return how many cores this process may use, 1 or more: those it is bound to, and no more than its control group's
    quota lets it use (rounded up)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quotas = list(_quotas(root, membership.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no Linux, or no control groups
        quotas = []
    return max(1, math.ceil(min([cores, *quotas])))


def default_workers(most: int = MOST_WORKERS) -> int:
    """Return the default number of processes that load images: one a core, at most `most`."""
    return min(most, usable_cores())


def resolve_threads(threads: int | str) -> int:
    """Return the number of threads of `--threads`: the number given, or for "auto" OMP_NUM_THREADS where it is set, else as
    many as torch would take and there are cores. It does not depend on the number of workers: sums are rounded by it."""
    if threads != AUTO:
        return int(threads)
    import torch

    own = torch.get_num_threads()
    return own if os.environ.get("OMP_NUM_THREADS", "").strip() else min(own, usable_cores())


def use_threads(threads: int) -> None:
    """Make torch and OpenCV compute with so many threads."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _one_line_if_interrupted(hook: Callable[..., None]) -> Callable[..., None]:
    """Return an exception hook that says of Ctrl-C what a command says (wsol.core.errors), and leaves the rest to `hook`."""

    def show(kind: type[BaseException], *details: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        else:
            hook(kind, *details)

    return show


# For the seconds in which torch is loaded, before a command begins; Python ends with 130 by itself.
sys.excepthook = _one_line_if_interrupted(sys.excepthook)
