"""The label levels of a choice as nested partitions of the finest classes, and cuts through them.

A node is a class at a level. A cut is a set of nodes of which every finest class has exactly one above it (or is one): it
says which level's maps each image is given, by its finest class. Every single level is a cut.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wsol.core.errors import MetadataError


@dataclass(frozen=True, eq=False)
class LevelTree:
    """Levels, finest first, each of which joins classes of the one before it.

    levels: their names, L of them. leaves: the names of the finest classes, C of them, whether or not the finest level is
    among `levels`. classes: int64 (L, C), the class of every leaf at every level, numbered from 0. names: the classes of
    every level.

    Raises:
        MetadataError: a class of one level has leaves in two classes of the next.

    >>> birds = LevelTree(("species", "family"), ("crow", "jay", "owl"), np.array([[0, 1, 2], [0, 0, 1]]),
    ...                   (("crow", "jay", "owl"), ("corvids", "owls")))
    >>> birds.parents[0].tolist()
    [0, 0, 1]
    """

    levels: tuple[str, ...]
    leaves: tuple[str, ...]
    classes: np.ndarray
    names: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for i, parent in enumerate(self.parents):
            if len(wrong := np.flatnonzero(parent[self.classes[i]] != self.classes[i + 1])):
                name = self.names[i][self.classes[i, wrong[0]]]
                raise MetadataError(
                    f"the class {name!r} of level {self.levels[i]!r} has images in two classes of {self.levels[i + 1]!r}; "
                    "expected one"
                )

    @cached_property
    def parents(self) -> list[np.ndarray]:
        """For every level but the last, int64 (its classes,): the class at the next level."""
        found = []
        for finer, coarser, names in zip(self.classes, self.classes[1:], self.names, strict=False):
            parent = np.zeros(len(names), dtype=np.int64)
            parent[finer] = coarser
            found.append(parent)
        return found

    def nodes(self, level_of: np.ndarray) -> list[tuple[int, int]]:
        """Return the nodes (level, class) of a cut, coarsest first; `level_of`: int (C,), each leaf's level."""
        used = {(int(level), int(self.classes[level, leaf])) for leaf, level in enumerate(level_of)}
        return sorted(used, key=lambda node: (-node[0], node[1]))

    def members(self, node: tuple[int, int]) -> list[int]:
        """Return the leaves below a node (level, class)."""
        return np.flatnonzero(self.classes[node[0]] == node[1]).tolist()


def single(tree: LevelTree, level: int) -> np.ndarray:
    """Return a level as a cut: int64 (C,)."""
    return np.full(len(tree.leaves), level, dtype=np.int64)
