"""A sweep ends with the same files however it ran: killed, several runs at once, or as jobs of a cluster."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import yaml
from test_protocol import SPEC

import main
from conftest import CHECKOUT, call, link_toy
from scripts import sweep as sweep_command
from wsol.runs.run_record import read_record

pytestmark = pytest.mark.slow

LARGE = {
    **SPEC,
    "options": {**SPEC["options"], "num_train_sample_per_class": 2},
    "vary": {"wsol_method": ["cam", "has", "cutmix"], "label_level": "all"},
    "report": [
        {"seeds": [0, 1]},
        {"seeds": [0], "where": {"wsol_method": "cam", "label_level": "finest"}, "cam_agg_levels": "all"},
    ],
}
RUNS = 24 + 12 + 3  # candidates, the second seed, CAM-Agg


def outcome(folder: Path) -> dict[str, object]:
    """What a sweep leaves behind that may not depend on how it ran: results, tables, and the choices."""
    sweep = folder / "train_log/s"
    names = ("results.json", "metrics.jsonl", "val_images.npz", "test_images.npz", "test_curve.csv", "val_curve.csv")
    files = {str(path.relative_to(sweep)): path.read_bytes() for name in names for path in sorted(sweep.glob(f"*/{name}"))}
    record = json.loads((sweep / "protocol.json").read_text())
    choices = {point: {**one, "time": None} for point, one in record["choices"].items()}
    opened = {run: bool(one["opened"]) for run, one in record["test"]["runs"].items()}
    return {**files, "choices": choices, "opened": opened}


@pytest.fixture(scope="module")
def place(toy_root, tmp_path_factory):
    """A function that makes a folder with Toy and a spec."""

    def make(workers: int = 0, spec: dict = LARGE, **where: object) -> Path:
        folder = tmp_path_factory.mktemp("sweep")
        link_toy(toy_root, folder)
        options = {**spec["options"], "workers": workers}
        spec = {**spec, "options": options, "run": {"threads": 1, "retries": 0, **where}}
        (folder / "s.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="module")
def reference(place) -> dict[str, object]:
    """The outcome of a sweep that nothing disturbed, two runs at once."""
    folder = place(jobs=2)
    printed = call(sweep_command.main, "s.yaml", cwd=folder)
    assert f"{RUNS} runs trained, 0 finished before, 27 evaluated on test, 0 failed" in printed
    return outcome(folder)


def living(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "cwd") == str(folder):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_killed_twice_and_called_again_it_ends_with_the_same_files(place, reference):
    folder = place(jobs=2, workers=1)  # processes that load images must not outlive their run
    for runs in (5, 29):  # while candidates are trained, and while what is reported is
        process = subprocess.Popen([sys.executable, str(CHECKOUT / "scripts/sweep.py"), "s.yaml"], cwd=folder)
        while len(list(folder.glob("train_log/s/*/results.json"))) < runs:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        until = time.monotonic() + 20
        while left := living(folder):
            assert time.monotonic() < until, f"left behind: {left}"
            time.sleep(0.1)
    printed = call(sweep_command.main, "s.yaml", cwd=folder)
    assert "27 evaluated on test, 0 failed" in printed and " 0 finished before" not in printed
    assert outcome(folder) == reference


def test_stopped_by_a_signal_it_names_the_command_that_continues(place):
    folder = place(spec={**SPEC, "options": {**SPEC["options"], "epochs": 20}}, jobs=2)
    record = folder / "train_log/s/order-lr0.01-seed0/run.json"
    command = [sys.executable, str(CHECKOUT / "scripts/sweep.py"), "s.yaml"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        while not (record.is_file() and (json.loads(record.read_text())["progress"] or "").startswith("epoch 1 ")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert said.splitlines()[-2:] == ["SIGTERM; to continue:", shlex.join(["python", *command[1:]])]
    states = [json.loads(path.read_text())["state"] for path in folder.glob("train_log/s/*/run.json")]
    assert states and set(states) == {"checkpointed"}
    assert " checkpointed " in call(sweep_command.main, "s.yaml", "--status", cwd=folder)
    call(sweep_command.main, "s.yaml", cwd=folder)
    assert (read_record(record.parent)["state"], read_record(record.parent)["continued"]) == ("finished", 1)


def test_one_at_a_time_it_ends_with_the_same_files(place, reference):
    folder = place(jobs=1)
    call(sweep_command.main, "s.yaml", cwd=folder)
    assert outcome(folder) == reference


def test_as_jobs_of_submitit_it_ends_with_the_same_files(place, reference):
    pytest.importorskip("submitit")
    folder = place(jobs=2, submitit={"cluster": "local", "timeout_min": 10})
    call(sweep_command.main, "s.yaml", cwd=folder)
    assert outcome(folder) == reference


def test_a_checkpointed_run_that_cannot_go_on_has_failed(place):
    spec = {**SPEC, "choose": {"grid": {"lr": [0.01]}}, "report": [{"seeds": [0]}]}
    folder = place(spec={**spec, "options": {**SPEC["options"], "batch_size": 2}}, retries=1)
    listed = call(sweep_command.main, "s.yaml", "--dry_run", cwd=folder).splitlines()[0]
    words = shlex.split(listed.split("python main.py ")[1])
    with mock.patch.object(main, "train_one_step", side_effect=lambda *_: os.kill(os.getpid(), signal.SIGTERM)):
        call(main.main, *words, cwd=folder, code=75)
    run = folder / "train_log/s" / Path(words[words.index("--experiment_name") + 1]).name
    assert read_record(run)["state"] == "checkpointed"
    for path in run.glob("*_checkpoint.pth.tar"):
        path.write_bytes(b"PK")
    command = [sys.executable, CHECKOUT / "scripts/sweep.py", "s.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and "no checkpoint of the run can be continued from" in done.stdout + done.stderr
