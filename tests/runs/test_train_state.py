"""A training that is saved, built anew and loaded goes on as if nothing had been."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch

import main
from config import get_config, write_config
from wsol.runs.checkpoints import ENTRIES, FORMAT, read_checkpoint
from wsol.runs.experiment import open_folder
from wsol.runs.train_state import to_arrays, to_tensors
from wsol.runs.training import lr_at, set_learning_rate, start_training

TINY = "--architecture timm:test_efficientnet --large_feature_map F --label_level order --workers 0 --batch_size 5"
FEW = "--num_train_sample_per_class 6 --num_val_sample_per_class 2 --eval_test F --save_scoremaps none --threads 1"


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)


def experiment(name, words):
    config, _ = get_config([*f"{TINY} {FEW} --epochs 2 --seed 3 {words} --experiment_name {name}".split()])
    run = main.build(config)
    open_folder(run, partial(write_config, config))
    return run


def load(run, path):
    """Put a run where a checkpoint's training stood."""
    checkpoint = read_checkpoint(path)
    run.model.load_state_dict(checkpoint["state_dict"])
    run.state.load_state_dict(checkpoint)


def same(first, second):
    """Tell whether two nests of values are equal, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        alike = (first.dtype, first.shape) == (second.dtype, second.shape)
        return alike and first.numpy().tobytes() == second.numpy().tobytes()  # NaN too: what is not known of an image
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(value, second[name]) for name, value in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def check_end(whole, resumed):
    assert same(dict(whole.model.state_dict()), dict(resumed.model.state_dict()))
    assert same(whole.state.state_dict(), resumed.state.state_dict())
    lines = [(run.folder / "metrics.jsonl").read_bytes() for run in (whole, resumed)]
    assert lines[0] == lines[1]
    results = [json.dumps(main.final_evaluation(run)) for run in (whole, resumed)]
    assert results[0] == results[1]


METHODS = [
    "--wsol_method has --has_grid_size 8",
    "--wsol_method adl",
    "--wsol_method cutmix --eval_checkpoint_type best",
    "--wsol_method spg --lr_decay_frequency 2",
    "--architecture timm:test_vit --crop_size 160 --resize_size 176 --lr_decay_frequency 1",
]


@pytest.mark.parametrize("words", METHODS)
def test_a_training_goes_on_from_its_last_checkpoint_bit_for_bit(words):
    whole = experiment("whole", words)
    main.train(whole)
    first = experiment("first", words)
    first.config.epochs = 1
    main.train(first)
    resumed = experiment("resumed", words)
    for file in first.folder.glob("*_checkpoint.pth.tar"):
        shutil.copy(file, resumed.folder)
    torch.rand(7)
    load(resumed, resumed.folder / "last_checkpoint.pth.tar")
    assert (resumed.state.epoch, resumed.state.step, resumed.state.is_validated) == (1, 0, True)
    main.train(resumed)
    check_end(whole, resumed)


class StopError(Exception):
    pass


@pytest.mark.parametrize("words", ["--wsol_method has --has_grid_size 8", "--wsol_method cutmix"])
def test_a_training_goes_on_in_the_middle_of_an_epoch_bit_for_bit(words, monkeypatch):
    whole = experiment("whole", words)
    main.train(whole)
    stopped = experiment("stopped", words)
    one_step = main.train_one_step

    def stop_in_the_second_epoch(run, batch):
        if (run.state.epoch, run.state.step) == (1, 2):
            raise StopError
        one_step(run, batch)

    with monkeypatch.context() as patched, pytest.raises(StopError):
        patched.setattr(main, "train_one_step", stop_in_the_second_epoch)
        main.train(stopped)
    main.save_checkpoint(stopped, "last")
    resumed = experiment("resumed", words)
    load(resumed, stopped.folder / "last_checkpoint.pth.tar")
    assert (resumed.state.epoch, resumed.state.step, resumed.state.epoch_images) == (1, 2, 10)
    main.train(resumed)
    check_end(whole, resumed)


def test_a_checkpoint_holds_what_the_table_says_and_the_validation_of_the_best_and_the_last():
    run = experiment("run", "--lr 0.1")
    main.train(run)
    others = {"box_rules", "hierarchy", "version", "trained_levels"}  # of a run's end, and of several levels
    for kind in ("best", "last"):
        checkpoint = read_checkpoint(run.folder / f"{kind}_checkpoint.pth.tar")
        assert set(checkpoint) == set(ENTRIES) - others and checkpoint["format"] == FORMAT
        own = checkpoint["validation"][kind]
        assert own["epoch"] == checkpoint["epoch"]
        assert own["results"]["best_threshold"] == checkpoint["score_map_thresholds"]
        line = next(one for one in run.state.metrics if (one["epoch"], one["split"]) == (own["epoch"], "val"))
        assert {"epoch": own["epoch"], "split": "val", **own["results"]} == line
    assert checkpoint["epoch"] == 2
    assert checkpoint["best"] == max(line["MaxBoxAccV2"] for line in run.state.metrics if line["split"] == "val")


def test_the_final_report_needs_no_evaluator_that_is_still_there():
    """Built anew, the state alone gives what val counted."""
    run = experiment("run", "--eval_checkpoint_type best")
    main.train(run)
    anew = experiment("anew", "--eval_checkpoint_type best")
    load(anew, run.folder / "last_checkpoint.pth.tar")
    (run.folder / "best_checkpoint.pth.tar").rename(anew.folder / "best_checkpoint.pth.tar")
    report = main.final_evaluation(anew)["val"]
    kept = run.state.validation["best"].results
    assert {name: report[name] for name in kept} == kept
    assert report["MaxBoxAcc_at_val_threshold"] == report["MaxBoxAcc"]
    assert report["intervals"]["MaxBoxAccV2"]


def test_killed_between_its_two_checkpoints_a_run_still_finds_its_best_one(monkeypatch):
    run = experiment("run", "")
    written = []
    monkeypatch.setattr(main, "save_checkpoint", lambda run, kind: written.append((run.state.epoch, kind)))
    main.validate(run)
    assert written == [(0, "best"), (0, "last")]


def test_arrays_come_back_as_they_were():
    kinds = [np.uint8, np.uint16, np.uint32, np.int32, np.int64, np.float64, np.bool_]
    state = {"a": [np.arange(6).reshape(2, 3).astype(kind) for kind in kinds], "b": {"c": None, "d": [1, 0.5, "x"]}}
    state["empty"] = np.zeros((0, 3), dtype=np.uint16)
    torch.save(to_tensors(state), "state.pth")
    again = to_arrays(torch.load("state.pth", weights_only=True))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(state["a"], again["a"], strict=True))
    assert again["b"] == state["b"] and again["empty"].shape == (0, 3) and again["empty"].dtype == np.uint16


def test_three_decays_give_the_learning_rates_of_repeated_multiplication():
    assert 0.01 * 0.1 * 0.1 * 0.1 != 0.01 * 0.1**3  # in the last bit
    rates = [lr_at(0.01, epoch, 2) for epoch in range(1, 8)]
    assert rates == [0.01, *[0.01 * 0.1] * 2, *[0.01 * 0.1 * 0.1] * 2, *[0.01 * 0.1 * 0.1 * 0.1] * 2]
    run = experiment("run", "")
    state = start_training(run.model, {**run.config, "lr": 0.01, "lr_classifier_ratio": 10}, run.device)
    in_place = [0.01, 0.01 * 10]
    for epoch in range(1, 12):
        if epoch % 3 == 0:
            in_place = [lr * 0.1 for lr in in_place]
        set_learning_rate(state.optimizer, epoch, 3)
        assert [group["lr"] for group in state.optimizer.param_groups] == in_place
