"""Models by name: what is refused, and when a pretrained classifier is kept."""

import pytest
import torch
import torchvision

from wsol import build_model
from wsol.core.errors import InputError


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("has", {"has_grid_size": -1}, "has_grid_size -1: expected a whole number, 0 or more"),
        ("has", {"has_drop_rate": 1.5}, "has_drop_rate 1.5: expected 0 to 1"),
        ("has", {"has_grid_size": 4.5}, "has_grid_size 4.5: expected a whole number, 0 or more"),
        ("has", {"has_drop_rate": None}, "has_drop_rate None: expected 0 to 1"),
        ("cutmix", {"cutmix_beta": float("inf")}, "cutmix_beta inf: expected 0 to 1e+06"),
        ("spg", {"spg_thresholds": ((0.7, 0.1), (0.5, 0.05))}, "expected three pairs (high, low)"),
        ("spg", {"spg_thresholds": ((0.7, 0.1), (0.5, 0.05), (0.7,))}, "expected three pairs (high, low)"),
        ("spg", {"spg_thresholds": (0.7, 0.5, 0.7)}, "expected three pairs (high, low)"),
        ("spg", {"spg_thresholds": None}, "expected three pairs (high, low)"),
        ("acol", {"acol_threshold": float("nan")}, "acol_threshold nan: expected 0 to 1"),
        ("adl", {"adl_drop_rate": -0.1}, "adl_drop_rate -0.1: expected 0 to 1"),
        ("cutmix", {"cutmix_beta": -1.0}, "cutmix_beta -1.0: expected 0 to"),
        ("spg", {"spg_thresholds": ((0.7, 0.8), (0.5, 0.05), (0.7, 0.1))}, "spg_threshold_1l 0.8: expected at most"),
        ("cam", {"no_such": 1}, "no_such: no method has this option"),
        ("fancy", {}, "wsol_method fancy: expected one of cam, has, acol, spg, adl, cutmix"),
    ],
)
def test_impossible_options_are_refused(method, options, message):
    with pytest.raises(InputError) as caught:
        build_model("resnet18", method, 3, **options)
    assert message in str(caught.value) and "--" not in str(caught.value)


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, None, True])
def test_an_impossible_number_of_classes_is_refused(num_classes):
    with pytest.raises(InputError, match=f"num_classes {num_classes}: expected a whole number, 1 or more"):
        build_model("resnet18", "cam", num_classes)


def test_options_of_other_methods_are_not_checked():
    model = build_model("resnet18", "cam", 3, adl_threshold=7.0, has_grid_size=-1)
    assert type(model).__name__ == "CAM"
    with pytest.raises(InputError, match="adl_threshold 7"):
        build_model("resnet18", "adl", 3, adl_threshold=7.0)


def test_the_weights_own_classifier_is_kept_where_asked(tmp_path):
    network = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    options = {"pretrained": True, "pretrained_path": str(tmp_path / "w.pth")}
    model = build_model("resnet18", "cam", 1000, keep_classifier=True, **options)
    assert torch.equal(model.classifier.weight, network.fc.weight)
    assert torch.equal(model.classifier.bias, network.fc.bias)
    assert not torch.equal(build_model("resnet18", "cam", 1000, **options).classifier.weight, network.fc.weight)
    for architecture, method, classes, weights in (
        ("resnet18", "cam", 999, options),
        ("resnet18", "acol", 1000, options),
        ("resnet18", "cam", 1000, {}),
        ("inception_v3", "cam", 1000, {}),
    ):
        with pytest.raises(InputError, match=r"^keep_classifier TRUE"):
            build_model(architecture, method, classes, keep_classifier=True, **weights)
