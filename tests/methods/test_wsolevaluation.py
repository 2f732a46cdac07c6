"""Checkpoints of wsolevaluation: names that map to ours, and those that do not."""

import pytest
import torch

from samples import named_as_in_wsolevaluation
from wsol import build_model, load_wsolevaluation_state_dict
from wsol.core.errors import InputError


@pytest.mark.parametrize("content", [None, [], {"state_dict": None}, {"fc.weight": 3}, {"state_dict": {3: torch.zeros(2)}}])
def test_what_is_no_state_dict_is_refused(content):
    with pytest.raises(InputError, match="a mapping of names to tensors"):
        load_wsolevaluation_state_dict(build_model("resnet18", "cam", 3), content)


def test_two_entries_for_one_of_ours_are_refused():
    model = build_model("resnet18", "cam", 3)
    state = named_as_in_wsolevaluation(model.state_dict())
    load_wsolevaluation_state_dict(model, state)
    with pytest.raises(InputError, match=r"two entries are the same one of .*: fc\.weight and SPG_A4\.weight"):
        load_wsolevaluation_state_dict(model, {**state, "SPG_A4.weight": state["fc.weight"] + 1})
    with pytest.raises(InputError, match=r"two entries are named fc\.weight"):
        load_wsolevaluation_state_dict(model, {**state, "module.fc.weight": state["fc.weight"] + 1})


def test_convolutions_that_a_vgg16_lacks_are_named_by_its_own_numbers():
    model = build_model("vgg16", "cam", 3)
    named = named_as_in_wsolevaluation(model.state_dict())
    state = {name.replace("extra.0", "conv6"): value for name, value in named.items()}
    load_wsolevaluation_state_dict(model, state)
    kept = {name: value for name, value in state.items() if not name.startswith("features.5.")}
    with pytest.raises(InputError, match=r"it has 12 of 13 numbered convolutions: features\.0, features\.2, features\.7,"):
        load_wsolevaluation_state_dict(model, kept)
