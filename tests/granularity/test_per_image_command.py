"""The command with --per_image: from maps, saved or made again, to a level for each image; its files; what it refuses."""

import numpy as np
import pytest
import torch

from conftest import run
from made_up import made_up_tree, merge_results, write_data_set
from samples import of_json, read_csv, write_run, write_split
from wsol.core.files import write_json
from wsol.data.truth import SplitTruth
from wsol.granularity.signs import mean_map
from wsol.maps.score_maps import read_score_map, save_score_map
from wsol.metrics.images_file import read_images
from wsol.metrics.split_evaluator import SplitEvaluator

SIDE = 32
TOY = "--dataset_name Toy --architecture timm:test_efficientnet --large_feature_map F --workers 0 --epochs 1 --lr 0.01"
LEVELS = ("species", "genus", "family")


def good_map(rng, box):
    """The box, filled."""
    score_map = rng.random((SIDE, SIDE)) * 0.2
    x0, y0, x1, y1 = box
    score_map[y0 : y1 + 1, x0 : x1 + 1] = 1
    return score_map


def bad_map(rng, box):
    """Crumbs everywhere."""
    score_map = rng.random((SIDE, SIDE)) * 0.2
    for y, x in rng.integers(0, SIDE - 3, (6, 2)):
        score_map[y : y + 2, x : x + 2] = 1
    return score_map


@pytest.fixture
def folders(tmp_path):
    """Runs of three levels with saved maps; of each image, one level's map is good, the finest's most often."""
    tree = made_up_tree()
    ids = write_data_set(tmp_path / "metadata", tree, 12, ("train", "val", "test"))
    rng = np.random.default_rng(0)
    folders = [tmp_path / "runs" / level for level in LEVELS]
    results = [{} for _ in LEVELS]
    for split in ("val", "test"):
        corners = {image_id: rng.integers(1, 12, 2) for image_id in ids[split]}
        boxes = {image_id: (x, y, x + 14, y + 11) for image_id, (x, y) in corners.items()}
        write_split(
            tmp_path / "metadata" / "D" / split,
            localization=[",".join(map(str, (image_id, *box))) for image_id, box in boxes.items()],
            image_sizes=[f"{image_id},{SIDE},{SIDE}" for image_id in ids[split]],
        )
        truth = SplitTruth.read(tmp_path / "metadata", "", "D", split)
        right = rng.choice(3, len(boxes), p=[0.5, 0.25, 0.25])
        for i, (folder, level) in enumerate(zip(folders, LEVELS, strict=True)):
            evaluator = SplitEvaluator(truth, 0.1, [30, 50, 70], True)
            for (image_id, box), best in zip(boxes.items(), right, strict=True):
                score_map = (good_map if best == i else bad_map)(rng, box)
                save_score_map(folder / "scoremaps", image_id, score_map)
                evaluator.accumulate(score_map, image_id)
            write_run(folder, evaluator, label_level=level, metadata_root=str(tmp_path / "metadata"))
            results[i][split] = evaluator.results()
    for folder, own in zip(folders, results, strict=True):
        merge_results(folder, own)
    return folders


@pytest.fixture
def choose(folders, tmp_path):
    def call(*words, output="out", code=0):
        arguments = [*folders, *(["--output", tmp_path / output] if output else []), "--per_image", *words]
        return run("scripts/choose_granularity.py", *arguments, cwd=tmp_path, code=code)

    return call


def test_maps_that_look_good_are_chosen(choose, tmp_path, folders):
    said = choose()
    assert "chosen: a level for each image, else species; expected gain +" in said
    record = of_json(tmp_path / "out" / "per_image.json")
    assert record["expected_gain"] == record["per_image"]["held_out_gain"] > 20 and record["test"] is None
    assert record["val"]["of_single_levels"]["species"] < record["per_image"]["MaxBoxAccV2"] <= record["val"]["oracle"] + 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"val_{name}" for name in ("levels_seed0.csv", "per_image_seed0.npz", "mean_seed0.npz")}
    assert names == {"per_image.json", "val_per_image_maps_seed0.csv", *tables}
    # Each image has the results and the map of its level's run, and the mean is that of the files.
    levels = {row["image"]: row for row in read_csv(tmp_path / "out" / "val_levels_seed0.csv")}
    where = {row["image"]: row["folder"] for row in read_csv(tmp_path / "out" / "val_per_image_maps_seed0.csv")}
    composed = read_images(tmp_path / "out" / "val_per_image_seed0.npz").images
    means = read_images(tmp_path / "out" / "val_mean_seed0.npz").images
    truth = SplitTruth.read(tmp_path / "metadata", "", "D", "val")
    evaluator = SplitEvaluator(truth, 0.1, [30, 50, 70], True)
    files = {level: read_images(folder / "val_images.npz").images for level, folder in zip(LEVELS, folders, strict=True)}
    for image_id, row in levels.items():
        assert where[image_id] == f"../runs/{row['level']}/scoremaps"
        np.testing.assert_array_equal(composed[image_id].boxes, files[row["level"]][image_id].boxes)
        maps = [read_score_map(folder / "scoremaps" / f"{image_id}.npy")[0] for folder in folders]
        np.testing.assert_array_equal(means[image_id].boxes, evaluator.score(mean_map(maps), image_id).boxes)
        expected = {level: float(row[f"expected_{level}"]) for level in LEVELS}
        if row["level"] != "species":
            assert expected[row["level"]] == max(expected.values()) > expected["species"] + record["margin"]


def test_test_is_compared_once_and_another_choice_is_refused_or_marked(choose, tmp_path):
    said = choose("--evaluate", "test")
    assert "test, a level for each image, at val's thresholds: " in said
    assert "test, mean of the levels' maps, at the best thresholds: " in said
    first = of_json(tmp_path / "out" / "per_image.json")["test"]
    low, high = first["per_image"]["at_val_threshold"]["interval"]
    assert 0 < low < high and first["images"] == 96 and first["marks"] == []
    assert first["per_image"]["at_val_threshold"]["composed"] <= first["oracle"] + 1
    composed = read_images(tmp_path / "out" / "test_per_image_seed0.npz").evaluator().results()
    assert composed["MaxBoxAccV2"] == pytest.approx(first["per_image"]["at_best"]["composed"])
    mean = read_images(tmp_path / "out" / "test_mean_seed0.npz").evaluator().results()
    assert mean["MaxBoxAccV2"] == pytest.approx(first["mean"]["at_best"]["composed"])
    choose()  # choosing the same again keeps what was measured
    assert of_json(tmp_path / "out" / "per_image.json")["test"] == first
    error = choose("--evaluate", "test", "--margin", "0.9", code=2)
    assert "test was evaluated on" in error and "--allow_test_reuse, which marks the new figures" in error
    assert "test was evaluated on" in choose("--margin", "0.9", code=2)
    (tmp_path / "out" / "test_levels_seed5.csv").write_text("")
    assert "test: test opened again" in choose("--evaluate", "test", "--margin", "0.9", "--allow_test_reuse")
    assert not (tmp_path / "out" / "test_levels_seed5.csv").exists()
    assert "test: test opened again" in choose("--margin", "0.9")
    assert (tmp_path / "out" / "test_levels_seed0.csv").exists()


def test_choosing_reads_nothing_of_test_and_twice_gives_the_same_bytes(choose, folders, tmp_path):
    for folder in folders:
        (folder / "test_images.npz").unlink()
        for path in (folder / "scoremaps").glob("test*"):
            path.unlink()
    choose()
    choose(output="again")
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_where_nothing_is_to_be_gained_it_says_so(choose, folders, tmp_path):
    for folder in folders[1:]:
        (folder / "val_images.npz").write_bytes((folders[0] / "val_images.npz").read_bytes())
        for path in (folders[0] / "scoremaps").glob("val*"):
            (folder / "scoremaps" / path.name).write_bytes(path.read_bytes())
    said = choose()
    assert "chosen: species everywhere: a level for each image is not surely better; expected gain 0" in said
    record = of_json(tmp_path / "out" / "per_image.json")
    assert record["is_single_level"] and record["expected_gain"] == 0 and record["mean"]["held_out_gain"] == 0
    assert {row["level"] for row in read_csv(tmp_path / "out" / "val_levels_seed0.csv")} == {"species"}


def test_maps_other_than_those_of_the_results_are_refused(choose, folders):
    for path in (folders[1] / "scoremaps").glob("val*"):
        save_score_map(folders[1] / "scoremaps", path.stem, np.eye(SIDE))
    error = choose(code=2)
    assert "genus: the maps of" in error and "give other results than val_images.npz has" in error


def test_without_maps_and_without_a_checkpoint_a_run_is_refused(choose, folders):
    next((folders[1] / "scoremaps").glob("val*")).unlink()
    assert "genus/results.json: checkpoint.type is None; expected last or best" in choose(code=2)


def test_a_damaged_record_is_refused(choose, tmp_path):
    write_json(tmp_path / "out" / "per_image.json", {"format": 1})
    assert "expected the record of a choice" in choose(code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--folds", "97"], "--folds 97: expected 2 to 96, the images of val"),
        (["--margin", "1"], "--margin 1.0: expected 0 or more, below 1"),
        (["--penalty", "1"], "--penalty: expected only without --per_image"),
        (["--allow_test_reuse"], "--allow_test_reuse: expected --evaluate with it"),
    ],
)
def test_values_and_options_that_do_not_belong_are_refused(choose, words, said):
    assert said in choose(*words, code=2)


def test_a_margin_without_per_image_is_refused(folders, tmp_path):
    error = run("scripts/choose_granularity.py", *folders, "--margin", "0.1", cwd=tmp_path, code=2)
    assert "--margin: expected only with --per_image" in error


def test_maps_that_were_not_saved_are_made_from_the_checkpoints(workspace):
    """Saved or made again, together or one by one, the maps give the same."""
    words = (*TOY.split(), "--num_train_sample_per_class", "2", "--eval_test", "F", "--save_scoremaps", "val")
    for level in ("species", "order"):
        run("main.py", *words, "--label_level", level, "--experiment_name", level, cwd=workspace)
    runs = [workspace / "train_log" / level for level in ("species", "order")]
    said = [run("scripts/choose_granularity.py", *runs, "--per_image", "--resamples", "100", cwd=workspace)]
    for folder in runs:
        (folder / "scoremaps").rename(folder / "elsewhere")
        said.append(run("scripts/choose_granularity.py", *runs, "--per_image", "--resamples", "100", cwd=workspace))
    assert not torch.is_inference_mode_enabled()
    assert said[0] == said[1] == said[2] and "mean of the levels' maps: " in said[0]


def test_levels_that_were_learned_at_once_have_one_checkpoint(workspace):
    words = (*TOY.split(), "--num_train_sample_per_class", "2", "--eval_test", "F", "--label_level", "species,order")
    run("main.py", *words, "--experiment_name", "both", cwd=workspace)
    folders = [workspace / "train_log" / "both" / "levels" / level for level in ("species", "order")]
    said = run("scripts/choose_granularity.py", *folders, "--per_image", "--resamples", "100", cwd=workspace)
    assert "single levels: species " in said and "mean of the levels' maps: " in said
