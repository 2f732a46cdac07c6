"""A run's folder: never lost while its successor is unfinished, never made where it does not belong."""

import os
import shutil
from pathlib import Path

import pytest

from conftest import CHECKOUT, SMALL, link_toy, run
from samples import full_disk
from wsol.core.errors import InputError
from wsol.runs import run_folder
from wsol.runs.run_folder import check_run_folder, finish_folder, make_folder, previous_of, replaced_note

ROOT = Path("train_log")
FOLDER = ROOT / "pets"


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def begin(text, folder=FOLDER):
    """Make a run's folder as main.py does with --override_cache, the run called `text`; return what it replaces."""
    check_run_folder(folder, ROOT, override=True)
    replaced, lock = make_folder(
        folder, lambda path: (path.parent.mkdir(parents=True), path.write_text(text)), override=True
    )
    lock.close()
    (folder / "weights").write_text(text)
    return replaced


def finish(replaced=None, folder=FOLDER):
    (folder / "results.json").write_text("{}")
    finish_folder(replaced)


def text_of(folder):
    return (folder / "weights").read_text()


def test_the_replaced_run_is_kept_until_the_new_one_is_finished():
    assert begin("first") is None
    finish()
    replaced = begin("second")
    assert replaced_note(replaced) == (
        "the finished run that this one replaces is kept in train_log/.pets.previous until this one is finished"
    )
    assert (text_of(FOLDER), text_of(previous_of(FOLDER))) == ("second", "first")
    finish(replaced)
    assert [path.name for path in ROOT.iterdir()] == ["pets"]


def test_when_the_new_run_dies_the_finished_one_stays_and_the_unfinished_is_replaced():
    begin("first")
    finish()
    for text in ("second", "third"):
        replaced = begin(text)  # and is killed
    assert (text_of(FOLDER), text_of(previous_of(FOLDER))) == ("third", "first")
    with pytest.raises(InputError, match=r"exists \(the run before it is kept in train_log/.pets.previous\)"):
        check_run_folder(FOLDER, ROOT, override=False)
    finish(replaced)
    assert sorted(path.name for path in ROOT.iterdir()) == ["pets"]


def test_a_run_that_was_set_aside_is_not_replaced_unasked(workspace):
    words = (*SMALL, "--epochs", "0", "--label_level", "order", "--eval_test", "F", "--save_scoremaps", "none")
    words = (*words, "--architecture", "timm:test_efficientnet", "--large_feature_map", "F", "--experiment_name", "pets")
    begin("first")
    finish()
    os.rename(FOLDER, previous_of(FOLDER))  # as after a kill between both renames
    refused = "train_log/pets: the run before it is kept in train_log/.pets.previous; expected that folder to be renamed"
    assert refused in run("main.py", *words, cwd=workspace, code=2)
    sweep = (CHECKOUT / "scripts/experiments/levels.yaml", "--name", "sweep", "--dry_run")
    shutil.copytree(previous_of(FOLDER), previous_of(ROOT / "sweep/order-seed0"))
    assert "is kept in train_log/sweep/.order-seed0.previous" in run("scripts/sweep.py", *sweep, cwd=workspace, code=2)
    assert text_of(previous_of(FOLDER)) == "first" and not FOLDER.exists()
    run("main.py", *words, "--override_cache", cwd=workspace)
    assert (FOLDER / "results.json").is_file() and not previous_of(FOLDER).exists()


def test_the_longest_name_can_be_replaced():
    folder = ROOT / ("x" * run_folder.MOST_NAME)
    for text in ("first", "second"):
        replaced = begin(text, folder)
    assert (text_of(folder), text_of(replaced)) == ("second", "first")
    finish(replaced, folder)
    assert [path.name for path in ROOT.iterdir()] == [folder.name]


def test_a_run_removes_only_what_it_replaces():
    replaced, _ = make_folder(FOLDER, lambda path: (path.parent.mkdir(parents=True), path.write_text("")), override=False)
    previous_of(FOLDER).mkdir()  # since, by another
    finish(replaced)
    assert previous_of(FOLDER).exists()


def test_a_run_killed_between_its_results_and_its_end_is_the_one_that_is_kept():
    begin("first")
    finish()
    begin("second")
    (FOLDER / "results.json").write_text("{}")  # and is killed
    begin("third")
    assert (text_of(FOLDER), text_of(previous_of(FOLDER))) == ("third", "second")


def test_an_unfinished_run_is_kept_too_where_there_is_no_other():
    begin("first")
    assert replaced_note(begin("second")).startswith("the run that this one replaces is kept")
    assert text_of(previous_of(FOLDER)) == "first"


def test_killed_between_both_renames_nothing_is_lost():
    begin("first")
    finish()
    os.rename(FOLDER, previous_of(FOLDER))  # and is killed
    begin("second")
    assert (text_of(FOLDER), text_of(previous_of(FOLDER))) == ("second", "first")


@pytest.mark.parametrize("name", ["pets/sub", "pets/a/b", ".pets.previous", "x/.y.previous", ".pets.host.1.tmp"])
def test_no_run_is_made_inside_another_or_under_a_name_of_what_is_set_aside(name):
    begin("first")
    with pytest.raises(InputError, match=r"is a run's own folder|for a run set aside"):
        check_run_folder(ROOT / name, ROOT, override=True)
    assert text_of(FOLDER) == "first"


def test_links_are_not_replaced():
    Path("elsewhere").mkdir()
    begin("first", ROOT / "real")
    os.symlink("real", ROOT / "link")
    os.symlink("nowhere", ROOT / "broken")
    with pytest.raises(InputError, match="is a link, so it is not replaced"):
        check_run_folder(ROOT / "link", ROOT, override=True)
    with pytest.raises(InputError, match="is a file; expected a folder"):
        check_run_folder(ROOT / "broken", ROOT, override=True)
    assert text_of(ROOT / "real") == "first"


def test_the_log_root_may_be_a_link():
    Path("disk").mkdir()
    os.symlink("disk", ROOT)
    begin("first")
    begin("second")
    assert text_of(previous_of(FOLDER)) == "first"


def test_a_folder_that_cannot_be_made_leaves_the_old_run_as_it_was():
    begin("first")
    finish()

    def fail(path):
        path.parent.mkdir()
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"train_log/pets: cannot be created \(No space left"):
        make_folder(FOLDER, fail, override=True)
    assert text_of(FOLDER) == "first"
    assert [path.name for path in ROOT.iterdir()] == ["pets"]


@pytest.mark.parametrize("size", [0, 1500, 2_500, 200_000])
def test_a_full_disk_ends_a_run_with_one_line_and_the_earlier_run_stays(toy_root, tmp_path, size):
    link_toy(toy_root, tmp_path)
    begin("first")
    finish()
    few = (*SMALL, "--epochs", "0", "--label_level", "order", "--eval_test", "F", "--architecture", "timm:test_efficientnet")
    words = (*few, "--large_feature_map", "F", "--experiment_name", "pets", "--override_cache")
    with full_disk(size):
        printed = run("main.py", *words, cwd=tmp_path, code=2)
    assert "Traceback" not in printed
    assert printed.splitlines()[-1].startswith("error: ")
    assert "cannot be written" in printed.splitlines()[-1]
    kept = previous_of(FOLDER)
    assert text_of(kept if kept.exists() else FOLDER) == "first"
    assert not list(ROOT.rglob("*.tmp"))
    assert run_folder.RESULTS not in os.listdir(FOLDER) or not kept.exists()
