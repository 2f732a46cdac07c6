"""The command: its files, what it says, when it lets test be looked at, and what it refuses."""

import sys

import numpy as np
import pytest

from made_up import differing_chance, draw_rights, made_up_tree, write_data_set, write_runs
from samples import of_json, read_csv
from scripts.choose_granularity import main
from wsol.core.files import write_json
from wsol.data.levels import load_level
from wsol.granularity.per_image_record import CHOSEN as PER_IMAGE
from wsol.maps.score_maps import save_score_map
from wsol.metrics.images_file import read_images


@pytest.fixture
def tree():
    return made_up_tree(families=3)


@pytest.fixture
def ids(tmp_path, tree):
    return write_data_set(tmp_path / "metadata", tree, 25)


@pytest.fixture
def folders(tmp_path, tree, ids):
    rights = {
        split: draw_rights(np.random.default_rng(seed), tree, differing_chance(tree), 25)
        for seed, split in enumerate(("val", "test"))
    }
    return write_runs(tmp_path / "runs", tree, rights, ids)


@pytest.fixture
def run(monkeypatch, capsys, folders, tmp_path):
    def call(*words, output="out", code=0):
        arguments = [*map(str, folders), *(["--output", str(tmp_path / output)] if output else []), *words]
        monkeypatch.setattr(sys, "argv", ["choose_granularity.py", *arguments])
        found = 0
        try:
            main()
        except SystemExit as stop:
            found = stop.code
        captured = capsys.readouterr()
        assert found == code, captured.err
        return captured.out if code == 0 else captured.err

    return call


def test_the_cut_is_said_drawn_and_can_be_trained_on(run, tmp_path, tree):
    said = run()
    out = tmp_path / "out"
    assert "chosen: species, but genus for family0; expected gain +" in said
    record = of_json(out / "granularity.json")
    assert record["rule"] == "species, but genus for family0" and record["test"] is None
    assert [(one["level"], one["class"]) for one in record["cut"]][:2] == [("genus", "genus0"), ("genus", "genus1")]
    assert record["expected_gain"] == record["candidate"]["held_out_gain"] > 0
    assert record["val"]["MaxBoxAccV2"] > max(record["val"]["of_single_levels"].values())
    assert {path.name for path in out.iterdir()} == {
        "granularity.json",
        "cut.png",
        "cut.pdf",
        "coarsening.csv",
        "val_images_seed0.npz",
    }
    data = load_level(tmp_path / "metadata", "D", coarsening=str(out / "coarsening.csv"))
    assert data.class_names == ["genus0", "genus1", *(f"species{n}" for n in range(4, 12))]
    # Every figure of the record is that of the composed results.
    results = read_images(out / "val_images_seed0.npz").evaluator().results()
    assert results["MaxBoxAccV2"] == pytest.approx(record["val"]["MaxBoxAccV2"])
    assert results["best_threshold"] == record["val_thresholds"]["0"]


def test_choosing_reads_nothing_of_test(run, folders, tmp_path):
    run()
    record = (tmp_path / "out" / "granularity.json").read_bytes()
    for folder in folders:
        (folder / "test_images.npz").unlink()
    run()
    assert (tmp_path / "out" / "granularity.json").read_bytes() == record
    assert not list((tmp_path / "out").glob("test_*"))


def test_test_is_compared_once_and_another_choice_is_refused_or_marked(run, tmp_path):
    run()
    said = run("--evaluate", "test")
    assert "test, at val's thresholds: " in said and "test, at the best thresholds: " in said
    first = of_json(tmp_path / "out" / "granularity.json")["test"]
    assert first["at_val_threshold"]["difference"] > 0 and first["images"] == 300 and first["marks"] == []
    run()  # choosing the same again keeps what was measured
    assert of_json(tmp_path / "out" / "granularity.json")["test"] == first
    error = run("--evaluate", "test", "--penalty", "1000", code=2)
    assert "test was evaluated on" in error and "--allow_test_reuse, which marks the new figures" in error
    assert "from other runs" not in error
    assert "test was evaluated on" in run("--penalty", "1000", code=2)
    assert "--allow_test_reuse: expected --evaluate" in run("--penalty", "1000", "--allow_test_reuse", code=2)
    assert of_json(tmp_path / "out" / "granularity.json")["test"] == first
    mark = "test: test opened again for another choice"
    assert mark in run("--evaluate", "test", "--penalty", "1000", "--allow_test_reuse")
    # The mark stays: with the same choice, evaluated again or not, and with the first choice, which is now another one.
    assert mark in run("--penalty", "1000") and mark in run("--evaluate", "test", "--penalty", "1000")
    assert "test was evaluated on" in run("--evaluate", "test", code=2)
    assert mark in run("--evaluate", "test", "--allow_test_reuse")
    assert of_json(tmp_path / "out" / "granularity.json")["test"]["marks"] == ["test opened again for another choice"]


def test_figures_of_test_do_not_pass_to_other_runs_with_the_same_cut(run, tmp_path):
    run("--evaluate", "test")
    path = tmp_path / "out" / "granularity.json"
    record = of_json(path)
    record["val"]["of_single_levels"]["genus"] += 1
    write_json(path, record)
    error = run(code=2)
    assert "test was evaluated on" in error and " is chosen from other runs, or with other figures on val; expected" in error


def test_a_choice_by_image_in_the_folder_counts_as_another_choice(run, tmp_path):
    run()
    other = dict.fromkeys(PER_IMAGE, None) | {"format": 1, "rule": "by image", "test": {"evaluated": "then", "marks": []}}
    write_json(tmp_path / "out" / "per_image.json", other)
    run()
    assert "test was evaluated on then for another choice (by image)" in run("--evaluate", "test", code=2)
    assert "test: test opened again" in run("--evaluate", "test", "--allow_test_reuse")
    assert "test: test opened again" in run("--evaluate", "test")


def test_files_of_another_choice_are_removed_and_no_others(run, folders, tmp_path, ids):
    for folder in folders:
        for image_id in (*ids["val"], *ids["test"]):
            save_score_map(folder / "scoremaps", image_id, np.eye(4))
    out = tmp_path / "out"
    files = {f"{split}_{name}" for split in ("val", "test") for name in ("images_seed0.npz", "maps_seed0.csv")}
    always = {"granularity.json", "cut.png", "cut.pdf"}
    run("--evaluate", "test")
    run()  # the same choice: the files of test stay with its figures
    assert {path.name for path in out.iterdir()} == files | always | {"coarsening.csv"}
    foreign = {"notes.txt", "val_images.npz", "val_mean_seed0.npz", "my_coarsening.csv"}
    for name in foreign | {"test_images_seed7.npz"}:
        (out / name).write_text("")
    for folder in folders:
        next((folder / "scoremaps").glob("test*")).unlink()
    run("--evaluate", "test", "--penalty", "1000", "--allow_test_reuse")
    assert {path.name for path in out.iterdir()} == (files - {"test_maps_seed0.csv"}) | always | foreign


def test_what_is_killed_after_test_was_evaluated_leaves_that_in_the_record(run, tmp_path, monkeypatch):
    def killed(*_):
        assert not list((tmp_path / "out").glob("test*"))
        raise SystemExit(9)

    monkeypatch.setattr("scripts.choose_granularity.write_composed", killed)
    run("--evaluate", "test", code=9)
    monkeypatch.undo()
    record = of_json(tmp_path / "out" / "granularity.json")
    assert record["test"]["evaluated"] and record["rule"] == "species, but genus for family0"


def test_of_a_sweeps_runs_only_those_count_that_the_sweep_has_opened(run, folders, tmp_path):
    opened = {"point": "p", "chosen": "lr 1", "seed": 0, "sha256": "0", "intended": "now", "opened": "now", "marks": []}
    record = {
        "format": 1,
        "name": "s",
        "spec": {},
        "levels_alike": {},
        "choices": {},
        "reported": {},
        "test": {"seeds": [0], "runs": {folder.name: dict(opened) for folder in folders}},
    }
    write_json(tmp_path / "runs" / "protocol.json", record)
    run("--evaluate", "test")
    record["test"]["runs"][folders[1].name]["opened"] = None
    write_json(tmp_path / "runs" / "protocol.json", record)
    error = run("--evaluate", "test", code=2)
    assert "genus0: " in error and "does not say that test was opened for it" in error


def test_runs_without_results_of_test_are_refused(run, folders):
    content = of_json(folders[2] / "results.json")
    del content["test"]
    write_json(folders[2] / "results.json", content)
    assert "family0: has no results of test" in run("--evaluate", "test", code=2)


def test_where_nothing_is_to_be_gained_it_says_so(run, tmp_path, folders):
    for folder in folders[1:]:
        for split in ("val", "test"):
            (folder / f"{split}_images.npz").write_bytes((folders[0] / f"{split}_images.npz").read_bytes())
    said = run("--evaluate", "test")
    assert "chosen: species everywhere: no cut is surely better; expected gain 0" in said
    record = of_json(tmp_path / "out" / "granularity.json")
    assert record["is_single_level"] and record["expected_gain"] == 0 and record["test"]["at_best"]["difference"] == 0
    assert not (tmp_path / "out" / "coarsening.csv").exists()


def test_the_maps_are_found_without_a_copy(run, folders, tmp_path, ids):
    for folder in folders:
        for image_id in ids["val"]:
            save_score_map(folder / "scoremaps", image_id, np.eye(4))
    run()
    rows = read_csv(tmp_path / "out" / "val_maps_seed0.csv")
    assert [row["image"] for row in rows] == ids["val"]
    assert rows[0]["folder"] == "../runs/genus0/scoremaps" and rows[-1]["folder"] == "../runs/species0/scoremaps"
    assert not (tmp_path / "out" / "test_maps_seed0.csv").exists()


def test_without_output_it_only_prints(run, tmp_path):
    assert "chosen: species, but genus for family0" in run(output=None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--folds", "1"], "--folds 1: expected 2 or more"),
        (["--folds", "301"], "--folds 301: expected 2 to 300, the images of val"),
        (["--resamples", "5"], "--resamples 5: expected 100 or more"),
        (["--penalty", "-0.5"], "--penalty -0.5: expected 0 or more"),
    ],
)
def test_values_out_of_range_are_refused(run, words, said):
    assert said in run(*words, code=2)


def test_evaluating_needs_a_place_to_record_it(run):
    assert "--evaluate: expected --output" in run("--evaluate", "test", output=None, code=2)


def test_a_damaged_record_is_refused(run, tmp_path):
    write_json(tmp_path / "out" / "granularity.json", {"format": 1})
    assert "expected the record of a choice" in run(code=2)


def test_too_few_images_are_refused(tmp_path, monkeypatch, capsys):
    tree = made_up_tree(families=1, genera=2, species=1)
    ids = write_data_set(tmp_path / "metadata", tree, 1)
    rights = {"val": draw_rights(np.random.default_rng(0), tree, np.full((3, 2), 0.5), 1)}
    folders = write_runs(tmp_path / "runs", tree, rights, ids)
    monkeypatch.setattr(sys, "argv", ["choose_granularity.py", *map(str, folders), "--folds", "2"])
    with pytest.raises(SystemExit):
        main()
    assert "2 images of val; expected 4 or more" in capsys.readouterr().err
