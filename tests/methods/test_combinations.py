"""Every method on every architecture: trains, evaluates, and comes back from its checkpoint, on a few real photos.

Where those are not at hand, every method on Toy.
"""

import json
import math
import shutil
import sys

import numpy as np
import pytest
import torch

import main
from config import get_config
from conftest import own_process, run
from samples import OF_LABELS, named_as_in_wsolevaluation
from wsol import build_from_config, build_model
from wsol.core.errors import OptionError
from wsol.networks import weights
from wsol.runs.checkpoints import read_checkpoint

SMALL = "--num_train_sample_per_class 3 --num_val_sample_per_class 1 --epochs 1 --batch_size 4 --lr 0.001 --workers 0"
COMBINATIONS = [(a, m, "breed") for a in ("resnet50", "vgg16", "inception_v3") for m in OF_LABELS]


@pytest.fixture(autouse=True)
def _own_process():
    """main.py is called here without `run`."""
    with own_process():
        yield


@pytest.fixture(scope="module")
def pets_root(shared, tmp_path_factory):
    """A folder with dataset/OxfordPet and metadata/OxfordPet: photos of three breeds, two species."""
    root = tmp_path_factory.mktemp("pets")
    run("dataset/prepare.py", "OxfordPet", "--archive", shared / "data/oxford-iiit-pet-mini", cwd=root)
    return root


@pytest.fixture
def pets(pets_root, tmp_path):
    """A folder to run commands in, with the photos prepared; the checkpoints, of some 100 MB each, do not stay."""
    for name in ("dataset", "metadata"):
        (tmp_path / name).symlink_to(pets_root / name)
    yield tmp_path
    shutil.rmtree(tmp_path / "train_log", ignore_errors=True)


def train_and_evaluate(folder, monkeypatch, chosen):
    """Run one step of training and the evaluation before and after it; check what comes out, and the checkpoint's maps."""
    monkeypatch.chdir(folder)
    sizes = "--large_feature_map t --resize_size 72 --crop_size 64"
    output = "--eval_test f --save_scoremaps val --experiment_name run --pretrained f"
    monkeypatch.setattr(sys, "argv", ["main.py", *f"{SMALL} {sizes} {chosen} {output}".split()])
    main.main()
    log = folder / "train_log" / "run"
    train = [line for line in map(json.loads, (log / "metrics.jsonl").open()) if line["split"] == "train"]
    assert len(train) == 1 and math.isfinite(train[0]["loss"])
    val = json.loads((log / "results.json").read_text())["val"]
    assert 0 <= val["MaxBoxAccV2"] <= 100 and 0 < val["PxAP"] < 100
    maps = [np.load(path) for path in sorted((log / "scoremaps").rglob("*.npy"))]
    assert len(maps) == val["counts"]["images"] and all(one.shape == (64, 64) for one in maps)
    assert any(one.min() == 0 and one.max() == 1 for one in maps)  # not all constant
    checkpoint = read_checkpoint(log / "last_checkpoint.pth.tar")
    model = build_from_config(checkpoint["config"], len(checkpoint["class_names"]))
    model.load_state_dict(checkpoint["state_dict"])
    maps = model.eval().score_maps(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    assert maps.shape == (2, 8, 8)
    assert bool(torch.isfinite(maps).all())


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "method", "level"), [*COMBINATIONS, ("resnet50", "cam", "species")])
def test_a_combination_trains_and_evaluates_on_photos(architecture, method, level, pets, monkeypatch):
    chosen = f"--dataset_name OxfordPet --architecture {architecture} --wsol_method {method} --label_level {level}"
    train_and_evaluate(pets, monkeypatch, f"{chosen} --batch_size 6")


@pytest.mark.slow
@pytest.mark.parametrize("method", OF_LABELS)
def test_a_method_trains_and_evaluates_without_reference_data(method, workspace, monkeypatch):
    train_and_evaluate(workspace, monkeypatch, f"--architecture resnet18 --wsol_method {method} --label_level order")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fsl_seg", "fsl_det"])
@pytest.mark.parametrize("architecture", ["resnet50", "vgg16", "inception_v3", "timm:vit_tiny_patch16_224"])
def test_full_supervision_trains_and_evaluates_on_photos(architecture, method, pets, monkeypatch):
    monkeypatch.chdir(pets)
    sizes = f"--large_feature_map {'f' if 'vit' in architecture else 't'} --resize_size 72 --crop_size 64"
    options = f"{sizes} --num_val_sample_per_class 3 --epochs 1 --batch_size 4 --lr 0.001 --workers 0 --pretrained f"
    output = "--dataset_name OxfordPet --eval_test f --experiment_name run"
    words = f"main.py {options} {output} --architecture {architecture} --wsol_method {method}"
    monkeypatch.setattr(sys, "argv", words.split())
    main.main()
    results = json.loads((pets / "train_log" / "run" / "results.json").read_text())
    assert results["fullsup_images"] == {"train": 6, "val": 3} and 0 <= results["val"]["MaxBoxAccV2"] <= 100


@pytest.mark.slow
@pytest.mark.parametrize("method", OF_LABELS)
@pytest.mark.parametrize("architecture", ["timm:tf_efficientnet_lite0", "timm:vit_tiny_patch16_224"])
def test_a_timm_network_takes_a_step_with_every_method(architecture, method):
    torch.manual_seed(0)
    model = build_from_config(
        {"architecture": architecture, "wsol_method": method, "large_feature_map": False}, num_classes=3
    ).train()
    images, labels = torch.randn(2, 3, 96, 96), torch.tensor([0, 2])
    optimizer = torch.optim.SGD(model.parameter_groups(0.01, 10))
    _, loss = model.training_step(images, labels)
    loss.backward()
    optimizer.step()
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if "backbone" not in name}
    assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in grads.values())
    side = 3 if "efficientnet" in architecture else 6
    assert model.eval().score_maps(images, labels).shape == (2, side, side)


@pytest.mark.slow
def test_a_checkpoint_of_wsolevaluation_is_evaluated(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    torch.manual_seed(5)
    theirs = build_model("resnet18", "cam", 2, large_feature_map=True).state_dict()
    torch.save({"epoch": 9, "state_dict": named_as_in_wsolevaluation(theirs)}, "theirs.pth.tar")
    options = f"{SMALL} --label_level order --eval_test f --save_scoremaps none --experiment_name run"
    arguments = ["main.py", *options.split(), "--wsolevaluation_checkpoint", "theirs.pth.tar", "--epochs", "0"]
    monkeypatch.setattr(sys, "argv", arguments)
    main.main()
    state = read_checkpoint(workspace / "train_log/run/last_checkpoint.pth.tar")["state_dict"]
    assert all(torch.equal(state[name], value) for name, value in theirs.items())
    monkeypatch.setattr(sys, "argv", [*arguments, "--wsol_method", "acol", "--experiment_name", "other"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2 and not (workspace / "train_log/other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["has", "adl", "cutmix"])
def test_random_draws_do_not_depend_on_the_number_of_workers(method, workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    for workers in (0, 2):
        options = f"{SMALL} --epochs 2 --workers {workers} --wsol_method {method} --label_level order --eval_test f"
        output = f"--save_scoremaps none --experiment_name {workers}"
        monkeypatch.setattr(sys, "argv", ["main.py", *f"{options} {output}".split()])
        main.main()
    first, second = (workspace / "train_log" / name / "metrics.jsonl" for name in ("0", "2"))
    assert first.read_bytes() == second.read_bytes()


def test_no_weights_are_fetched_where_a_checkpoint_of_wsolevaluation_fills_the_network(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    state = build_model("resnet18", "cam", 2).state_dict()
    torch.save(named_as_in_wsolevaluation(state), "theirs.pth")

    def fetch(*_):
        raise AssertionError("fetched")

    monkeypatch.setattr(weights, "download_into", fetch)
    arguments = f"{SMALL} --label_level order --eval_test f --experiment_name run --pretrained t --save_scoremaps val"
    config, _ = get_config([*arguments.split(), "--wsolevaluation_checkpoint", "theirs.pth"])
    assert config.pretrained
    model = main.build(config).model
    assert torch.equal(model.classifier.weight, state["classifier.weight"])
    for option in (["--pretrained_path", "theirs.pth"], ["--keep_classifier", "t"]):
        with pytest.raises(OptionError, match="expected not together with wsolevaluation_checkpoint") as caught:
            get_config([*arguments.split(), "--wsolevaluation_checkpoint", "theirs.pth", *option])
        assert f"--{caught.value.option}" == option[0]
