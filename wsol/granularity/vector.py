"""The `--coarsening` vector of a cut: how many edges each finest class moves towards the root, to train one model on it."""

from collections.abc import Mapping, Sequence

import numpy as np

from wsol.core.csv_rows import csv_text
from wsol.core.errors import InputError
from wsol.data.hierarchy import COARSENING_HEADER, Hierarchy
from wsol.granularity.tree import LevelTree


def node_of_class(hierarchy: Hierarchy, tree: LevelTree, node: tuple[int, int], edges: int) -> str:
    """Return the node of a hierarchy with the finest classes of a level's class (level, class) below it.

    Where several have the same ones, each the only child of the next, it is the one `edges` above the leaves, if it is among
    them; else the lowest.

    Raises:
        InputError: no node has them.
    """
    known = set(tree.leaves)
    wanted = {tree.leaves[leaf] for leaf in tree.members(node)}
    below: dict[str, set[str]] = {}
    for leaf in hierarchy.leaves:
        if leaf in known:
            for each in (leaf, *hierarchy.ancestors(leaf)):
                below.setdefault(each, set()).add(leaf)
    leaf = next(leaf for leaf in tree.leaves if leaf in wanted)
    found = [each for each in (leaf, *hierarchy.ancestors(leaf)) if below.get(each) == wanted]
    if not found:
        name = tree.names[node[0]][node[1]]
        raise InputError(f"the label hierarchy has no node for {name!r} of level {tree.levels[node[0]]!r}")
    preferred = hierarchy.ancestor(leaf, edges)
    return preferred if preferred in found else found[0]


def coarsening_vector(
    hierarchy: Hierarchy, tree: LevelTree, level_of: np.ndarray, known_levels: Sequence[str]
) -> dict[str, int]:
    """Return k of every leaf of the hierarchy, so that `Hierarchy.coarsen` gives the classes of a cut.

    level_of: int (C,), the cut. known_levels: all levels of the data set, finest first. A leaf of the hierarchy without
    images goes to the node of the cut above it, or stays.

    Raises:
        InputError: the hierarchy has no node for one of the cut's.
        MetadataError: the result isn't one that training takes.
    """
    targets: dict[str, str] = {}
    for node in tree.nodes(level_of):
        target = node_of_class(hierarchy, tree, node, list(known_levels).index(tree.levels[node[0]]))
        targets |= {tree.leaves[leaf]: target for leaf in tree.members(node)}
    used = set(targets.values())
    vector = {}
    for leaf in hierarchy.leaves:
        path = [leaf, *hierarchy.ancestors(leaf)]
        goal = targets.get(leaf) or next((each for each in path if each in used), leaf)
        vector[leaf] = path.index(goal)
    hierarchy.coarsen(vector)
    return vector


def vector_text(vector: Mapping[str, int]) -> str:
    r"""Return the text of the file that `--coarsening` takes.

    >>> vector_text({"crow": 1, "owl": 0})
    'class,k\ncrow,1\nowl,0\n'
    """
    return csv_text([COARSENING_HEADER, *vector.items()])
