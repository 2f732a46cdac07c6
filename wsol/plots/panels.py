"""Panels of lines: their data apart from their drawing, so that what a figure shows can be checked and printed.

In: `Panel`s, made from rows (sweep_figures.py). Out: a figure as wide as one column of a paper. Lines differ in colour,
marker and dashes, so they can be told apart in grey and with any colour vision.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from wsol.metrics.spread import sample_deviation
from wsol.plots.drawing import COLORS, MARKERS, plain, wrapped

WIDTH = 3.4  # inches: one column of a paper with two
POINTS = 6.5  # of text; none is smaller than 6
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1, 1), (6, 1.5, 1, 1.5), (3, 1, 1, 1, 1, 1), (5, 3), (2, 2))
REFERENCES = {"Center": (1, 2), "FSL-Seg": (6, 2), "FSL-Det": (6, 2, 1, 2)}  # dashes of the horizontal lines
OTHER_REFERENCES = ((4, 2), (8, 2), (4, 1, 1, 1), (8, 1, 1, 1, 1, 1), (2, 3), (10, 3))
LEGEND_LETTERS = 50  # of a line of the legend
NOTE_LETTERS = 74  # of a line under a figure of WIDTH, at 6 points
STYLE: dict[Any, Any] = {
    "font.size": POINTS,
    "axes.titlesize": POINTS + 0.5,
    "axes.labelsize": POINTS,
    "xtick.labelsize": POINTS,
    "ytick.labelsize": POINTS,
    "legend.fontsize": POINTS,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class Point:
    """A place on a line: the values of its runs, whose mean is drawn, and an interval [low, high] if there is one."""

    x: float
    values: tuple[float, ...]
    low: float | None = None
    high: float | None = None

    @property
    def y(self) -> float:
        """The mean of the values."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True)
class Line:
    """A line with its name in the legend; `style` numbers its colour, marker and dashes."""

    name: str
    points: tuple[Point, ...]
    style: int = 0


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    places: the names of x = 0, 1, ...; empty if x is a number, which is then drawn on a logarithmic scale.
    references: the name of a horizontal line to its value.
    bounds: between which all values are, such as percentages; the axis ends there at the latest.
    spread: draw every run as a point with the mean as a bar, and write the sample standard deviation above.
    """

    ylabel: str
    lines: tuple[Line, ...]
    xlabel: str = ""
    title: str = ""
    places: tuple[str, ...] = ()
    references: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[float, float] = (0, 100)
    spread: bool = False


def panels_figure(
    panels: Sequence[Panel], title: str, notes: Sequence[str], columns: int = 2, height: float = 1.5
) -> Figure:
    """Return a figure of WIDTH: the panels, at most `columns` side by side and `height` inches high, one legend for all, and
    the notes below."""
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    note = "\n".join(line for one in notes for line in textwrap.wrap(one, NOTE_LETTERS))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            draw = _draw_spread if panel.spread else _draw_lines
            draw(axes, panel)
            _finish_axes(axes, panel)
        if len({panel.xlabel for panel in panels}) == 1:  # it is said once, at the bottom
            for axes in list(grid.flat)[: max(0, len(panels) - columns)]:
                axes.set_xlabel("")
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        figure.supxlabel(note, fontsize=6, x=0.02, ha="left", parse_math=False)
        title_lines = _draw_title(figure, title)
        letters = max((len(name) for panel in panels for name in panel.places), default=0)
        below = 0.25 + 0.035 * letters  # the slanted names of the places
        lines = 0.14 * title_lines + 0.1 * (note.count("\n") + 1)
        figure.set_size_inches(WIDTH, rows * (height + below) + lines + 0.2)
    return figure


def _draw_title(figure: Figure, title: str) -> int:
    """Draw the title, above one legend of all that is named in the panels; return how many lines they take."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if not handles:
        figure.suptitle(title, fontsize=POINTS + 0.5, parse_math=False)
        return 1
    names = [wrapped(name, LEGEND_LETTERS, 4) for name in handles]
    longest = max(len(line) for name in names for line in name.split("\n"))
    columns = max(1, min(4, len(names), int(66 / (8 + longest))))
    legend = figure.legend(
        list(handles.values()),
        names,
        title=title,
        title_fontsize=POINTS + 0.5,
        loc="outside upper center",
        ncols=columns,
        handlelength=3.2,
        frameon=False,
    )
    plain([legend.get_title(), *legend.get_texts()])
    return math.ceil(len(names) / columns) + sum(name.count("\n") for name in names) + 1


def _draw_lines(axes: Axes, panel: Panel) -> None:
    """Draw the lines with their intervals, a little apart so that these do not hide each other."""
    for number, line in enumerate(panel.lines):
        shift = (number - (len(panel.lines) - 1) / 2) * 0.05 if panel.places else 0.0
        x = [point.x + shift for point in line.points]
        y = [point.y for point in line.points]
        ends = [(point.low, point.high) for point in line.points]
        errors = np.array([[0 if end is None else abs(at - end) for end in both] for at, both in zip(y, ends, strict=True)])
        axes.errorbar(
            x,
            y,
            errors.T if errors.any() else None,
            label=line.name,
            color=COLORS[line.style % len(COLORS)],
            marker=MARKERS[line.style % len(MARKERS)],
            dashes=DASHES[(line.style + line.style // len(COLORS)) % len(DASHES)] or (None, None),  # of one colour, others
            markersize=4,
            markeredgewidth=0,
            linewidth=1.1,
            elinewidth=0.6,
        )
    others = [name for name in panel.references if name not in REFERENCES]
    for name, value in panel.references.items():
        dashes = REFERENCES.get(name) or OTHER_REFERENCES[others.index(name) % len(OTHER_REFERENCES)]
        axes.axhline(value, label=name, color="0.35", linestyle=(0, dashes), linewidth=1.0, zorder=1)


def _draw_spread(axes: Axes, panel: Panel) -> None:
    """Draw every value as a point, the mean as a bar, and write the sample standard deviation above."""
    for line in panel.lines:
        for point in line.points:
            color = COLORS[line.style % len(COLORS)]
            axes.plot([point.x] * len(point.values), point.values, "o", color=color, markersize=3, alpha=0.6, mew=0)
            axes.hlines(point.y, point.x - 0.25, point.x + 0.25, color="black", linewidth=1.2)
            deviation = sample_deviation(point.values)
            text = "one run" if deviation is None else f"{deviation:.2f}"
            axes.annotate(text, (point.x, max(point.values)), (0, 4), textcoords="offset points", ha="center", fontsize=6)
    axes.margins(y=0.25)


def _finish_axes(axes: Axes, panel: Panel) -> None:
    """Set the scale, the names and the grid of a panel."""
    axes.set_title(panel.title, parse_math=False)
    axes.set_xlabel(panel.xlabel, parse_math=False)
    axes.set_ylabel(panel.ylabel, parse_math=False)
    (bottom, top), (low, high) = axes.get_ylim(), panel.bounds
    margin = 0.02 * (min(top, high) - max(bottom, low))
    axes.set_ylim(max(bottom, low - margin), min(top, high + margin))
    axes.grid(alpha=0.3, linewidth=0.4)
    if panel.places:
        axes.set_xticks(
            range(len(panel.places)), panel.places, rotation=30, ha="right", rotation_mode="anchor", parse_math=False
        )
        axes.set_xlim(-0.4, len(panel.places) - 0.6)
        return
    axes.set_xscale("log")
    ticks = spaced_ticks(point.x for line in panel.lines for point in line.points)
    axes.set_xticks(ticks, [f"{number:g}" for number in ticks], rotation=30, ha="right", rotation_mode="anchor")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def spaced_ticks(numbers: Iterable[float], ratio: float = 1.6) -> list[float]:
    """Return those of some numbers that are at least `ratio` times the one before, ascending.

    >>> spaced_ticks([100, 10, 11, 20, 30])
    [10, 20, 100]
    """
    ticks: list[float] = []
    for number in sorted(numbers):
        if not ticks or number >= ratio * ticks[-1]:
            ticks.append(number)
    return ticks
