"""The papers' tables from collected runs: Tables 2, A2 and A3 of the granularity paper, and wsolevaluation's benchmark.

In: entries of `collect`. Out: `Table`s, their best figures marked (significance.py). The Center baseline is computed here,
on the images of every column, from the metadata.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from wsol.core.errors import InputError
from wsol.data.metadata import read_id_list
from wsol.data.truth import TRUE, SplitTruth
from wsol.metrics.spread import heading
from wsol.runs.center_baseline import center_results
from wsol.runs.results import SplitResults
from wsol.sweeps import published
from wsol.sweeps.cells import (
    BASELINES,
    CAM_AGG,
    CENTER,
    FSL_DET,
    FULLY_SUPERVISED,
    METHODS,
    PAPER_ROWS,
    Cell,
    Column,
    RunsByColumn,
    Table,
    TableRow,
    add_published,
    architecture_of,
    check_seeds,
    dataset_of,
    figure_cell,
    level_order,
    metric_of,
    notes_of,
    reportable,
    rows_by_label,
    supervision_rows,
    with_most_images,
)
from wsol.sweeps.collection import RunEntry
from wsol.sweeps.figures_table import figures_table
from wsol.sweeps.significance import PairedTests

ARCHITECTURES = ("vgg16", "inception_v3", "resnet50")  # of the benchmark, in its order
REFERENCE = "CAM"  # of the benchmark's gains
# Rows that stand in a table also where there are no runs.
WEAKLY_SUPERVISED = PAPER_ROWS[: PAPER_ROWS.index(CAM_AGG)]
AT_FINEST = (*WEAKLY_SUPERVISED, *FULLY_SUPERVISED)


class Tables:
    """The tables of some runs on a split; Center's figures and the runs' images are kept from one table to the next."""

    def __init__(self, entries: Iterable[RunEntry], split: str):
        counted: dict[tuple, tuple[int, int] | None] = {}
        self.entries, self.split = [_with_boxes(entry, counted) for entry in entries], split
        self.reported = reportable(self.entries, split)
        self.tests = PairedTests(split)
        self._centers: dict[tuple, SplitResults | None] = {}

    def of(self, name: str) -> list[Table]:
        """Return the tables of a name in TABLES; none if the runs have nothing for it."""
        return TABLES[name](self)

    def table_2(self) -> list[Table]:
        """Return methods x data sets, each at its finest level; a table for every architecture."""
        finest = self._finest()
        found = []
        for architecture in _ordered({architecture_of(e) for e in finest}, ARCHITECTURES):
            entries = [e for e in finest if architecture_of(e) == architecture]
            datasets = _ordered({dataset_of(e) for e in entries}, published.CLASSES)
            column_of = {dataset_of(e): _dataset_column(e) for e in entries}
            columns = [column_of[name] for name in datasets]
            runs = rows_by_label(entries, _dataset_column)
            table = self._table(f"Methods and data sets, {architecture}", columns, runs, AT_FINEST)
            for i, dataset in enumerate(datasets):
                classes = max(e.results.num_classes for e in entries if dataset_of(e) == dataset)
                self._add_published(table, i, architecture, published.of_table_2(dataset, classes))
            found.append(self._finished(table))
        return found

    def table_a2(self) -> list[Table]:
        """Return methods x levels, with CAM-Agg; a table for every data set and architecture with two levels or more."""
        found = []
        for (dataset, architecture), entries in _by_study(self.reported):
            levels = level_order(entries)
            if len(levels) < 2:
                continue
            runs = rows_by_label(entries, _level_column)
            title = f"Methods and label levels, {dataset}, {architecture}"
            table = self._table(title, [("", level) for level in levels], runs, (*WEAKLY_SUPERVISED, CAM_AGG))
            for i, level in enumerate(levels):
                self._add_published(table, i, architecture, published.of_table_a2(dataset, level))
            found.append(self._finished(table))
        return found

    def figures(self) -> list[Table]:
        """Return methods and levels x every figure, with Center; a table for every data set and architecture."""
        return [
            self._described(figures_table(f"Figures of {dataset}, {architecture}", entries, self.split, self.center))
            for (dataset, architecture), entries in _by_study(self.reported)
        ]

    def table_a3(self) -> list[Table]:
        """Return what was chosen on val (the learning rate first) for every method and level, where a sweep recorded it."""
        found = []
        chosen = [e for e in self.entries if e.chosen and not e.is_aggregated]
        for (dataset, architecture), entries in _by_study(chosen):
            levels = level_order(entries)
            runs = rows_by_label(_choosers(entries), _level_column)
            rows = _in_paper_order(
                {label: _choice_cells(by_level, levels) for label, by_level in runs.items()}, WEAKLY_SUPERVISED
            )
            table = Table(
                f"What was chosen on train-fullsup, {dataset}, {architecture}",
                [("", level) for level in levels],
                [*rows, *supervision_rows(rows)],
                ["A number without a name is the learning rate."] if any("lr" in e.chosen for e in entries) else [],
            )
            found.append(table)
        return found

    def benchmark(self) -> list[Table]:
        """Return methods x data sets x architectures: CAM's figures, the others' gains over it in points, and means."""
        entries = self._finest()
        architectures = _ordered({architecture_of(e) for e in entries}, ARCHITECTURES)
        datasets = _ordered({dataset_of(e) for e in entries}, published.CLASSES)
        present = {(dataset_of(e), architecture_of(e)) for e in entries}
        columns = [(d, a) for d in datasets for a in architectures if (d, a) in present]
        runs = rows_by_label(entries, _study_of)
        if REFERENCE not in runs or len(runs) < 2:
            return []
        title = f"Gains over {REFERENCE} in points; {REFERENCE} and the baselines in percent"
        table = self._table(title, columns, runs, AT_FINEST)
        self.tests.mark(table)
        _add_gains(table)
        _add_means(table, datasets)
        return [self._described(table)]

    def _finest(self) -> list[RunEntry]:
        """Return the reported runs at the finest level of each data set, without CAM-Agg's."""
        own = [e for e in self.reported if not e.is_aggregated]
        finest = {name: level_order([e for e in own if dataset_of(e) == name])[0] for name in map(dataset_of, own)}
        return [e for e in own if e.level == finest[dataset_of(e)]]

    def _table(self, title: str, columns: list[Column], runs: dict[str, dict[Column, list]], labels: Sequence[str]) -> Table:
        """Return a table of figures: the rows of `labels`, then other methods', Center's and those with full supervision."""
        for label, by_column in runs.items():
            for column, of_cell in by_column.items():
                check_seeds(of_cell, f"{label}, {' '.join(column).strip()}")
        every = {column: [run for one in runs.values() for run in one.get(column, ())] for column in columns}
        metrics = {column: metric_of(every[column], self.split) for column in columns}
        cells = {
            label: [figure_cell(by_column.get(column, ()), self.split, metrics[column]) for column in columns]
            for label, by_column in runs.items()
        }
        cells[CENTER] = [self._center_cell(every[column], metrics[column]) for column in columns]
        rows = _in_paper_order(cells, labels)
        for row in rows:
            for cell, column in zip(row.cells, columns, strict=True):
                if row.label == FSL_DET and metrics[column] == "PxAP" and not cell.values:
                    cell.text = "-"  # a detector needs boxes
        said = ", ".join(dict.fromkeys(metrics[column] for column in columns if metrics[column]))
        return Table(f"{title}: {said} on {self.split}", columns, rows)

    def _center_cell(self, runs: Sequence[RunEntry], metric: str) -> Cell:
        """Return Center's cell on the images of the first run; a note where another run scored other images."""
        ids = [read_id_list(run.folder / f"{self.split}_image_ids.txt") for run in runs]
        found = self.center(runs[0], tuple(ids[0]))
        row = found.find(metric) if found else None
        cell = Cell(values=[row.value] if row else [], metric=metric)
        if any(set(one) != set(ids[0]) for one in ids):
            cell.notes.append(f"on the images of {runs[0].name}; other runs of the column scored different ones")
        return cell

    def center(self, run: RunEntry, image_ids: tuple[str, ...]) -> SplitResults | None:
        """Return Center's results on images of a run's data set; None, with a warning, where its metadata are not there."""
        key = (dataset_of(run), run.config.get("crop_size"), image_ids)
        if key not in self._centers:
            try:
                self._centers[key] = center_results(run.config, self.split, image_ids)
            except InputError as error:
                warnings.warn(f"Center on {dataset_of(run)} is left out: {error}", stacklevel=2)
                self._centers[key] = None
        return self._centers[key]

    def _add_published(self, table: Table, position: int, architecture: str, figures: dict[str, float | None]) -> None:
        if self.split == "test" and architecture == published.ARCHITECTURE:
            add_published(table.rows, position, figures)

    def _finished(self, table: Table) -> Table:
        self.tests.mark(table)
        return self._described(table)

    def _described(self, table: Table) -> Table:
        """Return the table with its rows of full supervision, and the notes that explain the cells."""
        table.rows += supervision_rows(table.rows)
        counts = [len(cell.values) for row in table.rows for cell in row.cells]
        table.notes.insert(0, f"Percent. {heading(counts)}")
        if any(cell.published is not None for row in table.rows for cell in row.cells):
            table.notes.append(f"In parentheses: published by {published.SOURCE}.")
        return table


TABLES: dict[str, Callable[[Tables], list[Table]]] = {
    "2": Tables.table_2,
    "A2": Tables.table_a2,
    "A3": Tables.table_a3,
    "benchmark": Tables.benchmark,
    "figures": Tables.figures,
}


def _ordered(names: Iterable[str], first: Iterable[str]) -> list[str]:
    """Return the names: those in `first` in its order, then the others by name."""
    given = set(names)
    known = [name for name in first if name in given]
    return [*known, *sorted(given - set(known))]


def _with_boxes(entry: RunEntry, counted: dict[tuple, tuple[int, int] | None]) -> RunEntry:
    """Return a run with its numbers of train-fullsup boxes and masks, counted in the metadata if no sweep has recorded them.

    `counted`: numbers known already, by data set and images; None where the metadata or masks cannot be read.
    """
    path = entry.folder / "val_image_ids.txt"
    if entry.fullsup_boxes is not None or not path.is_file():
        return entry
    ids = read_id_list(path)
    key = (dataset_of(entry), entry.config.get("select_on", TRUE), *ids)
    if key not in counted:
        try:
            counted[key] = SplitTruth.of(entry.config, "val", ids, needs_truth=False).count()
        except InputError:
            counted[key] = None
    boxes, masks = counted[key] or (None, None)
    return replace(entry, fullsup_boxes=boxes, fullsup_masks=masks)


def _dataset_column(entry: RunEntry) -> Column:
    return "", f"{dataset_of(entry)} ({entry.level})"


def _level_column(entry: RunEntry) -> Column:
    return "", entry.level


def _study_of(entry: RunEntry) -> Column:
    return dataset_of(entry), architecture_of(entry)


def _by_study(entries: Iterable[RunEntry]) -> list[tuple[tuple[str, str], list[RunEntry]]]:
    """Return ((data set, architecture), runs) of all pairs that have runs."""
    groups: dict[tuple[str, str], list[RunEntry]] = {}
    for entry in entries:
        groups.setdefault(_study_of(entry), []).append(entry)
    return sorted(groups.items(), key=lambda item: item[0])


def _in_paper_order(cells: dict[str, list[Cell]], labels: Sequence[str]) -> list[TableRow]:
    """Return the rows: those of `labels`, blank where there are no runs, with other methods after them; then baselines."""
    width = len(next(iter(cells.values())))
    others = [label for label in cells if label not in PAPER_ROWS]

    def belongs(label: str, method: str) -> bool:
        return label.split(", ")[0] == method

    found = []
    baselines = (CENTER, *FULLY_SUPERVISED)
    for method in [m for m in PAPER_ROWS if m in cells or m in labels or any(belongs(o, m) for o in others)]:
        section = BASELINES if method in baselines else METHODS
        own = [label for label in others if belongs(label, method)]
        names = [method, *own] if method in cells or not own else own
        found += [TableRow(name, cells.get(name) or [Cell() for _ in range(width)], section) for name in names]
    new = [label for label in others if not any(belongs(label, method) for method in PAPER_ROWS)]
    place = next((i for i, row in enumerate(found) if row.section == BASELINES), len(found))
    found[place:place] = [TableRow(label, cells[label]) for label in new]
    return found


def _choosers(entries: Sequence[RunEntry]) -> list[RunEntry]:
    """Return the runs that show what was chosen: the reported ones, and where there is none the choosing ones."""

    def study(entry: RunEntry) -> tuple:
        return entry.sweep, entry.config.get("wsol_method"), entry.level

    reported = {study(entry) for entry in entries if entry.role == "reported"}
    return with_most_images([entry for entry in entries if entry.role == "reported" or study(entry) not in reported])


def _choice_cells(by_level: RunsByColumn, levels: Sequence[str]) -> list[Cell]:
    """Return a row of what was chosen at every level: the learning rate bare, other options with their names."""
    cells = []
    for level in levels:
        runs = by_level.get(("", level), ())
        choices = dict.fromkeys(", ".join(_shown_choice(*option) for option in run.chosen.items()) for run in runs)
        cells.append(Cell(runs, text=" or ".join(choices), notes=notes_of(runs)))
    return cells


def _shown_choice(name: str, value: object) -> str:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return shown if name == "lr" else f"{name} {shown}"


def _add_gains(table: Table) -> None:
    """Give the cells of methods other than CAM their gains over it: for each seed if both have the same, else of means."""
    reference = next(row for row in table.rows if row.label == REFERENCE)
    for row in table.rows:
        if row.section != METHODS or row is reference:
            continue
        for cell, other in zip(row.cells, reference.cells, strict=True):
            if not cell.values or not other.values:
                continue
            own, others = (
                {run.config.get("seed"): v for run, v in zip(c.runs, c.values, strict=True)} for c in (cell, other)
            )
            same = own.keys() == others.keys()
            cell.gains = [own[seed] - others[seed] for seed in own] if same else [cell.mean - other.mean]


def _add_means(table: Table, datasets: Sequence[str]) -> None:
    """Add, after each data set's columns, the mean over its architectures where a row has all of them; it is not tested."""
    for dataset in datasets:
        positions = [i for i, column in enumerate(table.columns) if column[0] == dataset]
        if len(positions) < 2:
            continue
        place = positions[-1] + 1
        table.columns.insert(place, (dataset, "mean"))
        for row in table.rows:
            of_row = [row.cells[i] for i in positions]
            mean = Cell()
            if all(cell.values for cell in of_row):
                mean.values = [fmean(cell.mean for cell in of_row)]
                if all(cell.gains for cell in of_row):
                    mean.gains = [fmean(fmean(cell.gains or ()) for cell in of_row)]
            row.cells.insert(place, mean)
