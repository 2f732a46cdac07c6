"""The score-map thresholds that the val split chose, from a file that has them: a checkpoint, or JSON results."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from wsol.errors import InputError


def _from_checkpoint(path: str | os.PathLike) -> dict:
    from wsol.checkpoints import read_checkpoint  # torch takes seconds to load

    checkpoint = read_checkpoint(path)
    config = checkpoint["config"]
    return {
        "dataset_name": config["dataset_name"],
        "box_rule": "multi_contour" if config["multi_contour_eval"] else "largest_contour",
        "best_threshold": checkpoint.get("score_map_thresholds"),
    }


def _from_json(path: str | os.PathLike) -> dict:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: neither a checkpoint (.pth.tar) nor a readable JSON file ({error})") from None
    if isinstance(content, Mapping) and isinstance(content.get("val"), Mapping):  # results.json of main.py
        return {"dataset_name": content.get("dataset_name"), **content["val"]}
    if isinstance(content, Mapping) and content.get("split", "val") != "val":
        raise InputError(
            f"{path}: results of the split {content['split']!r}; expected val's, on which a threshold is chosen"
        )
    return dict(content) if isinstance(content, Mapping) else {}


def read_val_thresholds(path: str | os.PathLike, dataset_name: str, box_rule: str) -> dict[str, float]:
    """Return IoU threshold (its name, such as "50") to the score-map threshold that val chose for it.

    `path`: a run's checkpoint or results.json, or what `evaluation.py --split val --json` wrote.

    Raises:
        InputError: the file has no such thresholds, or those of another data set or rule.
    """
    found = _from_checkpoint(path) if str(path).endswith((".tar", ".pth", ".pt")) else _from_json(path)
    thresholds = found.get("best_threshold")
    if not isinstance(thresholds, Mapping) or not all(isinstance(value, float | int) for value in thresholds.values()):
        raise InputError(
            f"{path}: no best_threshold of val in it; expected a checkpoint, results.json, or JSON of evaluation.py"
        )
    for name, expected in (("dataset_name", dataset_name), ("box_rule", box_rule)):
        if found.get(name) != expected:
            raise InputError(f"{path}: thresholds for {name} {found.get(name)}; expected {expected}")
    return {str(iou): float(value) for iou, value in thresholds.items()}
