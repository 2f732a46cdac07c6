"""Evaluators against golden counts, counts by hand, and what they refuse."""

import json

import cv2
import numpy as np
import pytest

from evaluation import BoxEvaluator, MaskEvaluator
from samples import write_split
from wsol.data.metadata import configure_metadata

THRESHOLDS = np.arange(0, 1, 0.1).tolist()


def evaluator_of(metadata, kind=BoxEvaluator, **options):
    return kind(metadata=metadata, dataset_name="D", split="val", cam_threshold_list=THRESHOLDS, **options)


@pytest.mark.parametrize("name", ["CUB_val", "ILSVRC_val"])
def test_golden_boxes(shared, name):
    expected = json.loads((shared / "golden/box/box_expected.json").read_text())[name]
    with np.load(shared / f"golden/box/{name}_scoremaps.npz") as archive:
        maps = archive["scoremaps"]
    metadata = configure_metadata(shared / "data/metadata" / expected["dataset"] / expected["split"])
    for case in expected["cases"]:
        evaluator = BoxEvaluator(
            metadata=metadata,
            dataset_name=expected["dataset"],
            split=expected["split"],
            cam_threshold_list=np.arange(0, 1, case["cam_curve_interval"]),
            iou_threshold_list=[30, 50, 70],
            multi_contour_eval=case["multi_contour_eval"],
        )
        for image_id, score_map in zip(expected["image_ids"], maps, strict=True):
            evaluator.accumulate(score_map.astype(np.float64), image_id)
        for iou in (30, 50, 70):
            assert evaluator.num_correct[iou].tolist() == case["num_correct"][str(iou)]
        assert evaluator.compute() == [case["max_box_acc"][str(iou)] for iou in (30, 50, 70)]


def test_golden_masks(shared):
    folder = shared / "golden/mask"
    expected = json.loads((folder / "mask_expected.json").read_text())
    with np.load(folder / "scoremaps.npz") as archive:
        maps = archive["scoremaps"]
    for case in expected["cases"]:
        evaluator = MaskEvaluator(
            metadata=configure_metadata(folder / "metadata"),
            dataset_name="OpenImages",
            split="val",
            cam_threshold_list=np.arange(0, 1, case["cam_curve_interval"]),
            mask_root=folder / "masks",
        )
        for image_id, score_map in zip(expected["image_ids"], maps, strict=True):
            evaluator.accumulate(score_map.astype(np.float64), image_id)
        assert evaluator.gt_true_score_hist.tolist() == case["gt_true_score_hist"]
        assert evaluator.gt_false_score_hist.tolist() == case["gt_false_score_hist"]
        assert evaluator.compute() == pytest.approx(case["pxap"], rel=1e-13)


def test_counts_by_hand(two_images):
    evaluator = evaluator_of(two_images, iou_threshold_list=[50, 70], multi_contour_eval=True)
    score_map = np.zeros((10, 20))
    score_map[0:4, 0:9] = 1  # box 0,0,9,4: exactly a's true box at this map size
    evaluator.accumulate(score_map, "a.jpg")
    score_map = np.zeros((8, 8))
    score_map[0:3, 0:2] = 0.5  # box 0,0,2,3: 12 of the 16 true pixels, IoU 0.75, below half of the maximum only
    score_map[6, 6] = 1  # box 6,6,7,7: 4 of 25
    evaluator.accumulate(score_map, "x, y/b.jpg")
    assert evaluator.num_correct[70].tolist() == [2, 2, 2, 2, 2, 1, 1, 1, 1, 1]
    assert evaluator.compute() == [100.0, 100.0]
    assert evaluator.correct_at(70, 9) == {"a.jpg": True, "x, y/b.jpg": False}
    assert evaluator.correct_at(70, 4) == {"a.jpg": True, "x, y/b.jpg": True}
    assert evaluator.gt_bboxes["a.jpg"] == [(0, 0, 100, 89)]


def test_merge_refuses_other_thresholds(two_images):
    with pytest.raises(ValueError, match="a different iou_threshold_list cannot be merged"):
        evaluator_of(two_images, iou_threshold_list=[50]).merge(evaluator_of(two_images, iou_threshold_list=[30]))
    first, second = evaluator_of(two_images), evaluator_of(two_images)
    for one in (first, second):
        one.accumulate(np.eye(4), "a.jpg")
    with pytest.raises(ValueError, match=r"both evaluators have counted 'a\.jpg' \(1 images\)"):
        first.merge(second)
    second.split = "test"
    with pytest.raises(ValueError, match="a different split cannot be merged"):
        first.merge(second)
    with pytest.raises(ValueError, match="expected no duplicates"):
        evaluator_of(two_images, iou_threshold_list=[50, 50])


def test_unsorted_thresholds_are_refused(two_images):
    with pytest.raises(ValueError, match="ascending order"):
        MaskEvaluator(metadata=two_images, dataset_name="D", split="val", cam_threshold_list=[0.5, 0.1])


def test_pxap_of_a_perfect_map_and_of_no_foreground(tmp_path):
    mask = np.zeros((6, 6), np.uint8)
    cv2.imwrite(str(tmp_path / "empty.png"), mask)
    mask[1:3, 1:4] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    metadata = write_split(
        tmp_path / "meta", image_ids=["a.jpg", "b.jpg"], localization=["a.jpg,m.png,", "b.jpg,empty.png,"]
    )
    perfect = evaluator_of(metadata, MaskEvaluator, mask_root=tmp_path)
    perfect.accumulate((mask > 0) * 0.75, "a.jpg")
    assert perfect.compute() == 100.0
    empty = evaluator_of(metadata, MaskEvaluator, mask_root=tmp_path)
    empty.accumulate(np.full((6, 6), 0.5), "b.jpg")
    with pytest.raises(RuntimeError, match="no foreground pixel"):
        empty.compute()


@pytest.mark.parametrize(
    ("score_map", "error"),
    [
        (np.full((2, 2), np.nan), ValueError),
        (np.full((2, 2), 1.01), ValueError),
        (np.full((2, 2), -1e-9), ValueError),
        (np.full((2, 2), np.inf), ValueError),
        (np.zeros((2, 2, 1)), ValueError),
        (np.zeros((0, 2)), ValueError),
        (np.zeros((2, 2), np.uint8), TypeError),
        ([[0.0, 1.0]], TypeError),
    ],
)
def test_bad_score_maps(score_map, error, two_images):
    with pytest.raises(error, match=r"a\.jpg"):
        evaluator_of(two_images).accumulate(score_map, "a.jpg")
