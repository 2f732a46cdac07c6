"""Checkpoints of wsolevaluation: their entries' names, mapped to our names.

In: one of their state dicts. Out: the same tensors in one of our models.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import cast

import torch

from wsol.core.errors import InputError
from wsol.core.safe_load import entries_fault, misfit
from wsol.methods.method import Method
from wsol.networks.weights import read_state_dict

# Their names of the layers that a method adds, with our names. inception_v3's 1x1 convolution has the name of SPG's
# classifier with every method.
RENAMED = (
    (r"fc", "classifier"),
    (r"SPG_A_?4", "classifier"),
    (r"classifier_A", "branch_a"),
    (r"classifier_B", "branch_b"),
    (r"SPG_B_1a", "side_1"),
    (r"SPG_B_2a", "side_2"),
    (r"SPG_B_shared", "side_shared"),
    (r"SPG_C", "branch_c"),
    (r"conv6", "backbone.extra.0"),
    (r"SPG_A3_1b\.0", "backbone.extra.1"),
    (r"SPG_A3_2b\.0", "backbone.extra.4"),
    (r"SPG_A1\.0", "backbone.layer3.0"),
)
RESNET_BLOCKS = r"(layer\d|SPG_A2)\.(\d+)(?=\.)"
# These hold the convolutions of their vgg16, in this order; the numbers in their names count all layers.
VGG_STACKS = ("features", "SPG_A_1", "SPG_A_2", "SPG_A_3")


def _vgg_convolutions(names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Return the names of their vgg16's convolutions, mapped to our names, both in order of execution."""
    return dict(zip(_numbered_convolutions(names), _vgg_modules(own), strict=False))


def _numbered_convolutions(names: Iterable[str]) -> list[str]:
    """Return the names of the convolutions of their vgg16's stacks, in order of execution."""
    matches = (re.match(rf"({'|'.join(VGG_STACKS)})\.(\d+)\.", name) for name in names)
    numbers = sorted({(VGG_STACKS.index(match[1]), int(match[2])) for match in matches if match})
    return [f"{VGG_STACKS[stack]}.{number}" for stack, number in numbers]


def _vgg_modules(own: Iterable[str]) -> list[str]:
    """Return the names of our vgg16's convolutions, in order of execution."""
    matches = (re.match(r"backbone\.(?:features|extra)\.\d+(?=\.)", name) for name in own)
    return list(dict.fromkeys(match[0] for match in matches if match))


def _resnet_blocks(names: Iterable[str]) -> dict[str, str]:
    """Return the names of their ResNet's blocks, mapped to our names.

    Their numbers count ADL's layers too, and SPG_A2 is what follows the first block of layer3.
    """
    found = dict.fromkeys(match[0] for match in (re.match(RESNET_BLOCKS, name) for name in names) if match)
    count: dict[str, int] = {"SPG_A2": 1}
    blocks = {}
    for theirs in found:
        stage = theirs.partition(".")[0]
        number = count.setdefault(stage, 0)
        blocks[theirs] = f"backbone.{'layer3' if stage == 'SPG_A2' else stage}.{number}"
        count[stage] += 1
    return blocks


def _translated(names: Collection[str], own: Iterable[str]) -> dict[str, str]:
    """Return their names, mapped to our names; `own` are the names of all our entries."""
    numbered = {**_resnet_blocks(names), **_vgg_convolutions(names, own)}
    renamed = [*RENAMED, *((re.escape(theirs), ours) for theirs, ours in numbered.items())]
    result = {}
    for name in names:
        result[name] = f"backbone.{name}"
        for pattern, ours in renamed:
            if match := re.match(rf"{pattern}(?=\.)", name):
                result[name] = ours + name[match.end() :]
    return result


def _check_vgg_convolutions(names: Iterable[str], own: Iterable[str]) -> None:
    """Raise InputError if a vgg16 lacks convolutions, and name those that it has.

    They are matched by their order, so one that is missing would shift all the others.
    """
    theirs, ours = _numbered_convolutions(names), _vgg_modules(own)
    expected = len(ours) - (ours[-1:] == ["backbone.extra.0"])  # a single added convolution is called conv6
    if theirs and len(theirs) < expected:
        raise InputError(
            f"not a checkpoint of this architecture and method: it has {len(theirs)} of {expected} numbered convolutions: "
            f"{', '.join(theirs)}"
        )


def _entries(content: object) -> dict[str, torch.Tensor]:
    """Return the tensors of their state dict, or of a checkpoint that holds it, without DataParallel's prefix."""
    state_dict = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if fault := entries_fault(state_dict):
        raise InputError(f"expected a state dict of wsolevaluation, a mapping of names to tensors: {fault}")
    given: dict[str, torch.Tensor] = {}
    for full_name, value in cast("Mapping[str, torch.Tensor]", state_dict).items():  # entries_fault has checked it
        name = full_name.removeprefix("module.")
        if name in given:
            raise InputError(f"two entries are named {name}, one of them with the prefix module.")
        given[name] = value
    return given


def load(model: Method, content: Mapping) -> None:
    """Fill a model from one of their state dicts, or a checkpoint that holds one.

    Raises:
        InputError: entries are missing, duplicate, unknown to the model, or have the wrong shape or dtype.
    """
    given = _entries(content)
    own = model.state_dict()
    names = _translated(given, own)
    ours: dict[str, torch.Tensor] = {}
    for name, value in given.items():
        if names[name] in ours:
            first = next(other for other in given if names[other] == names[name])
            raise InputError(f"two entries are the same one of this architecture and method: {first} and {name}")
        ours[names[name]] = value
    missing = [name for name in own if name not in ours and not name.endswith("num_batches_tracked")]
    unknown = [name for name in given if names[name] not in own]
    if missing or unknown:
        _check_vgg_convolutions(given, own)
        raise InputError(
            f"not a checkpoint of this architecture and method: {len(missing)} entries are missing (first, by our name: "
            f"{(missing or ['none'])[0]}), {len(unknown)} are unknown (first: {(unknown or ['none'])[0]})"
        )
    if other := [name for name in given if given[name].shape != own[names[name]].shape]:
        wanted = tuple(own[names[other[0]]].shape)
        raise InputError(
            f"a checkpoint of another network or number of classes: {other[0]} is {tuple(given[other[0]].shape)}; "
            f"expected {wanted} ({len(other)} such entries)"
        )
    for name in given:
        if fault := misfit(given[name], own[names[name]], finite=False):
            raise InputError(f"{name} {fault}")
    model.load_state_dict(ours, strict=False)


def read(model: Method, path: str) -> None:
    """Fill a model from one of their checkpoint files without executing anything in it; errors as in `load`."""
    state_dict = read_state_dict(path, "wsolevaluation_checkpoint")
    try:
        load(model, state_dict)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
