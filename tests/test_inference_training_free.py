"""Maps without a checkpoint, from the command line, and refined maps: the same from inference.py and evaluation.py."""

import json

import numpy as np
import pytest

from conftest import SMALL, run
from wsol.maps.score_maps import read_score_map, save_score_map

TINY_VIT = ("--architecture", "timm:test_vit", "--pretrained", "F", "--crop_size", "64", "--dataset_name", "Toy")
MAPPED = ("--scoremap_root", "maps", "--workers", "0")


@pytest.fixture(scope="module")
def checkpoint(toy_root):
    """The checkpoint of an untrained tiny run at Toy's level order."""
    words = ("--architecture", "timm:test_efficientnet", "--large_feature_map", "F", "--label_level", "order")
    words = (*SMALL, *words, "--epochs", "0", "--eval_test", "F", "--save_scoremaps", "none")
    run("main.py", *words, "--experiment_name", "of_refiners", cwd=toy_root)
    return toy_root / "train_log/of_refiners/last_checkpoint.pth.tar"


@pytest.fixture
def ids(workspace):
    """A list of six images of Toy's val, in a file."""
    chosen = (workspace / "metadata/Toy/val/image_ids.txt").read_text().split()[:6]
    (workspace / "list.txt").write_text("\n".join(chosen) + "\n")
    return chosen


def maps_in(folder, ids):
    return np.stack([read_score_map(folder / f"{image_id}.npy")[0] for image_id in ids])


@pytest.mark.parametrize("extractor", ["attention", "lost", "tokencut"])
def test_a_network_without_training_maps_a_split_that_is_scored(workspace, ids, extractor):
    words = (*TINY_VIT, "--extractor", extractor, "--image_list", "list.txt", *MAPPED)
    printed = run("inference.py", *words, cwd=workspace)
    assert "6 score maps of Toy val in maps, 0 skipped" in printed and "top-1" not in printed
    assert not (workspace / "maps/val_class_ranks.csv").exists()  # it knows no classes
    assert "MaxBoxAccV2" in run(
        "evaluation.py",
        *("--scoremap_root", "maps", "--image_list", "list.txt", "--multi_contour_eval", "--multi_iou_eval"),
        cwd=workspace,
    )
    run("inference.py", *words[:-3], "again", *words[-2:], "--label_level", "order", cwd=workspace)
    np.testing.assert_array_equal(maps_in(workspace / "again", ids), maps_in(workspace / "maps", ids))


def test_the_networks_own_mean_and_standard_deviation_count(workspace, ids):
    own = (
        "--architecture",
        "timm:test_vit",
        *TINY_VIT[2:],
        "--extractor",
        "lost",
        "--image_list",
        "list.txt",
        "--workers",
        "0",
    )
    for name in ("network", "imagenet"):
        run("inference.py", *own, "--preprocessing", name, "--scoremap_root", name, cwd=workspace)
    assert not np.array_equal(maps_in(workspace / "network", ids), maps_in(workspace / "imagenet", ids))


def test_a_checkpoint_is_mapped_without_its_classifier(workspace, ids, checkpoint):
    words = ("--checkpoint", checkpoint, "--image_list", "list.txt", "--extractor", "tokencut", *MAPPED)
    assert "top-1 classification" in run("inference.py", *words, cwd=workspace)  # the run's own, beside the maps
    assert maps_in(workspace / "maps", ids).shape == (6, 64, 64)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--extractor", "lost", "--checkpoint", "x"), "--checkpoint x: expected not together with --architecture"),
        (("--extractor", "lost", "--map_level", "order"), "--map_level order: expected not together with --architecture"),
        ((), "--extractor method: expected one of attention, lost, tokencut, text without a checkpoint"),
        (("--extractor", "gradcam"), "--extractor gradcam: expected one of attention, lost, tokencut, text"),
        (("--extractor", "lost", "--prompts", "a {name}"), "--prompts a {name}: expected --extractor text with it"),
        (("--extractor", "text", "--prompts", "a {name}"), "expected open_clip:NAME/TAG with --extractor text"),
        (
            ("--extractor", "lost", "--pretrained_path", "none.pth"),
            "--pretrained False: expected TRUE with --pretrained_path",
        ),
        (("--extractor", "lost", "--split", "vall"), "--split vall: Toy has the splits train, val, test"),
        (("--extractor", "lost", "--dataset_name", "Nope"), "no metadata of a data set 'Nope'"),
        (("--extractor", "lost", "--label_level", "ordre"), "--label_level ordre: Toy has the levels"),
        (("--extractor", "lost", "--crop_size", "60"), "--crop_size 60: timm:test_vit does not take such images"),
        (("--extractor", "lost", "--crop_size", "16"), "--crop_size 16: timm:test_vit gives a map of 1 x 1"),
        (("--extractor", "lost", "--cam_agg_level", "order"), "--extractor lost: expected method with --cam_agg_level"),
    ],
)
def test_senseless_combinations_are_refused_before_any_map(workspace, words, message):
    assert message in run("inference.py", *TINY_VIT, *words, *MAPPED, cwd=workspace, code=2)
    assert not (workspace / "maps").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--architecture", "timm:test_vit", "--extractor", "lost"), "--dataset_name none: expected a data set"),
        (("--crop_size", "64"), "--checkpoint none: expected a run's checkpoint"),
        (("--checkpoint", "x", "--crop_size", "64"), "--crop_size 64: expected --architecture with it, and no checkpoint"),
        (
            ("--checkpoint", "x", "--extractor", "text"),
            "--extractor text: expected --architecture open_clip:NAME/TAG with it",
        ),
        (("--checkpoint", "x", "--refine", "proposals"), "--refine proposals: expected --proposals FILE with it"),
        (("--checkpoint", "x", "--proposals", "x"), "--proposals x: expected --refine proposals with it"),
        (("--checkpoint", "x", "--coco_images", "x"), "--coco_images x: expected --proposals FILE with it"),
    ],
)
def test_half_of_the_options_are_refused(workspace, words, message):
    assert message in run("inference.py", *words, *MAPPED, cwd=workspace, code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--architecture", "timm:test_vit", "--extractor", "lost"), "--architecture timm:test_vit: expected not together"),
        (("--checkpoint", "x", "--refine", "proposals", "--proposals", "x"), "--proposals x: expected not together"),
        (("--checkpoint", "x", "--refine", "proposals"), "--refine proposals: expected another one with --images"),
    ],
)
def test_photos_need_a_checkpoint_and_have_no_proposals(workspace, words, message):
    assert message in run("inference.py", *words, "--images", "dataset", "--output", "o", cwd=workspace, code=2)


def test_weights_that_cannot_be_fetched_are_named(workspace, monkeypatch):
    import timm

    own = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no network")
        return own(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    words = (
        "--architecture",
        "timm:vit_small_patch16_224.dino",
        "--extractor",
        "attention",
        "--dataset_name",
        "Toy",
        *MAPPED,
    )
    printed = run("inference.py", *words, cwd=workspace, code=2)
    assert "--pretrained TRUE: the weights of timm:vit_small_patch16_224.dino could not be fetched (OSError)" in printed
    assert "--pretrained_path FILE" in printed and not (workspace / "maps").exists()


@pytest.fixture
def proposals(workspace, ids):
    """COCO results with two boxes for each image, in a file."""
    boxes = [{"image_id": i, "bbox": box, "score": 1} for i in ids for box in ([4, 4, 30, 20], [20, 10, 40, 50])]
    (workspace / "proposals.json").write_text(json.dumps(boxes))
    return "proposals.json"


@pytest.mark.parametrize("refiner", ["grabcut", "proposals"])
def test_maps_refined_by_inference_score_as_saved_maps_refined_by_evaluation(workspace, ids, checkpoint, proposals, refiner):
    words = ("--checkpoint", checkpoint, "--image_list", "list.txt", "--workers", "0")
    refine = ("--refine", refiner, *(("--proposals", proposals) if refiner == "proposals" else ()))
    run("inference.py", *words, "--scoremap_root", "plain", cwd=workspace)
    run("inference.py", *words, "--scoremap_root", "refined", *refine, cwd=workspace)
    assert not np.array_equal(maps_in(workspace / "plain", ids), maps_in(workspace / "refined", ids))
    scoring = ("--image_list", "list.txt", "--multi_contour_eval", "--multi_iou_eval", "--bootstrap", "0")
    run("evaluation.py", "--scoremap_root", "refined", *scoring, "--curve", "one.csv", cwd=workspace)
    other = ("--scoremap_root", "plain", *scoring, "--curve", "two.csv", *refine)
    assert f"plain, refined by {refiner}" in run("evaluation.py", *other, cwd=workspace)
    assert (workspace / "one.csv").read_text() == (workspace / "two.csv").read_text()


def test_refined_maps_are_compared_with_those_as_they_were(workspace, ids, checkpoint):
    words = ("--checkpoint", checkpoint, "--image_list", "list.txt", "--workers", "0")
    run("inference.py", *words, "--scoremap_root", "plain", cwd=workspace)
    words = ("--scoremap_root", "plain", "--image_list", "list.txt", "--refine", "grabcut", "--compare", "plain")
    run(
        "evaluation.py",
        *words,
        "--multi_contour_eval",
        "--multi_iou_eval",
        "--json",
        "r.json",
        "--workers",
        "1",
        cwd=workspace,
    )
    plain = ("--scoremap_root", "plain", "--image_list", "list.txt", "--multi_contour_eval", "--multi_iou_eval")
    run("evaluation.py", *plain, "--json", "p.json", cwd=workspace)
    refined, before = (json.loads((workspace / name).read_text()) for name in ("r.json", "p.json"))
    difference = refined["MaxBoxAccV2"] - before["MaxBoxAccV2"]
    assert refined["compare"]["MaxBoxAccV2"]["difference"] == pytest.approx(difference)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--center", "--refine", "grabcut"), "--refine grabcut: expected not together with --center"),
        (("--refine", "proposals"), "--refine proposals: expected --proposals FILE with it"),
        (("--coco_images", "x"), "--coco_images x: expected --proposals FILE or --boxes FILE with it"),
        (("--refine", "grabcut", "--data_root", "nowhere"), "nowhere/Toy: 1 of 1 images of val are missing"),
    ],
)
def test_maps_that_cannot_be_refined_are_refused(workspace, ids, words, message):
    save_score_map(workspace / "maps", ids[0], np.zeros((8, 8)))
    (workspace / "one.txt").write_text(f"{ids[0]}\n")
    scoring = ("--scoremap_root", "maps", "--image_list", "one.txt")
    assert message in run("evaluation.py", *scoring, *words, cwd=workspace, code=2)


def test_boxes_on_photos_from_refined_maps_need_a_threshold_of_their_own(workspace, ids, checkpoint):
    words = ("--checkpoint", checkpoint, "--images", f"dataset/Toy/{ids[0]}", "--maps", "--workers", "0")
    printed = run("inference.py", *words, "--output", "o", "--refine", "grabcut", cwd=workspace, code=2)
    assert "--threshold none" in printed
    for name, refine in (("plain", ()), ("refined", ("--refine", "grabcut"))):
        run("inference.py", *words, "--output", name, "--threshold", "0.5", *refine, cwd=workspace)
    plain, refined = (next((workspace / name / "maps").rglob("*.npy")) for name in ("plain", "refined"))
    difference = np.load(refined) - np.load(plain) / 2  # zero outside the segment, one half inside it
    assert set(np.unique(difference.round(9))) == {0, 0.5}
