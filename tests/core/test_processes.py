import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import jobs
from conftest import CHECKOUT
from jobs import Large, doubled, fails_at_70, threads_and_file
from wsol.core.errors import InputError
from wsol.core.processes import map_beside, map_chunks


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 200])
def test_chunks_come_back_in_order(workers, count):
    assert list(map_chunks(doubled, list(range(count)), workers)) == [2 * i for i in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_worker_reaches_the_caller(workers):
    with pytest.raises(ValueError, match="70"):
        list(map_chunks(fails_at_70, list(range(200)), workers))


def test_threads_keep_the_order_and_work_beside_the_iterator():
    names = set()

    def slow_when_even(item):
        names.add(threading.current_thread().name)
        time.sleep(0.002 * (item % 2 == 0))
        return -item

    assert list(map_beside(slow_when_even, iter(range(50)))) == [(i, -i) for i in range(50)]
    assert threading.main_thread().name not in names


def test_an_error_in_a_thread_ends_the_iteration():
    def refuse(item):
        if item == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        list(map_beside(refuse, range(1000)))


def test_a_large_job_reaches_its_workers():
    items = ["x" * 4000 + str(i) for i in range(200)]  # large themselves
    assert list(map_chunks(doubled, items, 2)) == [2 * item for item in items]
    assert list(map_chunks(Large("nowhere"), range(200), 2)) == list(range(1_000_000, 1_000_200))


@pytest.mark.parametrize("where", ["arriving", "working"])
def test_a_killed_worker_is_an_error_within_seconds(where):
    """A worker that died while it was sent more than a pipe's buffer left its parent waiting for ever."""
    start = threading.Timer(60, os._exit, (1,))  # no hang of the suite
    start.start()
    try:
        with pytest.raises(InputError, match=r"^workers 2: a process was killed, or could not start"):
            list(map_chunks(Large(where), range(200), 2))
    finally:
        start.cancel()


def test_what_a_process_is_sent_at_its_start_stays_below_a_pipe_s_buffer(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x" * 40_000])
    with pytest.raises(InputError, match="a command line of"):
        list(map_chunks(doubled, range(200), 2))


def test_workers_take_one_thread_each_and_name_the_file_at_hand(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert set(map_chunks(threads_and_file, range(10, 200), 2)) == {("1", 1)}
    assert "OMP_NUM_THREADS" not in os.environ
    with pytest.raises(KeyError) as caught:
        list(map_chunks(threads_and_file, range(200), 2))
    assert caught.value.last_file == jobs.__file__


def test_more_workers_than_cores_are_warned_of(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    with pytest.warns(UserWarning, match="workers 2: more than the 1 available cores"):
        list(map_chunks(doubled, range(200), 2))


SLEEPER = """
import sys, time
sys.path.insert(0, {checkout!r})
from wsol.core.errors import command
from wsol.core.processes import map_chunks

def job(items):
    print(*items, file=sys.stderr, flush=True)
    time.sleep(60)

@command
def main():
    print("starting", flush=True)
    list(map_chunks(job, range(100), 2))

if __name__ == "__main__":
    main()
"""


def of_group(group: int) -> list[int]:
    """The running processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def sleeper(tmp_path):
    """A command in a process group of its own whose workers sleep; it has printed its first line."""
    path = tmp_path / "sleeper.py"
    path.write_text(SLEEPER.format(checkout=str(CHECKOUT)))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell's background job ignores Ctrl-C, and so would what the tests start from it.
    undo = {"start_new_session": True, "preexec_fn": partial(signal.signal, signal.SIGINT, signal.default_int_handler)}
    with subprocess.Popen([sys.executable, str(path)], **undo, **pipes) as process:
        assert process.stdout.readline() == "starting\n"
        yield process
        for left in of_group(process.pid):
            os.kill(left, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_their_parent(sleeper):
    at_work = partial(of_group, sleeper.pid)
    assert sleeper.stderr.readline()
    assert len(at_work()) >= 3
    sleeper.kill()
    assert wait_for(lambda: not at_work())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.3])
def test_ctrl_c_ends_all_without_a_traceback(sleeper, delay):
    """The signal goes to all processes of a terminal, also to those that are still starting."""
    time.sleep(delay)
    os.killpg(sleeper.pid, signal.SIGINT)
    _, said = sleeper.communicate(timeout=30)
    assert sleeper.returncode == 130
    assert said.split("\n")[-2] == "interrupted" and "Traceback" not in said
    assert wait_for(lambda: not of_group(sleeper.pid))
