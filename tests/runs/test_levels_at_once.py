"""A run that learns several levels at once: what it reports of each, its checkpoint, and all that is done with that."""

import json
import os
import shutil
import signal
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import main
from config import get_config
from conftest import SMALL, TINY, call, link_toy, run
from evaluation import evaluate_wsol
from samples import flat, outcome
from wsol import Localizer
from wsol.core.errors import InputError, OptionError
from wsol.core.flat_yaml import read_dumped
from wsol.data.levels import load_level
from wsol.data.metadata import read_id_list
from wsol.metrics.images_file import read_images
from wsol.photos.describe import describe
from wsol.plots.run_examples import map_images
from wsol.plots.shown_runs import shown_runs
from wsol.runs.checkpoints import read_checkpoint, write_checkpoint
from wsol.runs.export import export_onnx
from wsol.runs.final_evaluation import evaluate_run
from wsol.runs.open_test import open_test
from wsol.runs.predictor import restore
from wsol.runs.results import read_run
from wsol.runs.run_data import read_level, read_run_data
from wsol.sweeps.collection import collect, tidy_rows
from wsol.sweeps.tables import Tables

LEVELS = "family,order"
FIXED = ("--pretrained", "F", "--bootstrap", "20", "--threads", "1", "--resize_size", "72", "--crop_size", "64")
WORDS = (*SMALL, *TINY, *FIXED, "--batch_size", "4", "--label_level", LEVELS, "--level_weights", "2", "1")


@pytest.fixture(scope="module")
def finished(toy_root, tmp_path_factory):
    """The folder to run commands in where such a run has ended."""
    folder = tmp_path_factory.mktemp("at_once")
    link_toy(toy_root, folder)
    run("main.py", *WORDS, "--experiment_name", "r", cwd=folder)
    return folder


@pytest.fixture
def inside(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return Path("train_log/r")


def test_the_run_reports_the_first_level_and_every_level_below_it(inside):
    results = json.loads((inside / "results.json").read_text())
    assert results["label_level"] == "family+order" and results["num_classes"] == 4
    assert list(results["levels"]) == ["family", "order"]
    assert [one["num_classes"] for one in results["levels"].values()] == [4, 2]
    for level, shown in results["levels"].items():
        own = read_run(inside / "levels" / level, {})
        assert own.content["label_level"] == level and own.splits == ["val", "test"]
        for split in ("val", "test"):
            assert shown[split]["MaxBoxAccV2"] == own.split(split).value("MaxBoxAccV2")
            assert shown[split]["top1_cls"] == own.split(split).value("top1_cls")
            assert len(read_images(inside / f"levels/{level}/{split}_images.npz").images) == own.split(split).rows[0].images
    first = json.loads((inside / "levels/family/results.json").read_text())
    for split in ("val", "test"):  # what the run says of itself is what it says of its first level
        assert first[split] == results[split]
        for name in (f"{split}_images.npz", f"{split}_class_ranks.csv", f"{split}_per_class.csv"):
            assert (inside / name).read_bytes() == (inside / "levels/family" / name).read_bytes()


@pytest.mark.parametrize("level", ["family", "order"])
def test_a_level_from_the_checkpoint_alone_gives_the_figures_of_the_run(inside, level):
    path = inside / "last_checkpoint.pth.tar"
    found, _ = evaluate_run(path, "test", map_level=level)
    expected = json.loads((inside / f"levels/{level}/results.json").read_text())["test"]
    at_val = {"val_threshold", *(name for name in expected if name.endswith("_at_val_threshold"))}
    if level == "order":  # val chose the checkpoint's thresholds for the maps of the first level
        expected = {name: value for name, value in expected.items() if name not in at_val}
        expected["intervals"] = {k: v for k, v in expected["intervals"].items() if k not in at_val}
    assert found == expected


def test_a_single_level_model_with_the_same_head_has_the_same_maps(inside):
    content = read_checkpoint(inside / "last_checkpoint.pth.tar")
    predictor = restore(inside / "last_checkpoint.pth.tar", map_level="order")
    alone = {name: value for name, value in content.items() if name != "trained_levels"}
    state = dict(content["state_dict"])
    for name in ("classifier.weight", "classifier.bias"):
        assert len(state[name]) == 6
        state[name] = state[name][4:].clone()
    about = {"label_level": "order", "class_names": predictor.class_names, "file_labels": predictor.file_labels}
    config = {**content["config"], "label_level": "order", "level_weights": None}
    write_checkpoint("alone.pth.tar", {**alone, **about, "state_dict": state, "config": config, "hierarchy": {}})
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1])
    single = restore("alone.pth.tar")
    assert single.level == predictor.level == predictor.level_name.split(" ")[0]
    with torch.inference_mode():
        assert torch.equal(single.model.score_maps(images, labels), predictor.model.score_maps(images, labels))
    found = evaluate_run(inside / "last_checkpoint.pth.tar", "val", map_level="order")[0]
    expected = evaluate_run("alone.pth.tar", "val")[0]
    assert found["MaxBoxAcc"] == expected["MaxBoxAcc"] and found["counts"] == expected["counts"]


@pytest.mark.parametrize("level", ["order", "mean"])
def test_maps_of_a_level_and_of_the_mean_are_written_and_scored(inside, tmp_path, level):
    words = ("--checkpoint", inside / "last_checkpoint.pth.tar", "--map_level", level, "--split", "test", "--workers", "0")
    printed = run("inference.py", *words, "--scoremap_root", tmp_path / "maps", "--threads", "1", cwd=Path.cwd())
    assert f"at level '{'order' if level == 'order' else 'family'}'" in printed
    scored = evaluate_wsol(tmp_path / "maps", "metadata", "dataset", "Toy", "test", True, True, [30, 50, 70], 0.001)
    found, _ = evaluate_run(inside / "last_checkpoint.pth.tar", "test", map_level=level)
    assert scored == pytest.approx(found["MaxBoxAccV2"])
    if level == "order":
        own = json.loads((inside / "levels/order/results.json").read_text())
        assert found["MaxBoxAccV2"] == own["test"]["MaxBoxAccV2"]


def test_a_run_may_report_another_level_or_the_mean_and_trains_the_same(finished):
    weights = flat(read_checkpoint(finished / "train_log/r/last_checkpoint.pth.tar")["state_dict"])
    for level, name in (("order", "order of family+order"), ("mean", "mean of family+order")):
        run("main.py", *WORDS, "--map_level", level, "--save_scoremaps", "none", "--experiment_name", level, cwd=finished)
        folder = finished / "train_log" / level
        content = read_checkpoint(folder / "last_checkpoint.pth.tar")
        assert flat(content["state_dict"]) == weights
        results = json.loads((folder / "results.json").read_text())
        assert (
            results["label_level"] == name
            and results["levels"] == json.loads((finished / "train_log/r/results.json").read_text())["levels"]
        )
        rows = read_run(folder).rows()
        assert {row.level for row in rows} == {name}
        if level == "order":
            assert results["test"] == json.loads((folder / "levels/order/results.json").read_text())["test"]
        assert restore(folder / "last_checkpoint.pth.tar").box_rules.keys() == {"given", "predicted"}
        assert not restore(folder / "last_checkpoint.pth.tar", map_level="family").box_rules


def test_maps_that_are_aggregated_are_of_the_reported_level_alone(finished):
    words = (*WORDS, "--cam_agg_level", "order", "--save_scoremaps", "none", "--experiment_name", "agg")
    run("main.py", *words, cwd=finished)
    before, found = (json.loads((finished / f"train_log/{name}/results.json").read_text()) for name in ("r", "agg"))
    assert (found["cam_agg_level"], found["levels"]) == ("order", before["levels"]) and found["val"] != before["val"]
    folder = finished / "train_log/agg/levels/family"
    assert json.loads((folder / "results.json").read_text()) == json.loads(
        (finished / "train_log/r/levels/family/results.json").read_text()
    )
    assert read_dumped(folder / "config.yaml")["cam_agg_level"] is None


def test_killed_in_training_or_between_levels_it_ends_with_the_same_bytes(finished):
    def stop(at, function):
        calls = iter(range(1, 10**9))
        original = getattr(main, function)

        def instead(*arguments, **options):
            if next(calls) == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(*arguments, **options)

        return mock.patch.object(main, function, instead)

    reference = outcome(finished / "train_log/r")
    for function, at in (("train_one_step", 2), ("evaluate_split", 4)):
        words = (*WORDS, "--experiment_name", "k")
        with stop(at, function):
            call(main.main, *words, cwd=finished, code=75)
        call(main.main, *words, "--resume", "auto", cwd=finished)
        found = outcome(finished / "train_log/k")
        configs = [finished / f"train_log/{name}/levels/order/config.yaml" for name in "rk"]
        assert found == reference and configs[0].read_text().replace(": r\n", ": k\n") == configs[1].read_text()
        shutil.rmtree(finished / "train_log/k")


def test_other_levels_weights_or_maps_are_another_run(finished):
    for words in (("--label_level", "order,family"), ("--level_weights", "1", "1"), ("--map_level", "order")):
        printed = call(main.main, *WORDS, *words, "--experiment_name", "r", "--resume", "auto", cwd=finished, code=2)
        assert f"error: {words[0]}" in printed and "began with" in printed


def test_it_is_replaced_like_any_run(finished):
    words = (*WORDS, "--epochs", "0", "--save_scoremaps", "none", "--experiment_name", "twice")
    run("main.py", *words, cwd=finished)
    run("main.py", *words, "--override_cache", cwd=finished)
    assert (finished / "train_log/twice/levels/order/results.json").is_file()


def test_test_is_opened_later_at_every_level(finished, monkeypatch):
    run("main.py", *WORDS, "--eval_test", "F", "--save_scoremaps", "none", "--experiment_name", "val", cwd=finished)
    monkeypatch.chdir(finished)
    folder = Path("train_log/val")
    assert "test" not in json.loads((folder / "levels/order/results.json").read_text())
    open_test(folder, restore(folder / "last_checkpoint.pth.tar"), torch.device("cpu"), 0)
    for name in (".", "levels/family", "levels/order"):
        for file in ("results.json", "test_images.npz", "test_per_class.csv"):
            assert (folder / name / file).read_bytes() == (Path("train_log/r") / name / file).read_bytes(), (name, file)


def test_photos_take_the_level_asked_for(inside):
    path = inside / "last_checkpoint.pth.tar"
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8))
    found = Localizer.load(path)(photo)
    assert found.label in restore(path).class_names and list(found.ancestors) == ["order"]
    mean = Localizer.load(path, map_level="mean", threshold=0.3)(photo)
    assert (mean.label, mean.confidence) == (found.label, found.confidence)
    assert Localizer.load(path, map_level="order", threshold=0.3)(photo).label in ("round", "angular")
    with pytest.raises(InputError, match="has no box rule for these maps"):
        Localizer.load(path, map_level="order")
    with pytest.raises(OptionError, match="map_level genus: expected one of family, order, or mean"):
        restore(path, map_level="genus")
    with pytest.raises(OptionError, match="extractor gradcam: the mean of all levels' maps is of the method's own"):
        restore(path, mapper="gradcam", map_level="mean")
    assert restore(path, mapper="gradcam", map_level="order").level == "order"


@pytest.mark.slow
@pytest.mark.parametrize("level", ["order", "mean"])
def test_a_level_and_the_mean_are_exported_as_they_are(inside, tmp_path, level):
    predictor = restore(inside / "last_checkpoint.pth.tar", map_level=level)
    report = export_onnx(predictor, tmp_path / "model.onnx")  # which compares the file with the model
    about = json.loads(onnx.load(tmp_path / "model.onnx").metadata_props[0].value)
    assert report.deviations.maps < 1e-3 and about["map_level"] == level
    assert (about["level"], about["class_names"]) == (predictor.level, predictor.class_names)


def test_rows_and_tables_show_all_levels_and_the_levels_are_read_as_runs(inside):
    (entry,) = collect([inside])
    assert entry.level == "family+order" and {row["level"] for row in tidy_rows([entry])} == {"family+order"}
    every = collect([inside, *sorted(inside.glob("levels/*"))])
    assert [one.level for one in every] == ["family+order", "family", "order"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns = [column for table in Tables(every, "test").of("figures") for column in table.columns]
        titles = [table.title for table in Tables([entry], "test").of("2")]
    assert columns and len(titles) == 1


def test_figures_have_a_line_of_both_levels_and_examples_are_that_levels_maps(inside, tmp_path):
    (shown,) = shown_runs(collect([inside])).values()
    assert [(run.level, run.name) for run in shown.runs] == [(name, "CAM, levels at once") for name in ("family", "order")]
    maps = (
        "--map_level",
        "order",
        "--scoremap_root",
        tmp_path / "maps",
        "--split",
        "test",
        "--workers",
        "0",
        "--threads",
        "1",
    )
    run("inference.py", "--checkpoint", inside / "last_checkpoint.pth.tar", *maps, cwd=Path.cwd())
    image_ids = read_id_list(inside / "levels/order/test_image_ids.txt")[:3]
    found = map_images(shown.runs[1], "test", image_ids, torch.device("cpu"))
    for image_id in image_ids:
        np.testing.assert_allclose(found.maps[image_id], np.load(tmp_path / f"maps/{image_id}.npy"), atol=1e-6)
    val = json.loads((inside / "levels/order/results.json").read_text())["val"]
    assert found.threshold == val["best_threshold"]["50"]


def test_the_checkpoint_says_what_it_learned(inside):
    lines = "\n".join(describe(inside / "last_checkpoint.pth.tar"))
    assert "at level 'family': 4 classes" in lines and "family (4 classes), order (2 classes)" in lines


def test_weights_are_taken_whole_only_by_a_run_at_the_same_levels(finished):
    words = (*WORDS, "--pretrained", "T", "--pretrained_path", "train_log/r/last_checkpoint.pth.tar", "--epochs", "0")
    words = (*words, "--eval_test", "F", "--save_scoremaps", "none", "--override_cache")
    assert "weights: all of train_log/r" in run("main.py", *words, cwd=finished)
    assert "weights: all of train_log/r" in run("main.py", *words, "--map_level", "order", cwd=finished)
    for level in ("order,family", "species,family"):
        printed = run("main.py", *words, "--label_level", level, cwd=finished)
        assert "it was not trained at the same levels at once" in printed
    place = words.index("--level_weights")
    printed = run("main.py", *words[:place], *words[place + 3 :], "--label_level", "family", cwd=finished)
    assert "it was not trained at the same levels at once" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--label_level", "family,clan"), "--label_level family,clan: 'clan' is no level of the data set"),
        (("--level_weights", "1"), "--level_weights 1: expected 2 numbers, one for each level of --label_level"),
        (("--level_weights", "1", "0"), "--level_weights 0.0: expected more than 0"),
        (("--map_level", "genus"), "--map_level genus: expected one of family, order, or mean"),
        (("--label_level", "order,family", "--map_level", "mean"), "expected the finest level first"),
        (
            ("--wsol_method", "fsl_seg", "--num_train_sample_per_class", "0"),
            "--label_level family,order: fsl_seg tells no classes apart; expected one level",
        ),
        (("--map_level", "mean", "--cam_agg_level", "order"), "the mean of all levels' maps is of the method's own"),
        (("--label_level", "order"), "--level_weights 2 1: expected none for one level"),
        (("--label_level", "order", "--level_weights", "1", "--map_level", "order"), "--map_level order: expected it only"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(workspace, words, message):
    assert message in run("main.py", *WORDS, *words, cwd=workspace, code=2)
    assert not (workspace / "train_log").exists()


@pytest.fixture
def stray(toy_root, tmp_path, monkeypatch):
    """A folder with Toy, in which the images of one family have no class at the level family."""
    shutil.copytree(toy_root / "metadata", tmp_path / "metadata")
    (tmp_path / "dataset").symlink_to(toy_root / "dataset")
    for split in ("train", "val", "test"):
        path = tmp_path / f"metadata/Toy/{split}/class_labels_family.txt"
        path.write_text("".join(line for line in path.open() if "/round-red-" not in line))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_image_that_a_level_leaves_out_has_no_part_in_that_level_alone(stray):
    words = [*WORDS, "--label_level", "genus,family", "--map_level", "mean", "--experiment_name", "r"]
    train = read_run_data(get_config(words)[0]).splits["train"]
    without = [image_id for image_id, at in zip(train.image_ids, train.at_levels.tolist(), strict=True) if at[1] < 0]
    assert len(without) == 4 and all("/round-red-" in one for one in without)
    assert (train.at_levels[:, 0] == train.labels).all()
    printed = run("main.py", *words, cwd=stray)
    assert "train: 4 of 16 images have no class at level 'family', whose loss is without them" in printed
    counts = {
        level: json.loads((stray / f"train_log/r/levels/{level}/results.json").read_text())["test"]["counts"]["images"]
        for level in ("genus", "family")
    }
    assert counts == {"genus": 192, "family": 144}
    assert json.loads((stray / "train_log/r/results.json").read_text())["test"]["counts"]["images"] == 192
    printed = run(
        "main.py", *words, "--wsol_method", "spg", "--architecture", "resnet18", "--override_cache", cwd=stray, code=2
    )
    assert "this method's loss is not a mean over images" in printed


def test_the_images_of_a_run_are_those_of_its_first_level(stray):
    config, _ = get_config([*WORDS, "--label_level", "family,genus"])
    data = read_run_data(config)
    alone = load_level("metadata", "Toy", "family", num_train_sample_per_class=2, num_val_sample_per_class=2)
    for split in ("train", "val", "test"):
        assert list(data.splits[split].image_ids) == list(alone.splits[split].image_ids)
    assert (data.splits["train"].at_levels >= 0).all() and data.together[1].of_first is None
    assert list(read_level(config, ("train",)).splits["train"].image_ids) == list(data.splits["train"].image_ids)
    config, _ = get_config([*WORDS, "--label_level", "genus,family", "--map_level", "family"])
    assert read_level(config, ("val",)).level == "family" and read_level(config, ("train",)).level == "genus"
    assert set(read_run_data(config).each_level) == {"genus", "family"}


def good():
    """A checkpoint's entry about two levels."""
    first = {"level": "family", "class_names": list("abcd"), "file_labels": [0, 1, 2, 3], "of_first": [0, 1, 2, 3]}
    second = {"level": "order", "class_names": ["x", "y"], "file_labels": [5, 6], "of_first": [0, 0, 1, -1]}
    return {"trained_levels": [first, second]}


def changed(number, **entries):
    content = good()
    content["trained_levels"][number] |= entries
    return content


WRONG = {
    "a single level": {"trained_levels": good()["trained_levels"][:1]},
    "no list": {"trained_levels": {"family": 1}},
    "a text": {"trained_levels": ["family", "order"]},
    "other entries": changed(1, extra=1),
    "twice": changed(1, level="family"),
    "mean": changed(1, level="mean"),
    "no name": changed(1, level=""),
    "labels twice": changed(1, file_labels=[5, 5]),
    "labels below 0": changed(1, file_labels=[-1, 5]),
    "a label too few": changed(1, file_labels=[5]),
    "names of numbers": changed(1, class_names=[1, 2]),
    "places too high": changed(1, of_first=[0, 0, 2, 1]),
    "places below -1": changed(1, of_first=[0, 0, -2, 1]),
    "a place too few": changed(1, of_first=[0, 0, 1]),
    "places of texts": changed(1, of_first=["0", "0", "1", "1"]),
    "not those reported": changed(0, class_names=list("abce")),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_entry_about_the_levels_is_refused(inside, tmp_path, name):
    content = read_checkpoint(inside / "last_checkpoint.pth.tar")
    torch.save(content | WRONG[name], tmp_path / "wrong.pth.tar")
    with pytest.raises(InputError, match=r"wrong\.pth\.tar: .*trained_levels"):
        restore(tmp_path / "wrong.pth.tar")


@pytest.mark.parametrize(("name", "value"), [("level_weights", [1.0]), ("level_weights", "x"), ("level_weights", [0, 1]),
                                             ("map_level", 3), ("map_level", "genus")])  # fmt: skip
def test_a_wrong_option_about_the_levels_is_refused(inside, tmp_path, name, value):
    content = read_checkpoint(inside / "last_checkpoint.pth.tar")
    torch.save(content | {"config": content["config"] | {name: value}}, tmp_path / "wrong.pth.tar")
    with pytest.raises(InputError, match=name):
        restore(tmp_path / "wrong.pth.tar")
