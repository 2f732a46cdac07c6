"""Runs of a sweep as jobs of a cluster, through submitit.

A cluster's warning that a job's time is up goes on to the run, which checkpoints; then the job is queued again.

In: `Job`s. Out: the exit code of each, as they end.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.locks import POLL_SECONDS, locked
from wsol.sweeps.executors import BUSY, PATIENCE_SECONDS, Job, importable

CLUSTER_POLL_SECONDS = 2.0


@dataclass
class ClusterTask:
    """What a cluster's job does: run a command in `folder`, with the programs of the checkout `root`; both are absolute."""

    job: Job
    folder: str
    root: str

    def __call__(self) -> int:
        """Run the command and return its exit code."""
        job = self.job
        with locked(Path(self.folder) / job.log, PATIENCE_SECONDS) as lock:
            if lock is None:
                return BUSY
            if job.result and (Path(self.folder) / job.result).exists():
                return 0
            words = [sys.executable, *job.program(Path(self.root))]
            with (Path(self.folder) / job.log).open("w", encoding="utf-8") as log:
                # The program holds the lock too: it may outlive this process.
                self._process = subprocess.Popen(  # noqa: S603 (this checkout's own program, without a shell)
                    words,
                    cwd=self.folder,
                    env={**os.environ, **job.environment},
                    stdout=log,
                    stderr=log,
                    pass_fds=[lock.fileno()],
                )
                # A signal's handler must be able to wait too, which waiting for a process itself does not allow.
                self._waiting = threading.Thread(target=self._process.wait, daemon=True)
                self._waiting.start()
                try:
                    self._wait()
                except BaseException:  # the job is cancelled: the run checkpoints, if it still can
                    self._process.terminate()
                    raise
            return self._process.returncode

    def _wait(self) -> None:
        while self._waiting.is_alive():
            time.sleep(POLL_SECONDS)

    def checkpoint(self) -> Any:  # noqa: ANN401 (submitit's, an optional library's class)
        """Have the command write its checkpoint, and return what submitit is to queue again.

        submitit calls this in the handler of the signal with which the cluster warns.
        """
        from submitit.helpers import DelayedSubmission

        if hasattr(self, "_waiting"):
            self._process.send_signal(signal.SIGTERM)
            self._wait()
        return DelayedSubmission(ClusterTask(self.job, self.folder, self.root))


def run_on_cluster(
    jobs: Sequence[Job], folder: Path, parameters: Mapping[str, Any], root: Path, at_once: int = 1
) -> Iterator[tuple[Job, int]]:
    """Run jobs through submitit, as one array where the cluster has arrays, and yield (job, exit code) as they end.

    folder: for submitit's own files. parameters: `cluster`, and those of submitit's `AutoExecutor.update_parameters`. root:
    the checkout, whose programs are run. at_once: how many run at a time where there is no queue, as with submitit's local
    executor. A job whose process died gives the exit code 1.

    Raises:
        InputError: submitit is not installed, or does not know a parameter.
    """
    try:
        import submitit
    except ImportError:
        raise InputError(
            "run.submitit: submitit is not installed; expected it, from: pip install -e '.[cluster]' in the checkout"
        ) from None
    own = {name: value for name, value in parameters.items() if name != "cluster"}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=parameters["cluster"])
        executor.update_parameters(**own)
    except Exception as error:  # noqa: BLE001 (submitit raises a dozen kinds, assertions among them)
        raise InputError(f"run.submitit: {error}; expected parameters of submitit's AutoExecutor") from None
    has_queue = parameters["cluster"] == "slurm"
    waiting = list(enumerate(jobs))
    left: dict[int, Any] = {}
    try:
        while waiting or left:
            started = waiting if has_queue else waiting[: max(0, at_once - len(left))]
            waiting = waiting[len(started) :]
            if started:
                with importable(root), executor.batch():
                    left |= {i: executor.submit(ClusterTask(job, os.getcwd(), str(root))) for i, job in started}
            for index, submitted in list(left.items()):
                if submitted.done():
                    del left[index]
                    yield jobs[index], _exit_code(submitted)
            if left:
                time.sleep(CLUSTER_POLL_SECONDS if has_queue else POLL_SECONDS)
    except (KeyboardInterrupt, SystemExit):
        for submitted in left.values():
            submitted.cancel(check=False)
        raise


def _exit_code(job: Any) -> int:  # noqa: ANN401 (submitit's Job, an optional library's class)
    try:
        return int(job.result())
    except Exception:  # noqa: BLE001 (whatever ended it; its log says more)
        return 1
