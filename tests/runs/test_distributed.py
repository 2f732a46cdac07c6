"""Two processes of one run, on this machine: their number changes nothing but rounding and batch statistics."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import CHECKOUT, run
from samples import OF_LABELS
from wsol.core.errors import OptionError
from wsol.core.launch import Launch, launched, rank_prefix
from wsol.data.batches import EpochShuffle, ProcessBatches, shares
from wsol.metrics.images_file import images_name, write_images
from wsol.networks import ranks
from wsol.networks.device import resolve_device
from wsol.networks.shares import all_images, part_of_mean, rows, spread_over
from wsol.runs.checkpoints import read_checkpoint
from wsol.runs.final_evaluation import evaluate_run
from wsol.runs.run_record import read_record
from wsol.runs.training import check_sync_batchnorm

LIMIT = 300  # seconds for what takes a few on an idle machine
RUN = "--label_level order --large_feature_map F --workers 0 --threads 1 --pretrained F --bootstrap 20 --resize_size 72"
RUN += " --crop_size 64 --experiment_name"
# Batch statistics; of 10 images in threes, the last batch is one for the first process alone; mapped in fives.
SHORT = [*RUN.split(), "short", "--architecture", "timm:test_efficientnet", "--num_train_sample_per_class", "5"]
SHORT += ["--epochs", "1", "--batch_size", "3", "--eval_batch_size", "5", "--save_scoremaps", "both"]
# No batch statistics: any number of processes gives the same weights, up to rounding.
LONG = [*RUN.split(), "long", "--architecture", "timm:test_efficientnet_gn", "--num_train_sample_per_class", "25"]
LONG += ["--epochs", "3", "--batch_size", "3", "--wsol_method", "cutmix", "--save_scoremaps", "none", "--eval_test", "F"]
LONG += ["--num_val_sample_per_class", "2", "--checkpoint_minutes", "1e-9"]  # a checkpoint after every step
LONG += ["--lr", "0.001"]  # at which rounding grows little in 51 steps


@pytest.fixture
def torchrun(workspace):
    """A function that starts torchrun with two processes in the workspace; what is left of them is ended."""
    started = []

    def start(script, *words):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        path = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])
        process = subprocess.Popen(
            [*command, str(CHECKOUT / script), *map(str, words)],
            cwd=workspace,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()  # which ends its processes too
            process.wait(LIMIT)


def ended(process):
    """Return (exit code, what was printed)."""
    printed, _ = process.communicate(timeout=LIMIT)
    return process.returncode, printed


def wait_for(path, process):
    until = time.monotonic() + LIMIT
    while not path.is_file():
        assert process.poll() is None and time.monotonic() < until, process.communicate()[0]
        time.sleep(0.01)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_every_process_has_its_rows_of_every_batch(processes):
    shuffle = EpochShuffle(20, seed=4)
    shuffle.start = 3
    whole = list(ProcessBatches(shuffle, 6))
    parts = [ProcessBatches(shuffle, 6, (number, processes)) for number in range(processes)]
    assert {len(part) for part in parts} == {len(whole)}
    for batch, *own in zip(whole, *map(list, parts), strict=True):
        assert [one for part in own for one in part] == batch
        assert [len(part) for part in own] == shares(len(batch), processes)
        assert max(map(len, own)) - min(map(len, own)) <= 1


@pytest.mark.parametrize("images", [0, 1, 11, 12, 13])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_image_is_evaluated_once_in_the_batches_of_a_single_process(images, processes):
    whole = list(ProcessBatches(range(images), 4, whole=True))
    parts = [list(ProcessBatches(range(images), 4, (number, processes), whole=True)) for number in range(processes)]
    assert {len(part) for part in parts} == {len(ProcessBatches(range(images), 4, (0, processes), whole=True))}
    found = [batch for turn in zip(*parts, strict=True) for batch in turn if batch]
    assert found == whole and Counter(one for batch in found for one in batch) == Counter(range(images))


def test_a_process_that_torchrun_did_not_start_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert launched() == Launch() and rank_prefix() == ""
    monkeypatch.setenv("RANK", "3")
    assert launched() == Launch()
    for name, value in {"WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "here"}.items():
        monkeypatch.setenv(name, value)
    assert launched() == Launch(3, 4, 1, 2) and rank_prefix() == "rank 3: "


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: resolve_device("cuda:0"), "device cuda:0: expected auto, cuda or cpu with several processes"),
        (lambda: check_sync_batchnorm(True, torch.device("cpu")), "sync_batchnorm TRUE: torch has it for GPUs only"),
    ],
)
def test_what_several_processes_cannot_have_is_refused(check, message, monkeypatch):
    monkeypatch.setattr(ranks, "_joined", Launch(1, 2, 1, 2))
    with pytest.raises(OptionError, match=message):
        check()


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_parts_of_means_add_up_to_the_mean_over_all_images(processes, monkeypatch):
    """As DistributedDataParallel averages them: over the processes."""
    losses = torch.rand(7, dtype=torch.float64)
    parts = shares(7, processes)
    found = []
    for number, own in enumerate(torch.split(losses, parts)):
        monkeypatch.setattr(ranks, "_joined", Launch(number, processes, number, processes))
        with spread_over(parts):
            found.append(part_of_mean(own.mean() if len(own) else torch.tensor(5.0, dtype=torch.float64)))
            assert rows(len(own)).tolist() == list(range(sum(parts[:number]), sum(parts[: number + 1])))
            assert all_images(len(own)) == 7
    torch.testing.assert_close(torch.stack(found).mean(), losses.mean())


@pytest.mark.slow
def test_a_step_of_two_processes_is_the_step_of_the_whole_batch(torchrun, tmp_path):
    """tests/rank_checks.py has the checks."""
    code, printed = ended(torchrun("tests/rank_checks.py", tmp_path / "found"))
    assert code == 0, printed
    found = [json.loads((tmp_path / f"found.{number}").read_text()) for number in range(2)]
    for number, one in enumerate(found):
        assert one["place"] == [number, 2]
        together = {"cutmix at levels", "acol at levels"}
        assert set(one["gradients"]) == {*OF_LABELS, "fsl_seg", *together} - {"tri_region"}
        for method, worst in one["gradients"].items():
            limit = 1e-5 if method in ("spg", "fsl_seg") else 1e-12  # these compute in float32, the others in float64
            for images, (gradient, loss) in worst.items():
                assert gradient < limit and loss < limit, (method, images)
        weights, sums, images = one["steps"]
        assert weights < 1e-12 and sums < 1e-12 and images == 9
        assert all(one["dropout"]) and len(one["dropout"]) == 6
        assert one["numbers"] == [[0, 7], [1, 7]]
        assert one["values"] == [["of 0", "of 1"], [0, 1] if number == 0 else []]


@pytest.mark.slow
def test_a_checkpoint_has_the_same_figures_on_one_and_on_two_processes(torchrun, workspace, monkeypatch):
    code, printed = ended(torchrun("main.py", *SHORT))
    assert code == 0, printed
    assert printed.count("written: train_log/short/results.json") == 1 and "2 processes" in printed
    assert len(re.findall("epoch 1 train", printed)) == 1 and "WARNING" not in printed
    folder = workspace / "train_log/short"
    assert read_record(folder)["processes"] == 2
    assert not (folder / "scoremaps/UNFINISHED.txt").exists()
    assert len(list((folder / "scoremaps").rglob("*.npy"))) == 128 + 192
    monkeypatch.chdir(workspace)
    written = json.loads((folder / "results.json").read_text())
    for split in ("val", "test"):
        results, evaluator = evaluate_run(folder / "last_checkpoint.pth.tar", split)
        assert json.loads(json.dumps(results)) == written[split]
        threshold = None if split == "val" else written["val"]["best_threshold"]["50"]
        write_images(workspace / images_name(split), evaluator, threshold)
        with np.load(workspace / images_name(split)) as own, np.load(folder / images_name(split)) as two:
            for name in set(own) - {"header"} if split == "test" else ("image_id", "boxes", "masks", "rank", "size"):
                assert np.array_equal(own[name], two[name], equal_nan=own[name].dtype.kind == "f"), name

    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    code, printed = ended(torchrun("main.py", *SHORT))
    assert code != 0 and "expected a new --experiment_name" in printed, printed
    assert len(re.findall("^error: ", printed, re.MULTILINE)) == 1 and "rank 1" not in printed
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def child_of_rank(process, rank):
    """Return the number of the process that has a rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    wanted = f"RANK={rank}".encode()
    return next(int(one) for one in children if wanted in Path(f"/proc/{one}/environ").read_bytes().split(b"\0"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_stopped_then_killed_a_run_is_finished_by_a_single_process(torchrun, workspace):
    folder = workspace / "train_log/long"
    step = folder / "step_checkpoint.pth.tar"
    process = torchrun("main.py", *LONG)
    wait_for(step, process)
    process.send_signal(signal.SIGTERM)  # torchrun passes it on to both
    code, printed = ended(process)
    assert code != 0 and "Traceback" not in printed.split("torch/distributed")[0], printed
    assert len(re.findall("SIGTERM: checkpointed after epoch 0, step", printed)) == 1, printed
    assert "torchrun --nproc_per_node 2" in printed
    assert read_record(folder)["state"] == "checkpointed"
    before = read_checkpoint(step)

    process = torchrun("main.py", "--config", folder / "config.yaml", "--resume", "auto")
    until = time.monotonic() + LIMIT
    while step.is_file() and read_checkpoint(step)["step"] == before["step"]:
        assert process.poll() is None and time.monotonic() < until, process.communicate()[0]
    killed = child_of_rank(process, 1)
    os.kill(killed, signal.SIGKILL)
    code, printed = ended(process)
    assert code != 0 and "continuing from" in printed, printed
    assert "error: another process of this run ended" in printed or "Signal 9 (SIGKILL)" in printed, printed
    assert not (folder / "results.json").exists()

    run("main.py", "--config", folder / "config.yaml", "--resume", "auto", cwd=workspace)
    assert read_record(folder)["state"] == "finished" and read_record(folder)["continued"] == 2
    run("main.py", *LONG[: LONG.index("long")], "alone", *LONG[LONG.index("long") + 1 :], cwd=workspace)
    both = [read_checkpoint(workspace / "train_log" / name / "last_checkpoint.pth.tar") for name in ("long", "alone")]
    for name, value in both[1]["state_dict"].items():
        np.testing.assert_allclose(both[0]["state_dict"][name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    losses = [[line["loss"] for line in one["metrics"] if line["split"] == "train"] for one in both]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*losses, rtol=1e-4)
