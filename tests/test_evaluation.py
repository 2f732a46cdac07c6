import contextlib
import csv
import io
import json
import os
import shlex
import subprocess
import sys
from functools import partial

import cv2
import numpy as np
import pytest

import evaluation
from conftest import CHECKOUT, run
from evaluation import BoxEvaluator, MaskEvaluator, evaluate_wsol
from samples import write_split
from wsol.core.errors import MetadataError
from wsol.core.files import write_text
from wsol.data.metadata import configure_metadata
from wsol.data.truth import SplitTruth
from wsol.maps.center import center_map
from wsol.maps.score_maps import FORMATS, save_score_map
from wsol.metrics.histogram import count_scores
from wsol.metrics.split_evaluator import headline

THRESHOLDS = np.arange(0, 1, 0.1).tolist()


@pytest.fixture
def two_images(tmp_path):
    """A data set D whose val split has two images with boxes, b.jpg with two of them."""
    return write_split(
        tmp_path / "metadata" / "D" / "val",
        image_ids=["a.jpg", "x, y/b.jpg"],
        class_labels=["a.jpg,0", "x, y/b.jpg,1"],
        image_sizes=["a.jpg,20,10", "x, y/b.jpg,8,8"],
        empty=[],
        localization=["a.jpg,0,0,9,4", "x, y/b.jpg,0,0,3,3", "x, y/b.jpg,4,4,8,8"],
    )


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


@pytest.mark.parametrize(
    ("dataset", "split"), [("CUB", "val"), ("CUB", "test"), ("iNatLoc500", "val"), ("iNatLoc500", "test"), ("ILSVRC", "val")]
)
def test_center_gives_the_published_figures(shared, tmp_path, dataset, split):
    expected = json.loads((shared / "facts.json").read_text())["center_baseline"][split][dataset]
    options = ["--multi_contour_eval", "--multi_iou_eval", "--cam_curve_interval", "0.001", "--center", "--json", "c.json"]
    where = ["--dataset_name", dataset, "--split", split, "--metadata_root", shared / "data/metadata"]
    run("evaluation.py", *options, *where, cwd=tmp_path)
    results = json.loads((tmp_path / "c.json").read_text())
    assert {iou: round(value, 1) for iou, value in results["MaxBoxAcc"].items()} == {
        i: expected[i] for i in ("30", "50", "70")
    }
    assert results["MaxBoxAccV2"] == pytest.approx(expected["mean"], abs=0.006)


def test_center_map_is_symmetric_normalised_and_scales():
    small = center_map(64, 64)
    assert small.min() == 0 and small.max() == 1
    np.testing.assert_allclose(small, small[::-1, ::-1])
    np.testing.assert_allclose(cv2.resize(center_map(224, 224), (64, 64)), small, atol=0.02)
    assert not center_map(1, 1).any()


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
    with pytest.raises(ValueError, match=r"both have counted 'a\.jpg' \(1 images\)"):
        first.merge(second)
    second.split = "test"
    with pytest.raises(ValueError, match="a different split cannot be merged"):
        first.merge(second)
    with pytest.raises(ValueError, match="expected each once"):
        evaluator_of(two_images, iou_threshold_list=[50, 50])


@pytest.mark.parametrize(
    "edges",
    [
        np.append(np.arange(0, 1, 0.001), [1, 2, 3]),
        [0.0, 0.01, 0.5, 0.7, 1, 2, 3],
        [0.2, 0.2, 0.5, 0.5, 1, 2, 3],  # twice the same, and scores below the first
        [0.3, 0.3001, 0.3002, 0.9, 1, 2, 3],  # close together
        [0, 0.5, 1.0],  # the last bin holds its end
    ],
)
def test_counting_scores_equals_two_histograms(edges):
    edges = np.array(edges, dtype=np.float64)
    rng = np.random.default_rng(0)
    inside = edges[edges <= 1]
    scores = rng.choice([0.0, 1.0, *inside, *np.nextafter(inside[1:], 0), *rng.random(50)], (64, 48))
    mask = rng.choice([0, 1, 255], (64, 48)).astype(np.uint8)
    counts = np.zeros((2, len(edges) - 1), dtype=np.int64)
    count_scores(scores, mask, edges, counts)
    for kind in (0, 1):
        np.testing.assert_array_equal(counts[kind], np.histogram(scores[mask == kind], bins=edges)[0])


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


def test_evaluate_wsol_headlines(two_images, tmp_path):
    rng = np.random.default_rng(1)
    for image_id in ("a.jpg", "x, y/b.jpg"):
        save_score_map(tmp_path / "maps", image_id, rng.random((16, 16)))
    where = (tmp_path / "maps", tmp_path / "metadata", tmp_path, "D", "val")
    evaluator = evaluator_of(two_images, iou_threshold_list=[30, 50])
    for image_id in ("a.jpg", "x, y/b.jpg"):
        evaluator.accumulate(np.load(tmp_path / "maps" / f"{image_id}.npy"), image_id)
    at_30, at_50 = evaluator.compute()
    assert evaluate_wsol(*where, False, True, [30, 50], 0.1) == pytest.approx((at_30 + at_50) / 2)
    assert evaluate_wsol(*where, False, False, [30, 50], 0.1) == at_50


def test_iou_50_is_asked_for_before_anything_is_scored(two_images, tmp_path):
    with pytest.raises(ValueError, match="expected 50 among them"):
        evaluate_wsol(tmp_path / "none", tmp_path / "metadata", tmp_path, "D", "val", False, False, [30])


def test_headline_is_pxap_where_there_are_masks_only():
    assert headline({"MaxBoxAcc": None, "PxAP": 41.5}, True) == 41.5


def test_an_image_without_truth_is_refused_before_scoring(tmp_path):
    write_split(
        tmp_path / "D" / "val", image_ids=["a.jpg", "b.jpg"], image_sizes=["a.jpg,9,9"], localization=["a.jpg,0,0,3,3"]
    )
    with pytest.raises(MetadataError, match=r"1 images have no true box:\n  b\.jpg"):
        SplitTruth.read(tmp_path, tmp_path, "D", "val")


@pytest.fixture
def command(run_here):
    """evaluation.py, run in this process."""
    return partial(run_here, evaluation.main)


BOTH = ("a.jpg", "x, y/b.jpg")


def save_maps(root, ids=BOTH, seed=2, kind="npy"):
    rng = np.random.default_rng(seed)
    for image_id in ids:
        score_map = cv2.resize(rng.random((4, 4)), (16, 16), interpolation=cv2.INTER_CUBIC)
        save_score_map(root, image_id, (score_map - score_map.min()) / (score_map.max() - score_map.min()), kind)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def of_json(path):
    return json.loads(path.read_text())


def test_command_without_flags_reports_the_largest_contour_at_50(two_images, tmp_path, command):
    save_maps(tmp_path / "maps")
    output = command("--scoremap_root", "maps", "--dataset_name", "D", "--json", "r.json")
    assert "MaxBoxAcc at IoU 50" in output and "largest contour" in output and "IoU 30" not in output
    assert list(of_json(tmp_path / "r.json")["MaxBoxAcc"]) == ["30", "50", "70"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset_name", "Nope"), "no metadata of a data set 'Nope'"),
        (("--cam_curve_interval", "0"), "--cam_curve_interval 0.0: expected 1e-05 or more"),
        (("--cam_curve_interval", "1.5"), "--cam_curve_interval 1.5: expected 1 or less"),
        (("--cam_curve_interval", "-0.1"), "--cam_curve_interval -0.1: expected 1e-05 or more"),
        (("--cam_curve_interval", "1e-20"), "--cam_curve_interval 1e-20: expected 1e-05 or more"),
        (("--center", "--center_size", "1000000"), "--center_size 1000000: expected 10000 or less"),
        (("--center", "--bootstrap", "1000000000"), "--bootstrap 1000000000: expected 10000 or less"),
        (("--center", "--json", "metadata/D/val/image_ids.txt/x.json"), "image_ids.txt is not a writable folder"),
        (("--center", "--json", "/dev/null"), "/dev/null: a folder, device or pipe; expected a file"),
        (("--center", "--curve", "x.csv", "--per_image", "./x.csv"), "expected another file than --"),
        (("--scoremap_root", "metadata/D/val/image_ids.txt"), "a file; expected a folder of score maps"),
        (
            ("--center", "--image_list", "other.txt"),
            "other.txt:1: 'z.jpg' is not an image of D val; expected ids as in image_ids.txt, but 1 of 1 are not:\n  1: z",
        ),
        (("--cam_curve_interval", "nan"), "--cam_curve_interval: 'nan' is not a finite number"),
        (("--iou_threshold_list", "30", "70"), "expected 50 among them"),
        (("--iou_threshold_list", "30", "--multi_iou_eval", "--analysis"), "50 among them, for --analysis"),
        (("--center", "--center_size", "0"), "--center_size 0: expected 1 or more"),
        (("--workers", "-1"), "--workers -1: expected 0 or more"),
        (("--bootstrap", "-1"), "--bootstrap -1: expected 0 or more"),
        (("--compare", "maps", "--bootstrap", "0"), "--bootstrap 0: expected 1 or more with --compare"),
        (("--scoremap_root", "nowhere"), "nowhere: no such folder"),
        (("--scoremap_root", "nowhere", "--on_missing", "skip"), "nowhere: no such folder"),
        (("--scoremap_root", "metadata"), "2 of 2 score maps are missing"),
        (("--scoremap_root", "metadata", "--on_missing", "skip"), "2 of 2 score maps are missing"),
        (("--center", "--compare", "nowhere"), "nowhere: no such folder"),
        (("--center", "--map_size", "32"), "--map_size 32: expected saved maps to resize"),
        (("--center", "--compare", "center", "--map_size", "32"), "--map_size 32: expected saved maps to resize"),
        (("--map_size", "0"), "--map_size 0: expected 1 or more"),
        (("--map_size", "100000000"), "--map_size 100000000: expected 10000 or less"),
        (("--max_megapixels", "0"), "--max_megapixels 0.0: expected more than 0"),
        (("--max_megapixels", "nan"), "--max_megapixels: 'nan' is not a finite number"),
        (("--max_megapixels", "inf"), "--max_megapixels: 'inf' is not a finite number"),
        (("--center", "--json", "-"), "--json -: a folder, device or pipe; expected a file"),
        (("--center", "--json", "new/"), "--json new/: a folder, device or pipe; expected a file"),
        (("--center", "--json", "metadata"), "metadata: a folder, device or pipe; expected a file"),
        (("--center", "--curve", "curve.txt"), "--curve curve.txt: expected a file name that ends in .csv or .parquet"),
        (("--image_list", "metadata/D/val/empty.txt"), "empty.txt: no image ids; expected one per line"),
        (("--boxes", "b.json", "--center"), "expected not together with --center"),
        (("--boxes", "b.json", "--analysis"), "expected not together with --boxes"),
        (("--boxes", "b.json", "--compare", "center"), "--compare center: expected another file of boxes"),
        (("--coco_images", "b.json"), "expected --boxes FILE with it"),
        (("--boxes", "nowhere.json"), "nowhere.json: no such file"),
        (("--center", "--thresholds_from", "nowhere.json"), "nowhere.json: no such file"),
        (("--center", "--thresholds_from", "nowhere.pth.tar"), "nowhere.pth.tar: no such file"),
        (("--center", "--class_ranks", "nowhere.csv"), "nowhere.csv: no such file"),
    ],
)
def test_command_refuses_with_exit_code_2(two_images, tmp_path, command, arguments, message):
    write_text(tmp_path / "other.txt", "z.jpg\n")
    assert message in command("--dataset_name", "D", *arguments, code=2)


def test_the_command_exits_with_2_as_a_process(two_images, tmp_path):
    output = run("evaluation.py", "--dataset_name", "D", "--scoremap_root", "none", cwd=tmp_path, code=2)
    assert output.startswith("error: none: no such folder")


@pytest.mark.parametrize("name", ["CUB_val", "ILSVRC_val"])
def test_golden_boxes_through_the_command(shared, tmp_path, command, name):
    expected = json.loads((shared / "golden/box/box_expected.json").read_text())[name]
    with np.load(shared / f"golden/box/{name}_scoremaps.npz") as archive:
        for image_id, score_map in zip(expected["image_ids"], archive["scoremaps"], strict=True):
            save_score_map(tmp_path / "maps", image_id, score_map)  # float16
    write_text(tmp_path / "ids.txt", "\n".join(expected["image_ids"]))
    where = ["--metadata_root", shared / "data/metadata", "--dataset_name", expected["dataset"], "--image_list", "ids.txt"]
    for case in expected["cases"]:
        how = ["--multi_contour_eval", case["multi_contour_eval"], "--cam_curve_interval", case["cam_curve_interval"]]
        files = ["--curve", "curve.csv", "--json", "r.json", "--bootstrap", "0", "--multi_iou_eval"]
        command(*where, *how, *files, "--split", expected["split"], "--scoremap_root", "maps")
        curve = read_csv(tmp_path / "curve.csv")
        for iou in ("30", "50", "70"):
            counts = [float(row[f"MaxBoxAcc{iou}"]) * len(expected["image_ids"]) / 100 for row in curve]
            np.testing.assert_allclose(counts, case["num_correct"][iou], rtol=0, atol=1e-9)
        assert of_json(tmp_path / "r.json")["MaxBoxAcc"] == case["max_box_acc"]


def test_golden_masks_through_the_command(shared, tmp_path, command):
    folder = shared / "golden/mask"
    expected = json.loads((folder / "mask_expected.json").read_text())
    (tmp_path / "metadata/OpenImages").mkdir(parents=True)
    (tmp_path / "metadata/OpenImages/val").symlink_to(folder / "metadata")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/OpenImages").symlink_to(folder / "masks")
    with np.load(folder / "scoremaps.npz") as archive:
        for image_id, score_map in zip(expected["image_ids"], archive["scoremaps"], strict=True):
            save_score_map(tmp_path / "maps", image_id, score_map)
    for case in expected["cases"]:
        how = ["--cam_curve_interval", case["cam_curve_interval"], "--workers", "2"]
        output = command("--dataset_name", "OpenImages", "--scoremap_root", "maps", "--json", "r.json", *how)
        results = of_json(tmp_path / "r.json")
        assert results["PxAP"] == pytest.approx(case["pxap"], rel=1e-13)
        assert results["counts"]["foreground_pixels"] == sum(case["gt_true_score_hist"])
        low, high = results["intervals"]["PxAP"]
        assert low < results["PxAP"] < high
        assert f"PxAP  {case['pxap']:.2f}" in output
    assert "has no true boxes, which it needs" in command(
        "--dataset_name", "OpenImages", "--scoremap_root", "maps", "--per_class", "c.csv", code=2
    )


def test_workers_and_order_do_not_change_a_digit(toy_root, tmp_path, command):
    ids = (toy_root / "metadata/Toy/val/image_ids.txt").read_text().split()
    save_maps(tmp_path / "maps", ids)
    where = ["--metadata_root", toy_root / "metadata", "--mask_root", toy_root / "dataset", "--scoremap_root", "maps"]
    command(*where, "--multi_contour_eval", "--multi_iou_eval", "--json", "one.json", "--per_image", "one.csv")
    again = ["--workers", "3", "--json", "three.json", "--per_image", "three.csv"]
    write_text(tmp_path / "reversed.txt", "\n".join(reversed(ids)))
    command(*where, "--multi_contour_eval", "--multi_iou_eval", *again, "--image_list", "reversed.txt")
    assert (tmp_path / "one.json").read_text() == (tmp_path / "three.json").read_text()
    assert read_csv(tmp_path / "one.csv") == read_csv(tmp_path / "three.csv")[::-1]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_boxes(two_images, tmp_path, command, kind):
    save_maps(tmp_path / "maps")
    save_maps(tmp_path / kind, kind=kind)
    for root in ("maps", kind):
        command("--dataset_name", "D", "--scoremap_root", root, "--multi_contour_eval", "--json", f"{root}.json")
    first, second = of_json(tmp_path / "maps.json"), of_json(tmp_path / f"{kind}.json")
    assert first.pop("scored") == "maps" and second.pop("scored") == kind
    assert first == second


def test_a_mixture_of_png_depths_is_refused(two_images, tmp_path, command):
    save_maps(tmp_path / "maps", ids=["a.jpg"], kind="png8")
    save_maps(tmp_path / "maps", ids=["x, y/b.jpg"], kind="png16")
    output = command("--dataset_name", "D", "--scoremap_root", "maps", code=2)
    assert "a mixture of kinds: maps/a.jpg.png is png8, maps/x, y/b.jpg.png is png16" in output


def test_missing_maps_are_skipped_loudly_when_asked(two_images, tmp_path, command):
    save_maps(tmp_path / "maps", ids=["a.jpg"])
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--json", "r.json"]
    assert "1 of 2 score maps are missing" in command(*where, code=2)
    assert not (tmp_path / "r.json").exists()
    output = command(*where, "--on_missing", "skip")
    assert "WARNING: maps: 1 of 2 score maps are missing; only 1 images (50.0 %) are scored:\n  x, y/b.jpg" in output
    counts = of_json(tmp_path / "r.json")["counts"]
    assert (counts["images"], counts["missing_maps"], counts["unknown_maps"]) == (1, 1, 0)


def test_maps_of_no_image_are_warned_of_and_counted(two_images, tmp_path, command):
    save_maps(tmp_path / "maps", ids=[*BOTH, "stray.jpg"])
    output = command("--dataset_name", "D", "--scoremap_root", "maps", "--json", "r.json")
    assert "WARNING: maps: 1 maps are of no image of D, left out:\n  stray.jpg.npy" in output
    assert of_json(tmp_path / "r.json")["counts"]["unknown_maps"] == 1


def test_maps_of_another_split_are_told_so(two_images, tmp_path, command):
    write_split(tmp_path / "metadata/D/test", image_ids=["t.jpg"], image_sizes=["t.jpg,9,9"], localization=["t.jpg,0,0,3,3"])
    save_maps(tmp_path / "maps", ids=["t.jpg"])
    output = command("--dataset_name", "D", "--scoremap_root", "maps", code=2)
    assert "no map of an image of val, but 1 maps of test images; expected their --split" in output


def test_metadata_of_another_split_is_refused(two_images, tmp_path, command):
    write_text(tmp_path / "metadata/D/val/localization.txt", "t.jpg,0,0,3,3\n")
    write_text(tmp_path / "metadata/D/val/image_sizes.txt", "t.jpg,9,9\n")
    output = command("--dataset_name", "D", "--center", code=2)
    assert "metadata/D/val: 2 images have no true box:\n  a.jpg" in output


def test_masks_missing_and_of_the_wrong_shape_are_refused(tmp_path, command):
    write_split(tmp_path / "metadata/M/val", image_ids=["a.jpg"], image_sizes=["a.jpg,40,30"], localization=["a.jpg,m.png,"])
    save_maps(tmp_path / "maps", ids=["a.jpg"])
    where = ["--dataset_name", "M", "--scoremap_root", "maps"]
    assert "dataset/M: 1 of 1 masks are missing:\n  m.png" in command(*where, code=2)
    (tmp_path / "dataset/M").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "dataset/M/m.png"), np.ones((30, 30), np.uint8))
    assert "dataset/M/m.png: 30 x 30 pixels; expected the proportions of its image" in command(*where, code=2)
    cv2.imwrite(str(tmp_path / "dataset/M/m.png"), np.zeros((30, 40), np.uint8))
    assert "no foreground pixel in any mask" in command(*where, code=2)


def test_val_chooses_the_threshold_of_test(two_images, tmp_path, command):
    lines = {"image_ids": ["t.jpg"], "image_sizes": ["t.jpg,16,16"], "localization": ["t.jpg,0,0,6,9"]}
    write_split(tmp_path / "metadata/D/test", **lines)
    save_maps(tmp_path / "maps", ids=[*BOTH, "t.jpg"])
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--multi_contour_eval", "--multi_iou_eval"]
    command(*where, "--json", "val.json")
    chosen = of_json(tmp_path / "val.json")["best_threshold"]
    test = [*where, "--split", "test", "--json", "test.json", "--per_image", "i.csv", "--curve", "c.csv"]
    output = command(*test, "--thresholds_from", "val.json")
    results, curve = of_json(tmp_path / "test.json"), read_csv(tmp_path / "c.csv")
    assert results["val_threshold"] == chosen
    for iou in ("30", "50", "70"):
        at = next(row for row in curve if float(row["threshold"]) == chosen[iou])
        assert results["MaxBoxAcc_at_val_threshold"][iou] == float(at[f"MaxBoxAcc{iou}"]) <= results["MaxBoxAcc"][iou]
    assert "MaxBoxAccV2 at val's threshold" in output and "WARNING" not in output
    assert float(read_csv(tmp_path / "i.csv")[0]["threshold"]) == chosen["50"]
    assert "the boxes are at the score-map threshold that test itself chose" in command(*test)
    assert "results of the split 'test'" in command(*test, "--thresholds_from", "test.json", code=2)
    other = command(*test, "--multi_contour_eval", "F", "--thresholds_from", "val.json", code=2)
    assert "thresholds for box_rule multi_contour; expected largest_contour" in other
    other = command(*test, "--iou_threshold_list", "50", "90", "--thresholds_from", "val.json", code=2)
    assert "--iou_threshold_list 90: val chose score-map thresholds for IoU 30, 50, 70 only" in other
    write_text(tmp_path / "val.json", json.dumps({**of_json(tmp_path / "val.json"), "best_threshold": {"50": 0.1234}}))
    one = ["--iou_threshold_list", "50", "--thresholds_from", "val.json"]
    assert "val.json: val's score-map threshold 0.1234 for IoU 50 is none of those of --cam_curve_interval 0.01" in command(
        *test, *one, code=2
    )


def test_class_ranks_give_top_1_and_top_5_loc(two_images, tmp_path, command):
    save_score_map(tmp_path / "maps", "a.jpg", np.pad(np.ones((4, 9)), ((0, 6), (0, 11))))  # its true box
    save_score_map(tmp_path / "maps", "x, y/b.jpg", np.pad(np.ones((3, 3)), ((0, 5), (0, 5))))
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--json", "r.json", "--class_ranks", "ranks.csv"]
    write_text(tmp_path / "ranks.csv", 'image_id,rank\na.jpg,3\n"x, y/b.jpg",0\n')
    assert "GT-known Loc  100.00" in command(*where)
    results = of_json(tmp_path / "r.json")
    assert [results[name] for name in ("gt_known_loc", "top1_loc", "top5_loc", "top1_cls")] == [100, 50, 100, 50]
    for lines, message in (
        ("image_id,rank\na.jpg,3\n", "ranks.csv: no rank of 1 images:\n  x, y/b.jpg"),
        ("image_id,rank\na.jpg,first\n", "ranks.csv:2: 'a.jpg,first'; expected a header and lines"),
        ("image_id,rank\na.jpg,1\na.jpg,1\n", "ranks.csv:3: 'a.jpg' appears a second time"),
        (
            'image_id,rank\n"a.jpg\n",1\n',
            "ranks.csv:2: unexpected end of data; expected comma-separated",
        ),
        ("image_id,rank\na.jpg," + "9" * 5000, "ranks.csv:2: 'a.jpg,999"),
        ("image_id,rank\na.jpg,\u0663\n", "ranks.csv:2: 'a.jpg,\u0663'; expected a header and lines"),
        ("", "ranks.csv:1: nothing; expected the header image_id,rank"),
    ):
        write_text(tmp_path / "ranks.csv", lines)
        assert message in command(*where, code=2)


def test_per_class_at_every_level(two_images, tmp_path, command):
    folder = tmp_path / "metadata/D"
    write_text(folder / "levels.txt", "species\norder\n")
    write_text(folder / "class_names.txt", "cat,0\ndog,1\n")
    write_text(folder / "val/class_labels_order.txt", "a.jpg,0\nx, y/b.jpg,0\n")
    save_score_map(tmp_path / "maps", "a.jpg", np.pad(np.ones((4, 9)), ((0, 6), (0, 11))))
    save_score_map(tmp_path / "maps", "x, y/b.jpg", np.eye(8))
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--iou_threshold_list", "50"]
    command(*where, "--per_class", "c.csv")
    rows = [(row["level"], row["class"], row["images"], row["MaxBoxAcc50"]) for row in read_csv(tmp_path / "c.csv")]
    assert rows == [
        ("species", "cat", "1", "100.0"),
        ("species", "dog", "1", "0.0"),
        ("species", "(mean)", "2", "50.0"),
        ("order", "0", "2", "50.0"),
        ("order", "(mean)", "2", "50.0"),
    ]


def test_per_image_as_csv_and_parquet_in_the_images_own_pixels(two_images, tmp_path, command):
    from pyarrow import parquet

    save_score_map(tmp_path / "maps", "a.jpg", np.pad(np.ones((8, 18)), ((0, 12), (0, 22))))  # twice the image's size
    save_score_map(tmp_path / "maps", "x, y/b.jpg", np.zeros((8, 8)))
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--analysis"]
    output = command(*where, "--per_image", "i.csv", "--json", "r.json")
    assert "predicted / true box area  mean" in output
    command(*where, "--per_image", "i.parquet")
    first, second = read_csv(tmp_path / "i.csv")
    assert [float(first[edge]) for edge in ("x0", "y0", "x1", "y1")] == [0, 0, 9, 4]
    assert float(first["iou"]) == 1 and second["activation_ratio"] == ""
    rows = parquet.read_table(tmp_path / "i.parquet").to_pylist()
    assert [row["image_id"] for row in rows] == list(BOTH)
    assert rows[0]["iou"] == 1 and rows[1]["activation_ratio"] is None
    analysis = of_json(tmp_path / "r.json")["analysis"]
    assert (analysis["images"], analysis["images_without_activation_outside"]) == (2, 2)


def test_a_detectors_boxes_are_scored_in_the_images_own_pixels(two_images, tmp_path, command):
    boxes = [
        {"image_id": "a.jpg", "category_id": 1, "bbox": [0, 0, 9, 4], "score": 0.3},
        {"image_id": "a.jpg", "category_id": 1, "bbox": [9, 5, 9, 4], "score": 0.2},
        {"image_id": "else.jpg", "category_id": 1, "bbox": [9, 5, 9, 4], "score": 0.2},
    ]
    write_text(tmp_path / "b.json", json.dumps(boxes))
    where = ["--dataset_name", "D", "--boxes", "b.json", "--multi_iou_eval"]
    output = command(*where, "--json", "r.json", "--per_image", "i.csv", "--per_class", "c.csv")
    assert "boxes of 1 images that are not scored" in output
    assert "1 of 2 images have no box and count as wrong" in output
    results = of_json(tmp_path / "r.json")
    assert results["MaxBoxAcc"] == {"30": 50, "50": 50, "70": 50}
    assert (results["box_rule"], results["best_threshold"], results["MaxBoxAccV2"]) == ("detections", None, 50)
    first, second = read_csv(tmp_path / "i.csv")
    assert (float(first["iou"]), second["x0"], float(second["iou"])) == (1, "", 0)
    assert "no box for any of the 2 images" in command(*where[:2], "--boxes", write_json_file(tmp_path, []), code=2)


def write_json_file(folder, content):
    write_text(folder / "other.json", json.dumps(content))
    return "other.json"


def test_compare_finds_no_difference_of_equals_and_a_large_one(toy_root, tmp_path, command):
    ids = (toy_root / "metadata/Toy/val/image_ids.txt").read_text().split()
    save_maps(tmp_path / "maps", ids)
    where = ["--metadata_root", toy_root / "metadata", "--mask_root", toy_root / "dataset", "--scoremap_root", "maps"]
    how = ["--multi_contour_eval", "--multi_iou_eval", "--json", "r.json", "--bootstrap", "200"]
    command(*where, *how, "--compare", "maps")
    same = of_json(tmp_path / "r.json")["compare"]
    for name in ("MaxBoxAccV2", "MaxBoxAcc50", "PxAP"):
        assert same[name] == {"difference": 0, "interval": [0, 0], "p_value": 1}
    boxes = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val").boxes
    good = BoxEvaluator(boxes, "Toy", "val", [0.5])
    for image_id in ids:
        score_map = np.zeros((16, 16))  # the size of the others, as other sizes are not compared
        for x0, y0, x1, y1 in good.true_boxes(image_id, score_map.shape):
            score_map[y0:y1, x0:x1] = 1
        save_score_map(tmp_path / "good", image_id, score_map)
    output = command(*where[:-1], "good", *how, "--compare", "maps")
    better = of_json(tmp_path / "r.json")
    test = better["compare"]["MaxBoxAccV2"]
    assert test["difference"] > 20 and test["interval"][0] > 0 and test["p_value"] == pytest.approx(1 / 201)
    assert "good less maps, on the same images:" in output
    own = better["MaxBoxAccV2"]
    command(*where, *how)
    assert test["difference"] == pytest.approx(own - of_json(tmp_path / "r.json")["MaxBoxAccV2"])
    assert "less center, on the same images" in command(*where, *how, "--compare", "center")


def test_compare_takes_the_images_that_both_have(two_images, tmp_path, command):
    save_maps(tmp_path / "maps")
    save_maps(tmp_path / "fewer", ids=["a.jpg"])
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--compare", "fewer"]
    assert "fewer: 1 of 2 score maps are missing" in command(*where, code=2)
    assert "D val, 1 images, maps" in command(*where, "--on_missing", "skip")


def test_a_folder_named_center_is_a_folder(two_images, tmp_path, command):
    save_maps(tmp_path / "center")
    command("--dataset_name", "D", "--scoremap_root", "center", "--json", "r.json")
    first = of_json(tmp_path / "r.json")
    command("--dataset_name", "D", "--scoremap_root", "./center", "--json", "r.json")
    assert first["MaxBoxAcc"] == of_json(tmp_path / "r.json")["MaxBoxAcc"]
    assert first["scored"] == "center"


def test_nothing_is_written_where_something_is_wrong(two_images, tmp_path, command):
    save_maps(tmp_path / "maps")
    outputs = {name: tmp_path / f"{name}.csv" for name in ("curve", "per_image", "per_class")}
    for path in outputs.values():
        write_text(path, "old")
    write_text(tmp_path / "metadata/D/val/class_labels.txt", "nonsense\n")
    words = [word for name, path in outputs.items() for word in (f"--{name}", path)]
    output = command("--dataset_name", "D", "--scoremap_root", "maps", *words, code=2)
    assert "class_labels.txt:1: 'nonsense'; expected path,label" in output
    (tmp_path / "metadata/D/val/class_labels.txt").unlink()
    assert "val/class_labels.txt: no labels" in command("--dataset_name", "D", "--center", *words, code=2)
    assert {path.read_text() for path in outputs.values()} == {"old"}


def test_linked_folders_of_maps_are_found(two_images, tmp_path, command):
    save_maps(tmp_path / "disk")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/x, y").symlink_to(tmp_path / "disk/x, y")
    (tmp_path / "maps/a.jpg.npy").symlink_to(tmp_path / "disk/a.jpg.npy")
    assert "2 images" in command("--dataset_name", "D", "--scoremap_root", "maps")


def test_an_output_that_is_a_link_is_written_through(two_images, tmp_path, command):
    write_text(tmp_path / "real.json", '{"scored": "old"}')
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    command("--dataset_name", "D", "--center", "--json", "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert of_json(tmp_path / "real.json")["split"] == "val"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("--json dataset/D/images/photo.jpg", "is inside dataset/D, which holds data"),
        ("--curve metadata/D/val/curve.csv", "is inside metadata/D, which holds data"),
        ("--json config.yaml", "not written by evaluation.py"),
        ("--json results.json", "not written by evaluation.py"),
    ],
)
def test_outputs_replace_nothing_of_another_kind(two_images, tmp_path, command, output, expected):
    write_text(tmp_path / "dataset/D/images/photo.jpg", "pixels")
    write_text(tmp_path / "config.yaml", "lr: 0.1\n")
    write_text(tmp_path / "results.json", '{"val": {}}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert expected in command("--dataset_name", "D", "--center", *output.split(), code=2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_detectors_boxes_need_no_mask(tmp_path, command):
    lines = {
        "image_ids": ["a.jpg"],
        "image_sizes": ["a.jpg,9,9"],
        "localization": ["a.jpg,0,0,3,3"],
        "masks": ["a.jpg,m.png,"],
    }
    write_split(tmp_path / "metadata/D/val", **lines)
    write_json_file(tmp_path, [{"image_id": "a.jpg", "bbox": [0, 0, 3, 3], "score": 1}])
    assert "masks are missing" in command("--dataset_name", "D", "--center", code=2)
    assert "100.00" in command("--dataset_name", "D", "--boxes", "other.json")


@pytest.mark.parametrize("value", [float("nan"), True, "0.5", -0.1, 1.0])
def test_thresholds_of_val_that_are_none_are_refused(two_images, tmp_path, command, value):
    write_json_file(tmp_path, {"dataset_name": "D", "box_rule": "largest_contour", "best_threshold": {"50": value}})
    words = ["--dataset_name", "D", "--center", "--iou_threshold_list", "50", "--thresholds_from", "other.json"]
    assert "other.json: val.best_threshold is {'50': " in command(*words, code=2)


def test_one_image_and_one_resample_give_no_interval_but_figures(tmp_path, command):
    write_split(tmp_path / "metadata/D/val", image_ids=["a.jpg"], image_sizes=["a.jpg,9,9"], localization=["a.jpg,0,0,3,3"])
    for seed in range(4):
        output = command("--dataset_name", "D", "--center", "--bootstrap", "1", "--seed", seed, "--compare", "center")
        assert "MaxBoxAcc at IoU 50" in output and "p 1" in output


def test_classification_has_intervals_where_there_are_masks_only(tmp_path, command):
    write_split(tmp_path / "metadata/M/val", image_ids=["a.jpg", "b.jpg"], localization=["a.jpg,m.png,", "b.jpg,m.png,"])
    (tmp_path / "dataset/M").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "dataset/M/m.png"), np.eye(8, dtype=np.uint8))
    write_text(tmp_path / "ranks.csv", "image_id,rank\na.jpg,0\nb.jpg,1\n")
    command("--dataset_name", "M", "--center", "--class_ranks", "ranks.csv", "--json", "r.json")
    results = of_json(tmp_path / "r.json")
    assert (results["top1_cls"], results["top1_loc"]) == (50, None)
    assert results["intervals"]["top1_cls"] == [0, 100]


INPUTS = {
    "thresholds_from": "val.json",
    "image_list": "ids.txt",
    "class_ranks": "ranks.csv",
    "boxes": "boxes.json",
    "coco_images": "coco.json",
}


@pytest.fixture
def inputs(two_images, tmp_path, command):
    """All files that the command may read, beside D; return what is in each file below the folder."""
    save_maps(tmp_path / "maps")
    (tmp_path / "dataset/D").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "dataset/D/m.png"), np.ones((8, 16), np.uint8))
    write_text(tmp_path / "metadata/D/val/image_sizes.txt", "a.jpg,20,10\nx, y/b.jpg,20,10\n")
    write_text(tmp_path / "metadata/D/val/masks.txt", "a.jpg,m.png,m.png\nx, y/b.jpg,m.png,\n")
    write_text(tmp_path / "ids.txt", "".join(f"{i}\n" for i in BOTH))
    write_text(tmp_path / "ranks.csv", 'image_id,rank\na.jpg,3\n"x, y/b.jpg",0\n')
    boxes = [{"image_id": n, "bbox": [0, 0, 9, 4], "score": 0.3} for n in (1, 2)]
    write_text(tmp_path / "boxes.json", json.dumps(boxes))
    images = [{"id": n, "file_name": i} for n, i in enumerate(BOTH, 1)]
    write_text(tmp_path / "coco.json", json.dumps({"images": images}))
    command("--dataset_name", "D", "--center", "--json", "val.json", "--bootstrap", "20")
    return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("link", ["same", "another_name", "link", "hard_link"])
@pytest.mark.parametrize(
    "target",
    [*INPUTS, "compare", "metadata/D/val/image_sizes.txt", "dataset/D/m.png", "maps/a.jpg.npy", "maps/x, y/b.jpg.npy"],
)
def test_no_input_is_overwritten(inputs, tmp_path, command, link, target):
    words = ["--dataset_name", "D", "--bootstrap", "20"]
    if target in ("boxes", "coco_images"):
        words += ["--boxes", "boxes.json", "--coco_images", "coco.json"]
    elif target == "compare":
        target = "boxes.json"
        words += ["--boxes", "boxes.json", "--coco_images", "coco.json", "--compare", "boxes.json"]
    else:
        words += ["--scoremap_root", "maps"]
        words += [f"--{target}", INPUTS[target]] if target in INPUTS else []
    path = INPUTS.get(target, target)
    output = {"same": path, "another_name": tmp_path / "maps" / ".." / path}.get(link, "out.json")
    if link == "link":
        (tmp_path / output).symlink_to(tmp_path / path)
    elif link == "hard_link":
        (tmp_path / output).hardlink_to(tmp_path / path)
    refused = command(*words, "--json", output, "--curve" if "--boxes" not in words else "--per_class", "c.csv", code=2)
    assert f"error: --json {output}: would replace the input " in refused and "; expected another file" in refused
    assert not (tmp_path / "c.csv").exists()
    assert {path: path.read_bytes() for path in inputs} == inputs


def test_tables_overwrite_no_input_either(inputs, tmp_path, command):
    words = ["--dataset_name", "D", "--scoremap_root", "maps", "--class_ranks", "ranks.csv"]
    for name in ("curve", "per_class", "per_image"):
        assert f"--{name} ranks.csv: would replace the input ranks.csv" in command(*words, f"--{name}", "ranks.csv", code=2)
    write_text(tmp_path / "metadata/D/hierarchy.csv", "finest\n")
    assert "would replace the input metadata/D/hierarchy.csv" in command(
        *words, "--curve", "metadata/D/hierarchy.csv", code=2
    )
    save_maps(tmp_path / "more", ids=[*BOTH, "stray.jpg"])
    output = command(*words, "--compare", "more", "--json", "more/stray.jpg.npy", code=2)
    assert "more/stray.jpg.npy; expected another file" in output
    command(*words, "--json", "new.json")
    command(*words, "--json", "new.json")  # an output of its own is replaced


class Broken(io.StringIO):
    """A standard output whose reader is gone, or that is full."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device")])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_that_cannot_be_printed_costs_no_file(inputs, tmp_path, monkeypatch, error, stream):
    save_score_map(tmp_path / "maps", "a.jpg", np.eye(30))  # of another size, which is warned of on standard error
    save_score_map(tmp_path / "maps", "stray.jpg", np.eye(30))
    words = ["--dataset_name", "D", "--scoremap_root", "maps", "--bootstrap", "20", "--compare", "center", "--analysis"]
    words += ["--json", "r.json", "--curve", "c.csv", "--per_class", "p.csv", "--per_image", "i.csv"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluation.py", *words])
    monkeypatch.setattr(sys, stream, Broken(error))
    with contextlib.suppress(OSError, SystemExit):  # how it ends is another matter
        evaluation.main()
    for name in ("r.json", "c.csv", "p.csv", "i.csv"):
        assert (tmp_path / name).stat().st_size > 50


@pytest.mark.slow
@pytest.mark.parametrize("where", [">/dev/full", ">&-", "| true"])
def test_a_closed_or_full_output_costs_no_file(inputs, tmp_path, where):
    words = [sys.executable, str(CHECKOUT / "evaluation.py"), "--dataset_name", "D", "--scoremap_root", "maps"]
    command = f"{shlex.join([*words, '--bootstrap', '20', '--json', 'r.json', '--curve', 'c.csv'])} {where}"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"}, timeout=300)
    assert (tmp_path / "r.json").is_file() and (tmp_path / "c.csv").is_file()


def test_the_interval_of_vals_thresholds_is_taken_from_their_file(inputs, tmp_path, command):
    words = ["--dataset_name", "D", "--center", "--center_size", "64", "--bootstrap", "0"]
    command(*words, "--json", "val.json", "--cam_curve_interval", "0.0125")
    val = of_json(tmp_path / "val.json")
    assert val["cam_curve_interval"] == 0.0125
    val["best_threshold"]["50"] = 0.5125
    write_text(tmp_path / "val.json", json.dumps(val))
    output = command(*words, "--thresholds_from", "val.json", "--json", "r.json")
    assert "score-map thresholds every 0.0125, val's from val.json" in output
    assert of_json(tmp_path / "r.json")["val_threshold"]["50"] == pytest.approx(0.5125)
    output = command(*words, "--thresholds_from", "val.json", "--cam_curve_interval", "0.01", code=2)
    assert (
        "0.5125 for IoU 50 is none of those of --cam_curve_interval 0.01; expected the interval with which val was" in output
    )
    assert "val was scored, 0.0125" in output
    results = {"dataset_name": "D", "cam_curve_interval": 0.0125, "val": val | {"cam_curve_interval": None}}
    del results["val"]["cam_curve_interval"]
    write_text(tmp_path / "results.json", json.dumps(results))  # as main.py writes it
    assert "every 0.0125" in command(*words, "--thresholds_from", "results.json")


@pytest.mark.parametrize(("threshold", "interval"), [(0.57, "0.01"), (0.571, "0.001"), (0.5715, None)])
def test_older_files_without_an_interval(inputs, tmp_path, command, threshold, interval):
    thresholds = {"30": 0.2, "50": threshold, "70": 0.3}
    write_json_file(tmp_path, {"dataset_name": "D", "box_rule": "largest_contour", "best_threshold": thresholds})
    words = ["--dataset_name", "D", "--center", "--center_size", "64", "--bootstrap", "0", "--thresholds_from", "other.json"]
    if interval:
        assert f"score-map thresholds every {interval}, val's from other.json" in command(*words)
    else:
        message = "other.json: val's score-map threshold 0.5715 for IoU 50 is none of those of --cam_curve_interval 0.01"
        assert message in command(*words, code=2)
        assert "every 0.0005" in command(*words, "--cam_curve_interval", "0.0005")


GOOD = {"dataset_name": "D", "box_rule": "largest_contour", "best_threshold": {"50": 0.46}, "cam_curve_interval": 0.01}
NO_NUMBERS = ("[]", "{}", '"0.01"', "true", "NaN", "Infinity", "-1", "2", "1" * 4000, '"' + "x" * 9000 + '"', '"\\ud800"')


@pytest.mark.parametrize("key", GOOD)
def test_a_thresholds_file_with_a_wrong_entry_is_named(inputs, tmp_path, command, key):
    words = ["--dataset_name", "D", "--center", "--iou_threshold_list", "50", "--thresholds_from", "other.json"]
    for value in NO_NUMBERS:
        texts = [json.dumps({**GOOD, key: 7}).replace(": 7", f": {value}")]
        texts += [json.dumps({**GOOD, key: {"50": 7}}).replace(": 7", f": {value}")] if key == "best_threshold" else []
        for text in texts:
            write_text(tmp_path / "other.json", text)
            output = command(*words, code=2)
            assert output.startswith("error: other.json: ") and len(output) < 600


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", "3", '{"val": []}', '{"val": null}', '{"val": {}}', '{"split": []}', '{"split": "test"}'),
        *("[" * 100_000, '{"best_threshold": ' + "1" * 5000 + "}", "\x00", '{"best_threshold": {}}', '{"val": {"val": {}}}'),
        json.dumps({**GOOD, "best_threshold": {"fifty": 0.5}}),
        json.dumps({**GOOD, "best_threshold": {"9" * 5000: 0.5}}),
    ],
)
def test_a_thresholds_file_of_another_kind_is_named(inputs, tmp_path, command, text):
    write_text(tmp_path / "other.json", text)
    output = command("--dataset_name", "D", "--center", "--thresholds_from", "other.json", code=2)
    assert output.startswith("error: other.json: ") and len(output) < 600


def test_a_runs_folder_is_told_from_that_of_its_maps(two_images, tmp_path, command):
    save_maps(tmp_path / "run/scoremaps")
    write_text(tmp_path / "run/config.yaml", "")
    message = "error: run: a run's folder; expected that of its maps, run/scoremaps"
    assert message in command("--dataset_name", "D", "--scoremap_root", "run", code=2)
    assert message in command("--dataset_name", "D", "--scoremap_root", "run/scoremaps", "--compare", "run", code=2)
    save_maps(tmp_path / "run")  # maps of its own
    command("--dataset_name", "D", "--scoremap_root", "run")


def test_an_image_list_is_blamed_for_its_own_lines(two_images, tmp_path, command):
    for text, message in (
        (
            "a.jpg\nz.jpg\nb.jpg\n",
            "ids.txt:2: 'z.jpg' is not an image of D val; expected ids as in image_ids.txt, but 2 of 3 are not:\n"
            "  2: z.jpg\n  3: b.jpg",
        ),
        ("a.jpg\na.jpg\n", "ids.txt:2: duplicate id 'a.jpg'"),
        ("a.jpg\n\n", "ids.txt:2: ''; expected a path"),
        ("", "ids.txt: no image ids; expected one per line"),
    ):
        write_text(tmp_path / "ids.txt", text)
        assert message in command("--dataset_name", "D", "--center", "--image_list", "ids.txt", code=2)


def test_a_fifo_is_refused_as_any_input(inputs, tmp_path, command):
    for name in ("f.txt", "f.json", "npy/a.jpg.npy", "npz/a.jpg.npz", "png/a.jpg.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    write_text(tmp_path / "ids.txt", "a.jpg\n")
    for words in (
        *(("--scoremap_root", kind, "--image_list", "ids.txt") for kind in ("npy", "npz", "png")),
        ("--center", "--image_list", "f.txt"),
        ("--center", "--thresholds_from", "f.json"),
        ("--boxes", "f.json"),
        ("--boxes", "boxes.json", "--coco_images", "f.json"),
    ):
        assert "a device, FIFO or socket; expected a regular file" in command("--dataset_name", "D", *words, code=2)
    (tmp_path / "dataset/D/m.png").unlink()
    os.mkfifo(tmp_path / "dataset/D/m.png")
    assert "dataset/D/m.png: a device, FIFO or socket" in command("--dataset_name", "D", "--center", code=2)


def test_maps_and_masks_that_declare_too_much_are_refused_by_the_command(inputs, tmp_path, command):
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--bootstrap", "0"]
    output = command(*where, "--max_megapixels", "0.0001", code=2)
    assert "maps/a.jpg.npy: declares 16 x 16 pixels, 0.0 megapixels; expected at most 0.0001, or a larger --max" in output
    cv2.imwrite(str(tmp_path / "dataset/D/m.png"), np.ones((80, 160), np.uint8))
    output = command(*where, "--max_megapixels", "0.01", code=2)
    assert "dataset/D/m.png: declares 160 x 80 pixels" in output
    assert "160 x 80 pixels" in command(*where, "--max_megapixels", "0.01", "--workers", "2", code=2)
    command(*where, "--max_megapixels", "0.0128")
