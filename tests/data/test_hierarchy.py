import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from samples import trees
from wsol.core.errors import MetadataError
from wsol.core.files import write_text
from wsol.data.hierarchy import Hierarchy, greedy_parents, read_coarsening, read_tiers, read_tree, tier_tree

BIRDS = {"crow": "corvid", "jay": "corvid", "corvid": "bird", "owl": "bird"}


@st.composite
def graphs(draw):
    """A random graph with one root `n00`, whose nodes have up to three parents, and its nodes without children."""
    size = draw(st.integers(2, 20))
    parents = {"n00": []}
    for i in range(1, size):
        above = draw(st.sets(st.integers(0, i - 1), min_size=1, max_size=3))
        parents[f"n{i:02d}"] = [f"n{j:02d}" for j in sorted(above)]
    return parents, [node for node in parents if not any(node in above for above in parents.values())]


def is_consistent(finer, coarser):
    """Whether every class of the finer labelling lies in one class of the coarser."""
    return all(len({coarser[leaf] for leaf in finer if finer[leaf] == label}) == 1 for label in set(finer.values()))


def try_coarsen(hierarchy, vector):
    try:
        return hierarchy.coarsen(vector)
    except MetadataError:
        return None


@given(trees(even=True), st.integers(0, 6), st.integers(0, 6))
def test_coarsening_by_a_then_b_equals_a_plus_b(hierarchy, a, b):
    assert hierarchy.coarsen(b, hierarchy.coarsen(a)) == hierarchy.coarsen(a + b)


@given(trees(), st.data())
def test_coarsening_by_two_vectors_equals_their_sum(hierarchy, data):
    vectors = st.fixed_dictionaries({leaf: st.integers(0, 3) for leaf in hierarchy.leaves})
    a, b = data.draw(vectors), data.draw(vectors)
    both = try_coarsen(hierarchy, {leaf: a[leaf] + b[leaf] for leaf in a})
    first = try_coarsen(hierarchy, a)
    assume(both is not None and first is not None)
    assert hierarchy.coarsen(b, first) == both


@given(trees(even=True))
def test_each_step_of_consistent_tiers_is_consistent_and_has_no_more_categories(hierarchy):
    steps = [hierarchy.coarsen(k) for k in range(max(hierarchy.depths.values()) + 1)]
    for finer, coarser in pairwise(steps):
        assert is_consistent(finer, coarser)
        assert len(set(coarser.values())) <= len(set(finer.values()))
    assert set(steps[-1].values()) == {hierarchy.root}
    assert list(hierarchy.deepest_steps()) == steps  # where all leaves are equally deep, both are the same


@given(trees())
def test_each_step_of_the_deepest_is_consistent_and_has_no_more_categories(hierarchy):
    steps = list(hierarchy.deepest_steps())
    assert len(steps) == max(hierarchy.depths.values()) + 1
    for number, (finer, coarser) in enumerate(pairwise(steps)):
        assert is_consistent(finer, coarser)
        assert len(set(coarser.values())) <= len(set(finer.values()))
        deepest = max(hierarchy.depths[label] for label in finer.values())
        assert deepest == len(steps) - 1 - number
        vector = {leaf: hierarchy.depths[leaf] - hierarchy.depths[label] for leaf, label in coarser.items()}
        assert hierarchy.coarsen(vector) == coarser  # and keeps the rule that no label is below another
    assert set(steps[-1].values()) == {hierarchy.root}


@given(trees(), st.data())
def test_a_vector_is_allowed_exactly_where_no_label_is_below_another(hierarchy, data):
    vector = data.draw(st.fixed_dictionaries({leaf: st.integers(0, 3) for leaf in hierarchy.leaves}))
    moved = {leaf: hierarchy.ancestor(leaf, k) for leaf, k in vector.items()}
    clash = any(other in hierarchy.ancestors(label) for label in moved.values() for other in moved.values())
    assert try_coarsen(hierarchy, vector) == (None if clash else moved)


@given(trees())
def test_distances_ancestors_and_text(hierarchy):
    for node, depth in hierarchy.depths.items():
        above = list(hierarchy.ancestors(node))
        assert len(above) == depth and (not above or above[-1] == hierarchy.root)
        assert hierarchy.ancestor(node, depth + 5) == hierarchy.root
        assert hierarchy.ancestor(node, 0) == node


def test_a_tree_to_text_and_back(tmp_path):
    tree = Hierarchy({'crow, "the"': "corvid", "jay": "corvid", "#corvid": "bird", "corvid": "bird"})
    write_text(tmp_path / "tree.csv", tree.tree_text(["a notice", "", "of two paragraphs"]))
    assert (tmp_path / "tree.csv").read_text().startswith("# a notice\n#\n# of two paragraphs\nchild,parent\n")
    read = read_tree(tmp_path / "tree.csv")
    assert (read.parents, read.leaves, read.root) == (tree.parents, tree.leaves, "bird")
    assert read_tree(tmp_path / "tree.csv", ["unknown", "jay", "#corvid", 'crow, "the"']).leaves[0] == "jay"


def test_the_pair_that_breaks_the_rule_is_named():
    message = r"'jay' \(of 'jay'\) is a descendant of the label 'corvid' \(of 'crow'\)"
    with pytest.raises(MetadataError, match=message):
        Hierarchy(BIRDS).coarsen({"crow": 1, "jay": 0, "owl": 0})
    with pytest.raises(MetadataError, match=r"'corvid' \(of 'crow'\) is a descendant of the label 'bird' \(of 'owl'\)"):
        Hierarchy(BIRDS).coarsen(1)
    with pytest.raises(MetadataError, match="no k for the class 'owl'"):
        Hierarchy(BIRDS).coarsen({"crow": 1, "jay": 1})
    with pytest.raises(MetadataError, match="k = -1"):
        Hierarchy(BIRDS).coarsen(-1)
    with pytest.raises(MetadataError, match=r"k = 1.5 of 'crow'; expected a whole number"):
        Hierarchy(BIRDS).coarsen(1.5)
    assert Hierarchy(BIRDS).coarsen(np.int64(0)) == {name: name for name in ("crow", "jay", "owl")}


@pytest.mark.parametrize(
    ("parents", "classes", "message"),
    [
        ({"a": "r", "b": "s"}, None, "2 roots: 'r', 's'"),
        ({"a": "b", "b": "a"}, None, "a cycle, 'a' -> 'b' -> 'a'"),
        ({"x": "r", "a": "b", "b": "c", "c": "b"}, None, "a cycle, 'b' -> 'c' -> 'b'"),
        ({}, None, "no edge"),
        (BIRDS, ["crow", "jay", "owl", "emu"], "'emu' is not in the tree"),
        (BIRDS, ["crow", "jay", "owl", "corvid"], "'corvid' has nodes below it"),
        (BIRDS, ["crow", "jay"], "1 leaves are not classes: 'owl'"),
        (BIRDS, ["crow", "jay", "owl", "owl"], "duplicate class 'owl'"),
    ],
)
def test_what_is_no_tree_over_the_classes_is_refused(parents, classes, message):
    with pytest.raises(MetadataError, match=message):
        Hierarchy(parents, classes)


TIERS = ("species", "genus", "order")


def test_consistent_tiers(tmp_path):
    write_text(tmp_path / "hierarchy.csv", 'species,genus,order\nc1,"c, big",o\nc2,"c, big",o\nd1,d,p\nlost,,\np,q,p\n')
    levels, hierarchy = read_tiers(tmp_path / "hierarchy.csv")
    assert levels == list(TIERS)
    assert hierarchy.leaves == ("c1", "c2", "d1", "p")  # a row without coarser names lies outside
    assert hierarchy.coarsen(1) == {"c1": "c, big", "c2": "c, big", "d1": "d", "p": "q"}
    assert hierarchy.coarsen(2)["p"] == "p (order)"  # a name of a finer tier
    assert set(hierarchy.coarsen(3).values()) == {"root"}  # two orders need a node above them
    assert tier_tree(TIERS, [("", ["a", "b", "c"]), ("", ["x", "y", "c"])], "").root == "c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species,genus\na,g\nb,g\na,g\n", "hierarchy.csv:4: duplicate class 'a'"),
        ("species,genus,order\na,g,o\nb,g,p\n", "hierarchy.csv:3: the genus 'g' belongs to the order 'p' and to 'o'"),
        ("species,genus,order\na,g,\n", "hierarchy.csv:2: 'a,g,'; expected a name at every level"),
        ("species\na\n", "hierarchy.csv: a single level"),
        ("species,genus\na,\n", "hierarchy.csv: no edge"),
        ("# note\nspecies,x/../../out\na,g\n", "hierarchy.csv:2: 'x/../../out'; expected unique level names"),
        ("species,species\na,g\n", "hierarchy.csv:1: 'species'; expected unique level names"),
        ("species,\na,g\n", "hierarchy.csv:1: ''; expected unique level names"),
        ("species,x\\y\na,g\n", "expected unique level names"),
        ("species,genus\na,g\nemu,\n", "hierarchy.csv:3: 'emu' is not a class of the finest level"),
        ("#species,genus\na,g\nb,g\n", "hierarchy.csv:2: 'a' is a class; expected a header"),
        (
            'species,genus\na,"g\nh"\n',
            "hierarchy.csv:2: unexpected end of data; expected comma-separated",
        ),
        ("species,genus\na,g,x\n", "hierarchy.csv:2: 'a,g,x'; expected 2 fields"),
        ("", "hierarchy.csv:1: nothing; expected the header"),
    ],
)
def test_what_is_no_set_of_tiers_is_refused_with_its_line(tmp_path, text, message):
    write_text(tmp_path / "hierarchy.csv", text)
    with pytest.raises(MetadataError, match=re.escape(message)):
        read_tiers(tmp_path / "hierarchy.csv", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("s,g\na,root\nb,other\n", {"root of all"}),
        ("s,g\na,root\nb,root of all\n", {"root of all of all"}),
        ("s,g\nx,x\ny,x (g)\n", {"x", "x (g)", "x (g) (g)", "y", "root"}),
    ],
)
def test_a_node_of_ours_takes_no_name_that_is_there(tmp_path, text, nodes):
    write_text(tmp_path / "hierarchy.csv", text)
    hierarchy = read_tiers(tmp_path / "hierarchy.csv")[1]
    assert nodes <= set(hierarchy.depths) and max(hierarchy.depths.values()) == 2 and len(hierarchy.depths) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("child,parent\na,r\na,s\n", "tree.csv:3: 'a' has the parents 'r' and 's'"),
        ("child,parent\na,\n", "tree.csv:2: 'a', ''"),
        ("child,parent\na,a\n", "tree.csv:2: 'a', 'a'"),
        ("# note\nkid,parent\n", "tree.csv:2: 'kid,parent'; expected the header child,parent"),
        ("child,parent\na,b\nb,a\n", "tree.csv: a cycle"),
        ("child,parent\na\n", "tree.csv:2: 'a'; expected 2 fields"),
        ("child,parent\na,r\nx,r\n", "tree.csv:3: the leaf 'x' is not a class of the finest level"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_line(tmp_path, text, message):
    write_text(tmp_path / "tree.csv", text)
    with pytest.raises(MetadataError, match=message):
        read_tree(tmp_path / "tree.csv", ["a", "b"])


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\u2028b", ""])
def test_a_name_that_a_text_file_would_not_give_back_is_refused(name):
    with pytest.raises(MetadataError, match="expected non-empty names on one line"):
        Hierarchy({name: "r", "c": "r"})
    with pytest.raises(MetadataError, match="expected lines without line ends"):
        Hierarchy(BIRDS).tree_text(["a", "", f"{name}\n"])


def test_a_vector_from_a_file(tmp_path):
    path = tmp_path / "vector.csv"
    write_text(path, "class,k\ncrow,1\njay,1\nowl,0\n")
    assert read_coarsening(path, Hierarchy(BIRDS)) == {"crow": "corvid", "jay": "corvid", "owl": "owl"}
    for text, message in {
        "class,k\ncrow,1\ncrow,1\n": "vector.csv:3: 'crow', '1'",
        "class,k\nemu,1\n": "vector.csv:2: 'emu', '1'; expected every finest class once",
        "class,k\ncrow,-1\n": "vector.csv:2: 'crow', '-1'",
        f"class,k\ncrow,{'9' * 5000}\n": "vector.csv:2: 'crow', '999999999...'",
        "class,k\ncrow,0\njay,1\nowl,0\n": "vector.csv: the label 'crow'",
        "class,k\ncrow,1\n": "vector.csv: no k for the class 'jay'",
        "crow,1\n": "vector.csv:1: 'crow,1'; expected the header class,k",
    }.items():
        write_text(path, text)
        with pytest.raises(MetadataError, match=message):
            read_coarsening(path, Hierarchy(BIRDS))


@pytest.mark.parametrize("parents", [{}, {"a": [], "b": []}, {"a": ["b"], "b": ["a"]}])
def test_a_graph_without_one_root_is_refused(parents):
    with pytest.raises(MetadataError, match=r"nodes without a parent: .*; expected one root"):
        greedy_parents(parents, list(parents))


def test_the_greedy_rule_keeps_the_parent_that_loses_fewest_classes():
    # `dog` is a canine and a pet; deleting canine loses the fox, deleting pet loses goldfish and canary.
    parents = {"entity": [], "canine": ["entity"], "pet": ["entity"], "dog": ["canine", "pet"], "fox": ["canine"]}
    parents |= {"goldfish": ["pet"], "canary": ["pet"], "poodle": ["dog"], "thing": ["canine"]}
    classes = ["poodle", "fox", "goldfish", "canary"]
    assert greedy_parents(parents, classes) == {
        "pet": "entity",
        "dog": "pet",
        "goldfish": "pet",
        "canary": "pet",
        "poodle": "dog",
    }
    tie = {node: above for node, above in parents.items() if node != "canary"}
    assert greedy_parents(tie, [name for name in classes if name != "canary"]) == {
        "canine": "entity",
        "dog": "canine",
        "fox": "canine",
        "poodle": "dog",
    }


@given(graphs())
def test_the_greedy_rule_gives_a_tree_of_known_edges(graph):
    parents, classes = graph
    tree = greedy_parents(parents, classes)
    assert all(parent in parents[child] for child, parent in tree.items())
    hierarchy = Hierarchy(tree)
    assert hierarchy.root == "n00" and set(hierarchy.leaves) <= set(classes)
    if all(len(above) < 2 for above in parents.values()):
        assert set(hierarchy.leaves) == set(classes) and hierarchy.parents == {c: p[0] for c, p in parents.items() if p}
    assert greedy_parents(dict(reversed(parents.items())), classes) == tree  # whatever the order it is given in
