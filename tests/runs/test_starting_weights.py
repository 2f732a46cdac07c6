"""What a run starts from, and that the log says so."""

import numpy as np
import pytest
import torch
import torchvision
import yaml

from config import get_config, read_config, write_config
from conftest import SMALL, run
from option_tables import training_groups
from wsol import build_model
from wsol.core.errors import InputError
from wsol.core.options import by_name
from wsol.data.levels import LevelData
from wsol.runs import starting_weights
from wsol.runs.checkpoints import read_checkpoint, write_checkpoint
from wsol.runs.starting_weights import original_keeps_classifier, start_model
from wsol.sweeps.states import check_options

TINY = "timm:test_efficientnet"
SYNSETS = [f"n{number:08d}" for number in range(1000)]


def imagenet(**changes):
    values = {"level": "finest", "levels": ["finest", "c0"], "class_names": SYNSETS, "file_labels": list(range(1000))}
    return LevelData(**{**values, **changes}, splits={})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """torchvision's file of ResNet-50, and the same without its classifier."""
    folder = tmp_path_factory.mktemp("weights")
    state = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(state, folder / "whole.pth")
    torch.save({name: value for name, value in state.items() if not name.startswith("fc.")}, folder / "body.pth")
    return folder, state["fc.weight"]


def config_of(path, *words):
    return get_config(["--dataset_name", "ILSVRC", "--architecture", "resnet50", "--pretrained_path", str(path), *words])[0]


def test_ilsvrc_with_resnet50_starts_from_imagenets_own_classifier_as_the_original_does(whole):
    folder, classifier = whole
    model, notes = start_model(config_of(folder / "whole.pth"), imagenet())
    assert torch.equal(model.classifier.weight, classifier)
    assert "their own classifier is kept, as in the original code on ILSVRC" in notes[0]
    model, notes = start_model(config_of(folder / "whole.pth", "--keep_classifier", "F"), imagenet())
    assert not torch.equal(model.classifier.weight, classifier)
    assert notes == [f"weights: {folder}/whole.pth; the classifier is initialised randomly"]
    model, notes = start_model(config_of(folder / "body.pth"), imagenet())
    assert notes == [
        f"weights: {folder}/body.pth; the classifier is initialised randomly, since the file has none for 1000 classes"
    ]
    with pytest.raises(InputError, match=r"^keep_classifier TRUE"):
        start_model(config_of(folder / "body.pth", "--keep_classifier"), imagenet())


@pytest.mark.parametrize(
    ("words", "data", "expected"),
    [
        *((("--wsol_method", method), {}, True) for method in ("cam", "has", "adl", "cutmix")),
        *((("--wsol_method", method), {}, False) for method in ("acol", "spg")),
        (("--dataset_name", "CUB"), {}, False),
        (("--pretrained", "F"), {}, False),
        ((), {"level": "c0"}, False),
        ((), {"file_labels": list(range(1, 1001))}, False),
        ((), {"class_names": SYNSETS[::-1]}, False),
        ((), {"class_names": SYNSETS[:999], "file_labels": list(range(999))}, False),
        ((), {"class_names": [f"class {number}" for number in range(1000)]}, True),
    ],
)
def test_the_rule_of_the_original(words, data, expected):
    config, _ = get_config(["--dataset_name", "ILSVRC", "--architecture", "resnet50", *words])
    small = build_model(TINY, config.wsol_method, 1000)  # what counts of the model is its classifier
    assert original_keeps_classifier(config, imagenet(**data), small) == expected


def test_vgg16_never_takes_the_classifier():
    config, _ = get_config(["--dataset_name", "ILSVRC", "--architecture", "vgg16"])
    assert not original_keeps_classifier(config, imagenet(), build_model(TINY, "cam", 1000))


@pytest.mark.parametrize("words", [(), ("--keep_classifier",), ("--keep_classifier", "f"), ("--keep_classifier", "auto")])
def test_keep_classifier_goes_through_yaml(tmp_path, words):
    config, _ = get_config(["--dataset_name", "CUB", *words])  # Toy's preset has no weights, so no classifier of theirs
    write_config(config, tmp_path / "config.yaml")
    expected = {(): "auto", ("--keep_classifier",): True}.get(words, False if "f" in words else "auto")
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["keep_classifier"] == expected == config.keep_classifier
    assert get_config(["--config", str(tmp_path / "config.yaml")])[0].keep_classifier == expected
    with pytest.raises(InputError, match="keep_classifier"):
        get_config(["--keep_classifier", "maybe"])


@pytest.fixture(scope="module")
def run_of_acol(toy_root):
    """A tiny run of ACoL at level order, which has branches besides its backbone."""
    words = (*SMALL, "--architecture", TINY, "--large_feature_map", "F", "--label_level", "order", "--eval_test", "F")
    run("main.py", *words, "--wsol_method", "acol", "--save_scoremaps", "none", "--experiment_name", "acol", cwd=toy_root)
    return toy_root / "train_log/acol/last_checkpoint.pth.tar"


def again(path, *words):
    options = ("--architecture", TINY, "--large_feature_map", "F", "--wsol_method", "acol", "--pretrained", "T")
    return get_config([*options, "--pretrained_path", str(path), *words])[0]


def toy(**changes):
    values = {"level": "order", "levels": ["species", "order"], "class_names": ["round", "angular"], "file_labels": [0, 1]}
    return LevelData(**{**values, **changes}, splits={})


def test_ones_own_checkpoint_is_taken_whole_where_classes_and_method_are_the_same(run_of_acol):
    state = read_checkpoint(run_of_acol)["state_dict"]
    model, notes = start_model(again(run_of_acol), toy())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert notes == [f"weights: all of {run_of_acol} (epoch 1), including its classifier, for the same classes"]
    changed = {"keep_classifier is FALSE": (("--keep_classifier", "F"), {}), "its 2 classes are not this run's 3": ((), 3)}
    changed["its wsol_method is acol, this run's is cam"] = (("--wsol_method", "cam"), {})
    changed["its 2 classes are not this run's 2"] = ((), {"class_names": ["angular", "round"]})
    for reason, (words, data) in changed.items():
        names = [str(number) for number in range(3)]
        data = {"class_names": names, "file_labels": [0, 1, 2]} if data == 3 else data
        model, notes = start_model(again(run_of_acol, *words), toy(**data))
        assert f"the backbone of {run_of_acol}; the classifier is initialised randomly: {reason}" in notes[0]
        own = model.state_dict()
        body = [name for name in own if name.startswith("backbone.") and not name.endswith("num_batches_tracked")]
        assert all(torch.equal(own[name], state[name]) for name in body)
        assert not any(
            torch.equal(v, state[name]) for name, v in own.items() if name in state and v.ndim > 1 and name not in body
        )
    with pytest.raises(InputError, match=r"^keep_classifier TRUE: .*: its wsol_method is acol"):
        start_model(again(run_of_acol, "--wsol_method", "cam", "--keep_classifier"), toy())
    with pytest.raises(InputError, match="does not match the architecture"):
        start_model(again(run_of_acol, "--architecture", "timm:test_resnet"), toy())


def test_classes_without_names_are_the_same_only_in_the_same_data_set(run_of_acol, tmp_path):
    names = {"class_names": ["0", "1"]}
    write_checkpoint(tmp_path / "c.pth.tar", read_checkpoint(run_of_acol) | names)
    assert "all of" in start_model(again(tmp_path / "c.pth.tar"), toy(**names))[1][0]
    other = again(tmp_path / "c.pth.tar", "--dataset_name", "Birds", "--architecture", TINY, "--large_feature_map", "F")
    assert "its classes have no names and belong to Toy" in start_model(other, toy(**names))[1][0]


def test_a_diverged_checkpoint_is_no_start(run_of_acol, tmp_path):
    checkpoint = read_checkpoint(run_of_acol)
    checkpoint["state_dict"]["branch_a.0.weight"] *= np.nan
    write_checkpoint(tmp_path / "nan.pth.tar", checkpoint)
    with pytest.raises(InputError, match=r"nan.pth.tar: branch_a.0.weight holds NaN or infinity"):
        start_model(again(tmp_path / "nan.pth.tar"), toy())


def test_going_on_from_a_run_starts_where_it_ended(run_of_acol, toy_root):
    words = (*SMALL[2:], "--epochs", "0", "--architecture", TINY, "--large_feature_map", "F", "--label_level", "order")
    words = (*words, "--wsol_method", "acol", "--eval_test", "F", "--save_scoremaps", "none", "--experiment_name", "on")
    printed = run("main.py", *words, "--pretrained", "T", "--pretrained_path", run_of_acol, cwd=toy_root)
    assert f"weights: all of {run_of_acol} (epoch 1)" in printed
    before, after = ((toy_root / f"train_log/{name}/metrics.jsonl").read_text().splitlines() for name in ("acol", "on"))
    assert before[-1].replace('"epoch": 1', '"epoch": 0') == after[0]


def test_a_run_from_random_or_imagenets_weights_says_so(monkeypatch):
    config, _ = get_config([])
    monkeypatch.setattr(starting_weights, "build_from_config", lambda *_, **__: torch.nn.Linear(1, 1))
    assert start_model(config, toy())[1] == ["weights: random"]
    config, _ = get_config(["--pretrained", "T"])
    assert start_model(config, toy())[1] == ["weights: ImageNet's of resnet18; the classifier is initialised randomly"]


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ((), True),
        (("--dataset_name", "CUB"), True),
        (("--dataset_name", "ILSVRC", "--architecture", "vgg16"), True),
        (("--dataset_name", "ILSVRC", "--pretrained", "F"), True),
        (("--dataset_name", "ILSVRC", "--wsol_method", "acol"), True),
        (("--dataset_name", "ILSVRC"), False),
        (("--dataset_name", "ILSVRC", "--wsol_method", "adl"), False),
        (("--pretrained", "T", "--pretrained_path", "weights.pth"), True),
        (("--pretrained", "T", "--pretrained_path", "run"), False),
    ],
)
def test_a_finished_run_of_when_false_was_the_default_is_reused_where_auto_is_the_same(words, same, run_of_acol, tmp_path):
    torch.save({"fc.bias": torch.zeros(2)}, tmp_path / "weights.pth")
    files = {"weights.pth": str(tmp_path / "weights.pth"), "run": str(run_of_acol)}
    config, _ = get_config([files.get(word, word) for word in words])
    write_config({**config, "keep_classifier": False}, tmp_path / "config.yaml")
    saved = read_config(tmp_path / "config.yaml")
    defaults = {name: option.initial for name, option in by_name(training_groups()).items()}
    if same:
        check_options(tmp_path, config, saved, defaults)
    else:
        with pytest.raises(InputError, match=r"other options \(keep_classifier was False, now auto\)"):
            check_options(tmp_path, config, saved, defaults)
    with pytest.raises(InputError, match=r"keep_classifier was False, now .*lr was|lr was .*keep_classifier was False"):
        check_options(tmp_path, {**config, "lr": 0.5}, saved, defaults)
