"""Files of PyTorch, read without running what is in them, and what is wrong with the tensors in them."""

import os
import re
import warnings
import zipfile
from collections.abc import Mapping

import torch


class UnsafeFileError(Exception):
    """A file that is broken, or that holds more than tensors and plain values; the message says which."""


def load_tensors(path: str | os.PathLike) -> object:
    """Return a file's content, tensors on the CPU; one that would run code is refused in our own words, since torch's advise
    to run it.

    Raises:
        UnsafeFileError: anything else than tensors and plain values, no file of PyTorch, or compressed (torch never
            compresses, so that a file is as large as what is in it).
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            if packed:
                raise UnsafeFileError(f"its entry {packed[0]} is compressed, which torch never does")
        with warnings.catch_warnings():  # of kinds of tensors that are refused with a message
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnsafeFileError:
        raise
    except Exception as error:  # noqa: BLE001 (torch raises many kinds for a broken or unsafe file)
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds an object of {named[1]}" if named else f"it is broken or of another kind: {type(error).__name__}"
        raise UnsafeFileError(what) from None


def tensor_fault(value: object) -> str | None:
    """Return what keeps a value from being an entry of a state dict, None where nothing does."""
    if not isinstance(value, torch.Tensor):
        return f"is a {type(value).__name__}; expected a tensor"
    kinds = {
        "nested": value.is_nested,
        "sparse": value.layout is not torch.strided,
        "quantized": value.is_quantized,
        "without values (meta)": value.is_meta,
        "complex": value.is_complex(),
    }
    found = [kind for kind, is_so in kinds.items() if is_so]
    return f"is a tensor that is {found[0]}; expected a dense one of real numbers" if found else None


def misfit(value: torch.Tensor, own: torch.Tensor, finite: bool) -> str | None:
    """Return why a tensor cannot fill a network's entry `own`, None where it can: its shape, its kind of numbers (floats of
    any width fill floats), or, where `finite` is asked for, NaN and infinity."""
    if value.shape != own.shape:
        return f"has the shape {tuple(value.shape)}; expected {tuple(own.shape)}"
    if value.is_floating_point() != own.is_floating_point():
        return f"holds {value.dtype}; expected {own.dtype}".replace("torch.", "")
    if finite and value.is_floating_point() and not torch.isfinite(value.to(own.dtype)).all():
        return "holds NaN or infinity"
    return None


def entries_fault(state_dict: object) -> str | None:
    """Return what keeps a value from being a state dict: a mapping of names to dense tensors of real numbers."""
    if not isinstance(state_dict, Mapping):
        return f"a {type(state_dict).__name__}; expected a mapping of names to tensors"
    for name, value in state_dict.items():
        if not isinstance(name, str):
            return f"the name {name!r} is a {type(name).__name__}; expected text"
        if fault := tensor_fault(value):
            return f"{name} {fault}"
    return None
