"""FSL-Seg and FSL-Det as runs: they learn on Toy, and come back from their checkpoints."""

import json

import numpy as np
import pytest

from conftest import link_toy, run
from wsol import evaluate_run, restore
from wsol.core.errors import OptionError
from wsol.metrics.images_file import read_images
from wsol.runs.checkpoints import read_checkpoint
from wsol.runs.results import read_run

NETWORK = "--architecture timm:test_efficientnet --label_level order --workers 0 --batch_size 8 --num_val_sample_per_class 4"
SEG = f"--wsol_method fsl_seg {NETWORK} --lr 0.02 --lr_classifier_ratio 10".split()
DET = [
    "--wsol_method",
    "fsl_det",
    "--label_level",
    "order",
    "--workers",
    "0",
    "--eval_test",
    "F",
    "--experiment_name",
    "det",
]
SEGMENTED = "train_log/seg/last_checkpoint.pth.tar"
OF_CLASSES = ("top1_cls", "top1_loc", "top5_cls", "top5_loc")


def lines_of(folder, split):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def check_learning(folder):
    """Check that the loss falls, and that localization improves."""
    train, val = lines_of(folder, "train"), lines_of(folder, "val")
    assert train[-1]["loss"] < 0.8 * train[0]["loss"]
    assert val[-1]["MaxBoxAccV2"] > val[0]["MaxBoxAccV2"] + 10


def check_classes(folder):
    """Check that nothing is said about classes."""
    train, val = lines_of(folder, "train"), lines_of(folder, "val")
    assert {line["top1_cls"] for line in train} == {None}
    part = json.loads((folder / "results.json").read_text())["val"]
    assert all(line[name] is None for line in (*val, part) for name in OF_CLASSES)
    assert not {row.metric for row in read_run(folder).rows()} & set(OF_CLASSES)
    assert not (folder / "val_class_ranks.csv").exists()


@pytest.fixture(scope="module")
def segmented(toy_root, tmp_path_factory):
    """A folder with Toy and a finished run of FSL-Seg."""
    folder = tmp_path_factory.mktemp("segmented")
    link_toy(toy_root, folder)
    run("main.py", *SEG, "--epochs", 4, "--experiment_name", "seg", cwd=folder)
    return folder


def test_segmentation_learns_and_its_checkpoint_gives_the_same_results(segmented, monkeypatch):
    folder = segmented / "train_log" / "seg"
    check_learning(folder)
    check_classes(folder)
    results = json.loads((folder / "results.json").read_text())
    assert results["fullsup_images"] == {"train": 48, "val": 16} and results["num_classes"] == 2
    monkeypatch.chdir(segmented)
    again, _ = evaluate_run("train_log/seg/last_checkpoint.pth.tar", "test")
    assert json.loads(json.dumps(again)) == results["test"]


def test_its_maps_are_scored_again_to_the_same_figures(segmented):
    run("inference.py", "--split", "test", "--scoremap_root", "maps", "--checkpoint", SEGMENTED, cwd=segmented)
    words = "--dataset_name Toy --split test --multi_contour_eval T --multi_iou_eval T --json a.json --scoremap_root maps"
    run("evaluation.py", *words.split(), "--thresholds_from", SEGMENTED, cwd=segmented)
    found = json.loads((segmented / "a.json").read_text())
    test = json.loads((segmented / "train_log/seg/results.json").read_text())["test"]
    for name in ("MaxBoxAccV2", "MaxBoxAcc", "MaxBoxAcc_at_val_threshold", "PxAP"):
        assert found[name] == test[name]


def test_maps_of_classes_are_refused(segmented, monkeypatch):
    monkeypatch.chdir(segmented)
    with pytest.raises(OptionError, match="extractor gradcam: fsl_seg tells no classes apart"):
        restore(SEGMENTED, mapper="gradcam")
    with pytest.raises(OptionError, match="cam_agg_level order: fsl_seg tells no classes apart"):
        restore(SEGMENTED, cam_agg_level="order")


def test_all_images_train_with_the_thresholds_of_the_run_that_chose(segmented):
    words = [*SEG, "--epochs", 1, "--fsl_val_share", 0, "--experiment_name"]
    run("main.py", *words, "all", "--thresholds_from", SEGMENTED, cwd=segmented)
    folder = segmented / "train_log" / "all"
    results = json.loads((folder / "results.json").read_text())
    chosen = json.loads((segmented / "train_log/seg/results.json").read_text())["val"]["best_threshold"]
    assert results["fullsup_images"] == {"train": 64} and "val" not in results
    assert read_checkpoint(folder / "last_checkpoint.pth.tar")["score_map_thresholds"] == chosen
    assert results["test"]["val_threshold"] == pytest.approx(chosen) and results["test"]["MaxBoxAcc_at_val_threshold"]
    assert not lines_of(folder, "val") and not (folder / "best_checkpoint.pth.tar").exists()
    run("main.py", *words, "none", "--eval_test", "F", cwd=segmented)
    folder = segmented / "train_log" / "none"
    assert read_checkpoint(folder / "last_checkpoint.pth.tar")["score_map_thresholds"] is None
    assert not {"val", "test"} & set(json.loads((folder / "results.json").read_text()))
    assert not (folder / "scoremaps").exists()


def test_thresholds_of_other_score_map_thresholds_are_refused(segmented):
    words = [*SEG, "--fsl_val_share", 0, "--thresholds_from", SEGMENTED, "--cam_curve_interval", 0.1]
    assert "expected the interval" in run("main.py", *words, cwd=segmented, code=2)
    assert not (segmented / "train_log" / "test_case").exists()


@pytest.mark.slow
def test_detection_learns(workspace):
    run("main.py", *DET, "--epochs", 3, cwd=workspace)
    check_learning(workspace / "train_log" / "det")
    check_classes(workspace / "train_log" / "det")


def test_a_detector_is_measured_by_its_boxes_and_comes_back_from_its_checkpoint(workspace, monkeypatch):
    small = "--epochs 1 --num_val_sample_per_class 2 --fsl_val_share 0.5 --resize_size 40 --crop_size 32"
    run("main.py", *DET, *small.split(), *NETWORK.split()[:2], cwd=workspace)
    folder = workspace / "train_log" / "det"
    check_classes(folder)
    part = json.loads((folder / "results.json").read_text())["val"]
    assert part["box_rule"] == "detections" and part["best_threshold"] is None and part["PxAP"] is None
    assert part["MaxBoxAccV2"] == pytest.approx(np.mean(list(part["MaxBoxAcc"].values())))
    assert {row.threshold_rule for row in read_run(folder).rows()} == {"none"}
    images = read_images(folder / "val_images.npz").images
    assert len(images) == part["counts"]["images"] == 16 and {one.size for one in images.values()} == {(32, 32)}
    monkeypatch.chdir(workspace)
    checkpoint = "train_log/det/last_checkpoint.pth.tar"
    _, evaluator = evaluate_run(checkpoint, "val")  # all of val, the images trained on too
    kept = {one.image_id: one.boxes.tolist() for one in evaluator.images if one.image_id in images}
    assert kept == {image_id: one.boxes.tolist() for image_id, one in images.items()}
    printed = run("inference.py", "--checkpoint", checkpoint, "--scoremap_root", "maps", cwd=workspace, code=2)
    assert "fsl_det gives boxes, not score maps" in printed and not (workspace / "maps").exists()
