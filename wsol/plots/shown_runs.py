"""The runs that figures show: which of the collected ones count, under which name and level, and their figures as points.

In: entries of wsol/sweeps/collection.py. Out: `ShownRuns` of one data set, which give lines for panels.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

from wsol.core.errors import InputError
from wsol.metrics.spread import student_interval
from wsol.plots.panels import Line, Point
from wsol.runs.results import Row, SplitResults
from wsol.sweeps.cells import (
    CENTER,
    FULLY_SUPERVISED,
    IN_AGGREGATION,
    IN_FULL_SUPERVISION,
    PAPER_ROWS,
    level_order,
    method_name,
    metric_of,
    shown_name,
    with_most_images,
)
from wsol.sweeps.collection import NOT_SHOWN, RunEntry, counted, options_that_differ

# Options in which runs of one line may differ: those of its axis, and how it was started.
NOT_NAMED = NOT_SHOWN | {
    *("label_level", "map_level", "cam_agg_level", "seed", "bootstrap", "wsol_method", "dataset_name"),
    *("num_train_sample_per_class", "pretrained", "pretrained_path", "keep_classifier", "proxy_training_set"),
}
OF_TRAINING = ("lr", "lr_decay_frequency", "lr_classifier_ratio", "batch_size")  # CAM-Agg does none
ORDER = [name for name in PAPER_ROWS if name not in (CENTER, *FULLY_SUPERVISED)]  # of the lines and their styles
PERCENT = "95\N{NO-BREAK SPACE}%"


@dataclass(frozen=True)
class ShownRun:
    """A run in a figure: its `shown_name` (`method`), the other options in which the runs differ (`variant`), the number of
    its line's colour (`style`), and its results on the split shown."""

    entry: RunEntry
    method: str
    variant: Mapping[str, object]
    style: int
    part: SplitResults

    @property
    def name(self) -> str:
        """The name of its line."""
        return self.name_without()

    @property
    def level(self) -> str:
        """The level at which it is shown."""
        return self.entry.level

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.entry.config["seed"])

    @property
    def images_per_class(self) -> int:
        """The training images drawn for each class; 0: all."""
        return int(self.entry.config["num_train_sample_per_class"])

    def name_without(self, *options: str) -> str:
        """Return the name of its line if runs that differ in some options share one."""
        return ", ".join([self.method, *(f"{name} {value}" for name, value in self.variant.items() if name not in options)])


@dataclass(frozen=True)
class ShownRuns:
    """The runs of one data set that count, all on one split; `levels` are those of the data set, finest first."""

    dataset: str
    split: str
    levels: tuple[str, ...]
    runs: tuple[ShownRun, ...]
    supervised: tuple[ShownRun, ...]
    without_split: int = 0

    def only(self, keep: Callable[[ShownRun], bool]) -> "ShownRuns":
        """Return these without the runs that are not to be kept."""
        return replace(self, runs=tuple(run for run in self.runs if keep(run)))

    def named(self, name: str) -> "ShownRuns":
        """Return the runs of one line."""
        return self.only(lambda run: run.name == name)

    @cached_property
    def on_all_images(self) -> "ShownRuns":
        """The runs of each method and level that have the most training images a class."""
        kept = {id(entry) for entry in with_most_images([run.entry for run in self.runs])}
        return self.only(lambda run: id(run.entry) in kept)

    @property
    def places(self) -> tuple[str, ...]:
        """The levels that any run has, finest first."""
        there = {run.level for run in self.runs}
        return tuple(level for level in self.levels if level in there)

    @property
    def headline(self) -> str:
        """The metric of the figures: MaxBoxAccV2, or PxAP where there are only masks.

        Raises:
            InputError: the runs have neither.
        """
        if metric := metric_of([run.entry for run in (*self.runs, *self.supervised)], self.split):
            return metric
        raise InputError(f"{self.dataset}: no MaxBoxAccV2 and no PxAP of {self.split}; expected runs scored with them")

    def lines(
        self,
        row_of: Callable[[ShownRun], Row | None],
        name_of: Callable[[ShownRun], str] = lambda run: run.name,
        style_of: Callable[[ShownRun], int] = lambda run: run.style,
        x_of: Callable[[ShownRun], float] | None = None,
    ) -> tuple[Line, ...]:
        """Return a line for every name, with a point for every x (by default the place of the level).

        Raises:
            InputError: two runs of a point have the same seed.
        """
        places = self.places
        x_of = x_of or (lambda run: places.index(run.level))
        found: dict[tuple[int, str], dict[float, dict[int, tuple[ShownRun, Row]]]] = {}
        for run in self.runs:
            if row := row_of(run):
                seeds = found.setdefault((style_of(run), name_of(run)), {}).setdefault(x_of(run), {})
                if run.seed in seeds:
                    both = " and ".join(str(one.entry.folder) for one in (seeds[run.seed][0], run))
                    raise InputError(f"{both}: both would be seed {run.seed} of one point; expected one run for each seed")
                seeds[run.seed] = run, row
        return tuple(
            Line(name, tuple(point_of(x, [row for _, row in seeds.values()]) for x, seeds in sorted(by_x.items())), style)
            for (style, name), by_x in sorted(found.items())
        )

    def notes(self, bars: str = "", with_supervised: bool = False) -> list[str]:
        """Return what a reader has to know: the split if it is not test, what the bars are, levels alike, marks.

        `with_supervised`: the figure shows the runs with full supervision too.
        """
        supervised = self.supervised if with_supervised else ()
        notes = [f"{self.split} (train-fullsup), not test."] if self.split == "val" else []
        if bars:
            notes.append(bars)
        alike = {f"{run.level}: the runs of {run.entry.same_as}" for run in self.runs if run.entry.same_as}
        if alike:
            notes.append(f"The same classes at two levels, trained once; {'; '.join(sorted(alike))}.")
        boxes = {f"{run.name}: trained on {run.entry.fullsup_images} images of train-fullsup." for run in supervised}
        notes += sorted(boxes)
        runs = (*self.runs, *supervised)
        marks: dict[str, list[str]] = {}
        for run in runs:
            for mark in run.entry.marks:
                marks.setdefault(mark, []).append(run.entry.folder.name)
        notes += [f"{mark}: {', '.join(sorted(set(names)))}." for mark, names in sorted(marks.items())]
        if self.without_split:
            notes.append(f"{self.without_split} runs without results of {self.split} are left out.")
        return notes


def figure_of(metric: str, iou: float | None = None) -> Callable[[ShownRun], Row | None]:
    """Return a function that returns a run's row of a metric, None if it has none."""
    return lambda run: run.part.find(metric, iou)


def point_of(x: float, rows: Sequence[Row]) -> Point:
    """Return a point: Student's interval of the mean of several runs; one run's bootstrap interval over its images."""
    values = tuple(row.value for row in rows)
    low, high = student_interval(values) or (rows[0].low, rows[0].high)
    return Point(x, values, low, high)


def bars_note(lines: Iterable[Line]) -> str:
    """Return the sentence on what the error bars of some lines are, or that there are none; empty without points."""
    every = [point for line in lines for point in line.points]
    points = [point for point in every if point.low is not None]
    if every and not points:
        return "Each point is one run, without an interval."
    seeds = sorted({len(point.values) for point in points if len(point.values) > 1})
    said = []
    if seeds:
        said.append(f"{PERCENT} interval of the mean over {' or '.join(map(str, seeds))} seeds (Student's t)")
    if any(len(point.values) == 1 for point in points):
        said.append(f"where there is one run, {PERCENT} bootstrap interval over its images")
    if len(points) < len(every):
        said.append("a point without a bar is one run")
    return f"Bars: {'; '.join(said)}." if said else ""


def shown_runs(entries: Sequence[RunEntry]) -> dict[str, ShownRuns]:
    """Return the runs that count of every data set, by its name: in a sweep the reported ones, else all.

    Runs of several levels at once count at each of them. Test is shown if any run has it, else val.

    Raises:
        InputError: no run counts.
    """
    every = counted(entries)
    if not every:
        raise InputError(f"{len(entries)} runs, none of them reported by its sweep; expected runs of a chosen configuration")
    by_dataset: dict[str, list[RunEntry]] = {}
    for entry in every:
        by_dataset.setdefault(str(entry.config["dataset_name"]), []).append(entry)
    return {name: _shown(name, some) for name, some in sorted(by_dataset.items())}


def _shown(dataset: str, entries: Sequence[RunEntry]) -> ShownRuns:
    split = "test" if any("test" in entry.results.splits for entry in entries) else "val"
    there = [entry for entry in entries if split in entry.results.splits]
    by_method: dict[str, list[RunEntry]] = {}
    for entry in there:
        by_method.setdefault(shown_name(entry), []).append(entry)
    order = [*ORDER, *sorted(set(by_method) - set(ORDER))]
    runs = []
    for method, some in by_method.items():
        names = _names_of_variants(some)
        for entry in some:
            variant = {name: entry.config.get(name) for name in names}
            runs.append(ShownRun(entry, method, variant, order.index(method), entry.results.split(split)))
    styles: dict[tuple[int, str], int] = {}  # a method's own wherever it can be, so that figures agree
    for run in sorted(runs, key=lambda run: (run.style, run.name)):
        if (run.style, run.name) not in styles:
            styles[run.style, run.name] = next(number for number in count(run.style) if number not in styles.values())
    runs = [replace(run, style=styles[run.style, run.name]) for run in runs]
    weakly = tuple(run for run in runs if method_name(run.entry) not in FULLY_SUPERVISED)
    supervised = tuple(run for run in runs if method_name(run.entry) in FULLY_SUPERVISED)
    levels = tuple(level_order(run.entry for run in weakly))
    return ShownRuns(dataset, split, levels, weakly, supervised, len(entries) - len(there))


def _names_of_variants(entries: Sequence[RunEntry]) -> list[str]:
    """Return the options in which the runs of a method differ, apart from seeds, axes and what a sweep chose for them."""
    ignored = {*NOT_NAMED, *(name for entry in entries for name in entry.chosen)}
    if entries[0].is_aggregated:
        ignored |= {*IN_AGGREGATION, *OF_TRAINING}
    if method_name(entries[0]) in FULLY_SUPERVISED:
        ignored |= IN_FULL_SUPERVISION
    return options_that_differ([entry.config for entry in entries], ignored)
