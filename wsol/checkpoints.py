"""Checkpoints: one file with everything a model needs, written whole, read without running code."""

import os
from pathlib import Path

import torch

from wsol.errors import InputError
from wsol.files import whole_file
from wsol.safe_load import UnsafeFileError, load_tensors

KEYS = ("architecture", "epoch", "state_dict", "optimizer", "config", "label_level", "class_names", "file_labels")


def write_checkpoint(path: str | os.PathLike, content: dict) -> None:
    """Write a checkpoint: a dict of KEYS, tensors and plain values only."""
    with whole_file(path) as temporary:
        torch.save(content, temporary)


def read_checkpoint(path: str | os.PathLike) -> dict:
    """Return a checkpoint's dict, tensors on the CPU."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        checkpoint = load_tensors(path)
    except UnsafeFileError as error:
        raise InputError(f"{path}: not a checkpoint that loads without running code ({error})") from None
    missing = [key for key in KEYS if not isinstance(checkpoint, dict) or key not in checkpoint]
    if missing:
        raise InputError(f"{path}: not a checkpoint of main.py; expected the entries {', '.join(missing)}")
    return checkpoint
