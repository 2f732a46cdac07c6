"""Checks of plain values from files (JSON, YAML, checkpoints), and how a message shows a value."""

import re
import sys
from collections.abc import Mapping
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_whole(value: object, low: int = 0) -> TypeGuard[int]:
    """Return whether a value is a whole number of at least `low`, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def are_thresholds(value: object) -> TypeGuard[Mapping[str, float]]:
    """Return whether a value maps IoU thresholds (text, percent) to score-map thresholds in [0, 1)."""
    return isinstance(value, Mapping) and all(
        isinstance(iou, str) and re.fullmatch(r"[0-9.]{1,9}", iou) and is_number(threshold) and 0 <= threshold < 1
        for iou, threshold in value.items()
    )


def shown(value: object) -> str:
    """Return a value for a message, cut if long; for a tensor or collection only its type and size.

    >>> shown("cam"), shown([1, 2])
    ("'cam'", 'a list of 2')
    """
    if value is None or isinstance(value, str | bool | float):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "a number of more than 18 digits"
    size = f" of {len(value)}" if isinstance(value, list | dict | tuple | set) else ""
    return f"a {type(value).__name__}{size}"
