"""Where the runs of a sweep run: processes of this machine, or jobs of a cluster through submitit.

In: `Job`s, each a command that is a module of this project with a `main`. Out: the exit code of each, as they end. A job
holds the lock of its log file while it runs, so that two sweeps, also on two machines, never do one twice.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from wsol.core.launch import end_with_parent
from wsol.core.locks import POLL_SECONDS, locked

# torchrun, as a module and options; a cluster warns by one of the last two signals that it is to pass on.
TORCHRUN = (
    *("torch.distributed.run", "--standalone"),
    *("--signals_to_handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"),
)
BUSY = 76  # the exit code of a job whose lock another process holds
PATIENCE_SECONDS = 1.0  # `is_locked` of another process holds a lock for a moment


@dataclass(frozen=True)
class Job:
    """A command: `module`'s main with `words`; what it prints goes to `log`. `environment` adds to this process's.

    processes: how many of it torchrun starts on the machine, as one run. result: with this file there is nothing left to
    do; a cluster may start a job after another one that did the same.
    """

    name: str
    module: str
    words: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    result: Path | None = None
    processes: int = 1

    def program(self, root: Path) -> list[str]:
        """Return the command after `python`, with the programs of the checkout `root`."""
        launcher = ["-m", *TORCHRUN, "--nproc_per_node", str(self.processes)] if self.processes > 1 else []
        return [*launcher, str(root / f"{self.module.replace('.', '/')}.py"), *self.words]


def _die_with(parent: int) -> None:
    """Have this process killed when its parent, of that PID, ends: a killed sweep leaves nothing behind (Linux only)."""
    end_with_parent(signal.SIGKILL)
    if sys.platform == "linux" and os.getppid() != parent:  # it had ended before, and another process has taken its place
        os._exit(1)


def _child(job: Job, folder: str, root: Path, server: int) -> None:
    """Be the process of a job, forked from the fork server of the PID `server`."""
    _die_with(server)
    # Every child holds the pipe that keeps the fork server alive; without it, the server ends with the sweep, and so do we.
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]  # not in the stubs
    multiprocessing.set_start_method("fork", force=True)  # not this process's own: loaders must end with their run
    os.chdir(folder)
    with locked(job.log, PATIENCE_SECONDS) as lock:
        if lock is None:
            os._exit(BUSY)
        if job.result and job.result.exists():
            os._exit(0)
        descriptor = os.open(job.log, os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.environ.update(job.environment)
        module, sys.argv = job.module, [f"{job.module.replace('.', '/')}.py", *job.words]
        if job.processes > 1:
            _, module, *words = job.program(root)
            sys.argv = [module, *words]
        importlib.import_module(module).main()


@contextmanager
def importable(root: Path) -> Iterator[None]:
    """Let processes that are started in the context import from the checkout `root`."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def run_here(
    jobs: Sequence[Job], at_once: int, preload: Sequence[str], root: Path, gpus: int = 0
) -> Iterator[tuple[Job, int]]:
    """Run jobs on this machine, `at_once` at a time, and yield (job, exit code) as they end.

    Every job is a process of its own, forked from one that has loaded the modules of `preload` from the checkout `root`.
    With `gpus`, each process of a job has one of that many GPUs, in turn. If the caller stops early, the jobs are ended.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    with importable(root):
        forkserver.ensure_running()
    waiting, running = list(reversed(jobs)), dict[int, tuple[Job, ForkServerProcess]]()
    try:
        while waiting or running:
            for slot in range(at_once):
                if slot not in running and waiting:
                    job = waiting.pop()
                    own = [str((slot * job.processes + number) % gpus) for number in range(job.processes if gpus else 0)]
                    environment = {**job.environment, **({"CUDA_VISIBLE_DEVICES": ",".join(own)} if gpus else {})}
                    job = replace(job, environment=environment)
                    forkserver.ensure_running()  # a new one, if it has died: the PID must be that of the job's parent
                    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # not in the stubs
                    process = context.Process(target=_child, args=(job, os.getcwd(), root.resolve(), server))
                    process.start()
                    running[slot] = (job, process)
            for slot, (job, process) in list(running.items()):
                if process.exitcode is not None:
                    process.join()
                    del running[slot]
                    yield job, process.exitcode
            if running:
                time.sleep(POLL_SECONDS)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()
