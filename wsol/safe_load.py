"""Files of PyTorch, read without running what is in them."""

import os
import re

import torch


class UnsafeFileError(Exception):
    """A file that is broken, or that holds more than tensors and plain values; the message says which."""


def load_tensors(path: str | os.PathLike) -> object:
    """Return a file's content, tensors on the CPU; one that would run code is refused in our own words, since torch's advise
    to run it.

    Raises:
        UnsafeFileError: anything else than tensors and plain values, or no file of PyTorch.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken or unsafe file
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds an object of {named[1]}" if named else f"it is broken or of another kind: {type(error).__name__}"
        raise UnsafeFileError(what) from None
