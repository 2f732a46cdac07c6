"""A finished run's checkpoint says how it draws boxes: what val chose is what evaluation.py finds on the saved maps."""

import json
from unittest import mock

import pytest
import torch

from conftest import TINY, link_toy, run
from wsol.core.errors import InputError
from wsol.data.levels import class_ancestors
from wsol.maps.class_maps import GIVEN, PREDICTED
from wsol.runs import calibrate
from wsol.runs.checkpoints import read_checkpoint, write_checkpoint
from wsol.runs.predictor import restore

WORDS = (*TINY, "--epochs", "1", "--num_train_sample_per_class", "6", "--threads", "1", "--bootstrap", "0")


@pytest.fixture(scope="module")
def finished(toy_root, tmp_path_factory):
    """The folder of a run of one epoch with all of val's images."""
    folder = tmp_path_factory.mktemp("calibrated")
    link_toy(toy_root, folder)
    words = ("--label_level", "genus", "--save_scoremaps", "val", "--eval_test", "F", "--experiment_name", "one")
    run("main.py", *WORDS, *words, cwd=folder)
    return folder


def path_of(folder, name="one", kind="last"):
    return folder / f"train_log/{name}/{kind}_checkpoint.pth.tar"


def test_the_threshold_is_that_of_the_largest_contour_on_the_saved_maps(finished):
    words = ("--dataset_name", "Toy", "--split", "val", "--scoremap_root", "train_log/one/scoremaps", "--json", "found.json")
    run("evaluation.py", *words, "--bootstrap", "0", cwd=finished)
    found = json.loads((finished / "found.json").read_text())
    rule = restore(path_of(finished)).box_rules[GIVEN]
    assert found["MaxBoxAcc"]["50"] == pytest.approx(rule.accuracy)
    assert found["best_threshold"]["50"] == pytest.approx(rule.threshold)
    assert (rule.images, rule.source) == (found["counts"]["images"], "true")


def test_calibrations_are_of_both_ways_and_a_constant_where_they_are_no_better(finished):
    rules = restore(path_of(finished)).box_rules
    assert set(rules) == {GIVEN, PREDICTED}
    for rule in rules.values():
        assert "level_agreement" in rule.calibration.signs and "log_odds" in rule.calibration.signs
        figures = rule.cross_fitted
        for name in ("expected_iou", "reaches_50"):
            is_better = figures[f"{name}_brier"] < figures[f"{name}_brier_of_constant"]
            assert any(getattr(rule.calibration, name).coefficients) == is_better
        assert 0 <= figures["accuracy"] <= 100


def test_the_hierarchy_is_that_of_the_metadata(finished):
    predictor = restore(path_of(finished))
    assert list(predictor.hierarchy) == ["family", "order"]
    for level, classes in predictor.hierarchy.items():
        known = class_ancestors(finished / "metadata", "Toy", "genus", level)
        assert classes["labels"] == [known[label] for label in predictor.file_labels]
        assert len(classes["names"]) == len(set(known.values()))
    assert len(predictor.class_mapper().coarser) == 2


def test_a_checkpoint_that_has_it_all_is_left_as_it_is(finished):
    before = path_of(finished).read_bytes()
    with mock.patch.object(calibrate, "find_box_rules", side_effect=AssertionError):
        run("main.py", *WORDS, "--label_level", "genus", "--save_scoremaps", "val", "--eval_test", "F", "--experiment_name",
            "one", "--resume", "auto", cwd=finished)  # fmt: skip
    assert path_of(finished).read_bytes() == before


def test_killed_before_the_checkpoint_is_complete_a_run_completes_it(finished):
    words = (*WORDS, "--label_level", "genus", "--save_scoremaps", "val", "--eval_test", "F", "--experiment_name", "two")

    class KilledError(BaseException):
        pass

    with mock.patch.object(calibrate, "complete_checkpoint", side_effect=KilledError), pytest.raises(KilledError):
        run("main.py", *words, cwd=finished)
    assert restore(path_of(finished, "two")).version is None
    run("main.py", *words, "--resume", "auto", cwd=finished)
    one, two = (read_checkpoint(path_of(finished, name)) for name in ("one", "two"))
    assert one["box_rules"] == two["box_rules"] and one["version"] == two["version"]
    results = [(finished / f"train_log/{name}/results.json").read_bytes() for name in ("one", "two")]
    assert results[0] == results[1]


def test_without_calibration_the_classes_are_there_and_no_rules(finished):
    run("main.py", *WORDS, "--calibrate", "F", "--eval_test", "F", "--experiment_name", "none", cwd=finished)
    predictor = restore(path_of(finished, "none"))
    assert predictor.box_rules == {} and predictor.version and predictor.hierarchy == {}  # order is the coarsest level


def test_few_images_give_a_threshold_without_calibration(finished):
    run("main.py", *WORDS, "--num_val_sample_per_class", "2", "--eval_test", "F", "--experiment_name", "few", cwd=finished)
    rule = restore(path_of(finished, "few")).box_rules[GIVEN]
    assert rule.images == 32 and rule.calibration is rule.cross_fitted is None and 0 <= rule.threshold < 1


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("box_rules", lambda rules: rules | {"guessed": rules["given"]}),
        ("box_rules", lambda rules: {"given": rules["given"] | {"threshold": 1.0}}),
        ("box_rules", lambda rules: {"given": rules["given"] | {"source": "dreamt"}}),
        ("box_rules", lambda rules: {"given": rules["given"] | {"calibration": 3}}),
        ("box_rules", lambda rules: {"given": rules["given"] | {"cross_fitted": None}}),
        ("box_rules", lambda rules: {"given": {"threshold": 0.5}}),
        ("box_rules", lambda rules: torch.ones(3)),
        ("hierarchy", lambda levels: {"order": {"names": ["a"], "labels": [1] * 8}}),
        ("hierarchy", lambda levels: {"order": {"names": ["a"], "labels": [0] * 7}}),
        ("hierarchy", lambda levels: {"order": ["a"]}),
        ("version", lambda version: 1),
    ],
)
def test_entries_that_are_none_are_refused(finished, tmp_path, entry, change):
    content = read_checkpoint(path_of(finished))
    path = tmp_path / "a.pth.tar"
    content[entry] = change(content[entry])
    with pytest.raises(InputError, match=rf"a\.pth\.tar: {entry}"):
        write_checkpoint(path, content)
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"a\.pth\.tar: {entry}"):
        read_checkpoint(path)
