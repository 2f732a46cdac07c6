"""Pretrained weights: downloaded by their library, or read from a file that the user gives."""

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
    except Exception as error:  # noqa: BLE001 (the library's own, or torch's, for dtypes that one of them lacks)
        raise UnsafeFileError(f"it is broken: {error}") from None


def read_weights(path: str, option: str = "pretrained_path") -> object:
    """Return the content of a .pth, .pt, .tar or .safetensors file without executing anything in it.

    `option` is the option that named the file, for messages.

    Raises:
        InputError: there is no such file, or it does not load without running code.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: no such weights file (", OptionName(option), ")")
    try:
        check_input(path)
    except InputError as error:
        raise InputError(*error.parts, " (", OptionName(option), ")") from None
    try:
        return (_read_safetensors if str(path).endswith(".safetensors") else load_tensors)(path)
    except UnsafeFileError as error:
        raise InputError(f"{path}: not a weights file that loads without running code ({error})") from None


def read_state_dict(path: str, option: str = "pretrained_path") -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file by their names in a bare network; `option` as in `read_weights`.

    Raises:
        InputError: it is not such a file, or an entry is not a named dense tensor of real numbers.
    """
    content = read_weights(path, option)
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if fault := entries_fault(content):
        raise InputError(f"{path}: expected a state dict, a mapping of names to tensors: {fault}")
    tensors = cast("Mapping[str, torch.Tensor]", content)  # entries_fault has checked it
    if own := {name: value for name, value in tensors.items() if name.removeprefix("module.").startswith("backbone.")}:
        tensors = own  # a checkpoint of this project: only its backbone is taken
    return {_bare(name): value for name, value in tensors.items()}


def _bare(name: str) -> str:
    """Return an entry's name without the prefixes of wrappers (DataParallel, and this project's own models)."""
    for prefix in ("module.", "backbone.", "network."):
        name = name.removeprefix(prefix)
    return name


def load_file_into(network: nn.Module, path: str, ignored: tuple[str, ...]) -> set[str]:
    """Fill a network from a file and return the names of the entries filled.

    Layers whose names start with one of `ignored` (the network's own classifier) may be missing or have a different size.
    Otherwise the names must agree; for a file of another library, all shapes must agree in order.

    Raises:
        InputError: the file cannot be read or does not match the network, or an entry has the wrong dtype, NaN or infinity.
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
            f"{path}: does not match the architecture: {len(wrong)} of its {len(body)} entries are missing or have the "
            f"wrong shape (first: {(wrong or ['none'])[0]}), {len(extra)} are unknown (first: {(extra or ['none'])[0]})"
        )
    for name in fitting:
        if fault := misfit(given[name], own[name], finite=True):
            raise InputError(f"{path}: {name} {fault}")
    network.load_state_dict({name: given[name] for name in fitting}, strict=False)
    return set(fitting)


def download_into(network: nn.Module, download: Callable[[], dict[str, torch.Tensor]], name: str, source: str) -> None:
    """Fill a whole network with the weights that `download` returns.

    Raises:
        InputError: the download failed; the message says how to pass a file from `source` instead.
    """
    try:
        state_dict = download()
    except Exception as error:  # the libraries raise many kinds: URLError, OSError, errors of the hub
        raise OptionError(
            "pretrained",
            "TRUE",
            f"the weights of {name} could not be fetched ({type(error).__name__}). Download {source} on a machine "
            "with a network connection and pass the file as ",
            OptionName("pretrained_path"),
            " FILE, or start from random weights with ",
            OptionName("pretrained"),
            " FALSE",
        ) from error
    network.load_state_dict(state_dict)


def load_pretrained(
    network: nn.Module, name: str, pretrained: bool, pretrained_path: str | None, ignored: tuple[str, ...]
) -> set[str]:
    """Fill torchvision's network `name` and return the names of the entries filled.

    The weights are those of the file, if one is given; else IMAGENET1K_V1 (the weights of the papers) if `pretrained`; else
    nothing is filled. `ignored` as in `load_file_into`.
    """
    if pretrained_path:
        return load_file_into(network, pretrained_path, ignored)
    if not pretrained:
        return set()
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    download_into(network, lambda: weights.get_state_dict(check_hash=True), name, weights.url)
    return set(network.state_dict())
