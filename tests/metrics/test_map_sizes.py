import copy
import json
from functools import partial

import cv2
import numpy as np
import pytest

import evaluation
from conftest import SMALL, run
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.truth import SplitTruth
from wsol.maps.center import center_map
from wsol.maps.normalize import normalize_raw_map
from wsol.maps.score_maps import save_score_map
from wsol.metrics.bootstrap import Resampled, compare
from wsol.metrics.map_sizes import count_sizes, mixture_warning, size_rows, small_map_note
from wsol.metrics.scoring import Center, count
from wsol.metrics.split_evaluator import SplitEvaluator

IDS = tuple(f"{i}.jpg" for i in range(12))
WHERE = ("--dataset_name", "D", "--multi_contour_eval", "--multi_iou_eval", "--bootstrap", "20")
BOX_AND_MASK_FIGURES = ("MaxBoxAcc", "MaxBoxAccV2", "best_threshold", "counts", "PxAP")


@pytest.fixture
def command(run_here):
    """evaluation.py, run in this process."""
    return partial(run_here, evaluation.main)


@pytest.fixture
def folder(tmp_path):
    """A data set D of twelve images with boxes and masks; raw maps of 14 x 14 and what a run makes of them, 224 x 224."""
    rng = np.random.default_rng(0)
    lines = {"image_ids": IDS, "image_sizes": [f"{i},300,200" for i in IDS]}
    lines |= {"localization": [f"{i},60,40,{240 - 9 * n},160" for n, i in enumerate(IDS)]}
    lines |= {"masks": [f"{i},m.png," for i in IDS]}
    for name, entries in lines.items():
        write_text(tmp_path / f"metadata/D/val/{name}.txt", "".join(f"{entry}\n" for entry in entries))
    (tmp_path / "dataset/D").mkdir(parents=True)
    mask = np.zeros((200, 300), np.uint8)
    mask[60:140, 80:200] = 255
    cv2.imwrite(str(tmp_path / "dataset/D/m.png"), mask)
    for i in IDS:
        raw = (rng.normal(size=(14, 14)) + 5 * center_map(14, 14) - 40).astype(np.float32)  # as a network gives it
        exact = raw.astype(np.float64)
        save_score_map(tmp_path / "small", i, (exact - exact.min()) / (exact.max() - exact.min()))
        save_score_map(tmp_path / "large", i, normalize_raw_map(raw, (224, 224)))
    return tmp_path


def results_of(command, folder, *words):
    command(*WHERE, *words, "--json", "r.json")
    return json.loads((folder / "r.json").read_text())


def test_small_maps_are_scored_with_a_note(folder, command):
    output = command(*WHERE, "--scoremap_root", "small", "--json", "r.json")
    note = "maps of 14 x 14 pixels, below the protocol's 224 x 224: figures depend on the size, and these are not comparable"
    assert f"note: {note}" in output and "WARNING" not in output
    results = json.loads((folder / "r.json").read_text())
    assert results["map_sizes"] == [{"width": 14, "height": 14, "images": 12}]
    assert results["notes"][0].startswith(note)
    large = command(*WHERE, "--scoremap_root", "large", "--json", "r.json")
    assert "note:" not in large and json.loads((folder / "r.json").read_text())["notes"] == []
    assert note.replace("14 x 14", "60 x 60") in command(*WHERE, "--center", "--center_size", "60")
    assert "note:" not in command(*WHERE, "--center")


def test_a_folder_of_two_sizes_is_scored_with_a_warning(folder, command):
    save_score_map(folder / "large", IDS[3], center_map(50, 40))
    output = command(*WHERE, "--scoremap_root", "large", "--json", "r.json")
    warning = "large: maps of 2 sizes (11 of 224 x 224, 1 of 40 x 50): figures depend on the size; --map_size N resizes all"
    assert f"WARNING: {warning}" in output
    assert "note: 1 of 12 maps of 40 x 50 pixels, below the protocol's 224 x 224" in output
    results = json.loads((folder / "r.json").read_text())
    assert results["map_sizes"][1] == {"width": 40, "height": 50, "images": 1}
    assert results["notes"][0].startswith(warning)


def test_map_size_equals_what_a_run_makes_of_raw_maps(folder, command):
    """A run resizes the raw map, then normalises it; here it is normalised, resized and normalised again."""
    run_result = results_of(command, folder, "--scoremap_root", "large")
    resized = results_of(command, folder, "--scoremap_root", "small", "--map_size", 224)
    for name in (*BOX_AND_MASK_FIGURES, "intervals", "map_sizes", "notes"):
        assert resized[name] == run_result[name]
    for i in IDS:
        small, large = (np.load(folder / root / f"{i}.npy") for root in ("small", "large"))
        np.testing.assert_allclose(normalize_raw_map(small, (224, 224)), large, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(normalize_raw_map(large, (224, 224)), large)
    both = results_of(command, folder, "--scoremap_root", "small", "--compare", "large", "--map_size", 224)
    assert both["compare"]["MaxBoxAccV2"]["difference"] == 0


def test_a_constant_map_resized_is_zero(folder, command):
    for i in IDS:
        save_score_map(folder / "flat", i, np.full((3, 5), 0.7))
        save_score_map(folder / "zero", i, np.zeros((64, 64)))
    flat = results_of(command, folder, "--scoremap_root", "flat", "--map_size", 64)
    zero = results_of(command, folder, "--scoremap_root", "zero")
    assert [flat[name] for name in BOX_AND_MASK_FIGURES] == [zero[name] for name in BOX_AND_MASK_FIGURES]


@pytest.mark.parametrize("words", [("--scoremap_root", "large", "--compare", "small"), ("--center", "--center_size", "60")])
def test_two_sizes_are_not_compared(folder, command, words):
    first = "224 x 224" if "large" in words else "60 x 60"
    words = words if "--compare" in words else (*words, "--compare", "small")
    output = command(*WHERE, *words, "--json", "r.json", code=2)
    assert f"error: maps of {first} and of 14 x 14 pixels (0.jpg) cannot be compared" in output
    assert not (folder / "r.json").exists()


def test_two_sizes_of_one_later_image_are_not_compared(folder, command):
    for i in IDS:
        save_score_map(folder / "other", i, np.load(folder / "large" / f"{i}.npy"))
    save_score_map(folder / "other", IDS[7], center_map(50, 40))
    output = command(*WHERE, "--scoremap_root", "large", "--compare", "other", "--curve", "c.csv", code=2)
    assert "maps of 224 x 224 and of 40 x 50 pixels (7.jpg) cannot be compared" in output
    assert not (folder / "c.csv").exists()
    save_score_map(folder / "large", IDS[7], center_map(50, 40))
    output = command(*WHERE, "--scoremap_root", "large", "--compare", "other")
    assert "WARNING: large: maps of 2 sizes" in output and "WARNING: other: maps of 2 sizes" in output
    assert "MaxBoxAccV2  +0.00" in output


def test_center_takes_the_size_of_the_maps_that_it_is_compared_with(folder, command):
    """The same blob at any size is no better and no worse than Center; at Center's 224 it seemed to be."""
    for n, i in enumerate(IDS):
        save_score_map(folder / "blobs", i, center_map(14, 14) if n % 3 else center_map(30, 20))
    for words in (("--scoremap_root", "blobs", "--compare", "center"), ("--center", "--compare", "blobs")):
        results = results_of(command, folder, *words)
        assert results["map_sizes"][0] == {"width": 14, "height": 14, "images": 8}
        for test in results["compare"].values():
            if isinstance(test, dict):
                assert test == {"difference": 0, "interval": [0, 0], "p_value": 1}
    rows = results_of(command, folder, "--center", "--compare", "blobs", "--per_image", "i.csv")
    assert rows["MaxBoxAcc"] == results["MaxBoxAcc"]
    at_50 = results_of(command, folder, "--scoremap_root", "blobs", "--compare", "center", "--map_size", 50)
    assert at_50["map_sizes"] == [{"width": 50, "height": 50, "images": 12}]


@pytest.fixture
def evaluators(folder):
    """Two evaluators of D, nothing scored."""
    one = SplitEvaluator(SplitTruth.read(folder / "metadata", folder / "dataset", "D", "val"), 0.1, [30, 50], True)
    return one, copy.deepcopy(one)


def test_evaluators_of_two_sizes_are_not_compared(evaluators):
    first, second = evaluators
    count(Center(40), first)
    parts = [copy.deepcopy(second), copy.deepcopy(second)]
    parts[0].image_ids, parts[1].image_ids = first.image_ids[:6], first.image_ids[6:]
    count(Center(40), parts[0])
    count(Center(50), parts[1])
    parts[0].merge(parts[1])
    assert count_sizes(parts[0].map_sizes.values()) == [((40, 40), 6), ((50, 50), 6)]
    with pytest.raises(InputError, match=r"maps of 40 x 40 and of 50 x 50 pixels \(6\.jpg and 5 more\) cannot be compared"):
        compare(*(Resampled(one, 20, 0) for one in (first, parts[0])))
    count(Center(40), second)
    assert compare(*(Resampled(one, 20, 0) for one in (first, second)))["PxAP"]["difference"] == 0


def test_center_of_the_maps_own_sizes_is_each_maps_center(evaluators):
    first, second = evaluators
    sizes = {i: (14 + n, 20) for n, i in enumerate(IDS)}
    count(Center(224, sizes), first)
    for i, (width, height) in sizes.items():
        second.accumulate(center_map(height, width), i)
    assert first.map_sizes == second.map_sizes == sizes
    assert first.results() == second.results()


def test_what_is_said_of_sizes():
    assert mixture_warning([]) is mixture_warning([(9, 9)] * 3) is None
    many = mixture_warning([(9, 9)] * 3 + [(i, 300) for i in range(10, 20)])
    assert many.startswith("maps of 11 sizes (3 of 9 x 9, 1 of 10 x 300,") and "6 more sizes)" in many
    assert small_map_note("CUB", [(224, 224), (300, 500)]) is small_map_note("CUB", []) is None
    assert small_map_note("Toy", [(64, 64)]) is None
    assert small_map_note("CUB", [(224, 100), (50, 300)]).startswith("maps of 2 sizes, below the protocol's 224 x 224")
    assert size_rows([(2, 1), (3, 1), (3, 1)])[0] == {"width": 3, "height": 1, "images": 2}


def test_a_run_at_a_small_size_notes_it_in_its_log(workspace):
    for name in ("dataset", "metadata"):  # Toy under another name: Toy's own maps are small by design
        toy = (workspace / name / "Toy").resolve()
        (workspace / name).unlink()
        (workspace / name).mkdir()
        (workspace / name / "D").symlink_to(toy)
    small = ["--resize_size", 72, "--crop_size", 64, "--architecture", "resnet18", "--pretrained", "F", "--eval_test", "F"]
    run("main.py", *SMALL, "--epochs", "0", "--dataset_name", "D", *small, "--experiment_name", "d", cwd=workspace)
    log = (workspace / "train_log/d/log.txt").read_text()
    assert "note: maps of 64 x 64 pixels, below the protocol's 224 x 224" in log
    assert json.loads((workspace / "train_log/d/results.json").read_text())["cam_curve_interval"] == 0.001
