"""Coarser levels for a data set that has its finest labels, from a table of classes or from a tree.

In: per split, image id to finest label. Out: class_labels_<level>.txt next to class_labels.txt, and per data set
class_names[_<level>].txt, levels.txt, and hierarchy.csv or tree.csv (docs/hierarchies.md).
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import compute

from wsol.core.columns import write_columns
from wsol.core.csv_rows import csv_text, read_rows
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.hierarchy import TREE_HEADER, Hierarchy, check_level_names
from wsol.data.image_ids import Labels
from wsol.data.levels import SPLITS, level_file, read_names
from wsol.data.metadata import configure_metadata, read_labels

Splits = dict[str, Labels]  # split to its finest labels
AT_ONCE = 1 << 15  # lines that are made at a time


def read_splits(folder: Path, splits: Sequence[str] = SPLITS) -> Splits:
    """Return the finest labels of the splits of a data set, as far as it has them."""
    metadata = {split: configure_metadata(folder / split) for split in splits}
    return {split: read_labels(each.class_labels) for split, each in metadata.items() if Path(each.class_labels).exists()}


def _check_names(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Raise InputError if the finest classes have other names already: they may belong to a different data set."""
    names, new = read_names(path), {label: row[0] for label, row in enumerate(rows)}
    for number, label in enumerate(names | new if names else (), 1):
        if names.get(label) != new.get(label):
            raise InputError(
                f"{path}:{number}: the class {label} is {names.get(label)!r}, in the hierarchy {new.get(label)!r}; "
                "expected the same classes, or no such file"
            )


def _describes(path: Path, table: Sequence[Sequence[str]]) -> bool:
    """Return whether a CSV file has the header and rows of a table, in any order; comments, and rows with only a class, do
    not count."""
    if not path.exists():
        return False
    header, rows = read_rows(path)
    expected = sorted(list(row) for row in table[1:] if any(row[1:]))
    return header == list(table[0]) and sorted(row for _, row in rows if any(row[1:])) == expected


def _lines(labels: Labels, ends: pyarrow.StringArray) -> Iterator[pyarrow.StringArray]:
    """Yield the lines of a level's file: every id with the end for its finest label, without those that have none."""
    for start in range(0, len(labels.ids), AT_ONCE):
        end_of = ends.take(pyarrow.array(labels.values[start : start + AT_ONCE]))
        yield compute.binary_join_element_wise(labels.ids.array.slice(start, AT_ONCE), end_of, "").drop_null()


def write_levels(
    folder: Path,
    levels: Sequence[str],
    rows: Sequence[Sequence[str]],
    splits: Splits,
    tree: Hierarchy | None = None,
    notice: Sequence[str] = (),
) -> None:
    """Write the levels after the first for every split, and what describes the whole data set.

    A file that already says the same stays unchanged, with its comments and its order, so classes keep their numbers.

    Args:
        folder: metadata/<dataset>.
        levels: the levels' names, finest first.
        rows: one per finest class, in the order of labels: its name at every level, "" if the level leaves it out.
        splits: split to its labels at the finest level.
        tree: for leaves at many depths, written to tree.csv after the notice; without it the rows go to hierarchy.csv.
        notice: comment lines above the tree.

    Raises:
        InputError: a level name that cannot be part of a file's name, a label without a row, or other finest classes than in
            class_names.txt. Nothing is written then.
    """
    check_level_names(levels, repeat(str(folder)))
    for split, labels in splits.items():
        wrong = np.flatnonzero((labels.values < 0) | (labels.values >= len(rows)))
        if len(wrong):
            first = f"{labels.ids[int(wrong[0])]},{labels.values[wrong[0]]}"
            raise InputError(f"{folder / split}/class_labels.txt: {first!r}; expected labels from 0 to {len(rows) - 1}")
    _check_names(folder / "class_names.txt", rows)
    table = [levels, *rows] if tree is None else [TREE_HEADER, *tree.parents.items()]
    description = folder / ("hierarchy.csv" if tree is None else "tree.csv")
    described = _describes(description, table)

    if not read_names(folder / "class_names.txt"):
        write_text(folder / "class_names.txt", "".join(f"{row[0]},{label}\n" for label, row in enumerate(rows)))
    for i, level in enumerate(levels[1:], 1):
        path = folder / level_file("class_names", level, levels[0])
        names = dict.fromkeys(row[i] for row in rows if row[i])
        number = {name: label for label, name in read_names(path).items()}
        if number.keys() != names.keys():
            number = {name: label for label, name in enumerate(names)}
            write_text(path, "".join(f"{name},{label}\n" for name, label in number.items()))
        ends = pyarrow.array((f",{number[row[i]]}\n" if row[i] else None for row in rows), pyarrow.string())
        for split, labels in splits.items():
            write_columns(folder / split / level_file("class_labels", level, levels[0]), _lines(labels, ends))
    if not described:
        write_text(description, csv_text(table) if tree is None else tree.tree_text(notice))
    write_text(folder / "levels.txt", "".join(f"{level}\n" for level in levels))


def write_tree_levels(
    folder: Path, finest: str, classes: Sequence[str], hierarchy: Hierarchy, splits: Splits, notice: Sequence[str] = ()
) -> list[str]:
    """Write levels c0, c1, ... of a tree with leaves at many depths, up to the last with at least two categories.

    `classes` are the names of the finest level in the order of labels; those outside the tree have no label at any c level.
    Level c0 is left out if it would equal the finest level. Return the level names, finest first.
    """
    steps = [labels for labels in hierarchy.deepest_steps() if len(set(labels.values())) > 1]
    columns = {f"c{k}": labels for k, labels in enumerate(steps) if k or len(labels) < len(classes)}
    rows = [[name, *(labels.get(name, "") for labels in columns.values())] for name in classes]
    levels = [finest, *columns]
    write_levels(folder, levels, rows, splits, hierarchy, notice)
    return levels
