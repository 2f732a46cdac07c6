"""Label hierarchies: rooted trees over the finest classes, how labels become coarser in them, and their text.

In: hierarchy.csv (consistent tiers), tree.csv (child,parent; leaves at many depths), or a graph whose nodes have several
parents. Out: a `Hierarchy`, which relabels its leaves (Cole et al., section 3.2, appendices 0.A.1.3 and 0.C.0.2).
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, repeat
from numbers import Integral

from wsol.core.csv_rows import csv_text, read_notice, read_rows
from wsol.core.errors import MetadataError, shortened
from wsol.data.metadata import MOST_DIGITS, is_whole_number

TREE_HEADER = ("child", "parent")
COARSENING_HEADER = ("class", "k")
MOST_LEVEL = 200  # bytes of a level's name, which is part of file names
ROOT = "root"  # the name of the node above a coarsest tier of several classes


class Hierarchy:
    """A rooted tree whose leaves are the finest classes.

    Args:
        parents: every node except the root, to its parent.
        classes: the leaves, in the order in which to list them; default: the order of `parents`.

    Attributes: `root`; `leaves`, a tuple; `parents`; `depths`, each node's distance to the root in edges.

    Raises:
        MetadataError: no root or several, a cycle, a leaf that is not a class, a class that is not a leaf, or a name that is
            empty or has a line end (a text file could not store it).

    >>> birds = Hierarchy({"crow": "corvid", "jay": "corvid", "corvid": "bird", "owl": "bird"})
    >>> birds.coarsen({"crow": 1, "jay": 1, "owl": 0})
    {'crow': 'corvid', 'jay': 'corvid', 'owl': 'owl'}
    """

    def __init__(self, parents: Mapping[str, str], classes: Iterable[str] | None = None):
        self.parents = dict(parents)
        inner = dict.fromkeys(self.parents.values())
        if broken := [node for node in (*self.parents, *inner) if not is_line(node)]:
            raise MetadataError(f"the name {broken[0]!r}; expected non-empty names on one line")
        roots = [node for node in inner if node not in self.parents]
        if len(roots) > 1:
            raise MetadataError(f"{len(roots)} roots: {some_names(roots)}; expected one node without a parent")
        childless = dict.fromkeys(node for node in self.parents if node not in inner)
        self.depths = self._depths(roots)
        self.root = roots[0]
        self.leaves = tuple(childless if classes is None else classes)
        if len(set(self.leaves)) < len(self.leaves):
            duplicate = next(name for name, count in Counter(self.leaves).items() if count > 1)
            raise MetadataError(f"duplicate class {duplicate!r}; expected unique classes")
        for name in self.leaves:
            if name not in childless:
                where = "has nodes below it" if name in inner else "is not in the tree"
                raise MetadataError(f"the class {name!r} {where}; expected every class to be a leaf")
        if extra := [name for name in childless if name not in set(self.leaves)]:
            raise MetadataError(
                f"{len(extra)} leaves are not classes: {some_names(extra)}; expected the leaves to be the classes"
            )

    def _depths(self, roots: Sequence[str]) -> dict[str, int]:
        """Return the distance of every node to the root; a node that does not reach it is on a cycle, or below one."""
        depths = dict.fromkeys(roots, 0)
        for node in self.parents:
            path: dict[str, None] = {}
            while node not in depths:
                if node in path:
                    names = list(path)
                    cycle = " -> ".join(map(repr, [*names[names.index(node) :], node]))
                    raise MetadataError(f"a cycle, {cycle}; expected every node to reach one root")
                path[node] = None
                node = self.parents[node]
            for step, above in enumerate(reversed(path), 1):
                depths[above] = depths[node] + step
        if not depths:
            raise MetadataError("no edges; expected a tree of at least two nodes")
        return depths

    def ancestors(self, node: str) -> Iterator[str]:
        """Yield the nodes above `node`, nearest first, the root last."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def ancestor(self, node: str, k: int) -> str:
        """Return the node `k` edges above, or the root if there are fewer edges."""
        if not isinstance(k, Integral) or k < 0:
            raise MetadataError(f"k = {k} of {node!r}; expected a whole number, 0 or more")
        for _, above in zip(range(k), self.ancestors(node), strict=False):
            node = above
        return node

    def coarsen(self, k: int | Mapping[str, int], labels: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return leaf to label, with labels moved k edges towards the root (and no further).

        >>> birds = {"wren": "Troglodytes", "winter wren": "Troglodytes", "Troglodytes": "birds", "robin": "birds"}
        >>> Hierarchy(birds, ["wren", "winter wren", "robin"]).coarsen({"wren": 1, "winter wren": 1, "robin": 0})
        {'wren': 'Troglodytes', 'winter wren': 'Troglodytes', 'robin': 'robin'}

        Args:
            k: the number of edges, for all leaves or for each.
            labels: leaf to the label to start from; default: the leaf itself.

        Raises:
            MetadataError: a resulting label is a descendant of another (the message names both), a leaf has no k, or a k is
                not a whole number of at least 0.
        """
        labels = {leaf: leaf for leaf in self.leaves} if labels is None else labels
        vector = k if isinstance(k, Mapping) else dict.fromkeys(labels, k)
        if missing := [leaf for leaf in labels if leaf not in vector]:
            raise MetadataError(
                f"no k for the class {missing[0]!r} ({len(missing)} such classes); expected one for every class"
            )
        moved = {leaf: self.ancestor(label, vector[leaf]) for leaf, label in labels.items()}
        used = set(moved.values())
        for leaf, label in moved.items():
            if above := next((node for node in self.ancestors(label) if node in used), None):
                other = next(name for name, target in moved.items() if target == above)
                raise MetadataError(
                    f"the label {label!r} (of {leaf!r}) is a descendant of the label {above!r} (of {other!r}); expected "
                    "no label to be a descendant of another"
                )
        return moved

    def deepest_steps(self) -> Iterator[dict[str, str]]:
        """Yield leaf to label for the levels c0, c1, ...: each step moves only the deepest labels to their parents (appendix
        0.A.1.3), so no label is ever a descendant of another. In the last, every label is the root.

        >>> steps = Hierarchy({"crow": "corvid", "corvid": "bird", "owl": "bird"}).deepest_steps()
        >>> [sorted(set(labels.values())) for labels in steps]
        [['crow', 'owl'], ['corvid', 'owl'], ['bird']]
        """
        labels = {leaf: leaf for leaf in self.leaves}
        for deepest in range(max(self.depths.values()), -1, -1):
            yield labels
            labels = {
                leaf: self.parents[node] if self.depths[node] == deepest > 0 else node for leaf, node in labels.items()
            }

    def restricted(self, leaves: Iterable[str]) -> "Hierarchy":
        """Return the tree of some leaves, in the given order, and the nodes above them."""
        leaves = list(leaves)
        kept = {node for leaf in leaves for node in (leaf, *self.ancestors(leaf))}
        return Hierarchy({child: parent for child, parent in self.parents.items() if child in kept}, leaves)

    def tree_text(self, notice: Iterable[str] = ()) -> str:
        """Return the text of tree.csv: the notice as comments, the header, then child,parent in the order of `parents`."""
        notice = list(notice)
        if broken := [line for line in notice if line and not is_line(line)]:
            raise MetadataError(f"the notice {broken[0]!r}; expected lines without line ends")
        return "".join(f"# {line}".rstrip() + "\n" for line in notice) + csv_text([TREE_HEADER, *self.parents.items()])


def is_line(text: str) -> bool:
    """Return whether a text is a single line and not empty, so that a file of lines can store it."""
    return text.splitlines() == [text]


def check_level_names(levels: Sequence[str], places: Iterable[str]) -> None:
    """Raise MetadataError for a level name that is a duplicate, cannot be part of a file's name, or cannot be stored in a
    file of lines; `places`: where each name is, for the message."""
    for i, (level, place) in enumerate(zip(levels, places, strict=False)):
        if len(level.encode("utf-8", "surrogatepass")) > MOST_LEVEL:
            raise MetadataError(f"{place}: {shortened(repr(level))}; expected level names of at most {MOST_LEVEL} bytes")
        if level in (".", "..", *levels[:i]) or level.startswith("#") or set(level) & set("/\\\0") or not is_line(level):
            raise MetadataError(
                f"{place}: {level!r}; expected unique level names, finest first, each on one line, not '.' or '..', "
                "without slash or backslash, not starting with #"
            )


def some_names(names: Sequence[str]) -> str:
    """Return the first five names for a message, and dots if there are more."""
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def read_tree(path: str | os.PathLike, classes: Collection[str] | None = None) -> Hierarchy:
    """Return the hierarchy of a tree.csv. `classes` are the finest classes; some may be outside the tree.

    Raises:
        MetadataError: the file breaks the format, or is not a tree whose leaves are classes.
    """
    parents: dict[str, str] = {}
    line_of: dict[str, int] = {}
    for number, (child, parent) in read_rows(path, TREE_HEADER)[1]:
        if not (child and parent) or child == parent:
            raise MetadataError(f"{path}:{number}: {child!r}, {parent!r}; expected child,parent with two different names")
        if child in parents:
            raise MetadataError(
                f"{path}:{number}: {child!r} has the parents {parents[child]!r} and {parent!r}; expected one parent"
            )
        parents[child] = parent
        line_of[child] = number
    inner = set(parents.values())
    if classes is not None:
        known = set(classes)
        if extra := [child for child in parents if child not in inner and child not in known]:
            raise MetadataError(
                f"{path}:{line_of[extra[0]]}: the leaf {extra[0]!r} is not a class of the finest level ({len(extra)} such); "
                "expected the leaves to be the classes"
            )
        classes = [name for name in classes if name in parents or name in inner]
    try:
        return Hierarchy(parents, classes)
    except MetadataError as error:
        raise MetadataError(f"{path}: {error}") from None


def _free_name(name: str, suffix: str, taken: Collection[str]) -> str:
    """Return `name`, with the suffix repeated until it differs from all taken names."""
    while name in taken:
        name += suffix
    return name


def tier_tree(levels: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], source: str) -> Hierarchy:
    """Return the hierarchy of consistent tiers, from rows of (place in the file, class name at every level).

    A row whose coarser fields are all empty is a class outside the hierarchy. A name that also occurs in a finer tier gets
    " (level)" appended. If the coarsest tier has several classes, a node `root` is put above them. `source` is named in
    messages about no single row.

    Raises:
        MetadataError: a single level, a class with two parents, a finest class in two rows, a row with gaps, or no class
            inside the hierarchy.

    >>> rows = [("1", ("crow", "corvid")), ("2", ("jay", "corvid")), ("3", ("barn owl", "owl"))]
    >>> tier_tree(("species", "family"), rows, "birds").parents
    {'crow': 'corvid', 'jay': 'corvid', 'barn owl': 'owl', 'corvid': 'root', 'owl': 'root'}
    """
    parents: dict[str, str] = {}
    names: list[dict[str, str]] = [{} for _ in levels]  # per tier, name to node
    rows = list(rows)
    if len(levels) < 2:
        raise MetadataError(f"{source}: a single level, {','.join(levels)}; expected two or more for a hierarchy")
    taken = {name for _, row in rows for name in row}
    for i, level in enumerate(levels):
        finer = {node for tier in names[:i] for node in tier.values()}
        for _, row in rows:
            if row[i] and any(row[1:]) and row[i] not in names[i]:
                suffix = f" ({level})"
                names[i][row[i]] = _free_name(row[i] + suffix, suffix, taken) if row[i] in finer else row[i]
                taken.add(names[i][row[i]])
    leaves: dict[str, None] = {}
    for where, row in rows:
        if row[0] in leaves:
            raise MetadataError(f"{where}: duplicate class {row[0]!r}; expected one row per finest class")
        leaves[row[0]] = None
        if row[0] and not any(row[1:]):
            continue
        if not all(row):
            raise MetadataError(f"{where}: {','.join(row)!r}; expected a name at every level, or only at the finest")
        for i, (below, above) in enumerate(pairwise(row)):
            child, parent = names[i][below], names[i + 1][above]
            if parents.setdefault(child, parent) != parent:
                raise MetadataError(
                    f"{where}: the {levels[i]} {below!r} belongs to the {levels[i + 1]} {above!r} and to "
                    f"{parents[child]!r}; expected only one"
                )
    top = list(names[-1].values())
    if len(top) > 1:
        parents |= dict.fromkeys(top, _free_name(ROOT, " of all", taken))
    try:
        return Hierarchy(parents, [name for name in leaves if name in names[0]])
    except MetadataError as error:
        raise MetadataError(f"{source}: {error}") from None


def read_tiers(path: str | os.PathLike, classes: Collection[str] | None = None) -> tuple[list[str], Hierarchy]:
    """Return (level names, hierarchy) of a hierarchy.csv. `classes` are the finest classes; some may be outside it.

    Raises:
        MetadataError: the file breaks the format, or its rows are not consistent tiers.
    """
    levels, rows = read_rows(path)
    header = f"{path}:{len(read_notice(path)) + 1}"
    check_level_names(levels, repeat(header))
    known = None if classes is None else set(classes)
    if known and levels[0] in known:
        raise MetadataError(
            f"{header}: {levels[0]!r} is a class; expected a header of level names (comments before it start with #)"
        )
    for number, row in rows:
        if known is not None and row[0] not in known:
            raise MetadataError(
                f"{path}:{number}: {row[0]!r} is not a class of the finest level; expected names of such classes"
            )
    return levels, tier_tree(levels, [(f"{path}:{number}", row) for number, row in rows], str(path))


def read_coarsening(path: str | os.PathLike, hierarchy: Hierarchy) -> dict[str, str]:
    """Return leaf to label under the vector of a CSV file class,k: one row per leaf, k edges towards the root.

    Raises:
        MetadataError: the file breaks the format, or `Hierarchy.coarsen` does not allow the vector.
    """
    vector: dict[str, int] = {}
    leaves = set(hierarchy.leaves)
    for number, (name, k) in read_rows(path, COARSENING_HEADER)[1]:
        if name not in leaves or name in vector or not is_whole_number(k):
            said = f"{k[:MOST_DIGITS]}..." if len(k) > MOST_DIGITS else k
            raise MetadataError(
                f"{path}:{number}: {name!r}, {said!r}; expected every finest class once, with a k of 0 or more (at most "
                f"{MOST_DIGITS} digits)"
            )
        vector[name] = int(k)
    try:
        return hierarchy.coarsen(vector)
    except MetadataError as error:
        raise MetadataError(f"{path}: {error}") from None


def greedy_parents(parents: Mapping[str, Sequence[str]], classes: Iterable[str]) -> dict[str, str]:
    """Return node to its only parent, from a graph with several, by the paper's greedy rule (appendix 0.C.0.2).

    Nodes with several parents are visited in ascending order of their names. Each keeps the parent for which the root still
    reaches the most classes when the other parents are deleted (on ties the first in ascending order). The other parents are
    deleted, with everything that the root no longer reaches; at the end, so are nodes without a class below them.

    >>> greedy_parents({"pet": ["animal"], "cat": ["animal", "pet"], "dog": ["animal"], "animal": []}, ["cat", "dog"])
    {'cat': 'animal', 'dog': 'animal'}

    Raises:
        MetadataError: no root or several.
    """
    roots = [node for node, above in parents.items() if not above]
    if len(roots) != 1:
        raise MetadataError(f"{len(roots)} nodes without a parent: {some_names(roots) or 'none'}; expected one root")
    (root,) = roots
    classes = set(classes)
    left = {node: sorted(above) for node, above in parents.items()}
    for node in sorted(node for node, above in parents.items() if len(above) > 1):
        if len(left.get(node, ())) < 2:
            continue
        kept = [_reachable(left, root, {*left[node]} - {parent}) for parent in left[node]]
        best = max(kept, key=lambda nodes: len(nodes & classes))
        left = {child: [parent for parent in above if parent in best] for child, above in left.items() if child in best}
    wanted: set[str] = set()
    for node in classes & set(left):
        while node not in wanted:
            wanted.add(node)
            node = left[node][0] if left[node] else node
    return {node: above[0] for node, above in left.items() if above and node in wanted}


def _reachable(parents: Mapping[str, Sequence[str]], root: str, deleted: set[str]) -> set[str]:
    """Return the nodes that the root reaches without the deleted ones."""
    children: dict[str, list[str]] = {}
    for child, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(child)
    found, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node not in found and node not in deleted:
            found.add(node)
            waiting.extend(children.get(node, ()))
    return found
