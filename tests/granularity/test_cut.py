"""The best cut against brute force over every cut, and over every way to say one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_up import every_cut, fewest_splits, level_trees
from wsol.core.errors import MetadataError
from wsol.granularity.cut import best_cut, cut_value
from wsol.granularity.tree import LevelTree, single

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
