"""A sample of the trials (scripts/trials), and what judges them."""

import os
from unittest import mock

import pytest

from conftest import own_process

with mock.patch.dict(os.environ):  # the trials set a variable as they are imported
    from scripts.trials import invalid_configurations, wrong_files
    from scripts.trials.common import ACCEPTED, REFUSED, Case, copy_workspace, judge, perform, run_cases, snapshot
    from scripts.trials.workspace import BASE, make_workspace

pytestmark = pytest.mark.forks
INVALID = (
    "main.py --device cuda:9999999999999999999999",
    "main.py --weight_decay inf",
    "main.py --experiment_name mini/inside",
    "main.py experiment_name: 300 characters",
    "main.py experiment_name: surrogate",
    "main.py YAML: date out of range",
    "main.py YAML: recursion",
    "main.py YAML: bomb of aliases",
    "main.py YAML: a key twice",
    "main.py YAML: null for a name",
    "evaluation.py image_list: empty",
    "evaluation.py image_list: /dev/zero",
    "evaluation.py --json ids.txt --image_list ids.txt",
    "dataset/import_dataset.py boxes: NUL",
)
WRONG = (
    "val/localization.txt: 5,000 digits",
    "hierarchy.csv: two parents",
    "thresholds: as it is",
    "thresholds: a threshold of '0.5'",
    "class ranks: 5,000 digits",
    "checkpoint: as it is",
    "checkpoint: crop_size is text",
    "checkpoint: labels are text",
    "checkpoint: weights of another shape",
    "checkpoint: an object that runs code",
    "weights: a list",
    "map: npy: NaN",
    "map: npy: declares 8 TB",
    "map: npz: two arrays",
    "mask: empty file",
    "image: mode F",
    "archive: a member that points outside the folder",
)


@pytest.fixture(scope="module", autouse=True)
def _own_process():
    """The trials call commands without `run`, and say with how many threads."""
    with own_process():
        os.environ["OMP_NUM_THREADS"] = "1"
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A workspace with data, a finished run and inputs of every command."""
    return make_workspace(tmp_path_factory.mktemp("trials") / "template")


@pytest.fixture(scope="session")
def cases():
    """Every case of both trials, by name."""
    return {case.name: case for case in (*invalid_configurations.all_cases(), *wrong_files.all_cases())}


@pytest.mark.parametrize("name", [*INVALID, *WRONG])
def test_a_case_ends_as_it_should(name, cases, template, tmp_path):
    folder = tmp_path / "work"
    copy_workspace(template, folder)
    outcome = perform(cases[name], folder)
    assert not outcome.faults, outcome.output
    assert not (folder / "executed").exists()


def test_there_are_the_cases_promised_and_every_option_is_tried(cases):
    assert len(invalid_configurations.all_cases()) > 1000
    assert len(invalid_configurations.drawn(invalid_configurations.all_cases(), 300, 0)) == 300
    assert len(wrong_files.all_cases()) > 700
    for option in ("main.py lr: nan", "evaluation.py center_size: 0", "dataset/prepare.py splits: empty"):
        assert option in cases


@pytest.mark.parametrize(
    ("code", "output", "fault"),
    [
        (2, "error: --lr x: expected a number", ""),
        (0, "", "accepted"),
        (1, "Traceback (most recent call last)\nKeyError: 1", "traceback"),
        (1, "something", "exit code"),
        (None, "", "hang"),
        (2, "usage: main.py\nmain.py: error: --lr: invalid", "usage printed"),
        (2, "--lr is wrong", "no error line"),
        (2, "error: something is wrong", "does not name"),
        (2, "error: --lr " + "9" * 5000, "long message"),
        (2, "x.py:1: UserWarning: y\nerror: --lr", "warning of a library"),
    ],
)
def test_endings_are_judged(code, output, fault):
    case = Case("", "main.py", names=["lr"])
    faults = judge(case, code, output, {}, {}, 0)
    assert [each.split(":")[0] for each in faults] == ([fault] if fault else [])


def test_what_a_refused_command_changes_or_leaves_is_judged():
    case = Case("", "main.py")
    before, good = {"a": "1", "b": "1"}, "error: x"
    kinds = {
        "input changed or lost": {"a": "2", "b": "1"},
        "temporary files left": {**before, ".a.tmp": "1"},
        "files left by a refused command": {**before, "c": "1"},
    }
    for kind, after in kinds.items():
        assert [fault.split(":")[0] for fault in judge(case, 2, good, before, after, 0)] == [kind]
    assert judge(case, 2, good, before, before, 4 << 30) == ["memory: 4.0 GB"]


def test_a_case_that_hangs_costs_its_process_alone(template, tmp_path):
    tables = ("scripts/dataset_tables.py", BASE["scripts/dataset_tables.py"])
    hanging = Case("hangs", "main.py", [*BASE["main.py"], "--epochs", "1000"], REFUSED, seconds=0.2)
    two = [hanging, Case("next", *tables, ACCEPTED)]
    first, second = run_cases(two, template, tmp_path / "work")
    assert (first.code, second.code) == (None, 0)
    assert first.faults == ["hang: longer than 0.2 s"] and not second.faults


def test_the_workspace_is_what_every_command_accepts(template, tmp_path):
    folder = tmp_path / "work"
    for command in ("evaluation.py", "dataset/import_dataset.py", "dataset/build_inatloc.py"):
        copy_workspace(template, folder)
        outcome = perform(Case("", command, BASE[command], ACCEPTED), folder, snapshot(folder))
        assert outcome.code == 0, outcome.output
