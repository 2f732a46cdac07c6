import json

import cv2
import numpy as np
import pytest

from conftest import run
from evaluation import BoxEvaluator, MaskEvaluator, evaluate_wsol, get_mask
from wsol.center import center_map
from wsol.errors import InputError, MetadataError, ScoreMapError
from wsol.files import write_text
from wsol.histogram import count_scores
from wsol.metadata import configure_metadata
from wsol.score_maps import check_score_map, find_score_maps, read_score_map
from wsol.split_evaluator import SplitEvaluator, headline

THRESHOLDS = np.arange(0, 1, 0.1).tolist()


def write_split(folder, **files):
    for name, lines in files.items():
        write_text(folder / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    return configure_metadata(folder)


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


def test_merge_of_any_partition_equals_one_pass(toy_root):
    rng = np.random.default_rng(0)
    options = (toy_root / "metadata", toy_root / "dataset", "Toy", "val", 0.01, [30, 50], True)
    whole = SplitEvaluator(*options)
    shards = [SplitEvaluator(*options) for _ in range(3)]
    for image_id in whole.image_ids[:30]:
        score_map = cv2.resize(rng.random((4, 4)), (32, 32), interpolation=cv2.INTER_LINEAR)
        whole.accumulate(score_map, image_id)
        shards[rng.integers(3)].accumulate(score_map, image_id)
    first, *others = [shards[i] for i in rng.permutation(3)]
    for other in others:
        first.boxes.merge(other.boxes)
        first.masks.merge(other.masks)
    assert first.results() == whole.results()
    assert dict(first.boxes.correct).keys() == dict(whole.boxes.correct).keys()


def test_merge_refuses_other_thresholds(two_images):
    with pytest.raises(ValueError, match="cannot be merged"):
        evaluator_of(two_images, iou_threshold_list=[50]).merge(evaluator_of(two_images, iou_threshold_list=[30]))


def test_masks_union_ignore_and_nearest_resize(tmp_path):
    grey = {"m0": np.zeros((4, 4), np.uint8), "m1": np.zeros((4, 4), np.uint8), "ig": np.zeros((4, 4), np.uint8)}
    grey["m0"][0, 0] = 1  # any non-zero grey is foreground
    grey["m1"][3, 3] = 255
    grey["ig"][:, 3] = 255  # overlaps m1, where the foreground wins
    for name, mask in grey.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
    mask = get_mask(tmp_path, ["m0.png", "m1.png"], "ig.png", (8, 8))
    expected = np.zeros((8, 8), np.uint8)
    expected[:2, :2], expected[6:, 6:], expected[:6, 6:] = 1, 1, 255
    np.testing.assert_array_equal(mask, expected)
    assert get_mask(tmp_path, ["m0.png"], "").shape == (224, 224)
    with pytest.raises(InputError, match=r"nope\.png: no such mask"):
        get_mask(tmp_path, ["nope.png"], "")


@pytest.mark.parametrize("edges", [np.append(np.arange(0, 1, 0.001), [1, 2, 3]), np.array([0.0, 0.01, 0.5, 0.7, 1, 2, 3])])
def test_counting_scores_equals_two_histograms(edges):
    rng = np.random.default_rng(0)
    scores = rng.choice([0.0, 1.0, *edges[:-2], *np.nextafter(edges[1:-2], 0), *rng.random(50)], (64, 48))
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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_map_is_accepted(dtype):
    check_score_map(np.linspace(0, 1, 6, dtype=dtype).reshape(2, 3), "map")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def test_saved_maps_by_full_id_or_without_extension(tmp_path):
    save(tmp_path / "v/a.jpg.npy", np.zeros((2, 2)))
    save(tmp_path / "v/b.npy", np.ones((2, 2)))
    paths = find_score_maps(tmp_path, ["v/a.jpg", "v/b.jpg"]).paths
    maps = {image_id: read_score_map(path)[0] for image_id, path in paths.items()}
    assert maps["v/b.jpg"].all() and not maps["v/a.jpg"].any()
    with pytest.raises(ScoreMapError, match="2 image ids share this name"):
        find_score_maps(tmp_path, ["v/b.jpg", "v/b.png"])


def test_missing_maps_are_counted_and_the_first_ten_named(tmp_path):
    ids = [f"{i}.jpg" for i in range(12)]
    save(tmp_path / "3.jpg.npy", np.zeros((2, 2)))
    with pytest.raises(ScoreMapError, match=r"11 of 12 score maps are missing") as caught:
        find_score_maps(tmp_path, ids).require_all()
    assert "10.jpg" in str(caught.value) and "11.jpg" not in str(caught.value) and "1 more" in str(caught.value)


def test_pickled_truncated_and_empty_files_are_named(tmp_path):
    np.save(tmp_path / "p.jpg.npy", np.array([{}], dtype=object), allow_pickle=True)
    save(tmp_path / "t.jpg.npy", np.zeros((20, 20)))
    (tmp_path / "t.jpg.npy").write_bytes((tmp_path / "t.jpg.npy").read_bytes()[:200])
    (tmp_path / "e.jpg.npy").touch()
    for name in "pte":
        with pytest.raises(ScoreMapError, match=rf"{name}\.jpg\.npy: not a readable"):
            read_score_map(tmp_path / f"{name}.jpg.npy")


def test_evaluate_wsol_headlines(two_images, tmp_path):
    rng = np.random.default_rng(1)
    for image_id in ("a.jpg", "x, y/b.jpg"):
        save(tmp_path / "maps" / f"{image_id}.npy", rng.random((16, 16)))
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
        SplitEvaluator(tmp_path, tmp_path, "D", "val", 0.1, [50], True)


def test_command_without_flags_reports_the_largest_contour_at_50(two_images, tmp_path):
    for image_id in ("a.jpg", "x, y/b.jpg"):
        save(tmp_path / "maps" / f"{image_id}.npy", np.random.default_rng(2).random((16, 16)))
    output = run("evaluation.py", "--scoremap_root", "maps", "--dataset_name", "D", "--json", "r.json", cwd=tmp_path)
    assert "MaxBoxAcc at IoU 50" in output and "largest contour" in output and "IoU 30" not in output
    assert list(json.loads((tmp_path / "r.json").read_text())["MaxBoxAcc"]) == ["30", "50", "70"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset_name", "Nope"), "no metadata of the split 'val' of 'Nope'"),
        (("--cam_curve_interval", "0"), "--cam_curve_interval 0.0: expected more than 0"),
        (("--iou_threshold_list", "30", "70"), "expected 50 among them"),
        (("--center", "--center_size", "0"), "--center_size 0: expected 1 or more"),
        (("--scoremap_root", "nowhere"), "2 of 2 score maps are missing"),
        (("--center", "--json", "metadata"), "--json metadata: expected a file, not a folder"),
        (("--image_list", "metadata/D/val/empty.txt"), "D val: no image to evaluate"),
    ],
)
def test_command_refuses_with_exit_code_2(two_images, tmp_path, arguments, message):
    assert message in run("evaluation.py", "--dataset_name", "D", *arguments, cwd=tmp_path, code=2)
