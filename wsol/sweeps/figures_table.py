"""Every figure of some runs side by side: a row for each method and level, a column for each figure, and Center's rows.

In: entries of one data set and architecture. Out: a `Table`; nothing in it is tested.
"""

from collections.abc import Callable, Sequence

from wsol.data.metadata import read_id_list
from wsol.runs.results import Row, SplitResults
from wsol.sweeps.cells import BASELINES, CENTER, Cell, Column, Table, TableRow, level_order, notes_of, rows_by_label
from wsol.sweeps.collection import RunEntry

FIGURES = ("MaxBoxAccV2", "mean_MaxBoxAcc", "MaxBoxAcc", "PxAP", "top1_loc", "top5_loc", "top1_cls", "top5_cls")
CLASSES = ("", "classes")


def figures_table(
    title: str,
    entries: Sequence[RunEntry],
    split: str,
    center: Callable[[RunEntry, tuple[str, ...]], SplitResults | None],
) -> Table:
    """Return the table. `center` gives Center's results on images of a run's data set."""
    levels = level_order(entries)
    rows: list[tuple[str, list[RunEntry], str]] = []
    for label, by_level in rows_by_label(entries, lambda entry: ("", entry.level)).items():
        rows += [(label, list(by_level["", level]), level) for level in levels if ("", level) in by_level]
    found: list[tuple[TableRow, dict[Column, Cell]]] = []
    for label, runs, level in rows:
        cells = _cells([run.results.split(split) for run in runs], runs)
        cells[CLASSES] = Cell(text=str(runs[0].results.num_classes))
        found.append((TableRow(f"{label}, {level}", []), cells))
    sets: dict[tuple[str, ...], list[str]] = {}
    for _, runs, level in rows:
        images = tuple(read_id_list(runs[0].folder / f"{split}_image_ids.txt"))
        sets.setdefault(images, []).append(level)
    for images, of_levels in sets.items():
        results = center(entries[0], images)
        name = CENTER if len(sets) == 1 else f"{CENTER} ({', '.join(dict.fromkeys(of_levels))})"
        if results:
            found.append((TableRow(name, [], BASELINES), _cells([results])))
    columns = [CLASSES, *_ordered({column for _, cells in found for column in cells} - {CLASSES})]
    for row, cells in found:
        row.cells = [cells.get(column, Cell()) for column in columns]
    return Table(f"{title} on {split}", columns, [row for row, _ in found])


def _cells(results: Sequence[SplitResults], runs: Sequence[RunEntry] = ()) -> dict[Column, Cell]:
    """Return column to cell of some runs' results, at the split's own score-map thresholds."""
    by_column: dict[Column, list[Row]] = {}
    for one in results:
        for row in one.rows:
            if row.threshold_rule != "val" and row.metric in FIGURES:
                by_column.setdefault(_column(row), []).append(row)
    return {
        column: Cell(runs, [row.value for row in rows], rows[0].metric, notes=notes_of(runs))
        for column, rows in by_column.items()
    }


def _column(row: Row) -> Column:
    of_one_iou = row.metric == "MaxBoxAcc" and row.iou is not None
    return "", f"IoU {row.iou:g}" if of_one_iou else row.metric


def _ordered(columns: set[Column]) -> list[Column]:
    def place(column: Column) -> tuple[int, float]:
        is_iou = column[1].startswith("IoU ")
        name = "MaxBoxAcc" if is_iou else column[1]
        return FIGURES.index(name), float(column[1].removeprefix("IoU ")) if is_iou else 0.0

    return sorted(columns, key=place)
