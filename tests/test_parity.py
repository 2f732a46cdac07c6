"""Every architecture with every method that changes the network, against what the original networks compute."""

import pytest
import torch

from scripts.parity import Reference, tolerance
from wsol import build_model, load_wsolevaluation_state_dict
from wsol.errors import InputError

CASES = [
    f"{architecture}_{method}_{side}"
    for architecture in ("resnet50", "vgg16", "inception_v3")
    for method in ("cam", "acol", "spg", "adl")
    for side in (14, 28)
]


@pytest.fixture(scope="module")
def reference(shared):
    return Reference(shared / "golden/model")


def test_the_cases_are_all_there_are(reference):
    assert sorted(CASES) == sorted(reference.cases)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_network_agrees_with_the_original(reference, case):
    errors = reference.errors(case)
    assert {"logits", "map", "loss"} <= set(errors)
    if not case.startswith("inception"):  # whose dropout makes train mode random
        assert ("train loss, drop rate 1" if "_adl_" in case else "gradient norm") in errors
    assert {name: error for name, error in errors.items() if not error < tolerance(name)} == {}


def test_a_checkpoint_of_another_kind_is_refused(reference):
    state = reference.state_dict("resnet50_cam_14")
    with pytest.raises(InputError, match=r"not a checkpoint of this architecture and method: \d+ entries are missing"):
        load_wsolevaluation_state_dict(build_model("resnet50", "acol", 10), state)
    with pytest.raises(InputError, match=r"another network or number of classes: fc.weight is \(10, 2048\); expected \(3, "):
        load_wsolevaluation_state_dict(build_model("resnet50", "cam", 3), state)


def test_a_whole_checkpoint_with_prefixes_is_taken(reference):
    state = reference.state_dict("resnet50_cam_14")
    model = build_model("resnet50", "cam", 10)
    load_wsolevaluation_state_dict(model, {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}})
    assert torch.equal(model.classifier.weight, state["fc.weight"])
    assert torch.equal(model.backbone.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])
