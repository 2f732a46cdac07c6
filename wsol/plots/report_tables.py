"""The tables of a report: what was chosen, the papers' tables, every figure, options that differ, runs without results.

In: entries of wsol/sweeps/collection.py and protocol.json. Out: `Table`s of text; a cell's key says how it is sorted.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsol.core.errors import InputError
from wsol.core.locks import is_locked
from wsol.runs.results import Row, SplitResults
from wsol.runs.resume import OF_A_CALL
from wsol.runs.run_record import read_record
from wsol.sweeps import cells
from wsol.sweeps.cells import shown_name
from wsol.sweeps.collection import PSEUDO_MARK, RunEntry, options_that_differ, run_folders
from wsol.sweeps.conduct import LOGS
from wsol.sweeps.protocol import Protocol
from wsol.sweeps.states import has_results
from wsol.sweeps.table_text import cell_text, numbered_notes
from wsol.sweeps.tables import TABLES, Tables

# Name to (metric, at val's score-map threshold); the accuracies at each IoU threshold come after the first two.
FIGURES = {
    "MaxBoxAccV2": ("MaxBoxAccV2", False),
    "MaxBoxAccV2 at val's threshold": ("MaxBoxAccV2", True),
    "PxAP": ("PxAP", False),
    "Top-1 Cls": ("top1_cls", False),
    "Top-1 Loc": ("top1_loc", False),
    "Top-5 Loc": ("top5_loc", False),
}
ALWAYS_DIFFER = ("experiment_name", *OF_A_CALL)
NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """A cell: its text, the number that it is sorted by (None: its text), what is said beside it, whether it is set bold."""

    text: str
    key: float | None = None
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Columns and rows, all of the same length."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column has numbers."""
        return [any(row[i].key is not None for row in self.rows) for i in range(len(self.columns))]

    @property
    def has_notes(self) -> bool:
        """Whether any cell has something small below its text."""
        return any(cell.note for row in self.rows for cell in row)


@dataclass(frozen=True)
class PaperTable:
    """A table with its title, and what stands below it."""

    title: str
    table: Table
    notes: Sequence[str]


def as_cell(value: object, note: str = "", strong: bool = False) -> Cell:
    """Return a cell of a value of an option or a record."""
    if value is None or value == "":
        return Cell(NOTHING, note=note)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Cell(" ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value), None, note, strong)
    return Cell(f"{value:g}", float(value), note, strong)


def time_text(time: str) -> str:
    """Return a time of a record for a person.

    >>> time_text("2026-11-30T15:40:00+00:00")
    '2026-11-30 15:40:00 UTC'
    """
    return time.replace("T", " ").replace("+00:00", " UTC")


def time_cell(time: object) -> Cell:
    """Return a cell of a time of a record."""
    return as_cell(time_text(time) if isinstance(time, str) else time)


def splits_of(entry: RunEntry) -> list[str]:
    """Return the splits that a run has results of, test first."""
    return sorted(entry.results.splits)


def _figures_of(part: SplitResults) -> dict[str, Row]:
    """Return name to row of the figures that a split has, in the order of columns."""
    found = {name: part.find(metric, at_val=at_val) for name, (metric, at_val) in FIGURES.items()}
    by_iou = {f"IoU {iou}": row for iou, row in part.by_iou().items()}
    ordered = {**dict(list(found.items())[:2]), **by_iou, **found}
    return {name: row for name, row in ordered.items() if row}


def _in_order(names: Iterable[str]) -> list[str]:
    """Return names of figures, in the order of columns."""
    given = list(dict.fromkeys(names))
    ious = sorted((name for name in given if name not in FIGURES), key=lambda name: float(name.split()[1]))
    return [name for name in [*list(FIGURES)[:2], *ious, *list(FIGURES)[2:]] if name in given]


def _value(row: Row | None) -> Cell:
    if row is None:
        return Cell(NOTHING)
    note = "" if row.low is None else f"{row.low:.1f} to {row.high:.1f}"
    return Cell(f"{row.value:.2f}", row.value, note)


def _level(entry: RunEntry) -> Cell:
    return Cell(entry.level, note=f"the runs of {entry.same_as}" if entry.same_as else "")


def runs_table(entries: Sequence[RunEntry]) -> Table:
    """Return a row for each run and split, with every figure and its interval."""
    parts = [(entry, split, _figures_of(entry.results.split(split))) for entry in entries for split in splits_of(entry)]
    names = _in_order(name for _, _, figures in parts for name in figures)
    rows = []
    for entry, split, figures in parts:
        seconds = (entry.record or {}).get("wall_seconds")
        about = [Cell(entry.name), Cell(shown_name(entry)), _level(entry), as_cell(entry.config.get("seed"))]
        about += [Cell(entry.role or NOTHING), Cell(split)]
        time = Cell(NOTHING) if seconds is None else Cell(f"{seconds / 60:.1f}", seconds)
        marks = as_cell("; ".join(mark for mark in entry.marks if split == "test" or mark == PSEUDO_MARK))
        rows.append([*about, *(_value(figures.get(name)) for name in names), time, marks])
    return Table(["run", "method", "level", "seed", "role", "split", *names, "minutes", "marks"], rows)


def paper_tables(entries: Sequence[RunEntry], split: str) -> list[PaperTable]:
    """Return the papers' tables that runs give on a split, as scripts/tables.py prints them, without their blank rows."""
    tables = Tables(entries, split)
    return [_paper_table(one) for name in TABLES for one in tables.of(name)]


def _paper_table(table: cells.Table) -> PaperTable:
    numbers = numbered_notes(table)
    rows = [
        [Cell(row.label), *(_paper_cell(cell, numbers) for cell in row.cells)]
        for row in table.rows
        if any(map(cell_text, row.cells))
    ]
    columns = ["method", *(" ".join(column).strip() for column in table.columns)]
    below = [*table.notes, *(f"[{number}] {note[0].upper()}{note[1:]}." for note, number in numbers.items())]
    return PaperTable(table.title, Table(columns, rows), below)


def _paper_cell(cell: cells.Cell, numbers: Mapping[str, int]) -> Cell:
    beside = [] if cell.published is None else [f"({cell.published:.1f})"]
    beside += [f"[{numbers[note]}]" for note in cell.notes]
    values = cell.gains or cell.values
    return Cell(cell_text(cell), sum(values) / len(values) if values else None, " ".join(beside), cell.bold)


def choices_table(protocol: Protocol) -> Table:
    """Return a row for each candidate of each choice: its figure on val, and which was chosen."""
    rows = []
    for point, choice in protocol.content["choices"].items():
        counts = {kind: choice.get(f"fullsup_{kind}") for kind in ("images", "boxes", "masks")}
        of_boxes = str(choice.get("figure", NOTHING))
        if of_boxes.startswith("MaxBoxAcc") and counts["boxes"] == 0:
            of_boxes += " on pseudo boxes"
        supervision = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count is not None)
        for run, value in choice["candidates"].items():
            chosen = run == choice.get("run")
            options = ", ".join(f"{name} {option}" for name, option in choice["options"].items()) if chosen else ""
            figure = Cell(f"{value:.2f}", value, strong=chosen)
            verdict = Cell(f"chosen: {options}" if chosen else NOTHING, strong=chosen)
            about = [Cell(point), Cell(run, strong=chosen), Cell(of_boxes), figure, verdict]
            rows.append([*about, as_cell(supervision), time_cell(choice.get("time"))])
    return Table(["point", "candidate", "figure", "on val", "choice", "full supervision", "time"], rows)


def opened_table(protocol: Protocol) -> Table:
    """Return a row for each run that test was opened for, or was to be: when, and the marks."""
    rows = [
        [
            Cell(name),
            Cell(one["point"]),
            Cell(one["chosen"]),
            time_cell(one["intended"]),
            time_cell(one["opened"]),
            as_cell("; ".join(one["marks"])),
        ]
        for name, one in protocol.test_runs.items()
    ]
    return Table(["run", "point", "chosen", "intended", "opened", "marks"], rows)


def options_tables(entries: Sequence[RunEntry]) -> tuple[Table, Table]:
    """Return the options in which runs differ, a row for each run; and the options that are the same in all."""
    runs = {entry.folder: entry for entry in entries}
    configs = [entry.config for entry in runs.values()]
    names = options_that_differ(configs, ALWAYS_DIFFER)
    rows = [[Cell(entry.name), *(as_cell(entry.config.get(name)) for name in names)] for entry in runs.values()]
    common = configs[0] if configs else {}
    same = [[Cell(name), as_cell(common[name])] for name in common if name not in {*names, *ALWAYS_DIFFER}]
    return Table(["run", *names], rows), Table(["option", "value"], same)


def unfinished_table(folder: str | os.PathLike) -> Table:
    """Return a row for each run below a folder that has no results: its state, how far it is, and why it failed."""
    rows = []
    for run in sorted(run_folders(Path(folder))):
        if has_results(run):
            continue
        try:
            record = read_record(run) or {}
        except InputError as error:
            record = {"error": error.on_command_line()}
        if is_locked(run.parent / LOGS / f"{run.name}.txt"):
            state, said = "running", None
        elif record.get("state") == "failed":
            state, said = "failed", record.get("error")
        else:
            state, said = "unfinished", record.get("error") or "killed, or running outside a sweep"
        about = [Cell(os.path.relpath(run, folder)), Cell(state, strong=state == "failed"), as_cell(record.get("progress"))]
        rows.append([*about, time_cell(record.get("updated")), as_cell(said)])
    return Table(["run", "state", "progress", "last seen", "reason"], rows)
