"""What images' labels say about classes: whether a level is consistent with a finer one, and the rows of hierarchy.csv.

In: the labels of splits at their levels, and the classes' names. Out: the first image that does not fit; rows.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from wsol.core.errors import MetadataError
from wsol.data.image_ids import Labels, first_of_each

Tables = dict[str, Labels]  # split to its labels at one level
SMALL = 1 << 16  # labels below this are looked up in an array


def first_inconsistent(below: Tables, tables: Tables) -> tuple[str, int, int, int, int] | None:
    """Return (split, line, finer class, its class so far, its class in that line) of the first label at a level that is not
    the one of all images before it of the same finer class, or None. `below`: the labels of the finer level."""
    if not tables:
        return None
    children = np.concatenate([below[split].at(labels.ids) for split, labels in tables.items()])
    labels = np.concatenate([labels.values for labels in tables.values()])
    has_class = children >= 0  # the others have no class at the finer level
    if children.max(initial=-1) < SMALL:
        last = np.zeros(SMALL + 1, dtype=np.int32)
        last[children] = labels
        if (last[children] == labels)[has_class].all():  # as almost always, and found in half the time
            return None
    codes, _, first = first_of_each(children)
    parents = labels[first]
    wrong = np.flatnonzero((labels != parents[codes]) & has_class)
    if not len(wrong):
        return None
    position = int(wrong[0])
    ends = dict(zip(tables, accumulate(len(one.values) for one in tables.values()), strict=True))
    split = next(split for split, end in ends.items() if position < end)
    number = position - ends[split] + len(tables[split].values) + 1
    return split, number, int(children[position]), int(parents[codes[position]]), int(labels[position])


def rows_of_labels(
    folder: Path,
    levels: Sequence[str],
    splits: Mapping[str, Mapping[str, Labels]],
    names: Mapping[str, Mapping[int, str]],
) -> list[tuple[str, list[str]]]:
    """Return (place, class name at every level) of every finest class, from the labels of its images.

    Args:
        folder: of the data set, for messages.
        levels: the levels' names, finest first.
        splits: split to level to its labels.
        names: level to label to name.

    Raises:
        MetadataError: two images of a finest class differ in their class at another level.
    """
    rows: dict[int, tuple[str, list[str]]] = {}

    def row_of(labels: Sequence[int]) -> list[str]:
        pairs = zip(levels, labels, strict=True)
        return ["" if label < 0 else names[level].get(label, str(label)) for level, label in pairs]

    known: dict[int, list[int]] = {}  # finest class: its label at every level
    for split, tables in splits.items():
        if levels[0] not in tables:
            continue
        ids, finest = tables[levels[0]].ids, tables[levels[0]].values
        none = np.full(len(ids), -1, dtype=np.int32)
        columns = np.stack([tables[level].at(ids) if level in tables else none for level in levels])
        codes, classes, first = first_of_each(finest)
        for label, i in zip(classes.tolist(), first.tolist(), strict=True):
            if label not in known:
                known[label] = columns[:, i].tolist()
                rows[label] = f"{folder}: {split}/{ids[i]}", row_of(known[label])
        expected = np.array([known[label] for label in classes.tolist()], dtype=np.int32)
        wrong = np.any([column != one[codes] for column, one in zip(columns, expected.T, strict=True)], axis=0)
        for i in np.flatnonzero(wrong).tolist():
            row, one = row_of(columns[:, i].tolist()), rows[int(finest[i])][1]
            if row != one:
                raise MetadataError(
                    f"{folder}: the class {row[0]!r} is in {','.join(one[1:])!r} for one image and in {','.join(row[1:])!r} "
                    f"for {f'{split}/{ids[i]}'!r}; expected one class at every level"
                )
    order = list(names[levels[0]]) or sorted(rows)
    return [rows[label] for label in order if label in rows]
