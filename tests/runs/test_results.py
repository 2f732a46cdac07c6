"""Results as rows, and files that break the layout."""

import json
from dataclasses import asdict

import pytest

from conftest import SMALL, run
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.core.flat_yaml import read_dumped
from wsol.runs.results import Row, read_results, read_run, split_results

PART = {
    "MaxBoxAccV2": 60.0,
    "MaxBoxAcc": {"30": 90.0, "50": 60.0, "70": 30.0},
    "PxAP": None,
    "gt_known_loc": 60.0,
    "box_rule": "multi_contour",
    "best_threshold": {"30": 0.1, "50": 0.2, "70": 0.3},
    "top1_cls": 25.0,
    "top1_loc": 20.0,
    "MaxBoxAccV2_at_val_threshold": 50.0,
    "MaxBoxAcc_at_val_threshold": {"30": 80.0, "50": 50.0, "70": 20.0},
    "top1_loc_at_val_threshold": 15.0,
    "counts": {"images": 40},
    "intervals": {"MaxBoxAccV2": [50.0, 70.0], "MaxBoxAcc": {"50": [55.0, 66.0]}, "top1_cls": [20.0, 30.0], "percent": 95},
}


def write(folder, content):
    write_text(folder / "results.json", json.dumps(content))
    return folder


def test_every_figure_is_a_row(tmp_path):
    config = {"experiment_name": "a/b", "wsol_method": "cam", "architecture": "vgg16", "seed": 3, "lr": 0.1}
    content = {"dataset_name": "D", "label_level": "genus", "num_classes": 7, "test": PART, "checkpoint": {"epoch": 1}}
    results = read_run(write(tmp_path, content), config)
    assert (results.splits, results.num_classes, results.is_evaluation) == (["test"], 7, False)
    about = ("a/b", "D", "cam", "vgg16", "genus", 3, "test")
    assert results.rows() == [
        Row(*about, "MaxBoxAccV2", None, "best", 60.0, 50.0, 70.0, 40),
        Row(*about, "MaxBoxAcc", 30.0, "best", 90.0, None, None, 40),
        Row(*about, "MaxBoxAcc", 50.0, "best", 60.0, 55.0, 66.0, 40),
        Row(*about, "MaxBoxAcc", 70.0, "best", 30.0, None, None, 40),
        Row(*about, "gt_known_loc", 50, "best", 60.0, None, None, 40),
        Row(*about, "top1_loc", 50, "best", 20.0, None, None, 40),
        Row(*about, "MaxBoxAccV2", None, "val", 50.0, None, None, 40),
        Row(*about, "MaxBoxAcc", 30.0, "val", 80.0, None, None, 40),
        Row(*about, "MaxBoxAcc", 50.0, "val", 50.0, None, None, 40),
        Row(*about, "MaxBoxAcc", 70.0, "val", 20.0, None, None, 40),
        Row(*about, "top1_loc", 50, "val", 15.0, None, None, 40),
        Row(*about, "top1_cls", None, "none", 25.0, 20.0, 30.0, 40),
    ]
    split = results.split("test")
    assert split.value("MaxBoxAcc", 70, at_val=True) == 20.0
    assert split.find("PxAP") is None and split.has_localization
    assert {iou: row.value for iou, row in split.by_iou().items()} == PART["MaxBoxAcc"]
    assert asdict(read_run(tmp_path).rows()[0])["seed"] is None


def test_the_largest_contours_mean_is_made_and_a_detectors_boxes_have_no_threshold():
    largest = {**PART, "MaxBoxAccV2": None, "intervals": {"mean_MaxBoxAcc": [1.0, 2.0]}}
    mean = split_results(largest, "val", "x").find("mean_MaxBoxAcc")
    assert (mean.value, mean.low, mean.high) == (60.0, 1.0, 2.0)
    boxes = split_results({**PART, "box_rule": "detections", "best_threshold": None}, "val", "x")
    assert {row.threshold_rule for row in boxes.rows if row.metric == "MaxBoxAcc"} == {"none", "val"}


def test_what_evaluation_writes_is_read_too(tmp_path):
    write_text(tmp_path / "r.json", json.dumps({"dataset_name": "D", "split": "test", "scored": "maps", **PART}))
    results = read_results(tmp_path / "r.json")
    assert results.is_evaluation and results.splits == ["test"]
    assert results.split("test").value("MaxBoxAccV2") == 60.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"results\.json: a list of 0; expected results"),
        ({"test": {**PART, "MaxBoxAccV2": "x"}}, r"results\.json: test\.MaxBoxAccV2 is 'x'; expected a number"),
        (
            {"test": {**PART, "MaxBoxAcc": {"fifty": 1.0}}},
            r"test\.MaxBoxAcc has 'fifty'; expected IoU thresholds in percent",
        ),
        ({"test": {**PART, "counts": {"images": -1}}}, r"test\.counts\.images is -1; expected a number"),
        ({"test": {**PART, "intervals": {"top1_cls": [1]}}}, r"test\.intervals\.top1_cls is \[1\]; expected \[low, high\]"),
        ({"test": {**PART, "best_threshold": {"50": 2}}}, r"test\.best_threshold is {'50': 2}; expected IoU thresholds"),
        ({"val": PART}, r"results\.json: no results of the test split; expected a run that has evaluated it"),
        ({"split": 3}, r"results\.json: split is 3; expected its name"),
    ],
)
def test_what_breaks_the_layout_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_run(write(tmp_path, content)).split("test")


def test_a_figure_that_is_missing_is_named(tmp_path):
    results = read_run(write(tmp_path, {"test": PART}))
    with pytest.raises(InputError, match=r"results\.json: test\.PxAP is None; expected a number"):
        results.split("test").value("PxAP")
    with pytest.raises(InputError, match=r"test\.MaxBoxAcc_at_val_threshold\.40 is None"):
        results.split("test").value("MaxBoxAcc", 40, at_val=True)
    with pytest.raises(InputError, match=r"num_classes is None; expected a number"):
        _ = results.num_classes


@pytest.mark.slow
def test_the_rows_of_a_run_are_all_of_its_figures(workspace):
    run("main.py", *SMALL, "--label_level", "family", "--experiment_name", "first", cwd=workspace)
    folder = workspace / "train_log/first"
    rows = read_run(folder, read_dumped(folder / "config.yaml")).rows()
    for split in ("val", "test"):
        part = json.loads((folder / "results.json").read_text())[split]
        numbers = [value for value in part.values() if isinstance(value, float)]
        for name in ("MaxBoxAcc", "MaxBoxAcc_at_val_threshold"):
            numbers += part[name].values()
        found = [row for row in rows if row.split == split]
        assert sorted(row.value for row in found) == sorted(numbers)
        assert all(row.low <= row.high for row in found)
        assert {(row.experiment, row.dataset, row.level, row.seed) for row in found} == {("first", "Toy", "family", 0)}
