import csv
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import main
from conftest import CHECKOUT, SMALL, link_toy, run, run_process
from wsol.core.errors import InputError
from wsol.metrics.images_file import read_images
from wsol.runs.checkpoints import read_checkpoint
from wsol.runs.run_folder import check_run_folder, make_folder


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def finished(toy_root):
    """One small finished run on Toy at level family, its folder, and what it printed."""
    (toy_root / "run").mkdir()
    link_toy(toy_root, toy_root / "run")
    options = ("--label_level", "family", "--experiment_name", "first", "--eval_checkpoint_type", "best")
    printed = run_process("main.py", *SMALL, *options, cwd=toy_root / "run")
    return toy_root / "run" / "train_log" / "first", printed


def test_a_run_writes_its_artifacts(finished):
    folder, printed = finished
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.jsonl", "results.json", "scoremaps"} <= names
    assert {"test_curve.csv", "test_per_class.csv", "test_class_ranks.csv", "test_image_ids.txt"} <= names
    assert {"val_images.npz", "test_images.npz"} <= names
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["split"]) for line in lines][:3] == [(0, "val"), (1, "train"), (1, "val")]
    assert [line["split"] for line in lines[3:]] == ["test"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["label_level"] == "family"
    checkpoint = read_checkpoint(folder / "last_checkpoint.pth.tar")
    assert (checkpoint["architecture"], checkpoint["epoch"], len(checkpoint["class_names"])) == ("resnet18", 1, 4)
    assert {"state_dict", "optimizer"} <= set(checkpoint)
    assert "Toy's own preset" in printed
    assert not list(folder.rglob("*.tmp"))


def test_best_is_the_highest_val_figure_the_earliest_on_ties(finished):
    folder, _ = finished
    val = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines() if '"val"' in line]
    figures = [line["MaxBoxAccV2"] for line in val]
    best = read_checkpoint(folder / "best_checkpoint.pth.tar")
    assert best["epoch"] == figures.index(max(figures))
    results = results_of(folder)
    assert results["checkpoint"] == {"type": "best", "epoch": best["epoch"]}
    assert results["val"]["MaxBoxAccV2"] == max(figures)
    assert best["score_map_thresholds"] == results["val"]["best_threshold"]


def test_results_have_the_figures_and_the_counts_they_come_from(finished):
    folder, _ = finished
    results = results_of(folder)
    assert (results["label_level"], results["num_classes"]) == ("family", 4)
    for split, images in (("val", 32), ("test", 192)):
        part, counts = results[split], results[split]["counts"]
        assert counts["images"] == images
        assert part["box_rule"] == "multi_contour"
        for iou in ("30", "50", "70"):
            assert part["MaxBoxAcc"][iou] == pytest.approx(100 * counts["correct"][iou] / images)
            assert part["MaxBoxAcc_at_val_threshold"][iou] <= part["MaxBoxAcc"][iou]
        assert part["MaxBoxAccV2"] == pytest.approx(np.mean(list(part["MaxBoxAcc"].values())))
        assert part["top1_cls"] == pytest.approx(100 * counts["top1_cls"] / images)
        assert part["top1_loc"] <= min(part["top1_cls"], part["MaxBoxAcc"]["50"])
        assert part["top5_cls"] == 100  # four classes
        assert part["top5_loc"] == part["MaxBoxAcc"]["50"]
        assert 0 < part["PxAP"] < 100
    assert results["val"]["MaxBoxAcc_at_val_threshold"] == results["val"]["MaxBoxAcc"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_logged_evaluation_command_gives_what_training_reported(finished, split):
    folder, printed = finished
    line = next(m for m in re.findall(r"score again: python (evaluation.py .*)", printed) if f"--split {split}" in m)
    script, *arguments = shlex.split(line)
    run(script, *arguments, "--json", f"{split}.json", cwd=folder.parent.parent)
    again = json.loads((folder.parent.parent / f"{split}.json").read_text())
    reported = results_of(folder)[split]
    assert again["intervals"] == reported.pop("intervals")
    counts = reported.pop("counts")
    assert {name: again["counts"][name] for name in counts if name != "skipped_images"} | {"skipped_images": 0} == counts
    assert {name: again[name] for name in reported} == reported
    if split == "test":
        checkpoint = ("--thresholds_from", folder / "best_checkpoint.pth.tar", "--json", "by_checkpoint.json")
        run(script, *arguments, *checkpoint, cwd=folder.parent.parent)
        assert json.loads((folder.parent.parent / "by_checkpoint.json").read_text()) == again


def test_what_a_run_keeps_of_its_images_gives_what_it_reported(finished):
    """And what its maps look like, at val's threshold, as evaluation.py finds it from the maps."""
    folder, printed = finished
    line = next(m for m in re.findall(r"score again: python (evaluation.py .*)", printed) if "--split val" in m)
    script, *arguments = shlex.split(line)
    where = arguments.index("--scoremap_root")
    of_images = [*arguments[:where], "--images_from", folder / "val_images.npz", *arguments[where + 2 :]]
    run(script, *of_images, "--json", "images.json", cwd=folder.parent.parent)
    found, reported = json.loads((folder.parent.parent / "images.json").read_text()), results_of(folder)["val"]
    reported.pop("counts")
    assert {name: found[name] for name in reported} == reported
    run(script, *arguments, "--per_image", "images.csv", cwd=folder.parent.parent)
    with (folder.parent.parent / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = read_images(folder / "val_images.npz")
    assert images.analysis_threshold == reported["best_threshold"]["50"] and len(rows) == len(images.images)
    for row in rows:
        one = images.images[row["image_id"]]
        for name in ("area_ratio", "activation_ratio", "num_components"):
            value = getattr(one, name)
            assert row[name] == ("" if value is None else str(value))
    test = read_images(folder / "test_images.npz")
    assert test.analysis_threshold == images.analysis_threshold  # known before test was seen


def test_inference_makes_the_same_maps_without_training(finished):
    folder, _ = finished
    cwd = folder.parent.parent
    options = (
        "--checkpoint",
        folder / "best_checkpoint.pth.tar",
        "--split",
        "test",
        "--scoremap_root",
        "maps",
        "--workers",
        "0",
    )
    printed = run("inference.py", *options, cwd=cwd)
    assert "192 score maps of Toy test" in printed
    assert f"top-1 classification {results_of(folder)['test']['top1_cls']:.2f}" in printed
    paths = sorted(path.relative_to(cwd / "maps") for path in (cwd / "maps").rglob("*.npy"))
    assert len(paths) == 192
    for path in paths:
        np.testing.assert_allclose(np.load(cwd / "maps" / path), np.load(folder / "scoremaps" / path), atol=1e-9)
    assert "already holds score maps" in run("inference.py", *options, cwd=cwd, code=2)


def test_the_same_seed_gives_the_same_results_for_0_and_2_workers(finished):
    folder, _ = finished
    cwd = folder.parent.parent
    again = ("--config", folder / "config.yaml", "--experiment_name", "again", "--workers", "2", "--save_scoremaps", "none")
    run("main.py", *again, cwd=cwd)
    for name in ("results.json", "test_images.npz"):  # whether maps are saved or not
        assert (folder.parent / "again" / name).read_bytes() == (folder / name).read_bytes()
    run("main.py", *again[:2], "--experiment_name", "other", "--seed", "1", "--save_scoremaps", "none", cwd=cwd)
    assert (folder.parent / "other" / "results.json").read_bytes() != (folder / "results.json").read_bytes()
    assert not (folder.parent / "other" / "scoremaps").exists()


def test_an_existing_folder_is_an_error_unless_overridden(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    printed = run("main.py", "--experiment_name", "first", cwd=folder.parent.parent, code=2)
    assert "train_log/first exists; expected a new --experiment_name, or --override_cache" in printed
    printed = run("main.py", "--experiment_name", "first", "--override_cache", "--lr", "0", cwd=folder.parent.parent, code=2)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert "--lr 0.0: expected more than 0" in printed
    printed = run("main.py", "--experiment_name", "first/log.txt/x", cwd=folder.parent.parent, code=2)
    assert "train_log/first/log.txt is a file; expected a folder" in printed
    (folder.parent / "sweep/level").mkdir(parents=True)
    for name in ("sweep", "sweep/level"):
        (folder.parent / name / "config.yaml").touch()
    printed = run("main.py", "--experiment_name", "sweep", "--override_cache", cwd=folder.parent.parent, code=2)
    assert "train_log/sweep holds other runs (train_log/sweep/level), so it is not replaced" in printed
    (folder.parent / "mine").mkdir()
    (folder.parent / "mine" / "thesis.txt").write_text("years")
    printed = run("main.py", *SMALL, "--experiment_name", "mine", "--override_cache", cwd=folder.parent.parent, code=2)
    assert "not the folder of one run" in printed
    assert (folder.parent / "mine" / "thesis.txt").exists()


def test_largest_contour_without_test_and_without_training(workspace):
    options = ("--box_v2_metric", "F", "--eval_test", "F", "--epochs", "0", "--amp", "bf16", "--device", "cpu")
    run("main.py", *SMALL, *options, cwd=workspace)
    results = results_of(workspace / "train_log" / "test_case")
    assert "test" not in results
    assert results["val"]["box_rule"] == "largest_contour"
    assert results["val"]["MaxBoxAccV2"] is None
    assert results["checkpoint"] == {"type": "last", "epoch": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label_level", "tribe"), "--label_level tribe: Toy has the levels species, genus, family, order"),
        (("--dataset_name", "CUB"), "python dataset/prepare.py CUB"),
        (("--num_val_sample_per_class", "9"), "a class has only 8 validation images"),
        (("--device", "cuda:7"), "--device cuda:7: expected cpu or one of"),
        (("--data_root", "nowhere", "--metadata_root", "elsewhere", "--dataset_name", "D"), "elsewhere/D: no metadata"),
        (("--architecture", "timm:nope"), "has no such network"),
        (
            ("--architecture", "timm:skresnet18", "--large_feature_map", "F", "--batch_size", "383"),
            "cannot train on a single image",
        ),
        (("--crop_size", "16", "--large_feature_map", "F"), "gives a map of 1 x 1; expected 2 x 2 or more"),
        (
            ("--architecture", "timm:coatnet_nano_rw_224", "--large_feature_map", "F"),
            "--crop_size 64: timm:coatnet_nano_rw_224 does not take such images",
        ),
    ],
)
def test_refusals_come_before_any_work(workspace, options, message):
    assert message in run("main.py", *options, cwd=workspace, code=2)
    assert not (workspace / "train_log").exists()


def broken_toy(toy_root, tmp_path):
    """Return a workspace whose Toy has two broken images, one for training and one for validation."""
    for name in ("dataset", "metadata"):
        shutil.copytree(toy_root / name, tmp_path / name)
    ids = [(tmp_path / f"metadata/Toy/{split}/image_ids.txt").read_text().split()[0] for split in ("train", "val")]
    for image_id in ids:
        (tmp_path / "dataset/Toy" / image_id).write_bytes(b"\x89PNG nothing")
    return ids


@pytest.mark.slow
def test_a_broken_image_stops_the_run_or_is_skipped_and_counted(toy_root, tmp_path):
    ids = broken_toy(toy_root, tmp_path)
    few = ("--epochs", "1", "--workers", "0", "--eval_test", "F", "--label_level", "order")
    assert ids[1] in run("main.py", *few, cwd=tmp_path, code=2)  # validation comes first
    printed = run("main.py", *few, "--on_bad_image", "skip", "--experiment_name", "skipping", cwd=tmp_path)
    assert "2 images could not be read and were skipped" in printed
    results = results_of(tmp_path / "train_log/skipping")
    assert (results["val"]["counts"]["images"], results["val"]["counts"]["skipped_images"]) == (127, 1)
    line = re.search(r"score again: python (evaluation.py .*--split val.*)", printed)[1]
    script, *arguments = shlex.split(line)
    assert "127 images" in run(script, *arguments, cwd=tmp_path)


def test_of_two_processes_one_gets_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, root = Path("train_log/race"), Path("train_log")
    write = partial(main.write_config, {"experiment_name": "race"})
    for _ in range(2):
        check_run_folder(folder, root, override=False)
    _, lock = make_folder(folder, write, override=False)
    with pytest.raises(InputError, match="expected one process per run"):
        make_folder(folder, write, override=False)
    assert [path.name for path in root.iterdir()] == ["race"]
    with pytest.raises(InputError, match="another process is at this run"):
        make_folder(folder, write, override=True)
    lock.close()
    make_folder(folder, write, override=True)[1].close()
    assert sorted(path.name for path in root.iterdir()) == [".race.previous", "race"]


@pytest.mark.slow
def test_missing_images_and_masks_are_refused_before_any_work(toy_root, tmp_path):
    for name in ("dataset", "metadata"):
        shutil.copytree(toy_root / name, tmp_path / name)
    mask = next((tmp_path / "dataset/Toy/test").rglob("*_mask.png"))
    mask.unlink()
    printed = run("main.py", cwd=tmp_path, code=2)
    assert "1 of 192 masks are missing" in printed
    assert mask.name in printed
    image = next((tmp_path / "dataset/Toy/train").rglob("003.png"))
    image.unlink()
    assert "1 of 384 images of the train split are missing" in run("main.py", cwd=tmp_path, code=2)
    assert not (tmp_path / "train_log").exists()
    run("dataset/prepare.py", "Toy", cwd=tmp_path)
    assert mask.exists()
    assert image.exists()


@pytest.mark.slow
def test_classes_of_the_same_name_stay_apart(toy_root, tmp_path):
    for name in ("dataset", "metadata"):
        shutil.copytree(toy_root / name, tmp_path / name)
    (tmp_path / "metadata/Toy/class_names_order.txt").write_text("crane,0\ncrane,1\n")
    run("main.py", *SMALL[2:], "--epochs", "0", "--label_level", "order", "--save_scoremaps", "none", cwd=tmp_path)
    checkpoint = "train_log/test_case/last_checkpoint.pth.tar"
    printed = run("inference.py", "--checkpoint", checkpoint, "--scoremap_root", "maps", "--workers", "0", cwd=tmp_path)
    assert "128 score maps of Toy val" in printed


def test_killing_a_run_leaves_no_half_written_file_under_its_final_name(workspace):
    command = [sys.executable, CHECKOUT / "main.py", *SMALL[2:], "--epochs", "500", "--experiment_name", "killed"]
    for delay in (0.0, 0.35, 0.9):
        process = subprocess.Popen([*command, "--override_cache"], cwd=workspace, stdout=subprocess.DEVNULL)
        folder = workspace / "train_log" / "killed"
        deadline = time.time() + 120
        while not (folder / "best_checkpoint.pth.tar").exists() and time.time() < deadline:
            time.sleep(0.02)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in folder.rglob("*"):
            if path.name.endswith(".pth.tar"):
                assert read_checkpoint(path)["epoch"] >= 0
            elif path.suffix == ".jsonl":
                assert all(json.loads(line) for line in path.read_text().splitlines())
            elif path.suffix == ".npy":
                assert np.load(path).shape == (64, 64)
            elif path.suffix == ".yaml":
                assert yaml.safe_load(path.read_text())["epochs"] == 500
        assert not (folder / "results.json").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "x.pth.tar")
    (tmp_path / "y.pth.tar").write_bytes(b"nothing")
    for name, message in (
        ("x", "not a checkpoint of main.py"),
        ("y", "not a checkpoint that loads"),
        ("z", "no such file"),
    ):
        options = ("--checkpoint", f"{name}.pth.tar", "--scoremap_root", "maps")
        assert message in run("inference.py", *options, cwd=tmp_path, code=2)


def test_a_level_that_leaves_images_out_trains_and_scores_again(workspace, tmp_path):
    """Boxes only, no class names, no levels.txt, spaces and commas in paths: a data set of one's own."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        folder = tmp_path / "own_metadata" / "My Birds" / split
        folder.mkdir(parents=True)
        lines = {name: [] for name in ("image_ids", "class_labels", "class_labels_family", "image_sizes", "localization")}
        for i in range(9):
            image_id = f"{split}, a/bird {i}.png"
            path = tmp_path / "photos" / "My Birds" / image_id
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
            lines["image_ids"].append(image_id)
            lines["class_labels"].append(f"{image_id},{i % 3}")
            if i % 3 < 2:
                lines["class_labels_family"].append(f"{image_id},{5 * (i % 3)}")
            lines["image_sizes"].append(f"{image_id},50,40")
            lines["localization"].append(f"{image_id},5,5,30,30")
        for name, content in lines.items():
            (folder / f"{name}.txt").write_text("\n".join(content) + "\n")
    roots = ("--data_root", "photos", "--metadata_root", "own_metadata", "--dataset_name", "My Birds")
    network = ("--architecture", "resnet18", "--pretrained", "F", "--resize_size", "40", "--crop_size", "32")
    options = ("--label_level", "family", "--epochs", "1", "--workers", "0", "--batch_size", "4")
    printed = run("main.py", *roots, *network, *options, cwd=tmp_path)
    assert "train: 3 of 9 images have no class at level 'family' and are left out" in printed
    results = results_of(tmp_path / "train_log/test_case")
    assert (results["num_classes"], results["test"]["counts"]["images"], results["test"]["PxAP"]) == (2, 6, None)
    line = re.search(r"score again: python (evaluation.py .*--split test.*)", printed)[1]
    script, *arguments = shlex.split(line)
    run(script, *arguments, "--json", "again.json", cwd=tmp_path)
    assert json.loads((tmp_path / "again.json").read_text())["MaxBoxAcc"] == results["test"]["MaxBoxAcc"]


def test_a_vector_of_k_is_trained_on_and_mapped_again(workspace):
    species = (workspace / "metadata/Toy/class_names.txt").read_text().splitlines()
    names = [line.rpartition(",")[0] for line in species]
    rows = [f"{name},{3 if name.startswith('round') else 2}" for name in names]
    (workspace / "vector.csv").write_text("\n".join(["class,k", *rows]) + "\n")
    options = ("--coarsening", "vector.csv", "--epochs", "0", "--eval_test", "FALSE", *SMALL[2:])
    printed = run("main.py", *options, "--experiment_name", "vector", cwd=workspace)
    assert "Toy at level coarsened by vector.csv (of species, genus, family, order): 3 classes" in printed
    folder = workspace / "train_log/vector"
    checkpoint = read_checkpoint(folder / "last_checkpoint.pth.tar")
    assert checkpoint["class_names"] == ["round", "angular-yellow", "angular-grey"]
    map_again = ("--checkpoint", folder / "last_checkpoint.pth.tar", "--scoremap_root", "maps", "--workers", "0")
    assert "coarsened by" in run("inference.py", *map_again, cwd=workspace)
    again = ("--config", folder / "config.yaml", "--experiment_name", "again")
    run("main.py", *again, cwd=workspace)
    assert (workspace / "train_log/again/results.json").read_text() == (folder / "results.json").read_text()
    rows[0] = rows[0][:-1] + "0"
    (workspace / "vector.csv").write_text("\n".join(["class,k", *rows]) + "\n")
    refused = run("main.py", *options, "--experiment_name", "refused", cwd=workspace, code=2)
    assert "is a descendant of the label 'round'" in refused
    levels = CHECKOUT / "scripts/experiments/levels.yaml"
    for command, words in (("main.py", ("--label_level", "genus")), ("scripts/sweep.py", (levels, "--dry_run"))):
        refused = run(command, *words, "--coarsening", "vector.csv", cwd=workspace, code=2)
        assert "--label_level" in refused and "--coarsening" in refused


TINY = ("--architecture", "timm:test_efficientnet", "--large_feature_map", "F", "--label_level", "order")


@pytest.fixture
def toy_without(workspace):
    """What removes the boxes and masks of some of Toy's splits: the file emptied, or not there."""

    def remove(*splits):
        (workspace / "metadata").unlink()
        shutil.copytree((workspace / "dataset").resolve().parent / "metadata", workspace / "metadata")
        for split in splits:
            (workspace / f"metadata/Toy/{split}/localization.txt").write_text("")
            (workspace / f"metadata/Toy/{split}/masks.txt").unlink()
        return workspace

    return remove


def test_without_any_box_classification_is_reported_and_the_log_says_so(toy_without, monkeypatch):
    monkeypatch.setattr("wsol.metrics.map_sizes.OWN_PROTOCOL", ())  # as for another data set, with maps of Toy's size
    workspace = toy_without("val", "test")
    (workspace / "metadata/Toy/test/localization.txt").unlink()
    printed = run("main.py", *SMALL, *TINY, cwd=workspace)
    assert "val: no boxes and no masks: only classification is measured, not localization" in printed
    assert "no best checkpoint and no score-map threshold can be chosen" in printed
    assert "score again" not in printed and "below the protocol's" not in printed
    folder = workspace / "train_log/test_case"
    results = results_of(folder)
    for split in ("val", "test"):
        part = results[split]
        assert [part[name] for name in ("MaxBoxAccV2", "MaxBoxAcc", "PxAP", "top1_loc", "top5_loc")] == [None] * 5
        assert part["top1_cls"] == pytest.approx(100 * part["counts"]["top1_cls"] / part["counts"]["images"])
        assert {"top1_cls", "top5_cls"} < set(part["intervals"])
        assert len(list((folder / "scoremaps" / split).rglob("*.npy"))) == part["counts"]["images"]
    names = {path.name for path in folder.iterdir()}
    assert {"last_checkpoint.pth.tar", "test_class_ranks.csv", "test_image_ids.txt"} <= names
    assert not {"best_checkpoint.pth.tar", "val_curve.csv", "val_per_class.csv"} & names
    refused = run(
        "main.py", *SMALL, *TINY, "--experiment_name", "b", "--eval_checkpoint_type", "best", cwd=workspace, code=2
    )
    assert "--eval_checkpoint_type best: Toy val has no boxes and no masks" in refused
    scoring = ("--scoremap_root", folder / "scoremaps", "--dataset_name", "Toy")
    assert "no boxes or masks" in run("evaluation.py", *scoring, cwd=workspace, code=2)
    mapping = ("--checkpoint", folder / "last_checkpoint.pth.tar", "--scoremap_root", "maps", "--workers", "0")
    assert "128 score maps of Toy val" in run("inference.py", *mapping, cwd=workspace)


@pytest.mark.parametrize("split", ["val", "test"])
def test_boxes_of_one_split_alone_are_measured_there(toy_without, split):
    workspace = toy_without(split)
    printed = run("main.py", *SMALL, *TINY, "--epochs", "0", cwd=workspace)
    (line,) = re.findall(r"score again: python (evaluation.py .*)", printed)
    script, *arguments = shlex.split(line)
    run(script, *arguments, cwd=workspace)
    results = results_of(workspace / "train_log/test_case")
    other = {"val": "test", "test": "val"}[split]
    assert results[split]["MaxBoxAcc"] is None
    assert set(results[other]["MaxBoxAcc"]) == {"30", "50", "70"}
    assert ("MaxBoxAcc_at_val_threshold" in results[other]) == (other == "val")
    assert (workspace / "train_log/test_case/best_checkpoint.pth.tar").exists() == (split == "test")


def test_maps_of_a_run_that_was_stopped_are_not_scored(workspace, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "final_evaluation", stop)
    words = (*SMALL, *TINY, "--epochs", "0", "--eval_test", "F")
    run("main.py", *words, cwd=workspace, code=130)
    maps = workspace / "train_log/test_case/scoremaps"
    assert "main --epochs 1" in (maps / "UNFINISHED.txt").read_text()
    assert list(maps.rglob("*.npy"))
    scoring = ("--scoremap_root", maps, "--dataset_name", "Toy", "--on_missing", "skip")
    assert "not all of its score maps are written, by 'python main" in run("evaluation.py", *scoring, cwd=workspace, code=2)


def test_the_run_that_a_killed_one_replaced_is_still_there(workspace, monkeypatch):
    words = (*SMALL, *TINY, "--epochs", "0", "--eval_test", "F", "--save_scoremaps", "none", "--override_cache")
    run("main.py", *words, cwd=workspace)
    first = (workspace / "train_log/test_case/results.json").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(main, "train", stop)
        for _ in range(2):
            printed = run("main.py", *words, "--seed", "1", cwd=workspace, code=130)
            assert "the finished run that this one replaces is kept in train_log/.test_case.previous" in printed
    assert (workspace / "train_log/.test_case.previous/results.json").read_bytes() == first
    run("main.py", *words, "--seed", "1", cwd=workspace)
    assert [path.name for path in (workspace / "train_log").iterdir()] == ["test_case"]
    refused = run("main.py", *words, "--experiment_name", "test_case/sub", cwd=workspace, code=2)
    assert "train_log/test_case is a run's own folder; expected a name outside it" in refused


def test_threads_are_written_to_the_configuration_and_kept_by_it(workspace):
    words = (*SMALL, *TINY, "--epochs", "0", "--eval_test", "F", "--save_scoremaps", "none")
    run("main.py", *words, "--threads", "1", cwd=workspace)
    config = workspace / "train_log/test_case/config.yaml"
    assert yaml.safe_load(config.read_text())["threads"] == 1
    run("main.py", *words, "--experiment_name", "auto", cwd=workspace)
    assert yaml.safe_load((workspace / "train_log/auto/config.yaml").read_text())["threads"] == torch.get_num_threads()
