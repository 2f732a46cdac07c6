"""Results as tidy rows: the one place that knows the layout of results.json, and of what evaluation.py --json writes.

In: such a file, and the configuration of its run if there is one. Out: checked rows, one per figure. A file that breaks the
layout raises an InputError that names the file, the entry, and what was expected.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.files import read_json
from wsol.core.plain_values import are_thresholds, is_number, is_whole, shown
from wsol.data.levels import SPLITS
from wsol.data.truth import PSEUDO
from wsol.metrics.split_evaluator import DETECTIONS, LOC_IOU
from wsol.runs.run_folder import RESULTS

AT_VAL = "_at_val_threshold"  # the end of the name of a figure at val's score-map threshold
LOCALIZATION = ("gt_known_loc", "top1_loc", "top5_loc")  # at one IoU threshold, LOC_IOU
OTHERS = ("PxAP", "top1_cls", "top5_cls")  # these do not depend on a score-map threshold
FROM_CONFIG = {"experiment": "experiment_name", "method": "wsol_method", "architecture": "architecture", "seed": "seed"}


@dataclass(frozen=True)
class Row:
    """One figure, in percent, with its interval [low, high] if there is one.

    iou: the IoU threshold in percent, None if the figure has none or is a mean over several.
    threshold_rule: how the score-map threshold was chosen: `best` on the same images, `val` on val, `none` if the figure
        needs none.
    images: the number of images that it was measured on.

    What a file does not say, such as the options of a run, is None.
    """

    experiment: str | None
    dataset: str | None
    method: str | None
    architecture: str | None
    level: str | None
    seed: int | None
    split: str
    metric: str
    iou: float | None
    threshold_rule: str
    value: float
    low: float | None
    high: float | None
    images: int | None


@dataclass(frozen=True)
class SplitResults:
    """One split's results: its rows, and the score-map thresholds chosen on it, by IoU threshold as text ("50")."""

    where: str  # for messages: the file and the split
    rows: Sequence[Row]
    box_rule: Any
    best_threshold: dict[str, float] | None

    def find(self, metric: str, iou: float | None = None, at_val: bool = False) -> Row | None:
        """Return a figure, or None if there is none; with `at_val`, the figure at val's score-map threshold."""
        rows = (row for row in self.rows if row.metric == metric and iou in (None, row.iou))
        return next((row for row in rows if (row.threshold_rule == "val") == at_val), None)

    def value(self, metric: str, iou: float | None = None, at_val: bool = False) -> float:
        """Return a figure in percent; raise InputError if there is none."""
        if found := self.find(metric, iou, at_val):
            return found.value
        key = f"{metric}{AT_VAL if at_val else ''}{'' if iou is None else f'.{iou:g}'}"
        raise InputError(f"{self.where}.{key} is None; expected a number")

    def by_iou(self) -> dict[str, Row]:
        """Return MaxBoxAcc at the split's own score-map thresholds, by IoU threshold as text."""
        rows = (row for row in self.rows if row.metric == "MaxBoxAcc" and row.threshold_rule != "val")
        return {f"{row.iou:g}": row for row in rows}

    @property
    def has_localization(self) -> bool:
        """Whether there are figures for boxes or masks."""
        return any(row.metric in ("MaxBoxAcc", "PxAP") for row in self.rows)


@dataclass(frozen=True)
class Results:
    """The results in a file; `config` are the options of its run, None if they are not known."""

    path: Path
    content: Mapping[str, Any]
    config: Mapping[str, Any] | None = None

    @property
    def is_evaluation(self) -> bool:
        """Whether evaluation.py wrote the file, rather than a run."""
        return "scored" in self.content

    @property
    def num_classes(self) -> int:
        """The number of classes that the run was trained with."""
        if not is_whole(found := self.content.get("num_classes")):
            raise InputError(f"{self.path}: num_classes is {shown(found)}; expected a number")
        return found

    @property
    def has_pseudo_boxes(self) -> bool:
        """Whether pseudo boxes of val chose the checkpoint and thresholds, and are what val's figures are measured with."""
        return self.content.get("select_on") == PSEUDO

    @property
    def fullsup_images(self) -> Mapping[str, int]:
        """The images of train-fullsup that the run was trained on, held-out ones included; empty if there are none."""
        found = _mapping(self.content, "fullsup_images", str(self.path))
        for name, count in found.items():
            _checked(count, f"{self.path}.fullsup_images.{name}", is_whole, "a number")
        return found

    @property
    def splits(self) -> list[str]:
        """The splits with results in the file."""
        return list(self._parts)

    @property
    def _parts(self) -> dict[str, Mapping[str, Any]]:
        if found := {name: self.content[name] for name in SPLITS if isinstance(self.content.get(name), Mapping)}:
            return {name: part for name, part in found.items() if part}
        if not {"split", "best_threshold", "MaxBoxAcc"} & set(self.content):
            return {}
        split = self.content.get("split", "val")  # of evaluation.py
        if not isinstance(split, str):
            raise InputError(f"{self.path}: split is {shown(split)}; expected its name")
        return {split: self.content}

    def split(self, name: str) -> SplitResults:
        """Return the results of a split."""
        if name not in self._parts:
            raise InputError(f"{self.path}: no results of the {name} split; expected a run that has evaluated it")
        return split_results(self._parts[name], name, f"{self.path}: {name}", self._about())

    def rows(self) -> list[Row]:
        """Return every figure of every split."""
        return [row for name in self.splits for row in self.split(name).rows]

    def _about(self) -> dict[str, Any]:
        for name in ("dataset_name", "label_level"):
            _checked(self.content.get(name), f"{self.path}: {name}", lambda value: isinstance(value, str), "a name")
        config = self.config or {}
        about = {column: config.get(option) for column, option in FROM_CONFIG.items()}
        return {**about, "dataset": self.content.get("dataset_name"), "level": self.content.get("label_level")}


def read_results(path: str | os.PathLike, config: Mapping[str, Any] | None = None) -> Results:
    """Return the results in a file of main.py or evaluation.py.

    `config` are the run's options; they fill the columns that the file does not have.

    Raises:
        InputError: it is not a JSON file with an object. Its layout is checked when rows are read.
    """
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: {shown(content)}; expected results of main.py or of evaluation.py --json")
    return Results(Path(path), content, config)


def read_run(run: Path, config: Mapping[str, Any] | None = None) -> Results:
    """Return the results of a finished run, given its folder; `config` as in `read_results`."""
    if not (run / RESULTS).is_file():
        raise InputError(f"{run / RESULTS}: no such file; expected a finished run")
    return read_results(run / RESULTS, config)


def split_results(part: Mapping[str, Any], split: str, where: str, about: Mapping[str, Any] | None = None) -> SplitResults:
    """Return the results of a split from the mapping that `SplitEvaluator.results` returns and files hold.

    Messages start with `where`. `about` gives the columns of Row that do not come from `part`.
    """
    intervals = _mapping(part, "intervals", where)
    images = _entry(_mapping(part, "counts", where), "images", None, f"{where}.counts", is_whole, "a number")
    columns = {**dict.fromkeys((*FROM_CONFIG, "dataset", "level")), **(about or {}), "split": split}
    rows = []
    for key, iou, metric, at_iou, rule in _figures(part, where):
        value = _entry(part, key, iou, where, is_number, "a number")
        interval = _entry(intervals, key, iou, f"{where}.intervals", _is_interval, "[low, high]")
        if metric == "mean_MaxBoxAcc":
            values = list(_mapping(part, key.removeprefix("mean_"), where).values())
            value = None if None in values else sum(map(float, values)) / len(values)
        if value is not None:
            low, high = interval or (None, None)
            rows.append(
                Row(
                    **columns, metric=metric, iou=at_iou, threshold_rule=rule, value=value, low=low, high=high, images=images
                )
            )
    thresholds = part.get("best_threshold")
    _checked(thresholds, f"{where}.best_threshold", are_thresholds, "IoU thresholds mapped to numbers in [0, 1)")
    return SplitResults(where, rows, part.get("box_rule"), thresholds)


def _figures(part: Mapping[str, Any], where: str) -> Iterator[tuple[str, str | None, str, float | None, str]]:
    """Yield (key, IoU threshold within it, metric, IoU threshold, threshold rule) of every possible figure."""
    own_rule = "none" if part.get("box_rule") == DETECTIONS else "best"
    for suffix, rule in (("", own_rule), (AT_VAL, "val")):
        by_iou = f"MaxBoxAcc{suffix}"
        ious = list(_mapping(part, by_iou, where))
        yield f"MaxBoxAccV2{suffix}", None, "MaxBoxAccV2", None, rule
        for iou in ious:
            yield by_iou, iou, "MaxBoxAcc", _number_of(iou, f"{where}.{by_iou}"), rule
        if (
            ious and part.get(f"MaxBoxAccV2{suffix}") is None
        ):  # with the largest contour's rule, the file leaves out the mean
            yield f"mean_{by_iou}", None, "mean_MaxBoxAcc", None, rule
        for metric in LOCALIZATION:
            yield f"{metric}{suffix}", None, metric, LOC_IOU, rule
    for metric in OTHERS:
        yield metric, None, metric, None, "none"


def _entry(
    values: Mapping[str, Any], key: str, iou: str | None, where: str, fits: Callable[[Any], bool], expected: str
) -> Any:  # noqa: ANN401 (any JSON value)
    """Return values[key], or values[key][iou]; None if it is missing."""
    if iou is None:
        return _checked(values.get(key), f"{where}.{key}", fits, expected)
    return _checked(_mapping(values, key, where).get(iou), f"{where}.{key}.{iou}", fits, expected)


def _checked(value: Any, where: str, fits: Callable[[Any], bool], expected: str) -> Any:  # noqa: ANN401 (any JSON value)
    """Return a value of a file, checked to be None or what is expected."""
    if value is None or fits(value):
        return value
    raise InputError(f"{where} is {value!r:.60}; expected {expected}")


def _mapping(part: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    return _checked(part.get(name), f"{where}.{name}", lambda value: isinstance(value, Mapping), "an object") or {}


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def _number_of(text: str, where: str) -> float:
    """Return an IoU threshold, written as text in percent."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where} has {shown(text)}; expected IoU thresholds in percent") from None
