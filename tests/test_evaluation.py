"""evaluation.py: what it scores, and what it refuses."""

import json

import cv2
import numpy as np
import pytest

from conftest import run
from evaluation import BoxEvaluator, evaluate_wsol
from samples import BOTH, of_json, read_csv, save_maps, write_json_file, write_split
from wsol.core.errors import MetadataError
from wsol.core.files import write_text
from wsol.data.truth import SplitTruth
from wsol.maps.score_maps import FORMATS, save_score_map
from wsol.metrics.split_evaluator import headline


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


def test_evaluate_wsol_headlines(two_images, tmp_path):
    rng = np.random.default_rng(1)
    for image_id in ("a.jpg", "x, y/b.jpg"):
        save_score_map(tmp_path / "maps", image_id, rng.random((16, 16)))
    where = (tmp_path / "maps", tmp_path / "metadata", tmp_path, "D", "val")
    evaluator = BoxEvaluator(two_images, "D", "val", np.arange(0, 1, 0.1).tolist(), [30, 50])
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
        (("--center", "--curve", "x.csv", "--per_image", "./x.csv"), "expected a different file from --"),
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
        (("--coco_images", "b.json"), "expected --proposals FILE or --boxes FILE with it"),
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
        ("image_id,rank\na.jpg,1\na.jpg,1\n", "ranks.csv:3: duplicate 'a.jpg'; expected unique ids"),
        ('image_id,rank\n"a.jpg\n",1\n', "ranks.csv:2: unexpected end of data; expected comma-separated"),
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
