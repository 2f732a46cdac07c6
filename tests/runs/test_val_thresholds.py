"""Thresholds chosen on val: the interval that they belong to, and files without them."""

import json

import pytest

from wsol.core.errors import InputError
from wsol.runs.val_thresholds import read_val_thresholds


def write(path, **content):
    path.write_text(json.dumps({"split": "val", "dataset_name": "D", "box_rule": "multi_contour", **content}))
    return path


@pytest.mark.parametrize(
    ("thresholds", "stated", "interval"),
    [
        ({"50": 0.25}, 0.05, 0.05),
        ({"50": 0.25, "70": 0.3}, None, 0.01),
        ({"50": 0.25, "70": 0.301}, None, 0.001),
        ({"50": 0.12345}, None, None),
    ],
)
def test_the_interval_is_stated_or_the_coarsest_that_has_all_thresholds(tmp_path, thresholds, stated, interval):
    stated = {} if stated is None else {"cam_curve_interval": stated}
    found = read_val_thresholds(write(tmp_path / "val.json", best_threshold=thresholds, **stated))
    assert (found.thresholds, found.interval) == (thresholds, interval)
    assert (found.dataset_name, found.box_rule) == ("D", "multi_contour")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"best_threshold": {}}, "no best_threshold of val in it"),
        ({"best_threshold": {"50": 1.0}}, "expected IoU thresholds mapped to numbers"),
        (
            {"best_threshold": {"50": 0.5}, "cam_curve_interval": 0},
            "cam_curve_interval 0; expected a number from 1e-05",
        ),
        ({"best_threshold": {"50": 0.5}, "split": "test"}, "results of the split 'test'; expected those of val"),
    ],
)
def test_a_file_without_such_thresholds_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_val_thresholds(write(tmp_path / "val.json", **content))
    assert str(caught.value).startswith(f"{tmp_path / 'val.json'}: ")


def test_a_run_is_refused_with_its_file(tmp_path):
    write(tmp_path / "results.json")
    with pytest.raises(InputError, match=r"a run's folder; expected its .*results\.json, or a checkpoint in it"):
        read_val_thresholds(tmp_path)
