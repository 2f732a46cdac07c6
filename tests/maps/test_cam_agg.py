"""CAM-Agg: mean maps of the classes that share an ancestor, from the model to the command line."""

import json
import shutil

import numpy as np
import pytest
import torch

from conftest import SMALL, run
from wsol import build_model
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.levels import LevelSplit, class_ancestors
from wsol.maps.cam_agg import AggregatedMaps, aggregate, ancestors_at, keep_with_ancestor
from wsol.runs.predictor import restore

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 4])
ANCESTORS = np.array([7, 7, 3, 9, 3])  # classes 0 and 1, 2 and 4, 3 alone


@pytest.mark.parametrize("architecture", ["resnet18", "inception_v3"])
@pytest.mark.parametrize("method", ["cam", "acol", "spg"])
def test_the_map_is_the_mean_of_the_maps_of_all_classes_with_the_ancestor(architecture, method):
    torch.manual_seed(0)
    model = build_model(architecture, method, 5, large_feature_map=True).eval()
    with torch.no_grad():
        outputs = model(IMAGES, LABELS)
        got = aggregate(model, ANCESTORS).raw_maps(outputs, LABELS)
        of_class = [model.raw_maps(outputs, torch.full((3,), label)) for label in range(5)]
    for i, members in enumerate(([0, 1], [2, 4], [2, 4])):
        torch.testing.assert_close(got[i], torch.stack([of_class[k][i] for k in members]).mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["cam", "acol", "spg"])
def test_the_finest_level_gives_the_plain_maps_exactly(method):
    model = build_model("resnet18", method, 5).eval()
    mapper = aggregate(model, np.array([4, 2, 0, 1, 3]))
    with torch.no_grad():
        assert torch.equal(mapper.raw_maps(mapper(IMAGES, LABELS), LABELS), model.score_maps(IMAGES, LABELS))


def test_ancestors_of_toy(toy_root):
    known = class_ancestors(toy_root / "metadata", "Toy", "species", "order")
    assert sorted(known) == list(range(16)) and set(known.values()) == {0, 1}
    for image_id, label in (line.rsplit(",", 1) for line in (toy_root / "metadata/Toy/val/class_labels.txt").open()):
        order = dict(line.strip().rsplit(",", 1) for line in (toy_root / "metadata/Toy/val/class_labels_order.txt").open())
        assert known[int(label)] == int(order[image_id])
    assert ancestors_at(toy_root / "metadata", "Toy", "species", "species", [5, 3]).tolist() == [5, 3]
    with pytest.raises(InputError, match=r"^cam_agg_level genus: expected one of family, order \(family or coarser\)"):
        class_ancestors(toy_root / "metadata", "Toy", "family", "genus")
    with pytest.raises(InputError, match=r"^cam_agg_level kingdom: expected one of species, genus, family, order"):
        class_ancestors(toy_root / "metadata", "Toy", "species", "kingdom")


def test_images_without_an_ancestor_are_left_out():
    split = LevelSplit(["a", "b", "c"], np.array([0, 1, 0]))
    assert keep_with_ancestor(split, np.array([4, -1])) == 1
    assert (split.image_ids, split.labels.tolist(), split.subset) == (["a", "c"], [0, 0], True)
    with pytest.raises(InputError, match="no image of a split"):
        keep_with_ancestor(split, np.array([-1, 4]))


@pytest.mark.slow
def test_one_checkpoint_maps_at_every_level(workspace):
    """main.py and inference.py give the same maps of one checkpoint; at the finest level they are the plain ones."""
    train = (*SMALL, "--save_scoremaps", "val")
    run("main.py", *train, "--experiment_name", "order", "--cam_agg_level", "order", cwd=workspace)
    run("main.py", *train, "--experiment_name", "plain", cwd=workspace)
    folder = workspace / "train_log"
    agg, plain = (json.loads((folder / name / "results.json").read_text()) for name in ("order", "plain"))
    assert (agg["label_level"], agg["cam_agg_level"], plain["cam_agg_level"]) == ("species", "order", None)
    assert agg["val"]["top1_cls"] == plain["val"]["top1_cls"]  # the same classifier
    assert agg["val"]["MaxBoxAcc"] != plain["val"]["MaxBoxAcc"]
    ids = [line.strip() for line in (folder / "order" / "val_image_ids.txt").open()]
    for level, name in (("order", "order"), ("species", "plain")):
        options = ("--checkpoint", folder / "plain" / "last_checkpoint.pth.tar", "--workers", "0", "--split", "val")
        run("inference.py", *options, "--cam_agg_level", level, "--scoremap_root", f"maps_{level}", cwd=workspace)
        for image_id in ids:
            got = np.load(workspace / f"maps_{level}" / f"{image_id}.npy")
            np.testing.assert_allclose(got, np.load(folder / name / "scoremaps" / f"{image_id}.npy"), atol=1e-9)
    options = ("--checkpoint", folder / "order" / "last_checkpoint.pth.tar", "--workers", "0", "--split", "val")
    for level, name in (((), "order"), (("--cam_agg_level", "species"), "plain")):  # not given: that of the run itself
        printed = run("inference.py", *options, *level, "--scoremap_root", f"again_{name}", cwd=workspace)
        assert f"maps of level {'species' if level else 'order'!r} (--cam_agg_level)" in printed
        for image_id in ids:
            got = np.load(workspace / f"again_{name}" / f"{image_id}.npy")
            np.testing.assert_allclose(got, np.load(folder / name / "scoremaps" / f"{image_id}.npy"), atol=1e-9)
    # The run's own level is of its method's maps: another extractor still maps that checkpoint, at the classes trained on.
    printed = run("inference.py", *options, "--extractor", "gradcam", "--scoremap_root", "gradcam", cwd=workspace)
    assert "(--cam_agg_level)" not in printed
    printed = run("main.py", *train, "--label_level", "family", "--cam_agg_level", "genus", cwd=workspace, code=2)
    assert "--cam_agg_level genus: expected one of family, order" in printed


def test_a_checkpoint_maps_at_its_coarser_level_without_any_metadata(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    words = ("--label_level", "genus", "--cam_agg_level", "order", "--save_scoremaps", "none", "--experiment_name", "agg")
    run("main.py", *SMALL, *words, "--eval_test", "F", cwd=workspace)
    path = workspace / "train_log/agg/last_checkpoint.pth.tar"
    saved = torch.load(path, weights_only=True)
    expected = ancestors_at(workspace / "metadata", "Toy", "genus", "order", saved["file_labels"])
    assert saved["ancestors"] == {"order": expected.tolist()}
    (workspace / "metadata").unlink()
    predictor = restore(path)
    assert predictor.cam_agg_level == "order" and len(set(predictor.ancestors.tolist())) == 2
    assert isinstance(predictor.mapper, AggregatedMaps)
    assert predictor.mapper(torch.zeros(1, 3, 64, 64), torch.tensor([0]))["logits"].shape == (1, 8)
    with pytest.raises(InputError, match="cam_agg_level family: expected one of finest"):
        restore(path, cam_agg_level="family")


def test_a_list_may_name_images_that_the_level_of_the_maps_leaves_out(workspace):
    run(
        "main.py",
        *SMALL,
        "--label_level",
        "species",
        "--epochs",
        "0",
        "--save_scoremaps",
        "none",
        "--eval_test",
        "F",
        cwd=workspace,
    )
    shutil.copytree(workspace / "metadata", workspace / "partial")
    first = (workspace / "partial/Toy/val/class_labels.txt").read_text().splitlines()
    species = first[0].rsplit(",", 1)[1]
    gone = {line.rsplit(",", 1)[0] for line in first if line.rsplit(",", 1)[1] == species}
    for split in ("train", "val", "test"):
        labels = dict(
            line.rsplit(",", 1) for line in (workspace / f"partial/Toy/{split}/class_labels.txt").read_text().splitlines()
        )
        path = workspace / f"partial/Toy/{split}/class_labels_genus.txt"
        kept = [line for line in path.read_text().splitlines() if labels[line.rsplit(",", 1)[0]] != species]
        write_text(path, "\n".join(kept) + "\n")
    others = [line.rsplit(",", 1)[0] for line in first if line.rsplit(",", 1)[0] not in gone]
    write_text(workspace / "list.txt", "\n".join([*sorted(gone)[:3], *others[:3]]) + "\n")
    words = ("--checkpoint", "train_log/test_case/last_checkpoint.pth.tar", "--metadata_root", "partial", "--workers", "0")
    words += ("--cam_agg_level", "genus", "--image_list", "list.txt", "--scoremap_root", "some")
    assert "3 score maps of Toy val" in run("inference.py", *words, cwd=workspace)
