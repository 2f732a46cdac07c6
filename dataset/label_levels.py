"""Coarser levels for a data set whose finest labels are written: from a table of classes, or from a tree.

In: per split, image id to finest label. Out: class_labels_<level>.txt beside class_labels.txt, and per data set
class_names[_<level>].txt, levels.txt, and hierarchy.csv or tree.csv (docs/hierarchies.md).
"""

from collections.abc import Sequence
from pathlib import Path

from wsol.errors import InputError
from wsol.files import write_text
from wsol.hierarchy import Hierarchy, csv_text
from wsol.levels import SPLITS
from wsol.metadata import configure_metadata, get_class_labels

Splits = dict[str, dict[str, int]]  # split, image id: finest label


def read_splits(folder: Path) -> Splits:
    """Return the finest labels of the splits that a data set has."""
    metadata = {split: configure_metadata(folder / split) for split in SPLITS}
    return {split: get_class_labels(each) for split, each in metadata.items() if Path(each.class_labels).exists()}


def write_levels(
    folder: Path,
    levels: Sequence[str],
    rows: Sequence[Sequence[str]],
    splits: Splits,
    tree: str | None = None,
) -> None:
    """Write the levels after the first for every split, and what describes the whole data set.

    Args:
        rows: one finest class each, by its label: its name at every level, "" where the level leaves it out.
        tree: text of tree.csv, for leaves at many depths; without it the rows are written as hierarchy.csv.

    Raises:
        InputError: a label that has no row; nothing is written then.
    """
    for split, labels in splits.items():
        if wrong := [f"{image_id},{label}" for image_id, label in labels.items() if not 0 <= label < len(rows)]:
            raise InputError(f"{folder / split}/class_labels.txt: {wrong[0]!r}; expected labels from 0 to {len(rows) - 1}")
    names = {level: list(dict.fromkeys(row[i] for row in rows if row[i])) for i, level in enumerate(levels)}
    for i, level in enumerate(levels):
        number = {name: label for label, name in enumerate(names[level])}
        for split, labels in splits.items() if i else ():
            lines = [f"{image_id},{number[rows[label][i]]}\n" for image_id, label in labels.items() if rows[label][i]]
            write_text(folder / split / f"class_labels_{level}.txt", "".join(lines))
        file = f"class_names_{level}.txt" if i else "class_names.txt"
        write_text(folder / file, "".join(f"{name},{label}\n" for name, label in number.items()))
    if tree is None:
        write_text(folder / "hierarchy.csv", csv_text([levels, *rows]))
    else:
        write_text(folder / "tree.csv", tree)
    write_text(folder / "levels.txt", "".join(f"{level}\n" for level in levels))


def write_tree_levels(
    folder: Path, finest: str, classes: Sequence[str], hierarchy: Hierarchy, splits: Splits, notice: Sequence[str] = ()
) -> list[str]:
    """Write levels c0, c1, ... of a tree with leaves at many depths, down to the last that has two categories.

    `classes` are the names of the finest level by label; those outside the tree have no label at any c level. Level c0 is
    left out where it would be the finest level again, the same classes. Returns the levels' names, finest first.
    """
    steps = [labels for labels in hierarchy.deepest_steps() if len(set(labels.values())) > 1]
    columns = {f"c{k}": labels for k, labels in enumerate(steps) if k or len(labels) < len(classes)}
    rows = [[name, *(labels.get(name, "") for labels in columns.values())] for name in classes]
    levels = [finest, *columns]
    write_levels(folder, levels, rows, splits, hierarchy.tree_text(notice))
    return levels
