"""The figures of Cole et al. (ECCV 2022) as data: which panels, lines and points each has.

In: the runs of one data set (shown_runs.py); Fig. A1 takes several. Out: a `Drawing`, with values from rows of results
and from `<split>_images.npz`. A figure for which runs are missing raises an InputError that says which.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.figure import Figure

from wsol.core.errors import InputError
from wsol.metrics.images_file import images_name, read_images
from wsol.metrics.spread import student_interval
from wsol.plots.panels import Line, Panel, Point, panels_figure
from wsol.plots.shown_runs import ShownRun, ShownRuns, bars_note, figure_of, point_of
from wsol.runs.results import Row
from wsol.runs.run_data import read_level

T = TypeVar("T")
LEVEL_AXIS = "level trained on, finest first"
SCHEDULE = ("epochs", "lr_decay_frequency")  # the options that make a schedule longer
ANALYSIS = {  # of appendix 0.F.1: the field of an image, and its name on an axis
    "area_ratio": "predicted / true box area",
    "activation_ratio": "activation inside / outside",
    "num_components": "connected components",
}


@dataclass(frozen=True)
class Drawing:
    """What a figure shows; `columns` panels side by side, each `height` inches high."""

    title: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]
    columns: int = 2
    height: float = 1.5

    def figure(self) -> Figure:
        """Return the figure."""
        return panels_figure(self.panels, self.title, self.notes, self.columns, self.height)


def _title(shown: ShownRuns) -> str:
    return f"{shown.dataset}, {shown.split}"


def _level_panel(shown: ShownRuns, ylabel: str, lines: Sequence[Line], title: str = "", **drawn: Any) -> Panel:
    return Panel(ylabel, tuple(lines), LEVEL_AXIS, title, shown.places, **drawn)


def _require_levels(shown: ShownRuns) -> None:
    if len(shown.places) < 2:
        there = ", ".join(shown.places) or "none"
        raise InputError(f"{shown.dataset}: runs at the levels {there}; expected two levels or more")


def references(shown: ShownRuns, center: float | None) -> dict[str, float]:
    """Return the horizontal lines: Center, if given, and the mean of each method with full supervision."""
    metric = shown.headline
    found: dict[str, list[Row]] = {}
    for run in shown.supervised:
        if row := run.part.find(metric):
            found.setdefault(run.name, []).append(row)
    lines = {"Center": center} if center is not None else {}
    return lines | {name: point_of(0, rows).y for name, rows in sorted(found.items(), reverse=True)}


def levels_figure(shown: ShownRuns, center: float | None) -> Drawing:
    """Return Fig. 3: localization (left) and top-1 classification (right) against the level, a line for each method.

    CAM-Agg is on the left alone: its classifier is that of the finest level. `center`: Center's value on these images.
    """
    shown = shown.on_all_images
    _require_levels(shown)
    metric = shown.headline
    left = shown.lines(figure_of(metric))
    right = shown.only(lambda run: not run.entry.is_aggregated).lines(figure_of("top1_cls"))
    panels = (
        _level_panel(shown, metric, left, "localization", references=references(shown, center)),
        _level_panel(shown, "top-1 accuracy", right, title="classification"),
    )
    return Drawing(_title(shown), panels, tuple(shown.notes(bars_note((*left, *right)), True)))


def training_images(run: ShownRun) -> int:
    """Return the number of images that a run was trained on, from its options and the metadata."""
    return len(read_level(run.entry.config, ("train",)).splits["train"].image_ids)


def sizes_figure(shown: ShownRuns) -> Drawing:
    """Return Fig. 4: localization against the number of training images, a line for each level, and the finest level's value
    with all images as a horizontal line; a panel for each method."""
    trained = shown.only(lambda run: not run.entry.is_aggregated)
    drawn: dict[str, set[int]] = {}
    for run in trained.runs:
        drawn.setdefault(run.name, set()).add(run.images_per_class)
    names = {name for name, numbers in drawn.items() if len(numbers) > 1}
    shown = trained.only(lambda run: run.name in names)
    if not names:
        raise InputError(
            f"{shown.dataset}: no runs that differ in num_train_sample_per_class; expected them for two or more values"
        )
    metric, panels = shown.headline, []
    for method in sorted(names):
        some = shown.named(method)
        whole = {(run.level, training_images(run)) for run in some.runs if not run.images_per_class}
        some = replace(  # a draw that takes every image repeats the runs on all images
            some,
            runs=tuple(r for r in some.runs if not r.images_per_class or (r.level, training_images(r)) not in whole),
        )
        lines = some.lines(
            figure_of(metric),
            lambda run: run.level,
            lambda run: shown.levels.index(run.level),
            training_images,
        )
        finest = some.places[0]
        full = [run for run in some.runs if run.level == finest and not run.images_per_class]
        rows = [row for run in full if (row := run.part.find(metric))]
        dashed = {f"{finest}, all images": point_of(0, rows).y} if rows else {}
        panels.append(Panel(metric, lines, "training images", method, references=dashed))
    bars = bars_note(line for panel in panels for line in panel.lines)
    return Drawing(_title(shown), tuple(panels), tuple(shown.notes(bars)), height=2.0)


def analysis_rows(run: ShownRun) -> dict[str, Row]:
    """Return the mean over a run's images of each field of ANALYSIS that they have, as rows like those of results."""
    like = run.part.rows[0]
    images = read_images(run.entry.folder / images_name(like.split)).images.values()
    rows = {}
    for name in ANALYSIS:
        if numbers := [number for one in images if (number := getattr(one, name)) is not None]:
            mean = math.fsum(numbers) / len(numbers)
            rows[name] = replace(like, metric=name, iou=None, value=mean, low=None, high=None, images=len(numbers))
    return rows


def analysis_figure(shown: ShownRuns) -> Drawing:
    """Return Fig. 5: box area ratio, ground-truth box activation and number of components against the level (appendix
    0.F.1), each the mean over images, at val's score-map threshold for IoU 50."""
    shown = shown.on_all_images
    _require_levels(shown)
    rows = {run.entry.folder: analysis_rows(run) for run in shown.runs}
    lines = {name: shown.lines(partial(_row_in, rows, name)) for name in ANALYSIS}
    panels = tuple(_level_panel(shown, ANALYSIS[name], some, bounds=(0, math.inf)) for name, some in lines.items() if some)
    if not panels:
        raise InputError(f"{shown.dataset}: no analysis in {images_name(shown.split)}; expected a data set with boxes")
    notes = shown.notes(bars_note(line for panel in panels for line in panel.lines))
    if missing := [ANALYSIS[name] for name, some in lines.items() if not some]:
        notes.append(f"Not measured on {shown.split}, where no threshold is known beforehand: {', '.join(missing)}.")
    return Drawing(_title(shown), panels, tuple(notes), columns=1, height=1.15)


def _row_in(rows: Mapping[Path, Mapping[str, Row]], name: str, run: ShownRun) -> Row | None:
    return rows[run.entry.folder].get(name)


def datasets_figure(by_dataset: Mapping[str, ShownRuns], centers: Mapping[str, float | None]) -> Drawing:
    """Return Fig. A1: localization against the level, a panel for each data set."""
    if len(by_dataset) < 2:
        raise InputError(f"runs of {', '.join(by_dataset)} alone; expected two or more data sets")
    panels, notes = [], []
    for name, one in by_dataset.items():
        some = one.on_all_images
        _require_levels(some)
        metric = some.headline
        lines = some.lines(figure_of(metric))
        lined = references(some, centers.get(name))
        panels.append(_level_panel(some, metric, lines, title=_title(some), references=lined))
        notes += some.notes(with_supervised=True)
    bars = bars_note(line for panel in panels for line in panel.lines)
    return Drawing("", tuple(panels), (bars, *dict.fromkeys(notes)))


def schedules_figure(shown: ShownRuns) -> Drawing:
    """Return Fig. A2: localization against the level, a line for each number of epochs; a panel for each method."""
    trained = shown.on_all_images.only(lambda run: not run.entry.is_aggregated)
    lengths = sorted({int(run.entry.config["epochs"]) for run in trained.runs})
    if len(lengths) < 2:
        there = " and ".join(map(str, lengths)) or "no"
        raise InputError(f"{shown.dataset}: runs of {there} epochs; expected two or more numbers of epochs")
    metric, panels = trained.headline, []
    for method in sorted({run.name_without(*SCHEDULE) for run in trained.runs}):
        some = trained.only(partial(_has_name, method))
        lines = some.lines(
            figure_of(metric),
            lambda run: f"{run.entry.config['epochs']} epochs",
            lambda run: lengths.index(int(run.entry.config["epochs"])),
        )
        if len(lines) > 1:
            panels.append(_level_panel(some, metric, lines, title=method))
    if not panels:
        raise InputError(f"{shown.dataset}: no method was run with two numbers of epochs; expected such runs")
    bars = bars_note(line for panel in panels for line in panel.lines)
    return Drawing(_title(trained), tuple(panels), tuple(trained.notes(bars)))


def _has_name(name: str, run: ShownRun) -> bool:
    """Return whether a run has a name, apart from its schedule."""
    return run.name_without(*SCHEDULE) == name


def _same(value: T, _: ShownRun) -> T:
    """Return the value, for every run."""
    return value


def _gains(line: Line, by_seed: Mapping[tuple[float, int], float]) -> Line:
    """Return a line's gains over its first place in percent of it, seed by seed: seeds that both have, and not 0 there."""
    first = line.points[0].x
    points = []
    for point in line.points:
        seeds = [seed for x, seed in by_seed if x == point.x and by_seed.get((first, seed))]
        gains = tuple(100 * (by_seed[point.x, seed] / by_seed[first, seed] - 1) for seed in sorted(seeds))
        if gains:
            low, high = student_interval(gains) or (None, None)
            points.append(Point(point.x, gains, low, high))
    return replace(line, points=tuple(points))


def ious_figure(shown: ShownRuns) -> Drawing:
    """Return Fig. A3: accuracy at each IoU threshold (left), and its gain over the finest level, in percent of that, (right)
    against the level; a row of panels for each method."""
    shown = shown.on_all_images
    _require_levels(shown)
    ious = sorted({row.iou for run in shown.runs for row in run.part.by_iou().values() if row.iou is not None})
    if not ious:
        raise InputError(f"{shown.dataset}: no MaxBoxAcc of {shown.split}; expected a data set with boxes")
    panels: list[Panel] = []
    for method in dict.fromkeys(run.name for run in sorted(shown.runs, key=lambda run: run.style)):
        some = shown.named(method)
        places = some.places
        if len(places) < 2:
            continue
        left: list[Line] = []
        right: list[Line] = []
        for number, iou in enumerate(ious):
            values = {
                (float(places.index(run.level)), run.seed): row.value
                for run in some.runs
                if (row := run.part.find("MaxBoxAcc", iou))
            }
            lines = some.lines(figure_of("MaxBoxAcc", iou), partial(_same, f"IoU {iou:g}"), partial(_same, number))
            left += lines
            right += [gains for line in lines if (gains := _gains(line, values)).points]
        panels.append(_level_panel(some, "MaxBoxAcc", left, title=method))
        panels.append(_level_panel(some, f"gain over {places[0]} (%)", right, method, bounds=(-100, math.inf)))
    notes = shown.notes(bars_note(line for panel in panels for line in panel.lines))
    return Drawing(_title(shown), tuple(panels), tuple(notes))


def spread_figure(shown: ShownRuns) -> Drawing:
    """Return Fig. A4: every run's value by level, their mean, and the sample standard deviation over seeds; a panel for each
    method that has two seeds or more."""
    shown = shown.on_all_images
    metric, panels = shown.headline, []
    for line in shown.lines(figure_of(metric)):
        if max(len(point.values) for point in line.points) > 1:
            some = shown.named(line.name)
            (own,) = some.lines(figure_of(metric))
            panels.append(_level_panel(some, metric, [own], title=line.name, spread=True))
    if not panels:
        raise InputError(f"{shown.dataset}: one seed of every configuration; expected two or more")
    said = "Points: one run each; bars: their mean; numbers: sample standard deviation over seeds."
    return Drawing(_title(shown), tuple(panels), tuple(shown.notes(said)))


OF_ONE: Mapping[str, Callable[[ShownRuns], Drawing]] = {
    "4": sizes_figure,
    "5": analysis_figure,
    "A2": schedules_figure,
    "A3": ious_figure,
    "A4": spread_figure,
}
