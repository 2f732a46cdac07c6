"""Which runs are collected, their place in a sweep, their rows; what is left out and what is refused."""

import json

import numpy as np
import pytest

from samples import scored_evaluator, write_run
from wsol.core.errors import InputError
from wsol.core.files import write_json, write_text
from wsol.runs.run_tables import write_table
from wsol.sweeps.cells import reportable, rows_by_label
from wsol.sweeps.collection import at_each_level, collect, tidy_rows

VAL = {"eval_test": False}
OPENED = {"point": "cam-species", "chosen": "lr 0.1", "seed": 0, "sha256": "0", "intended": "2026-11-30T15:00:00+00:00"}
OPENED |= {"opened": "2026-11-30T15:01:00+00:00", "marks": []}


def evaluator(seed=0, split="test"):
    return scored_evaluator(np.random.default_rng(seed).random((6, 3, 10)) < 0.5, split=split)


def write_protocol(sweep, reported, candidates=None, alike=None, opened=None):
    """protocol.json of a sweep that chose lr 0.1 for its one point."""
    choice = {"options": {"lr": 0.1}, "run": "a", "figure": "MaxBoxAccV2", "candidates": candidates or {"a": 50.0}}
    choice |= {"fullsup_images": 40, "fullsup_boxes": 55, "time": "2026-11-30T14:00:00+00:00"}
    content = {"format": 1, "name": sweep.name, "spec": {}, "created": "2026-11-30T13:00:00+00:00"}
    content |= {"levels_alike": alike or {}, "choices": {"cam-species": choice}}
    content |= {"reported": dict.fromkeys(reported, "cam-species")}
    content["test"] = None if opened is None else {"seeds": [0], "runs": opened}
    write_json(sweep / "protocol.json", content)


def test_runs_are_found_at_any_depth_once_and_in_order(tmp_path):
    for name in ("b", "a/deep/one", "a/deep/two", "a/.one.previous", "b/scoremaps/c"):
        write_run(tmp_path / name, evaluator())
    found = collect([tmp_path, tmp_path / "a", str(tmp_path / "b")])
    assert [str(e.folder.relative_to(tmp_path)) for e in found] == ["a/deep/one", "a/deep/two", "b"]
    with pytest.raises(InputError, match="none: no such folder"):
        collect([tmp_path / "none"])


def test_unfinished_and_unreadable_runs_are_left_out_with_a_warning(tmp_path):
    for name in ("good", "unfinished", "cut", "wrong", "record"):
        write_run(tmp_path / name, evaluator())
    (tmp_path / "unfinished/results.json").unlink()
    write_text(tmp_path / "cut/results.json", '{"test": {"MaxBox')
    write_text(tmp_path / "wrong/results.json", '{"test": {"MaxBoxAccV2": "high"}}')
    write_text(tmp_path / "record/run.json", '{"state": "asleep"}')
    with pytest.warns(UserWarning, match="left out") as warned:
        found = collect([tmp_path])
    assert [e.name for e in found] == ["good"]
    said = "\n".join(str(w.message) for w in warned)
    assert "unfinished: not finished" in said and "wrong: left out:" in said and "MaxBoxAccV2 is 'high'" in said
    assert "cut: left out:" in said and "record: left out:" in said


def test_what_varied_is_what_differs_within_the_sweep(tmp_path):
    write_run(tmp_path / "s/a", evaluator(split="val"), lr=0.1, **VAL)
    write_run(tmp_path / "s/b", evaluator(split="val"), lr=0.2, workers=3, **VAL)
    write_run(tmp_path / "one", evaluator(), iou_threshold_list=[30, 50])
    write_run(tmp_path / "two", evaluator(), seed=1, iou_threshold_list=[30])
    write_protocol(tmp_path / "s", ["a"], {"a": 50.0, "b": 40.0})
    one, a, b, two = collect([tmp_path])
    assert (a.varied, b.varied) == ({"lr": 0.1}, {"lr": 0.2})
    assert two.varied == {"seed": 1, "iou_threshold_list": [30]} and one.sweep is None
    assert (a.role, b.role, one.role) == ("reported", "choosing", "")
    assert (a.fullsup_images, a.fullsup_boxes, b.fullsup_boxes, one.fullsup_images) == (40, 55, 55, None)
    assert a.chosen == b.chosen == {"lr": 0.1} and one.chosen == {}
    rows = tidy_rows([one, a, b, two])
    assert len({tuple(row) for row in rows}) == 1
    found = {row["run"].removeprefix(f"{tmp_path}/"): (row["lr"], row["iou_threshold_list"], row["seed"]) for row in rows}
    assert found == {"one": (0.1, "30 50", 0), "s/a": (0.1, None, 0), "s/b": (0.2, None, 0), "two": (0.1, "30", 1)}


def test_rows_have_the_columns_of_a_tidy_table(tmp_path):
    write_run(tmp_path / "one", evaluator(), keep_classifier="auto")
    write_run(tmp_path / "two", evaluator(), keep_classifier=True)  # of two types, in one column
    record = {"state": "finished", "wall_seconds": 12.5, "seconds": {}, "peak_memory_bytes": 9, "device": "CPU"}
    write_json(tmp_path / "one/run.json", {**record, "versions": {"torch": "2.14"}})
    rows = tidy_rows(collect([tmp_path]))
    first = "experiment,dataset,method,architecture,level,seed,keep_classifier,split,metric,iou,threshold_rule,value"
    last = (
        "low,high,images,run,role,mark,same_as,"
        "fullsup_images,fullsup_boxes,fullsup_masks,wall_seconds,peak_memory_bytes,device,torch"
    )
    assert ",".join(rows[0]) == f"{first},{last}"
    assert {(row["wall_seconds"], row["peak_memory_bytes"], row["device"], row["torch"]) for row in rows} == {
        (12.5, 9, "CPU", "2.14"),
        (None, None, None, None),
    }
    assert {row["keep_classifier"] for row in rows} == {"auto", "True"}
    write_table(tmp_path / "rows.parquet", rows)


def test_a_level_trained_in_anothers_place_comes_twice(tmp_path):
    write_run(tmp_path / "s/a", evaluator(split="val"), **VAL)
    write_protocol(tmp_path / "s", ["a"], alike={"D": {"subspecies": "species", "class": "order"}, "E": {"x": "species"}})
    first, second = collect([tmp_path])
    assert [(e.level, e.same_as) for e in (first, second)] == [("species", None), ("subspecies", "species")]
    rows = tidy_rows([first, second])
    assert len(rows) % 2 == 0 and [row["level"] for row in rows] == sorted(row["level"] for row in rows)


def test_a_run_of_several_levels_counts_at_each_of_them(tmp_path):
    write_run(tmp_path / "alone", evaluator(3))
    options = {"label_level": "species,order", "freeze_backbone": True}
    run = write_run(tmp_path / "both", evaluator(), **options)
    for seed, level in enumerate(("species", "order")):
        write_run(
            run / "levels" / level, evaluator(seed), label_level="species,order", freeze_backbone=True, map_level=level
        )
    alone, both = collect([tmp_path])
    assert at_each_level(alone) == [alone] and len(tidy_rows([both])) > 0
    at = at_each_level(both)
    assert [(one.level, one.folder) for one in at] == [(name, run / "levels" / name) for name in ("species", "order")]
    assert at[0].results.split("test").find("MaxBoxAccV2").value != at[1].results.split("test").find("MaxBoxAccV2").value
    rows = rows_by_label(reportable([alone, both], "test"), lambda entry: ("", entry.level))
    assert {label: sorted(column for _, column in row) for label, row in rows.items()} == {
        "CAM": ["species"],
        "CAM, frozen, levels at once": ["order", "species"],
    }
    (run / "levels/order/results.json").unlink()
    with pytest.raises(InputError, match="order"):
        at_each_level(both)


def test_the_level_of_cam_agg_is_the_one_that_scores_are_summed_to(tmp_path):
    write_run(tmp_path / "a", evaluator(), cam_agg_level="order")
    (found,) = collect([tmp_path])
    assert (found.level, found.is_aggregated) == ("order", True)


@pytest.mark.parametrize("opened", [None, {}, {"b": OPENED}])
def test_results_of_test_without_a_record_are_refused(tmp_path, opened):
    write_run(tmp_path / "s/a", evaluator(), **VAL)
    write_protocol(tmp_path / "s", ["a"], opened=opened)
    with pytest.raises(InputError, match=r"s/a: .*test"):
        collect([tmp_path])


def test_an_opening_of_test_is_accepted_with_its_marks(tmp_path):
    write_run(tmp_path / "s/a", evaluator(), **VAL)
    write_protocol(tmp_path / "s", ["a"], opened={"a": OPENED | {"marks": ["seed added after test was opened"]}})
    (found,) = collect([tmp_path])
    assert found.marks == ("seed added after test was opened",)
    assert {row["mark"] for row in tidy_rows([found])} == {"seed added after test was opened"}


def test_a_sweep_whose_record_was_deleted_or_damaged_is_refused(tmp_path):
    write_run(tmp_path / "s/a", evaluator(), **VAL)
    with pytest.raises(InputError, match=r"s/a: has results of test, but .*/s/protocol\.json does not say"):
        collect([tmp_path])
    write_text(tmp_path / "s/protocol.json", json.dumps({"format": 9}))
    with pytest.raises(InputError, match=r"protocol\.json"):
        collect([tmp_path])


def test_no_entries_give_no_rows():
    assert tidy_rows([]) == []


def test_a_run_that_trains_on_train_fullsup_counts_all_of_it(tmp_path):
    """Also without val, and with more images than it was chosen with."""
    for name, images in (("one", {"train": 64}), ("s/a", {"train": 48, "val": 16})):
        write_run(tmp_path / name, evaluator(split="val"), **VAL)
        results = json.loads((tmp_path / name / "results.json").read_text())
        write_json(tmp_path / name / "results.json", {**results, "fullsup_images": images})
    write_protocol(tmp_path / "s", ["a"])  # chosen with 40
    assert [entry.fullsup_images for entry in collect([tmp_path])] == [64, 64]
