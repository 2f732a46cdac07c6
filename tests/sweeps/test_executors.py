import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import CHECKOUT
from wsol.core.errors import InputError
from wsol.core.locks import is_locked, locked
from wsol.sweeps.cluster import ClusterTask, run_on_cluster
from wsol.sweeps.executors import BUSY, PATIENCE_SECONDS, Job, run_here

PROGRAM = """
import json, os, sys
def main():
    print("said")
    print("warned", file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        number, device = os.environ.get("NUMBER"), os.environ.get("CUDA_VISIBLE_DEVICES")
        json.dump([os.getpid(), os.getcwd(), sys.argv, number, device], file)
    sys.exit(int(sys.argv[2]))
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> list[Job]:
    """Three jobs of a program in a folder of its own, the second of which fails."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "some_program.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path / "root"))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))  # where the library is, as in a checkout the program is too
    return [
        Job(f"j{i}", "some_program", (f"{i}.json", str(code)), Path("logs") / f"j{i}.txt", {"NUMBER": str(i)})
        for i, code in enumerate((0, 3, 0))
    ]


def checked(codes: dict[str, int], folder: Path) -> list[list]:
    assert codes == {"j0": 0, "j1": 3, "j2": 0}
    written = [json.loads((folder / f"{i}.json").read_text()) for i in range(3)]
    assert [one[1] for one in written] == [str(folder)] * 3
    assert [one[2][1:] for one in written] == [["0.json", "0"], ["1.json", "3"], ["2.json", "0"]]
    assert [one[3] for one in written] == ["0", "1", "2"]
    assert len({one[0] for one in written}) == 3, "each in a process of its own"
    assert sorted((folder / "logs/j1.txt").read_text().split()) == ["said", "warned"]
    return written


@pytest.mark.parametrize("at_once", [1, 2])
def test_jobs_here_are_processes_with_their_own_words_and_log(jobs, tmp_path, at_once):
    ended = {job.name: code for job, code in run_here(jobs, at_once, [], tmp_path / "root", gpus=2)}
    written = checked(ended, tmp_path)
    assert {one[4] for one in written} <= {"0", "1"}


def test_jobs_of_a_cluster_give_the_same(jobs, tmp_path):
    pytest.importorskip("submitit")
    parameters = {"cluster": "local", "timeout_min": 2}
    ended = {job.name: code for job, code in run_on_cluster(jobs, tmp_path / "submitit", parameters, tmp_path / "root")}
    checked(ended, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_job_of_two_processes_is_one_run_of_torchrun(jobs, tmp_path, where):
    code = "import os, sys\nopen(sys.argv[1] + os.environ['RANK'], 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    (tmp_path / "root" / "some_program.py").write_text(code)
    job = replace(jobs[0], processes=2, environment={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "1,2"})
    if where == "cluster":
        pytest.importorskip("submitit")
        parameters = {"cluster": "local", "timeout_min": 5}
        ended = list(run_on_cluster([job], tmp_path / "submitit", parameters, tmp_path / "root"))
    else:
        ended = list(run_here([job], 1, [], tmp_path / "root", gpus=3))
    assert [(one.name, code) for one, code in ended] == [("j0", 0)], job.log.read_text()
    seen = [(tmp_path / f"0.json{rank}").read_text() for rank in range(2)]
    assert seen == ["1,2" if where == "cluster" else "0,1"] * 2


def test_a_parameter_that_submitit_does_not_know_is_refused(jobs, tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(InputError, match=r"run\.submitit"):
        list(run_on_cluster(jobs, tmp_path / "submitit", {"cluster": "local", "colour": "red"}, CHECKOUT))


def test_a_job_that_another_process_is_at_is_not_done_twice(jobs, tmp_path):
    with locked(jobs[0].log) as lock:
        assert lock and is_locked(jobs[0].log)
        assert [code for _, code in run_here(jobs[:1], 1, [], tmp_path / "root")] == [BUSY]
    assert not (tmp_path / "0.json").exists() and not is_locked(jobs[0].log)


def test_a_job_waits_for_one_that_only_asks_whether_its_lock_is_held(jobs, tmp_path):
    jobs[0].log.parent.mkdir()
    jobs[0].log.touch(mode=0o444)
    with jobs[0].log.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not is_locked(jobs[0].log)
        with locked(jobs[0].log) as lock:
            assert lock is None
        threading.Timer(0.2, fcntl.flock, [asking, fcntl.LOCK_UN]).start()
        with locked(jobs[0].log, PATIENCE_SECONDS) as lock:
            assert lock


def test_a_job_whose_result_is_there_when_it_starts_does_nothing(jobs, tmp_path):
    """Such as one that was queued by a call since killed, with an option that replaces the finished run."""
    (tmp_path / "result.json").touch()
    job = replace(jobs[0], result=Path("result.json"))
    assert [code for _, code in run_here([job], 1, [], tmp_path / "root")] == [0]
    assert ClusterTask(job, str(tmp_path), str(tmp_path / "root"))() == 0
    assert not (tmp_path / "0.json").exists()


def test_a_program_that_outlives_its_cluster_job_keeps_the_lock(jobs, tmp_path):
    (tmp_path / "root" / "some_program.py").write_text("import time\nprint('began', flush=True)\ntime.sleep(60)\n")
    job = multiprocessing.get_context("fork").Process(target=ClusterTask(jobs[0], str(tmp_path), str(tmp_path / "root")))
    job.start()
    while not (jobs[0].log.is_file() and jobs[0].log.read_text()):
        time.sleep(0.05)
    (program,) = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    job.kill()
    job.join()
    try:
        assert is_locked(jobs[0].log)
    finally:
        os.kill(int(program), signal.SIGKILL)


STOPPABLE = """
import os, signal, sys, time
from pathlib import Path

place = Path("checkpoint")
if place.exists():
    place.with_name("finished").write_text(place.read_text())
    sys.exit(0)

def stop(number, frame):
    place.write_text(signal.Signals(number).name)
    sys.exit(75)

signal.signal(signal.SIGTERM, stop)
time.sleep(50)
"""


@pytest.mark.slow
def test_a_job_of_a_cluster_checkpoints_before_its_time_is_up_and_is_queued_again(jobs, tmp_path):
    pytest.importorskip("submitit")
    (tmp_path / "root" / "some_program.py").write_text(STOPPABLE)
    parameters = {"cluster": "local", "timeout_min": 1}  # of which submitit warns after half
    ended = [code for _, code in run_on_cluster(jobs[:1], tmp_path / "submitit", parameters, tmp_path / "root")]
    assert ended == [0]
    assert (tmp_path / "finished").read_text() == "SIGTERM"


ORPHAN = """
import ctypes, os, sys, time
from wsol.sweeps.executors import _die_with
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
parent = os.fork()
if parent == 0:
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            time.sleep(0.01)
        _die_with(parent)
        os._exit(77)
    os._exit(0)
os.waitpid(parent, 0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_a_job_whose_parent_ended_before_it_could_ask_ends_too(tmp_path):
    """Also where a sub-reaper, as a container's or a desktop's, is the new parent, and not PID 1."""
    ended = subprocess.run(
        [sys.executable, "-c", ORPHAN], env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, capture_output=True, check=True
    )
    assert ended.stdout.split() == [b"1"]


SLEEPER = """
import os, sys, time
def main():
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(100)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_jobs_end_with_a_killed_sweep(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "parent.py").write_text(
        "from pathlib import Path\n"
        "from wsol.sweeps.executors import Job, run_here\n"
        "if __name__ == '__main__':\n"
        "    jobs = [Job(n, 'sleeper', (f'{n}.pid',), Path(f'{n}.txt')) for n in ('a', 'b')]\n"
        "    list(run_here(jobs, 2, [], Path.cwd()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, env=environment)
    until = time.monotonic() + 60
    written = [tmp_path / "a.pid", tmp_path / "b.pid"]
    while not all(path.is_file() and path.read_text() for path in written):
        assert time.monotonic() < until and parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while left := [path.read_text() for path in written if Path(f"/proc/{path.read_text()}").exists()]:
        assert time.monotonic() < until, f"left behind: {left}"
        time.sleep(0.05)
