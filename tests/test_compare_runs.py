import json

import numpy as np
import pytest

from conftest import run
from samples import scored_evaluator, write_run
from wsol.core.files import write_text
from wsol.maps.score_maps import save_score_map

RUN = """{data_root: dataset/, metadata_root: metadata/, mask_root: dataset/, dataset_name: Toy, crop_size: 64,
cam_curve_interval: 0.1, multi_contour_eval: true, multi_iou_eval: true, iou_threshold_list: [30, 50, 70]}"""


@pytest.fixture
def runs(workspace):
    """Three folders as main.py leaves them, of two names; their figures are known."""
    ids = (workspace / "metadata/Toy/test/image_ids.txt").read_text().split("\n")[:4]
    for number, figure in enumerate((50.0, 60.0, 70.0)):
        folder = workspace / f"run_{number}"
        part = {"MaxBoxAccV2": figure, "MaxBoxAcc": {"30": 90.0, "50": figure}, "PxAP": None, "top1_cls": 25.0}
        part |= {"MaxBoxAccV2_at_val_threshold": 40.0, "best_threshold": {"30": 0.1, "50": 0.3}}
        write_text(folder / "results.json", json.dumps({"val": part, "test": part}))
        write_text(folder / "config.yaml", RUN)
        write_text(folder / "test_image_ids.txt", "\n".join(ids) + "\n")
        if number != 1:
            for image_id in ids:
                save_score_map(folder / "scoremaps", image_id, np.random.default_rng(number).random((64, 64)))
    return workspace


def test_the_table_has_means_and_sample_deviations_and_the_page_is_drawn(runs):
    printed = run("scripts/compare_runs.py", "a=run_0,run_1", "b=run_2", "--page", "x.jpg", "--images", "3", cwd=runs)
    assert "test, percent. Mean ± sample standard deviation, over the runs of each row." in printed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    assert rows[0] == ["", "runs", "MaxBoxAccV2", "at IoU 30", "at IoU 50", "at val's threshold", "top-1"]
    # 50 and 60: squares of 5 and 5, divided by 2 - 1, not by 2
    assert rows[2] == ["a", "2", "55.0 ± 7.1", "90.0 ± 0.0", "55.0 ± 7.1", "40.0 ± 0.0", "25.0 ± 0.0"]
    assert rows[3] == ["b", "1", "70.0", "90.0", "70.0", "40.0", "25.0"]
    assert (runs / "x.jpg").stat().st_size > 10000


def test_intervals_are_written_as_intervals(runs):
    printed = run("scripts/compare_runs.py", "a=run_0,run_1", "--intervals", cwd=runs)
    assert "Mean [low, high]: 95 % interval of the mean, Student's t, over the runs of each row." in printed
    # 7.07 over the root of two, times Student's 12.71
    assert "55.0 [-8.5, 118.5]" in printed and "±" not in printed


def test_runs_without_localization_and_with_different_figures_are_compared(runs):
    part = {"MaxBoxAccV2": None, "MaxBoxAcc": None, "PxAP": None, "top1_cls": 80.0}
    write_text(runs / "run_1" / "results.json", json.dumps({"val": part, "test": part}))
    printed = run("scripts/compare_runs.py", "a=run_1", "b=run_2", cwd=runs)
    assert "One run per row: no spread." in printed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    assert rows[2:] == [["a", "1", "80.0", "", "", "", ""], ["b", "1", "25.0", "70.0", "90.0", "70.0", "40.0"]]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ([], "no results of the test split"),
        ({"MaxBoxAccV2": "50"}, "test.MaxBoxAccV2 is '50'; expected a number"),
        ({"MaxBoxAcc": [1]}, "test.MaxBoxAcc is [1]; expected an object"),
        ({"intervals": [1]}, "test.intervals is [1]; expected an object"),
        ({"MaxBoxAcc": {"50": True}}, "test.MaxBoxAcc.50 is True; expected a number"),
        ({"intervals": {"PxAP": [1]}}, "test.intervals.PxAP is [1]; expected [low, high]"),
    ],
)
def test_results_that_are_none_are_refused(runs, part, message):
    write_text(runs / "run_0" / "results.json", json.dumps({"test": part}))
    assert f"results.json: {message}" in run("scripts/compare_runs.py", "a=run_0", cwd=runs, code=2)


def test_names_are_compared_with_one_on_the_same_images(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.random((40, 3, 10)) < 0.4
    names = {"base": [base, base], "same": [base, base], "better": [base | (rng.random(base.shape) < 0.4) for _ in range(2)]}
    for name, rights in names.items():
        for seed, right in enumerate(rights):
            write_run(tmp_path / f"{name}{seed}", scored_evaluator(right), seed=seed)
    words = [f"{name}={name}0,{name}1" for name in names]
    printed = run("scripts/compare_runs.py", *words, "--against", "base", cwd=tmp_path)
    first, second = (part for part in printed.split("\n\n") if part.startswith("|"))
    values = [[float(cell.split(" ±")[0]) for cell in line.split("|")[3:4]] for line in first.splitlines()[2:]]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in second.splitlines()]
    assert rows[0] == ["", "MaxBoxAccV2", "less base", "p", "p, Holm"]
    assert rows[2][0] == "same" and rows[2][2:] == ["+0.00 [+0.00, +0.00]", "1", "1"]
    gain, low, high = (float(text.strip("[],")) for text in rows[3][2].split())
    assert gain == pytest.approx(values[2][0] - values[0][0], abs=0.1) and 0 < low < gain < high
    assert float(rows[3][3]) <= float(rows[3][4]) < 0.05
    assert "against base (" in printed and "Holm" in printed


def test_what_cannot_be_compared_is_refused(tmp_path):
    right = np.ones((4, 3, 10), dtype=bool)
    write_run(tmp_path / "a", scored_evaluator(right))
    write_run(tmp_path / "fewer", scored_evaluator(right[:3]))
    write_run(tmp_path / "larger", scored_evaluator(right, size=(18, 18)))
    write_run(tmp_path / "two", scored_evaluator(right[:, :2]))
    write_run(tmp_path / "largest", scored_evaluator(right, multi_contour=False))

    def refused(*words):
        return run("scripts/compare_runs.py", *words, cwd=tmp_path, code=2)

    assert "4 and 3 images, not the same ones" in refused("a=a", "b=fewer", "--against", "a")
    assert "maps of 9 x 9 and of 18 x 18 pixels" in refused("a=a", "b=larger", "--against", "a")
    assert "scored with iou_threshold_list [30, 50, 70] and [30, 50]" in refused("a=a", "b=two", "--against", "a")
    assert "no MaxBoxAccV2" in refused("a=largest", "b=largest", "--against", "a")
    assert "--against c: expected one of a, b" in refused("a=a", "b=a", "--against", "c")
    assert "--against a: expected one of two names or more" in refused("a=a", "--against", "a")


def test_refusals(runs):
    assert "a: duplicate name" in run("scripts/compare_runs.py", "a=run_0", "a=run_1", cwd=runs, code=2)
    assert "--images 0: expected 1" in run("scripts/compare_runs.py", "a=run_0", "--images", "0", cwd=runs, code=2)
    assert "expected NAME=FOLDER" in run("scripts/compare_runs.py", "run_0", cwd=runs, code=2)
    assert "expected a finished run" in run("scripts/compare_runs.py", "a=nowhere", cwd=runs, code=2)
    assert "no results of the val2 split" in run("scripts/compare_runs.py", "a=run_0", "--split", "val2", cwd=runs, code=2)
    printed = run("scripts/compare_runs.py", "a=run_0", "b=run_1", "--page", "x.png", cwd=runs, code=2)
    assert "run_1: its score maps of test were not saved" in printed
    printed = run("scripts/compare_runs.py", "a=run_0", "--page", "dataset/Toy/x.png", cwd=runs, code=2)
    assert "is inside dataset/Toy, which holds data" in printed
    assert "ending in .png or .jpg" in run("scripts/compare_runs.py", "a=run_0", "--page", "x.gif", cwd=runs, code=2)
