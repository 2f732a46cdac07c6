"""The score-map thresholds chosen on val, from a file that has them: a checkpoint, or results as JSON."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsol.core.errors import InputError, OptionName
from wsol.core.plain_values import are_thresholds, is_number, shown
from wsol.metrics.split_evaluator import MIN_INTERVAL, SplitEvaluator
from wsol.runs.results import read_results
from wsol.runs.run_folder import RESULTS

LATTICES = (0.01, 0.001)  # the default intervals of evaluation.py and main.py, for files that do not state one
SAME = 1e-9  # how far a threshold may be from a multiple of the interval

RULES = {"multi_contour": "", "largest_contour": " FALSE"}  # the value of multi_contour_eval for each, empty for TRUE


@dataclass
class ValThresholds:
    """The score-map thresholds that a file says were chosen on val.

    dataset_name, box_rule: what they were chosen for.
    thresholds: IoU threshold in percent as text, such as "50", to score-map threshold in [0, 1).
    interval: the step between the score-map thresholds that were tried, None if the file does not say and it cannot be
        derived.
    """

    path: str | os.PathLike
    dataset_name: object
    box_rule: object
    thresholds: dict[str, float]
    interval: float | None

    def fit(self, dataset_name: str, evaluator: SplitEvaluator) -> dict[str, float]:
        """Return the thresholds, checked against a data set and an evaluator.

        Raises:
            InputError: they are for another data set, box rule, or set of score-map thresholds.
        """
        for name, expected in (("dataset_name", dataset_name), ("box_rule", evaluator.box_rule)):
            if (found := getattr(self, name)) != expected:
                text = shown(found).strip("'")
                hint: tuple[str, ...] = ()
                if name == "box_rule" and text in RULES:
                    hint = (" (", OptionName("multi_contour_eval"), f"{RULES[text]} gives the former)")
                raise InputError(f"{self.path}: thresholds for {name} {text}; expected {expected}", *hint)
        if evaluator.boxes:
            try:
                evaluator.positions(self.thresholds, self.interval)
            except InputError as error:
                raise InputError(f"{self.path}: ", *error.parts) from None
        return self.thresholds


def _from_checkpoint(path: str | os.PathLike) -> dict:
    from wsol.runs.checkpoints import read_checkpoint  # importing torch takes seconds

    checkpoint = read_checkpoint(path)
    config = checkpoint["config"]
    return {
        "dataset_name": config.get("dataset_name"),
        "box_rule": "multi_contour" if config["multi_contour_eval"] else "largest_contour",
        "best_threshold": checkpoint.get("score_map_thresholds"),
        "cam_curve_interval": config.get("cam_curve_interval"),
    }


def _from_json(path: str | os.PathLike) -> dict:
    results = read_results(path)
    if results.splits and "val" not in results.splits:
        raise InputError(
            f"{path}: results of the split {shown(results.splits[0])}; expected those of val, on which thresholds are chosen"
        )
    found = {name: results.content.get(name) for name in ("dataset_name", "cam_curve_interval")}
    if not results.splits:
        return found
    val = results.split("val")
    if val.best_threshold is None and val.find("top1_cls") and not val.by_iou():
        raise InputError(f"{path}: its val split has no boxes, so no threshold was chosen")
    return {**found, "box_rule": val.box_rule, "best_threshold": val.best_threshold}


def _on(lattice: float, thresholds: Mapping[str, float]) -> bool:
    return all(abs(value - np.round(value / lattice) * lattice) < SAME for value in thresholds.values())


def _find_interval(path: str | os.PathLike, stated: object, thresholds: Mapping[str, float]) -> float | None:
    """Return the interval that a file states, or the coarsest of LATTICES that contains all its thresholds."""
    if stated is None:
        return next((lattice for lattice in LATTICES if _on(lattice, thresholds)), None)
    if not (is_number(stated) and MIN_INTERVAL <= stated <= 1):
        raise InputError(f"{path}: cam_curve_interval {shown(stated)}; expected a number from {MIN_INTERVAL:g} to 1")
    return float(stated)


def read_val_thresholds(path: str | os.PathLike) -> ValThresholds:
    """Return the thresholds chosen on val, from a run's checkpoint or results.json, or from evaluation.py's JSON for val.

    Raises:
        InputError: the file cannot be read, or has no such thresholds.
    """
    if (results := Path(path) / RESULTS).is_file():
        raise InputError(f"{path}: a run's folder; expected its {results}, or a checkpoint in it")
    found = _from_checkpoint(path) if str(path).endswith((".tar", ".pth", ".pt")) else _from_json(path)
    thresholds = found.get("best_threshold")
    if not (are_thresholds(thresholds) and thresholds):
        raise InputError(
            f"{path}: no best_threshold of val in it; expected a checkpoint, results.json, or JSON of evaluation.py, with "
            "IoU thresholds mapped to numbers in [0, 1)"
        )
    thresholds = {iou: float(value) for iou, value in thresholds.items()}
    interval = _find_interval(path, found.get("cam_curve_interval"), thresholds)
    return ValThresholds(path, found.get("dataset_name"), found.get("box_rule"), thresholds, interval)
