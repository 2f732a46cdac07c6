"""The best cut against brute force over every cut, and over every way to say one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol.core.errors import MetadataError
from wsol.granularity.cut import best_cut, cut_value
from wsol.granularity.tree import LevelTree, single


@st.composite
def level_trees(draw, most_leaves=4, most_levels=3):
    """Nested partitions of a few leaves; the finest level may already join some, the coarsest may have a single class."""
    leaves = draw(st.integers(2, most_leaves))
    classes = [np.arange(leaves)]
    for _ in range(draw(st.integers(1, most_levels - 1))):
        count = int(classes[-1].max()) + 1
        steps = [0, *draw(st.lists(st.integers(0, 1), min_size=count - 1, max_size=count - 1))]
        classes.append(np.cumsum(steps)[classes[-1]])
    names = tuple(tuple(f"{i}.{n}" for n in range(int(own.max()) + 1)) for i, own in enumerate(classes))
    levels = tuple(f"level{i}" for i in range(len(classes)))
    return LevelTree(levels, tuple(f"leaf{i}" for i in range(leaves)), np.array(classes), names)


def every_cut(tree):
    """Every consistent assignment of levels to leaves: where a node is in the cut, all its leaves have its level."""
    for assignment in product(range(len(tree.levels)), repeat=len(tree.leaves)):
        level_of = np.array(assignment)
        if all((level_of[tree.members(node)] == node[0]).all() for node in tree.nodes(level_of)):
            yield level_of


def fewest_splits(tree, level_of):
    """The fewest places at which a cut departs from what holds above, by trying every level at every node above it."""
    inner = [
        (i, n)
        for i in range(len(tree.levels) - 1, -1, -1)
        for n in range(len(tree.names[i]))
        if all(level_of[leaf] < i for leaf in tree.members((i, n)))
    ]
    nodes = tree.nodes(level_of)

    def parent(node):
        i, n = node
        return (i + 1, int(tree.parents[i][n])) if i + 1 < len(tree.levels) else None

    fewest = len(tree.leaves)
    for default, *said in product(range(len(tree.levels)), repeat=1 + len(inner)):
        holds = dict(zip(inner, said, strict=True)) | {node: node[0] for node in nodes}
        if any(level > node[0] for node, level in holds.items()):
            continue
        fewest = min(fewest, sum(level != holds.get(parent(node), default) for node, level in holds.items()))
    return fewest


WHOLE = st.integers(-4, 4)


@settings(deadline=None)
@given(level_trees(), st.data())
def test_no_cut_is_better(tree, data):
    shape = len(tree.levels) * len(tree.leaves)
    values = np.array(data.draw(st.lists(WHOLE, min_size=shape, max_size=shape)), dtype=float)
    values = values.reshape(len(tree.levels), -1)
    penalty = data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.5]))
    found = best_cut(tree, values, penalty)
    slow = max(
        values[level_of, np.arange(len(level_of))].sum() - penalty * fewest_splits(tree, level_of)
        for level_of in every_cut(tree)
    )
    assert cut_value(found, values, penalty) == pytest.approx(slow)
    assert any((found.level_of == level_of).all() for level_of in every_cut(tree))
    if penalty:
        assert found.splits == fewest_splits(tree, found.level_of)


@settings(deadline=None, max_examples=30)
@given(level_trees())
def test_every_single_level_is_a_cut_without_splits(tree):
    for level in range(len(tree.levels)):
        values = np.zeros((len(tree.levels), len(tree.leaves)))
        values[level] = 1
        found = best_cut(tree, values, 0.25)
        assert (found.level_of == single(tree, level)).all() and found.splits == 0
        assert fewest_splits(tree, single(tree, level)) == 0


def test_an_infinite_penalty_gives_the_best_level():
    tree = LevelTree(("a", "b"), ("x", "y"), np.array([[0, 1], [0, 0]]), (("x", "y"), ("xy",)))
    found = best_cut(tree, np.array([[5.0, 0.0], [3.0, 3.0]]), np.inf)
    assert found.default == 1 and found.splits == 0
    assert cut_value(found, np.array([[5.0, 0.0], [3.0, 3.0]]), np.inf) == 6


def test_levels_that_are_not_nested_are_refused():
    with pytest.raises(MetadataError, match=r"the class 'x' of level 'a' has images in two classes of 'b'"):
        LevelTree(("a", "b"), ("1", "2"), np.array([[0, 0], [0, 1]]), (("x",), ("p", "q")))


def test_a_negative_penalty_is_refused():
    tree = LevelTree(("a", "b"), ("x", "y"), np.array([[0, 1], [0, 0]]), (("x", "y"), ("xy",)))
    with pytest.raises(ValueError, match="penalty -1: expected 0 or more"):
        best_cut(tree, np.zeros((2, 2)), -1)
