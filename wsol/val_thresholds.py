"""The score-map thresholds that the val split chose, from a file that has them: a checkpoint, or JSON results."""

import os
from collections.abc import Mapping

from wsol.errors import InputError
from wsol.files import read_json
from wsol.split_evaluator import SplitEvaluator


def _is_threshold(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


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
    content = read_json(path)
    if isinstance(content, Mapping) and isinstance(content.get("val"), Mapping):  # results.json of main.py
        return {"dataset_name": content.get("dataset_name"), **content["val"]}
    if isinstance(content, Mapping) and content.get("split", "val") != "val":
        raise InputError(
            f"{path}: results of the split {content['split']!r}; expected val's, on which a threshold is chosen"
        )
    return dict(content) if isinstance(content, Mapping) else {}


def read_val_thresholds(path: str | os.PathLike, dataset_name: str, evaluator: SplitEvaluator) -> dict[str, float]:
    """Return IoU threshold (its name, such as "50") to the score-map threshold that val chose for it.

    `path`: a run's checkpoint or results.json, or what `evaluation.py --split val --json` wrote.

    Raises:
        InputError: the file has no such thresholds, or those of another data set, rule, or grid of thresholds.
    """
    found = _from_checkpoint(path) if str(path).endswith((".tar", ".pth", ".pt")) else _from_json(path)
    thresholds = found.get("best_threshold")
    if not isinstance(thresholds, Mapping) or not all(map(_is_threshold, thresholds.values())):
        raise InputError(
            f"{path}: no best_threshold of val in it; expected a checkpoint, results.json, or JSON of evaluation.py"
        )
    for name, expected in (("dataset_name", dataset_name), ("box_rule", evaluator.box_rule)):
        if found.get(name) != expected:
            raise InputError(f"{path}: thresholds for {name} {found.get(name)}; expected {expected}")
    thresholds = {str(iou): float(value) for iou, value in thresholds.items()}
    if evaluator.boxes:
        try:
            evaluator.positions(thresholds)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return thresholds
