"""Pretrained weights: from a library's download, or from a file given by hand."""

import os
from collections.abc import Callable, Mapping
from typing import cast

import torch
import torchvision
from torch import nn

from wsol.core.errors import InputError, OptionError, OptionName
from wsol.core.files import check_input
from wsol.core.safe_load import UnsafeFileError, entries_fault, load_tensors, misfit

CONTAINERS = ("state_dict", "model", "model_state_dict")


def _read_safetensors(path: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # noqa: BLE001 (of the library, or of torch, for kinds of numbers that one of them lacks)
        raise UnsafeFileError(f"it is broken: {error}") from None


def read_weights(path: str, option: str = "pretrained_path") -> object:
    """Return what a .pth, .pt, .tar or .safetensors file, given by `option`, holds; nothing in it is executed.

    Raises:
        InputError: no such file, or not one that loads without running code.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file of weights (", OptionName(option), ")")
    try:
        check_input(path)
    except InputError as error:
        raise InputError(*error.parts, " (", OptionName(option), ")") from None
    try:
        return (_read_safetensors if str(path).endswith(".safetensors") else load_tensors)(path)
    except UnsafeFileError as error:
        raise InputError(f"{path}: not a file of weights that loads without running code ({error})") from None


def read_state_dict(path: str, option: str = "pretrained_path") -> dict[str, torch.Tensor]:
    """Return the tensors of a file of weights, given by `option`, by their names in a bare network.

    Raises:
        InputError: not such a file, or something in it that is no dense tensor of real numbers with a name.
    """
    content = read_weights(path, option)
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if fault := entries_fault(content):
        raise InputError(f"{path}: expected a state dict, a mapping of names to tensors: {fault}")
    tensors = cast("Mapping[str, torch.Tensor]", content)  # which has no fault
    if own := {name: value for name, value in tensors.items() if name.removeprefix("module.").startswith("backbone.")}:
        tensors = own  # a checkpoint of this project: what a method adds to its backbone stays behind
    return {_bare(name): value for name, value in tensors.items()}


def _bare(name: str) -> str:
    """Return an entry's name without what wrappers put before it (DataParallel, and this project's own models)."""
    for prefix in ("module.", "backbone.", "network."):
        name = name.removeprefix(prefix)
    return name


def load_file_into(network: nn.Module, path: str, ignored: tuple[str, ...]) -> set[str]:
    """Fill a network from a file and return the names of the entries filled.

    Layers whose names start with one of `ignored` (its own classifier) may be missing or of another size. The names have
    to agree, or, for a file of another library, all shapes in order.
    """
    given = {name: value for name, value in read_state_dict(path).items() if not name.endswith("num_batches_tracked")}
    own = {name: v for name, v in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    body = [name for name in own if not name.startswith(ignored)]
    if not any(name in given for name in own) and len(given) == len(own):
        shapes = [tuple(value.shape) for value in given.values()]
        if shapes == [tuple(value.shape) for value in own.values()]:
            given = dict(zip(own, given.values(), strict=True))
    fitting = [name for name in own if name in given and given[name].shape == own[name].shape]
    wrong = sorted(set(body) - set(fitting), key=body.index)
    extra = [name for name in given if name not in own and not name.startswith((*ignored, "classifier", "fc."))]
    if wrong or extra:
        raise InputError(
            f"{path}: does not fit the architecture; {len(wrong)} of its {len(body)} entries are missing or of another "
            f"shape (first: {(wrong or ['none'])[0]}), {len(extra)} are unknown to it (first: {(extra or ['none'])[0]})"
        )
    for name in fitting:
        if fault := misfit(given[name], own[name], finite=True):
            raise InputError(f"{path}: {name} {fault}")
    network.load_state_dict({name: given[name] for name in fitting}, strict=False)
    return set(fitting)


def download_into(network: nn.Module, download: Callable[[], dict[str, torch.Tensor]], name: str, source: str) -> None:
    """Fill a whole network from its library's own weights, or say how to give them by hand."""
    try:
        state_dict = download()
    except Exception as error:  # the libraries' download errors are of many kinds: URLError, OSError, hub errors
        raise OptionError(
            "pretrained",
            "TRUE",
            f"the ImageNet weights of {name} could not be fetched ({type(error).__name__}). Fetch {source} where there is a "
            "network and pass the file as ",
            OptionName("pretrained_path"),
            " FILE, or start from random weights with ",
            OptionName("pretrained"),
            " FALSE",
        ) from error
    network.load_state_dict(state_dict)


def load_pretrained(
    network: nn.Module, name: str, pretrained: bool, pretrained_path: str | None, ignored: tuple[str, ...]
) -> set[str]:
    """Fill torchvision's network `name` from a file, or with IMAGENET1K_V1 (the weights of the papers) where `pretrained`;
    return the names of the entries filled. `ignored` as in `load_file_into`."""
    if pretrained_path:
        return load_file_into(network, pretrained_path, ignored)
    if not pretrained:
        return set()
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    download_into(network, lambda: weights.get_state_dict(check_hash=True), name, weights.url)
    return set(network.state_dict())
