"""PyTorch files, read without running code from them, and checks of the tensors in them."""

import io
import mmap
import os
import re
import warnings
import zipfile
from collections.abc import Mapping

import torch

from wsol.core.errors import shortened
from wsol.core.pickle_check import check_pickle

ZIPPED = b"PK\x03\x04"  # the start of torch's files
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # and of those before torch 1.6
LEGACY_PICKLES = 5  # the first of which is LEGACY; then come the numbers
MOST_PICKLE = 64 << 20  # bytes of a pickle within a zip; the numbers are in other entries


class UnsafeFileError(Exception):
    """A file is damaged, or holds more than tensors and plain values; the message says which."""


def _check_pickles(path: str | os.PathLike) -> None:
    """Check what torch will unpickle, without doing so; see `load_tensors` and `check_pickle` for the errors."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(len(LEGACY))
        if start == LEGACY:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for _ in range(LEGACY_PICKLES):
                    check_pickle(content, size)
            return
    if not start.startswith(ZIPPED):
        raise UnsafeFileError("it is damaged or of another kind: it does not start as a PyTorch file does")
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise UnsafeFileError(f"its entry {shortened(entry.filename)} is compressed, which torch never does")
            if entry.filename.endswith("data.pkl"):
                if entry.file_size > min(size, MOST_PICKLE):
                    raise UnsafeFileError(f"its entry {shortened(entry.filename)} declares {entry.file_size} bytes")
                check_pickle(io.BytesIO(archive.read(entry)), size)


def load_tensors(path: str | os.PathLike) -> object:
    """Return the content of a file, with its tensors on the CPU.

    A file that would run code is refused with a message of our own: torch's message suggests running it.

    Raises:
        UnsafeFileError: it holds more than tensors and plain values, is not a PyTorch file, declares more than it has, or is
            compressed (torch never compresses, so a file is as large as its content).
    """
    try:
        _check_pickles(path)
        with warnings.catch_warnings():  # about kinds of tensors that are refused with a message later
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnsafeFileError:
        raise
    except Exception as error:  # noqa: BLE001 (torch raises many kinds for a broken or unsafe file)
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = (
            f"it holds an object of {shortened(named[1])}"
            if named
            else f"it is damaged or of another kind: {type(error).__name__}"
        )
        raise UnsafeFileError(what) from None


def tensor_fault(value: object) -> str | None:
    """Return why a value cannot be an entry of a state dict; None if it can."""
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
    """Return why a tensor cannot be loaded into the entry `own` of a network; None if it can.

    Reasons are its shape, its kind of numbers (floats of any width fit floats) and, with `finite`, NaN or infinity.
    """
    if value.shape != own.shape:
        return f"has the shape {tuple(value.shape)}; expected {tuple(own.shape)}"
    if value.is_floating_point() != own.is_floating_point():
        return f"holds {value.dtype}; expected {own.dtype}".replace("torch.", "")
    if finite and value.is_floating_point() and not torch.isfinite(value.to(own.dtype)).all():
        return "holds NaN or infinity"
    return None


def entries_fault(state_dict: object) -> str | None:
    """Return why a value is not a state dict, a mapping of names to dense tensors of real numbers; None if it is one."""
    if not isinstance(state_dict, Mapping):
        return f"a {type(state_dict).__name__}; expected a mapping of names to tensors"
    for name, value in state_dict.items():
        if not isinstance(name, str):
            return f"the name {name!r} is a {type(name).__name__}; expected text"
        if fault := tensor_fault(value):
            return f"{name} {fault}"
    return None
