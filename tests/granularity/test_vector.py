"""The vector of a cut gives the cut's classes, on tiers and on trees whose leaves are at many depths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import every_cut, made_up_tree
from samples import trees
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.hierarchy import Hierarchy, read_coarsening
from wsol.granularity.tree import LevelTree
from wsol.granularity.vector import coarsening_vector, node_of_class, vector_text


def deepest_tree(hierarchy):
    """The levels c0, c1, ... of a hierarchy, those that still have two classes."""
    steps = [labels for labels in hierarchy.deepest_steps() if len(set(labels.values())) > 1]
    names = [sorted(set(labels.values())) for labels in steps]
    classes = [[own.index(labels[leaf]) for leaf in hierarchy.leaves] for own, labels in zip(names, steps, strict=True)]
    levels = tuple(f"c{i}" for i in range(len(steps)))
    return LevelTree(levels, hierarchy.leaves, np.array(classes), tuple(map(tuple, names)))


@given(trees(), st.data())
def test_a_cut_through_a_tree_of_any_shape(hierarchy, data):
    if len(hierarchy.leaves) < 2:
        return
    tree = deepest_tree(hierarchy)
    level_of = np.zeros(len(tree.leaves), dtype=int)
    for level in range(1, len(tree.levels)):  # nodes from a random choice: all leaves of a node have its level
        for n in range(len(tree.names[level])):
            if data.draw(st.booleans()):
                level_of[tree.members((level, n))] = level
    moved = hierarchy.coarsen(coarsening_vector(hierarchy, tree, level_of, tree.levels))
    parts = {frozenset(leaf for leaf in moved if moved[leaf] == label) for label in set(moved.values())}
    assert parts == {frozenset(tree.leaves[leaf] for leaf in tree.members(node)) for node in tree.nodes(level_of)}


def test_every_cut_through_tiers_is_read_back(tmp_path):
    tree = made_up_tree()
    parents = {f"species{n}": f"genus{n // 2}" for n in range(8)} | {f"genus{n}": f"family{n // 2}" for n in range(4)}
    hierarchy = Hierarchy({**parents, "family0": "root", "family1": "root"})
    cuts = list(every_cut(tree))
    assert len(cuts) == 25  # (1 + 2 ** 2) ** 2
    for level_of in cuts:
        write_text(tmp_path / "v.csv", vector_text(coarsening_vector(hierarchy, tree, level_of, tree.levels)))
        found = read_coarsening(tmp_path / "v.csv", hierarchy)
        names = {tree.leaves[leaf]: tree.names[level][tree.classes[level, leaf]] for leaf, level in enumerate(level_of)}
        assert found == names


def test_an_only_child_is_named_by_its_level_and_a_class_without_images_follows():
    hierarchy = Hierarchy({"a": "A", "A": "R", "b": "B", "unseen": "B", "B": "R"}, ["a", "b", "unseen"])
    tree = LevelTree(("fine", "coarse"), ("a", "b"), np.array([[0, 1], [0, 1]]), (("a", "b"), ("A", "B")))
    assert coarsening_vector(hierarchy, tree, np.array([1, 1]), ["fine", "coarse"]) == {"a": 1, "b": 1, "unseen": 1}
    assert coarsening_vector(hierarchy, tree, np.array([0, 0]), ["fine", "coarse"]) == {"a": 0, "b": 0, "unseen": 0}


def test_a_class_that_is_no_node_is_refused():
    hierarchy = Hierarchy({"a": "A", "b": "A", "c": "C", "A": "R", "C": "R"})
    tree = LevelTree(("f", "g"), ("a", "b", "c"), np.array([[0, 1, 2], [0, 1, 1]]), (("a", "b", "c"), ("x", "y")))
    with pytest.raises(InputError, match="the label hierarchy has no node for 'y' of level 'g'"):
        node_of_class(hierarchy, tree, (1, 1), 1)
