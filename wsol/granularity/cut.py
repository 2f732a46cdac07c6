"""The best cut for what each leaf gains at each level: exact, by dynamic programming from the finest level up.

A split is a place where a cut departs from what holds above it: "class for the mammals, category for the rest" has one.
Every single level has none, so that a penalty per split prefers no level; a penalty per node would prefer the coarsest.
"""

from dataclasses import dataclass

import numpy as np

from wsol.granularity.tree import LevelTree


@dataclass(frozen=True, eq=False)
class Cut:
    """level_of: int64 (C,), each leaf's level. default: the level that holds where nothing else is said. exceptions: the
    places (level, class) below which another level holds than above them, with that level."""

    level_of: np.ndarray
    default: int
    exceptions: tuple[tuple[tuple[int, int], int], ...]

    @property
    def splits(self) -> int:
        """The number of exceptions."""
        return len(self.exceptions)


def best_cut(tree: LevelTree, values: np.ndarray, penalty: float = 0.0) -> Cut:
    """Return the cut that maximises the sum over leaves of their value at their level, less `penalty` per split.

    values: float64 (L, C). penalty: 0 or more; infinite: the best single level. On ties the finer level is the default, and
    what holds above a node stays.

    With v a node of level i, and l the level that holds above it, F(v, l) is the best sum below v if l holds at v too:
    F(v, i) = the sum of v's values at level i, for then v is in the cut; for l < i, F(v, l) = sum over v's children u of
    max(F(u, l), max over m of F(u, m) - penalty). A level coarser than i can't hold at v, whose parent would be in the cut.

    >>> birds = LevelTree(("species", "family"), ("crow", "jay", "owl"), np.array([[0, 1, 2], [0, 0, 1]]),
    ...                   (("crow", "jay", "owl"), ("corvids", "owls")))
    >>> values = np.array([[1.0, 1.0, 3.0], [2.0, 1.5, 2.0]])
    >>> best_cut(birds, values, penalty=0.25).level_of.tolist()
    [1, 1, 0]
    >>> best_cut(birds, values, penalty=2.0)
    Cut(level_of=array([1, 1, 1]), default=1, exceptions=())
    """
    tables = _tables(tree, values, penalty)
    default = int(_kept(tables[-1], penalty).sum(axis=0).argmax())
    level_of = np.empty(len(tree.leaves), dtype=np.int64)
    holds = np.full(len(tables[-1]), default)  # at every node of the level, what holds above it; -1: it is below the cut
    exceptions: list[tuple[tuple[int, int], int]] = []
    for i in range(len(tables) - 1, -1, -1):
        table, nodes = tables[i], np.arange(len(tables[i]))
        # What holds above stays unless another level is better by more than the penalty: fewer splits on ties.
        best = table.argmax(axis=1)
        departs = (holds >= 0) & (table[nodes, holds] < table[nodes, best] - penalty)
        exceptions += [((i, node), int(best[node])) for node in np.flatnonzero(departs).tolist()]
        holds = np.where(departs, best, holds)
        ends = holds == i
        level_of[ends[tree.classes[i]]] = i
        if i:
            holds = np.where(ends, -1, holds)[tree.parents[i - 1]]
    return Cut(level_of, default, tuple(exceptions))


def _kept(table: np.ndarray, penalty: float) -> np.ndarray:
    """Return what each node gives (nodes, levels) if a level holds above it, at which it may depart from that level."""
    return np.maximum(table, table.max(axis=1, keepdims=True) - penalty)


def _tables(tree: LevelTree, values: np.ndarray, penalty: float) -> list[np.ndarray]:
    """Return F of every level: float64 (its nodes, levels up to it)."""
    if not penalty >= 0:
        raise ValueError(f"penalty {penalty}: expected 0 or more")
    tables: list[np.ndarray] = []
    for i, classes in enumerate(tree.classes):
        count = len(tree.names[i])
        table = np.empty((count, i + 1))
        table[:, i] = np.bincount(classes, weights=values[i], minlength=count)
        if i:
            kept = _kept(tables[-1], penalty)
            for level in range(i):
                table[:, level] = np.bincount(tree.parents[i - 1], weights=kept[:, level], minlength=count)
        tables.append(table)
    return tables


def cut_value(cut: Cut, values: np.ndarray, penalty: float = 0.0) -> float:
    """Return what `best_cut` maximises, for a cut."""
    total = float(values[cut.level_of, np.arange(values.shape[1])].sum())
    return total - penalty * cut.splits if cut.splits else total  # infinite times none
