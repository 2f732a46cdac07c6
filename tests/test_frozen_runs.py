"""Whole runs on a frozen network: the options, their refusals, and kept features that change no figure."""

import re

import pytest
import timm
import torch
import yaml

from config import get_config
from conftest import CHECKOUT, SMALL, TINY, run
from wsol import Localizer, build_model, restore
from wsol.core.errors import OptionError
from wsol.runs.checkpoints import read_checkpoint

FROZEN = ("--freeze_backbone", "T", "--resize_size", "64", "--crop_size", "64", "--save_scoremaps", "none", "--seed", "3")
DOCS = (CHECKOUT / "docs" / "frozen.md").read_text(encoding="utf-8")


def results_of(workspace, name):
    return (workspace / "train_log" / name / "results.json").read_bytes()


@pytest.mark.parametrize(
    "words", [("cam",), ("tri_region",), ("cam", "--label_level", "species,order")], ids=["cam", "tri_region", "two levels"]
)
def test_kept_features_change_no_figure(workspace, words):
    options = (*TINY, *FROZEN, *SMALL, "--epochs", "2", "--wsol_method", *words)
    run("main.py", *options, "--experiment_name", "plain", cwd=workspace)
    kept = ("--cache_features", workspace / "features")
    run("main.py", *options, *kept, "--experiment_name", "cold", cwd=workspace)
    run("main.py", *options, *kept, "--workers", "1", "--experiment_name", "warm", cwd=workspace)
    plain = results_of(workspace, "plain")
    assert results_of(workspace, "cold") == plain and results_of(workspace, "warm") == plain
    metrics = [(workspace / "train_log" / name / "metrics.jsonl").read_bytes() for name in ("plain", "cold", "warm")]
    assert metrics[0] == metrics[1] == metrics[2]
    first, last = (read_checkpoint(workspace / f"train_log/{name}/last_checkpoint.pth.tar") for name in ("plain", "warm"))
    assert all(torch.equal(value, last["state_dict"][key]) for key, value in first["state_dict"].items())


def test_a_run_states_what_it_trained_and_how_it_prepared_images_and_is_restored_so(workspace):
    network = ("--architecture", "timm:test_vit", "--large_feature_map", "F", "--label_level", "order", "--workers", "0")
    options = (*network, *FROZEN, *SMALL, "--epochs", "1", "--wsol_method", "tri_region", "--experiment_name", "vit")
    run("main.py", *options, cwd=workspace)
    folder = workspace / "train_log" / "vit"
    assert yaml.safe_load((folder / "config.yaml").read_text())["preprocessing"] == "network"
    trained, every = re.search(r"([\d,]+) of ([\d,]+) parameters are trained", (folder / "log.txt").read_text()).groups()
    # Three maps without bias, a batch norm of three, and two classifiers of two orders, on 64 features.
    assert int(trained) == 3 * 64 + 2 * 2 * 65 and int(every.replace(",", "")) > 100_000
    predictor = restore(folder / "last_checkpoint.pth.tar")
    assert predictor.preprocessing.mean == (0.5, 0.5, 0.5) and predictor.model.backbone.is_frozen
    assert Localizer.load(folder / "last_checkpoint.pth.tar").predictor.preprocessing == predictor.preprocessing
    content = read_checkpoint(folder / "last_checkpoint.pth.tar")
    del content["config"]["preprocessing"], content["config"]["freeze_backbone"], content["config"]["train_last_blocks"]
    torch.save(content, folder / "older.pth.tar")
    older = restore(folder / "older.pth.tar")
    assert older.preprocessing.mean == (0.485, 0.456, 0.406) and not older.model.backbone.is_fixed


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ((), "imagenet"),
        (("--preprocessing", "network"), "network"),
        (("--freeze_backbone", "T"), "network"),
        (("--train_last_blocks", "2"), "network"),
        (("--freeze_backbone", "T", "--preprocessing", "imagenet"), "imagenet"),
    ],
)
def test_preprocessing_is_resolved_once(words, chosen):
    assert get_config(words)[0].preprocessing == chosen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--freeze_backbone T --wsol_method adl", "acts inside the network"),
        ("--freeze_backbone T --train_last_blocks 1", "not together with"),
        ("--train_last_blocks 0", "1 or more"),
        ("--cache_features kept", "expected none without --freeze_backbone TRUE"),
        ("--cache_features kept --freeze_backbone T", "so that nothing is cropped at random"),
        ("--cache_features kept --freeze_backbone T --resize_size 64 --wsol_method has", "needs the images themselves"),
        ("--cache_features kept --freeze_backbone T --resize_size 64 --wsol_method cutmix", "needs the images themselves"),
        ("--cache_features kept --freeze_backbone T --resize_size 64 --wsol_method spg", "needs the images themselves"),
        ("--cache_features dataset/Toy/kept --freeze_backbone T --resize_size 64", "outside dataset/Toy"),
        ("--preprocessing clip", "imagenet"),
    ],
)
def test_what_cannot_work_is_refused(workspace, words, message):
    assert message in run("main.py", *words.split(), cwd=workspace, code=2)


def test_a_size_that_patches_do_not_divide_is_refused_with_both(workspace):
    words = ("--architecture", "timm:test_vit", "--large_feature_map", "F", "--crop_size", "60")
    printed = run("main.py", *words, cwd=workspace, code=2)
    assert "--crop_size 60" in printed and "patches of 16 x 16 pixels" in printed and "such as 48" in printed


def test_more_blocks_than_the_network_has_are_refused_with_their_number(workspace):
    assert "the network has" in run("main.py", *TINY, "--train_last_blocks", "99", cwd=workspace, code=2)


NAMED = sorted(set(re.findall(r"`timm:([\w.]+)`", DOCS)) - {"NAME"})


def test_the_page_names_networks_of_every_family():
    assert len(NAMED) >= 6 and all(timm.is_model(name) for name in NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_the_weights_that_the_page_names_exist_up_to_their_download(name, monkeypatch):
    """The network is made without memory, and its weights are asked for where timm's own table says they are."""
    asked = []
    created = timm.create_model

    def create(name, pretrained=False, **options):
        if pretrained:
            asked.append(name)
            raise OSError("no network")
        with torch.device("cpu"):
            return created(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create)
    config = timm.get_pretrained_cfg(name)
    assert config.has_weights and (config.hf_hub_id or config.url)
    with pytest.raises(OptionError, match="could not be fetched") as refusal:
        build_model(f"timm:{name}", "tri_region", 3, pretrained=True, freeze_backbone=True)
    assert asked == [name] and "pretrained_path" in str(refusal.value)
