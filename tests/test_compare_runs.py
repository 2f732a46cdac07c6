import json

import numpy as np
import pytest

from conftest import run
from wsol.files import write_text
from wsol.score_maps import save_score_map

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


def test_the_table_has_means_and_intervals_and_the_page_is_drawn(runs):
    printed = run("scripts/compare_runs.py", "a=run_0,run_1", "b=run_2", "--page", "x.jpg", "--images", "3", cwd=runs)
    assert "| | MaxBoxAccV2 | at IoU 30 | at IoU 50 | at val's threshold | top-1 |" in printed
    # 50 and 60: standard deviation 7.07, over the root of two, times Student's 12.71
    assert "| a | 55.0 ± 63.5 | 90.0 ± 0.0 | 55.0 ± 63.5 | 40.0 ± 0.0 | 25.0 ± 0.0 |" in printed
    assert "| b | 70.0 | 90.0 | 70.0 | 40.0 | 25.0 |" in printed
    assert (runs / "x.jpg").stat().st_size > 10000


def test_refusals(runs):
    assert "expected NAME=FOLDER" in run("scripts/compare_runs.py", "run_0", cwd=runs, code=2)
    assert "no finished run" in run("scripts/compare_runs.py", "a=nowhere", cwd=runs, code=2)
    printed = run("scripts/compare_runs.py", "a=run_0", "b=run_1", "--page", "x.png", cwd=runs, code=2)
    assert "run_1: its score maps of test were not saved" in printed
    assert "ending in .png or .jpg" in run("scripts/compare_runs.py", "a=run_0", "--page", "x.gif", cwd=runs, code=2)
