"""Every method on every architecture: trains, evaluates, and comes back from its checkpoint, on a few images of Toy."""

import json
import math
import sys

import pytest
import torch

import main
from wsol import build_from_config, build_model, registry
from wsol.checkpoints import read_checkpoint

SMALL = "--num_train_sample_per_class 3 --num_val_sample_per_class 1 --epochs 1 --batch_size 4 --lr 0.001 --workers 0"
COMBINATIONS = [(a, m, "order") for a in ("resnet50", "vgg16", "inception_v3") for m in registry.METHODS]


@pytest.fixture(autouse=True)
def deterministic_algorithms_off_again():
    """main.py turns them on for its process, which is here the tests'."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "method", "level"), [*COMBINATIONS, ("resnet50", "cam", "family")])
def test_a_combination_trains_and_evaluates(architecture, method, level, workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    chosen = f"--architecture {architecture} --wsol_method {method} --label_level {level} --resize_size 72 --crop_size 64"
    output = "--eval_test f --save_scoremaps none --experiment_name run --pretrained f"
    monkeypatch.setattr(sys, "argv", ["main.py", *f"{SMALL} {chosen} {output}".split()])
    main.main()
    folder = workspace / "train_log" / "run"
    train = [line for line in map(json.loads, (folder / "metrics.jsonl").open()) if line["split"] == "train"]
    assert len(train) == 1 and math.isfinite(train[0]["loss"])
    val = json.loads((folder / "results.json").read_text())["val"]
    assert 0 <= val["MaxBoxAccV2"] <= 100 and 0 < val["PxAP"] < 100
    checkpoint = read_checkpoint(folder / "last_checkpoint.pth.tar")
    model = build_from_config(checkpoint["config"], len(checkpoint["class_names"]))
    model.load_state_dict(checkpoint["state_dict"])
    maps = model.eval().score_maps(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    assert maps.shape == (2, 8, 8)  # Toy's preset asks for the large map
    assert bool(torch.isfinite(maps).all())


@pytest.mark.slow
@pytest.mark.parametrize("method", list(registry.METHODS))
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
    names = {name: name.removeprefix("backbone.").replace("classifier.", "fc.") for name in theirs}
    torch.save({"epoch": 9, "state_dict": {names[name]: value for name, value in theirs.items()}}, "theirs.pth.tar")
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
