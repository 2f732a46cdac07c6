"""Which of a table's best figures are bold: those that a paired test separates from the second best of their column.

In: a table, whose cells know their runs. Out: the table, marked, with a note of every comparison. Read from the runs'
`<split>_images.npz`: no map is scored again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wsol.core.errors import InputError
from wsol.metrics.images_file import images_name, read_images
from wsol.metrics.seeds_test import Shares, holm, image_shares, mean_shares, seeds_p_value
from wsol.sweeps.cells import METHODS, Cell, Table, TableRow
from wsol.sweeps.collection import RunEntry

LEVEL = 0.05
Measured = tuple[Shares, dict[str, tuple[int, int]]]  # of a run: shares, and the sizes of its maps, by image id


@dataclass(frozen=True)
class Comparison:
    """The best and the second best figure of a column."""

    column: str
    best: TableRow
    second: TableRow
    position: int

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """Their cells."""
        return self.best.cells[self.position], self.second.cells[self.position]

    @property
    def key(self) -> tuple:
        """What is the same for two columns with the same runs: a level that was trained in another's place."""
        return tuple(tuple(run.folder for run in cell.runs) for cell in self.cells)

    def __str__(self) -> str:
        return f"{self.column}: {self.best.label} against {self.second.label}"


class PairedTests:
    """The tests of several tables; what a run gave on its images is read once."""

    def __init__(self, split: str):
        self.split = split
        self._measured: dict[tuple, Measured] = {}

    def mark(self, table: Table) -> None:
        """Set the bold cells of a table, and add a note of what was tested and what could not be."""
        p_values: dict[tuple, float] = {}
        tested = []
        for comparison in _comparisons(table):
            best, second = comparison.cells
            try:
                if comparison.key not in p_values:
                    p_values[comparison.key] = self._p_value(best, second)
                tested.append(comparison)
            except InputError as error:
                table.notes.append(f"Not tested: {comparison} ({error}).")
        if not tested:
            return
        corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
        said = []
        for comparison in tested:
            p_value = corrected[comparison.key]
            comparison.cells[0].bold = p_value < LEVEL
            said.append(f"{comparison}, p = {p_value:.2g}")
        table.notes.append(
            f"Bold: the best method of a column where a paired test over images separates it from the second (p < {LEVEL:g} "
            f"after Holm's correction for {len(p_values)} comparison{'s' * (len(p_values) > 1)}): {'; '.join(said)}."
        )

    def _p_value(self, best: Cell, second: Cell) -> float:
        measured = [[self._of_run(run, best.metric) for run in cell.runs] for cell in (best, second)]
        (shares, sizes), *others = [one for of_cell in measured for one in of_cell]
        if any(other.keys() != shares.keys() for other, _ in others):
            raise InputError("their runs scored different images")
        if any(other != sizes for _, other in others):
            raise InputError("their maps differ in size")
        first, other = (mean_shares([shares for shares, _ in of_cell]) for of_cell in measured)
        return seeds_p_value(first, other)

    def _of_run(self, run: RunEntry, metric: str) -> Measured:
        if (run.folder, metric) not in self._measured:
            evaluator = read_images(run.folder / images_name(self.split)).evaluator()
            self._measured[run.folder, metric] = image_shares(evaluator, metric), evaluator.map_sizes
        return self._measured[run.folder, metric]


def _comparisons(table: Table) -> Iterator[Comparison]:
    """Yield the comparison of every column with two methods or more."""
    for position, column in enumerate(table.columns):
        rows = [row for row in table.rows if row.section == METHODS and _competes(row.cells[position].runs)]
        ranked = sorted(rows, key=lambda row: -row.cells[position].mean)  # stable: the first of equal ones
        if len(ranked) > 1:
            yield Comparison(" ".join(column).strip(), ranked[0], ranked[1], position)


def _competes(runs: Sequence[RunEntry]) -> bool:
    """Return whether a cell has runs of its own: CAM-Agg at the level that it was trained at is CAM, with the same maps."""
    return bool(runs) and not all(run.is_aggregated and run.level == run.config.get("label_level") for run in runs)
