"""What plain values of files (JSON, YAML, checkpoints) are, and how a message shows one that is something else."""

import re
import sys
from collections.abc import Mapping
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_whole(value: object, low: int = 0) -> TypeGuard[int]:
    """Tell whether a value is a whole number, `low` or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def are_thresholds(value: object) -> TypeGuard[Mapping[str, float]]:
    """Tell whether a value maps IoU thresholds, as text in percent, to score-map thresholds in [0, 1)."""
    return isinstance(value, Mapping) and all(
        isinstance(iou, str) and re.fullmatch(r"[0-9.]{1,9}", iou) and is_number(threshold) and 0 <= threshold < 1
        for iou, threshold in value.items()
    )


def shown(value: object) -> str:
    """Return a value for a message, cut short; of a tensor or collection its kind alone."""
    if value is None or isinstance(value, str | bool | float):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "a number of more than 18 digits"
    size = f" of {len(value)}" if isinstance(value, list | dict | tuple | set) else ""
    return f"a {type(value).__name__}{size}"
