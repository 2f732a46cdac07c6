import csv
import json
from functools import partial

import pytest
from PIL import Image

from conftest import SMALL, run, run_process


def sweep(*options, cwd, code=0):
    return run_process("scripts/sweep_granularity.sh", *options, cwd=cwd, code=code)


@pytest.mark.slow
def test_a_sweep_runs_every_level_makes_its_table_and_skips_what_is_finished(workspace):
    options = ("Toy", *SMALL, "--experiment_name", "s")
    printed = sweep(*options, cwd=workspace)
    folder = workspace / "train_log/s"
    with (folder / "granularity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["level"] for row in rows] == ["species", "genus", "family", "order", "Center"]
    assert [row["classes"] for row in rows] == ["16", "8", "4", "2", ""]
    assert {"MaxBoxAccV2", "MaxBoxAcc30", "MaxBoxAcc50", "MaxBoxAcc70", "PxAP", "top1_cls"} <= set(rows[0])
    assert "| Center" in printed
    for name in ("granularity.png", "examples.png"):
        assert min(Image.open(folder / name).size) > 300

    (folder / "genus" / "results.json").unlink()  # as if it had been killed
    before = (folder / "species" / "results.json").stat().st_mtime_ns
    printed = sweep(*options, cwd=workspace)
    assert printed.count("finished before, skipped") == 3
    assert (folder / "genus" / "results.json").exists()
    assert (folder / "species" / "results.json").stat().st_mtime_ns == before
    with (folder / "granularity.csv").open() as file:
        assert list(csv.DictReader(file)) == rows

    printed = sweep(*options, "--lr", "0.5", cwd=workspace, code=2)
    assert "finished run with other options (lr was 0.01, now 0.5)" in printed


def test_a_sweep_refuses_bad_options_before_training(workspace):
    assert "a sweep runs every level" in sweep("Toy", "--label_level", "genus", cwd=workspace, code=2)
    plan = partial(run, "scripts/granularity.py", "plan", "--dataset_name", cwd=workspace, code=2)  # as the sweep begins
    assert "no metadata of a data set 'Nope'" in plan("Nope")
    assert "takes the options of main.py" in plan("Toy", "--help")
    assert "--lr 0.0: expected more than 0" in plan("Toy", "--lr", "0")
    assert not (workspace / "train_log").exists()


@pytest.mark.slow
def test_the_study_of_tiny_animals_chooses_rates_on_val_and_makes_its_table(workspace, monkeypatch):
    for name, value in {"DATASET": "Toy", "LEVELS": "family order", "RATES": "0.01 0.5", "SEEDS": "0 1"}.items():
        monkeypatch.setenv(name, value)
    small = ("--architecture", "resnet18", "--pretrained", "FALSE", "--resize_size", "32", "--crop_size", "32", *SMALL)
    printed = run_process("scripts/tiny_animals.sh", *small, cwd=workspace)
    folder = workspace / "train_log/tiny_animals"
    rates = folder / "rates/family"
    val = {rate: json.loads((rates / rate / "results.json").read_text())["val"] for rate in ("0.01", "0.5")}
    assert "test" not in json.loads((rates / "0.5/results.json").read_text())
    best = max(val, key=lambda rate: val[rate]["MaxBoxAccV2"])
    assert f"| family | 4       | 2     | {best}" in printed
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["level"], row["run"]) for row in rows[:3]] == [("family", "0"), ("family", "1"), ("order", "0")]
    assert (rows[4]["level"], len(rows)) == ("Center", 5)
    assert min(Image.open(folder / "figure.png").size) > 300
    again = run_process("scripts/tiny_animals.sh", *small, cwd=workspace)
    assert again.count("finished before, skipped") == 8
    config = folder / "seeds/order/1/config.yaml"
    config.write_text(config.read_text().replace("crop_size: 32", "crop_size: 48"))
    assert "another --crop_size" in run_process("scripts/tiny_animals.sh", *small, cwd=workspace, code=2)
