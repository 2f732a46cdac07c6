"""A run that is killed, stopped or fails at any moment is continued, and ends with the bytes of one that never was."""

import multiprocessing
import os
import re
import shlex
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

import main
from conftest import SMALL, TINY, call, link_toy, run
from jobs import run_and_die
from samples import outcome
from wsol.core import files
from wsol.core.files import write_json
from wsol.core.locks import hold, is_locked
from wsol.runs import experiment
from wsol.runs.checkpoints import read_checkpoint
from wsol.runs.resume import find_checkpoint
from wsol.runs.run_record import RunRecord, read_record

# Four steps an epoch, with a checkpoint after each.
WORDS = (*SMALL, *TINY, "--epochs", "2", "--batch_size", "1", "--resize_size", "72", "--crop_size", "64", "--threads", "1")
WORDS = (*WORDS, "--pretrained", "F", "--bootstrap", "20", "--checkpoint_minutes", "1e-9", "--save_scoremaps", "test")
WORDS = (*WORDS, "--eval_checkpoint_type", "best")
AUTO = (*WORDS, "--resume", "auto")


@pytest.fixture(scope="module")
def reference(toy_root, tmp_path_factory):
    """The outcome of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    link_toy(toy_root, folder)
    run("main.py", *WORDS, "--experiment_name", "r", cwd=folder)
    return outcome(folder / "train_log/r")


def nth(number: int, action, original):
    """A function that acts at its n-th call, counted from 1, and otherwise does what the original does."""
    calls = iter(range(1, 10**9))

    def instead(*arguments, **options):
        if next(calls) == number:
            action()
        return original(*arguments, **options)

    return instead


def full() -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.slow
def test_a_disk_that_fails_at_any_write_or_rename_loses_nothing(workspace, reference):
    number, failures = 0, 0
    while True:
        number += 1
        name = f"f{number}"
        renames = iter(range(1, 10**9))

        def failing(source, target, *, original=os.replace, renames=renames, number=number):
            if "scoremaps" not in str(target) and next(renames) == number:  # maps are all written the same way
                full()
            return original(source, target)

        with mock.patch.object(os, "replace", failing), mock.patch.object(os, "rename", failing):
            printed = call(main.main, *AUTO, "--experiment_name", name, cwd=workspace, code=None)
        if "error: " not in printed:
            break
        assert "Traceback" not in printed and "No space left on device" in printed.splitlines()[-1]
        failures += 1
        run("main.py", *AUTO, "--experiment_name", name, cwd=workspace)
        assert outcome(workspace / "train_log" / name) == reference
        shutil.rmtree(workspace / "train_log" / name)
    assert failures > 40
    assert outcome(workspace / "train_log" / name) == reference


# (module, function, at which call a process kills itself): at a step, between the best and the last checkpoint of an epoch,
# between training and the final evaluation, in it, and between its tables and results.json.
MOMENTS = [
    ("main", "train_one_step", 4),
    ("main", "save_checkpoint", 4),
    ("wsol.runs.experiment", "write_checkpoint", 7),
    ("main", "final_evaluation", 1),
    ("wsol.runs.experiment", "save_score_map", 3),
    ("main", "write_results", 1),
    ("main", "finish_folder", 1),
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a fork server with the libraries loaded")
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment[1])
def test_killed_at_any_moment_it_ends_with_the_same_bytes(workspace, reference, moment):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["main"])
    process = context.Process(target=run_and_die, args=(str(workspace), [*AUTO, "--experiment_name", "k"], *moment))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    half = workspace / f"train_log/k/.step_checkpoint.pth.tar.{files.HOST}.{process.pid}.tmp"
    half.write_bytes(b"PK")  # as of a process killed while it writes
    assert not is_locked(workspace / "train_log/k/log.txt")
    run("main.py", *AUTO, "--experiment_name", "k", cwd=workspace)
    assert half.exists() == (moment[1] == "finish_folder")  # which had finished: nothing is left to do in its folder
    half.unlink(missing_ok=True)
    assert outcome(workspace / "train_log/k") == reference


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT], ids=lambda one: one.name)
def test_a_signal_checkpoints_and_the_command_that_it_prints_continues(workspace, reference, number):
    def send():
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    place = {signal.SIGTERM: "count_predictions", signal.SIGUSR1: "final_evaluation"}.get(number, "train_one_step")
    with mock.patch.object(main, place, nth(1 if place == "final_evaluation" else 2, send, getattr(main, place))):
        printed = call(main.main, *WORDS, "--experiment_name", "s", cwd=workspace, code=75)
    assert signal.getsignal(number) == before
    said, line = printed.splitlines()[-2:]
    assert said.startswith(f"{number.name}: checkpointed after epoch ") and said.endswith("; to continue:")
    record = read_record(workspace / "train_log/s")
    assert record["state"] == "checkpointed" and record["error"].startswith(number.name)
    _, _, *words = shlex.split(line)
    assert words == ["--config", "train_log/s/config.yaml", "--resume", "auto"]
    call(main.main, *words, cwd=workspace)
    assert outcome(workspace / "train_log/s") == reference
    record = read_record(workspace / "train_log/s")
    assert record["continued"] == 1 and record["wall_seconds"] >= sum(record["seconds"].values()) - 0.1
    printed = call(main.main, *words, cwd=workspace)
    assert printed == "finished before: train_log/s/results.json\n"


def test_a_signal_between_the_folder_and_the_first_image_is_obeyed_at_that(workspace, reference):
    with mock.patch.object(main, "log_start", side_effect=lambda *_: os.kill(os.getpid(), signal.SIGTERM)):
        printed = call(main.main, *AUTO, "--experiment_name", "s", cwd=workspace, code=75)
    assert "SIGTERM: checkpointed after epoch 0; to continue:" in printed
    assert read_record(workspace / "train_log/s")["state"] == "checkpointed"
    call(main.main, *AUTO, "--experiment_name", "s", cwd=workspace)
    assert outcome(workspace / "train_log/s") == reference


def test_a_second_interrupt_stops_at_once(workspace):
    def twice():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with mock.patch.object(main, "train_one_step", nth(2, twice, main.train_one_step)):
        printed = call(main.main, *WORDS, "--experiment_name", "s", cwd=workspace, code=130)
    assert printed.splitlines()[-1] == "interrupted" and "Traceback" not in printed
    assert read_record(workspace / "train_log/s")["state"] == "failed"


@pytest.fixture
def stopped(workspace):
    """The folder of a run that was stopped in its second epoch."""

    def send():
        os.kill(os.getpid(), signal.SIGTERM)

    with mock.patch.object(main, "train_one_step", nth(6, send, main.train_one_step)):
        call(main.main, *WORDS, "--experiment_name", "s", cwd=workspace, code=75)
    return workspace / "train_log/s"


def test_what_may_change_changes_and_another_option_is_refused_with_both_values(stopped, workspace, reference):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    words = (*AUTO, "--experiment_name", "s")
    printed = call(main.main, *words, "--lr", "0.5", cwd=workspace, code=2)
    assert printed.startswith("error: --lr 0.5: the run of train_log/s/config.yaml began with 0.01; expected the same")
    printed = call(main.main, *words, "--label_level", "genus", cwd=workspace, code=2)
    assert printed.startswith("error: --label_level genus: the run of train_log/s/config.yaml began with order;")
    printed = call(main.main, *WORDS, "--experiment_name", "s", cwd=workspace, code=2)
    command = printed.splitlines()[-1]
    assert "train_log/s exists" in printed and command.endswith("--config train_log/s/config.yaml --resume auto")
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before
    moved = workspace / "moved"
    moved.symlink_to(workspace / "dataset")
    call(main.main, *words, "--workers", "1", "--data_root", str(moved), "--checkpoint_minutes", "0", cwd=workspace)
    assert outcome(stopped) == reference
    config = (stopped / "config.yaml").read_text()
    assert re.search(r"^data_root: .*moved$", config, re.MULTILINE) and "workers: 1" in config
    assert read_checkpoint(stopped / "last_checkpoint.pth.tar")["config"]["data_root"] == str(moved)


def test_a_checkpoint_of_another_run_is_refused_also_where_the_configuration_was_edited(stopped, workspace):
    config, other = stopped / "config.yaml", workspace / "other.pth.tar"
    shutil.copy(stopped / "step_checkpoint.pth.tar", other)
    config.write_text(config.read_text().replace("weight_decay: 0.0001", "weight_decay: 0.1"))
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    for resume in ("auto", str(other)):
        printed = call(main.main, "--config", str(config), "--resume", resume, cwd=workspace, code=2)
        said = printed.splitlines()[-1]
        assert said.startswith("error: --weight_decay 0.1: the run of ") and "began with 0.0001" in said
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_a_file_does_not_continue_in_the_folder_of_a_finished_run(stopped, workspace, reference):
    shutil.copy(stopped / "step_checkpoint.pth.tar", workspace / "step")
    words = (*WORDS, "--experiment_name", "s", "--resume")
    call(main.main, *words, str(workspace / "step"), cwd=workspace)
    printed = call(main.main, *words, str(workspace / "step"), cwd=workspace, code=2)
    assert "the run of train_log/s is finished; expected another --experiment_name" in printed
    assert outcome(stopped) == reference


def test_a_second_signal_does_not_end_a_run_that_records_its_end(workspace, monkeypatch):
    end = RunRecord.end
    monkeypatch.setattr(RunRecord, "end", lambda *words: (os.kill(os.getpid(), signal.SIGTERM), end(*words)))
    stop = partial(os.kill, os.getpid(), signal.SIGTERM)
    with mock.patch.object(main, "train_one_step", nth(2, stop, main.train_one_step)):
        call(main.main, *WORDS, "--experiment_name", "s", cwd=workspace, code=75)
    assert read_record(workspace / "train_log/s")["state"] == "checkpointed"


def test_a_damaged_checkpoint_is_named_and_an_older_one_is_used(stopped, workspace, reference):
    step = stopped / "step_checkpoint.pth.tar"
    assert find_checkpoint(stopped).path == step
    step.write_bytes(step.read_bytes()[:1000])
    printed = call(main.main, *AUTO, "--experiment_name", "s", cwd=workspace)
    assert "step_checkpoint.pth.tar: not a checkpoint" in printed
    assert "continuing from train_log/s/last_checkpoint.pth.tar: epoch 1" in printed
    assert outcome(stopped) == reference


def test_the_best_checkpoint_stands_in_for_all_later_ones(stopped, workspace, reference):
    for kind in ("step", "last"):
        (stopped / f"{kind}_checkpoint.pth.tar").write_bytes(b"PK")
    assert "continuing from train_log/s/best_checkpoint.pth.tar" in call(
        main.main, *AUTO, "--experiment_name", "s", cwd=workspace
    )
    assert outcome(stopped) == reference
    for kind in ("last", "best"):
        (stopped / f"{kind}_checkpoint.pth.tar").write_bytes(b"PK")
    (stopped / "results.json").unlink()
    printed = call(main.main, *AUTO, "--experiment_name", "s", cwd=workspace, code=2)
    assert "no checkpoint of the run can be continued from; expected --override_cache TRUE" in printed


def test_a_checkpoint_of_another_network_is_refused(stopped, workspace):
    other = ("--architecture", "resnet18", "--epochs", "0", "--eval_test", "F", "--save_scoremaps", "none")
    call(main.main, *WORDS, *other, "--eval_checkpoint_type", "last", "--experiment_name", "other", cwd=workspace)
    foreign = workspace / "train_log/other/last_checkpoint.pth.tar"
    words = (*WORDS, "--experiment_name", "s", "--resume", str(foreign))
    shutil.rmtree(stopped)
    printed = call(main.main, *words, cwd=workspace, code=2)
    assert "--architecture timm:test_efficientnet: the run of " in printed and "began with resnet18" in printed


def test_a_file_continues_in_a_new_folder(stopped, workspace, reference):
    shutil.move(stopped, workspace / "elsewhere")
    words = (*WORDS, "--experiment_name", "t", "--resume", "elsewhere/last_checkpoint.pth.tar")
    (workspace / "elsewhere/best_checkpoint.pth.tar").rename(workspace / "best")
    printed = call(main.main, *words, cwd=workspace, code=2)
    assert "elsewhere/best_checkpoint.pth.tar: no such file" in printed and not (workspace / "train_log/t").exists()
    (workspace / "best").rename(workspace / "elsewhere/best_checkpoint.pth.tar")
    call(main.main, *words, cwd=workspace)
    assert outcome(workspace / "train_log/t") == reference


def test_two_runs_on_one_folder(stopped, workspace):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with hold(stopped / "log.txt"):
        for words in (AUTO, (*WORDS, "--override_cache", "T")):
            printed = call(main.main, *words, "--experiment_name", "s", cwd=workspace, code=2)
            assert printed.splitlines()[-1].startswith("error: train_log/s: another process is at this run")
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["train_one_step", "write_metrics", "final_evaluation"])
def test_a_folder_that_vanishes_or_is_replaced_ends_the_run_with_one_line(workspace, place):
    folder = workspace / "train_log/v"

    def vanish():
        shutil.rmtree(folder)
        if place == "write_metrics":  # another run is in its place
            shutil.copytree(workspace / "other", folder)

    (workspace / "other").mkdir()
    for name in ("config.yaml", "log.txt", "run.json"):
        (workspace / "other" / name).write_text("{}")
    module = experiment if place == "write_metrics" else main
    with mock.patch.object(module, place, nth(1 if place == "final_evaluation" else 3, vanish, getattr(module, place))):
        printed = call(main.main, *WORDS, "--experiment_name", "v", cwd=workspace, code=2)
    said = "error: train_log/v: the run's folder was removed or replaced while it was running"
    if place == "final_evaluation":
        said = "error: train_log/v/"
    assert printed.splitlines()[-1].startswith(said) and "Traceback" not in printed
    left = {path.name for path in folder.glob("*")}
    assert left == ({"config.yaml", "log.txt", "run.json"} if place == "write_metrics" else set())


def test_processes_forked_from_a_run_do_not_hold_its_lock(tmp_path):
    lock = hold(tmp_path / "log.txt")
    ready = multiprocessing.get_context("fork").Event()
    child = multiprocessing.get_context("fork").Process(target=lambda: (ready.set(), time.sleep(60)))
    child.start()  # as a process that loads images and outlives its run
    try:
        assert ready.wait(20)
        lock.close()
        assert not is_locked(tmp_path / "log.txt")
    finally:
        child.kill()
        child.join()


def test_a_checkpoint_is_on_the_disk_before_it_counts(stopped, workspace, monkeypatch):
    done = []
    monkeypatch.setattr(files.os, "fsync", lambda number: done.append(("sync", os.readlink(f"/proc/self/fd/{number}"))))
    replace = os.replace
    monkeypatch.setattr(files.os, "replace", lambda *both: (done.append(("rename", str(both[1]))), replace(*both)))
    call(main.main, *AUTO, "--experiment_name", "s", cwd=workspace)
    for name in ("last_checkpoint.pth.tar", "results.json"):
        at = done.index(("rename", str(stopped / name)))
        assert done[at - 1][0] == "sync" and Path(done[at - 1][1]).name.startswith(f".{name}.")
        assert done[at + 1] == ("sync", str(stopped))
    results = done.index(("rename", str(stopped / "results.json")))
    assert ("sync", str(stopped / "test_images.npz")) in done[:results]
    write_json(workspace / "x.json", {})
    assert done[-1] == ("rename", str(workspace / "x.json"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_checkpoints_within_an_epoch_come_when_they_are_due(workspace, monkeypatch):
    now = iter(range(0, 10**9, 60))  # a minute passes at every look
    monkeypatch.setattr(experiment.time, "monotonic", lambda: next(now))
    kinds = []
    save = experiment.save_checkpoint
    monkeypatch.setattr(experiment, "save_checkpoint", lambda run, kind: (kinds.append(kind), save(run, kind)))
    run("main.py", *WORDS, "--epochs", "1", "--checkpoint_minutes", "3", "--experiment_name", "d", cwd=workspace)
    assert 0 < kinds.count("step") < 5
    kinds.clear()
    run("main.py", *WORDS, "--epochs", "1", "--checkpoint_minutes", "0", "--experiment_name", "e", cwd=workspace)
    assert kinds.count("step") == 0
