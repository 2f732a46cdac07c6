"""The parts of a paper's table: which runs a cell is made of, its figures, and the rows that every table shares.

In: collected runs. Out: `Table`, which significance.py marks and table_text.py prints.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from wsol.core.errors import InputError
from wsol.metrics.seeds_test import FIGURES
from wsol.sweeps.collection import NOT_SHOWN, RunEntry, counted, options_that_differ

METHODS, BASELINES, SUPERVISION = range(3)  # the sections of a table, in their order
METHOD_NAMES = {
    "cam": "CAM",
    "has": "HaS",
    "acol": "ACoL",
    "spg": "SPG",
    "adl": "ADL",
    "cutmix": "CutMix",
    "fsl_seg": "FSL-Seg",
    "fsl_det": "FSL-Det",
    "tri_region": "tri-region",
}
CAM_AGG, CENTER, FSL_DET = "CAM-Agg", "Center", "FSL-Det"
FULLY_SUPERVISED = ("FSL-Seg", FSL_DET)
PAPER_ROWS = ("CAM", "HaS", "ACoL", "SPG", "ADL", "CutMix", CAM_AGG, CENTER, *FULLY_SUPERVISED)  # in their order
IN_FULL_SUPERVISION = frozenset(("thresholds_from",))  # the run that was chosen, another one for each configuration
IN_AGGREGATION = frozenset(("epochs", "pretrained_path"))  # how CAM-Agg is run: from another run's checkpoint

Column = tuple[str, str]  # the head above several columns ("": none), and the column's own
RunsByColumn = Mapping[Column, Sequence[RunEntry]]


@dataclass
class Cell:
    """One cell: a figure with one value for each seed, or text."""

    runs: Sequence[RunEntry] = ()
    values: Sequence[float] = ()  # of `runs`, in percent
    metric: str = ""
    gains: Sequence[float] | None = None  # in points, shown instead of the values
    text: str = ""  # shown where there are no values
    published: float | None = None
    bold: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """The mean over the seeds, in percent."""
        return fmean(self.values)


@dataclass
class TableRow:
    """One row, in a section: methods, baselines, or how much full supervision there is."""

    label: str
    cells: list[Cell]
    section: int = METHODS


@dataclass
class Table:
    """A table: `notes` stand below it, after those of its cells."""

    title: str
    columns: list[Column]
    rows: list[TableRow]
    notes: list[str] = field(default_factory=list)


def method_name(entry: RunEntry) -> str:
    """Return the name of a run's method, as the papers write it."""
    method = str(entry.config.get("wsol_method"))
    return CAM_AGG if entry.is_aggregated else METHOD_NAMES.get(method, method)


def trained_part(entry: RunEntry) -> str:
    """Return which part of the network a run trained: "frozen", "last 2 blocks"; "" for all of it."""
    if entry.config.get("freeze_backbone"):
        return "frozen"
    blocks = entry.config.get("train_last_blocks")
    return f"last {blocks} block{'s' * (blocks != 1)}" if blocks else ""


def shown_name(entry: RunEntry) -> str:
    """Return the name of a run's method, with the part of the network that it trained unless that is all of it, and whether
    it was trained at several levels at once."""
    together = "levels at once" if entry.trained_together else ""
    return ", ".join(filter(None, (method_name(entry), trained_part(entry), together)))


def dataset_of(entry: RunEntry) -> str:
    """Return the name of a run's data set."""
    return str(entry.config.get("dataset_name"))


def architecture_of(entry: RunEntry) -> str:
    """Return the name of a run's architecture."""
    return str(entry.config.get("architecture"))


def reportable(entries: Iterable[RunEntry], split: str) -> list[RunEntry]:
    """Return the runs whose figures on a split belong in a table: those `counted` with the most training images a class."""
    return with_most_images([entry for entry in counted(entries) if split in entry.results.splits])


def with_most_images(entries: Sequence[RunEntry]) -> list[RunEntry]:
    """Return the runs without those on fewer training images a class than the others of their method and level."""

    def images(entry: RunEntry) -> float:
        return entry.config.get("num_train_sample_per_class") or math.inf  # 0: all

    def study(entry: RunEntry) -> tuple[str, ...]:
        return dataset_of(entry), architecture_of(entry), shown_name(entry), entry.level

    most: dict[tuple[str, ...], float] = {}
    for entry in entries:
        most[study(entry)] = max(images(entry), most.get(study(entry), 0))
    return [entry for entry in entries if images(entry) == most[study(entry)]]


def level_order(entries: Iterable[RunEntry]) -> list[str]:
    """Return the levels of runs of one data set, finest first: by their number of classes."""
    classes: dict[str, tuple[int, bool, str]] = {}
    for entry in entries:
        if not entry.is_aggregated:  # whose number of classes is that of the finest level
            classes[entry.level] = (-entry.results.num_classes, entry.same_as is not None, entry.level)
    left = {entry.level for entry in entries} - set(classes)
    return [*sorted(classes, key=lambda level: classes[level]), *sorted(left)]


def rows_by_label(entries: Iterable[RunEntry], column_of: Callable[[RunEntry], Column]) -> dict[str, dict[Column, list]]:
    """Return row label to column to its runs; methods in the papers' order.

    The label is the `shown_name`, and every option in which its runs of one cell differ, other than those that the sweep
    chose.
    """
    groups: dict[tuple[str, str, Column], list[RunEntry]] = {}
    for entry in entries:
        groups.setdefault((method_name(entry), shown_name(entry), column_of(entry)), []).append(entry)
    rows: dict[tuple[int, str, str], dict[Column, list[RunEntry]]] = {}
    for (method, name, column), runs in groups.items():
        ignored = {*NOT_SHOWN, "seed", "bootstrap", "map_level", *(name for run in runs for name in run.chosen)}
        ignored |= IN_AGGREGATION if method == CAM_AGG else IN_FULL_SUPERVISION if method in FULLY_SUPERVISED else set()
        names = options_that_differ([run.config for run in runs], ignored)
        for run in runs:
            label = ", ".join([name, *(f"{option} {run.config.get(option)}" for option in names)])
            place = PAPER_ROWS.index(method) if method in PAPER_ROWS else PAPER_ROWS.index(CAM_AGG)
            rows.setdefault((place, method, label), {}).setdefault(column, []).append(run)
    return {key[2]: rows[key] for key in sorted(rows)}


def check_seeds(runs: Iterable[RunEntry], cell: str) -> None:
    """Raise InputError if two of a cell's runs have the same seed: the spread would be too small."""
    by_seed: dict[object, RunEntry] = {}
    for run in runs:
        seed = run.config.get("seed")
        if seed in by_seed:
            raise InputError(
                f"{cell}: {by_seed[seed].folder} and {run.folder} are both of seed {seed}; expected one of them"
            )
        by_seed[seed] = run


def metric_of(runs: Iterable[RunEntry], split: str) -> str:
    """Return the figure that runs of one data set are compared by: MaxBoxAccV2, or PxAP where there are only masks."""
    found = [run.results.split(split) for run in runs]
    return next((metric for metric in FIGURES if any(one.find(metric) for one in found)), "")


def figure_cell(runs: Sequence[RunEntry], split: str, metric: str) -> Cell:
    """Return the cell of some runs, with a note of each mark and of a level that was trained in another's place."""
    rows = [(run, run.results.split(split).find(metric)) for run in runs]
    known = [(run, row.value) for run, row in rows if row]
    runs_known = [run for run, _ in known]
    return Cell(runs_known, [value for _, value in known], metric, notes=notes_of(runs_known))


def notes_of(runs: Sequence[RunEntry]) -> list[str]:
    """Return the notes of a cell: its runs' marks, and a level that was trained in another's place."""
    same = dict.fromkeys(run.same_as for run in runs if run.same_as)
    marks = dict.fromkeys(mark for run in runs for mark in run.marks)
    return [*(f"trained as {level}, which has the same classes" for level in same), *marks]


def add_published(rows: Sequence[TableRow], position: int, figures: Mapping[str, float | None]) -> None:
    """Add the published figures (method to percent) to one column's cells; what the paper prints as "-", None, is a "-"."""
    for row in rows:
        cell = row.cells[position]
        if row.label in figures and figures[row.label] is None and not cell.values:
            cell.text = "-"
        elif cell.values:
            cell.published = figures.get(row.label)


def supervision_rows(rows: Sequence[TableRow]) -> list[TableRow]:
    """Return rows with the images / boxes (masks where there are no boxes) of train-fullsup that each column's runs were
    chosen or trained with: one row, or several with the methods named where these differ."""
    profiles: list[tuple[list[str], list[str]]] = []  # labels, texts
    for row in rows:
        texts = [_supervision(cell.runs) for cell in row.cells]
        if not any(texts):
            continue
        for labels, known in profiles:
            if all(a == b or not a or not b for a, b in zip(texts, known, strict=True)):
                labels.append(row.label)
                known[:] = [a or b for a, b in zip(texts, known, strict=True)]
                break
        else:
            profiles.append(([row.label], texts))
    name = "train-fullsup images / boxes or masks"
    return [
        TableRow(
            f"{name} of {'; '.join(labels)}" if len(profiles) > 1 else name,
            [Cell(text=text) for text in texts],
            SUPERVISION,
        )
        for labels, texts in profiles
    ]


def _supervision(runs: Iterable[RunEntry]) -> str:
    found = {(run.fullsup_images, run.fullsup_boxes or run.fullsup_masks) for run in runs if run.fullsup_images is not None}
    return ", ".join(f"{images} / {'?' if marked is None else marked}" for images, marked in sorted(found, key=str))
