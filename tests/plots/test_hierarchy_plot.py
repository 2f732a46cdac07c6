"""Label hierarchies as radial trees."""

import numpy as np
from hypothesis import given
from matplotlib.backends.backend_agg import FigureCanvasAgg

from conftest import CHECKOUT
from samples import trees
from wsol.core.csv_rows import read_rows
from wsol.data.hierarchy import Hierarchy, read_tree, tier_tree
from wsol.plots.hierarchy_plot import branches, hierarchy_figure, layout


@given(trees())
def test_leaves_are_spaced_evenly_and_no_branch_lies_within_another(hierarchy):
    angles, weights = layout(hierarchy)
    leaves = sorted(angles[leaf] for leaf in hierarchy.leaves)
    np.testing.assert_allclose(leaves, np.arange(len(leaves)) * 2 * np.pi / len(leaves))
    for node in hierarchy.depths:
        below = [leaf for leaf in hierarchy.leaves if node == leaf or node in hierarchy.ancestors(leaf)]
        assert weights[node] == len(below)
        spread = [angles[leaf] for leaf in below]
        assert min(spread) - 1e-9 <= angles[node] <= max(spread) + 1e-9
        inside = [leaf for leaf in hierarchy.leaves if min(spread) <= angles[leaf] <= max(spread)]
        assert set(inside) == set(below)  # edges of different branches never cross
    parts = branches(hierarchy, weights)
    assert sum(weights[part] for part in parts) == len(leaves)
    assert not any(above in parts for part in parts for above in hierarchy.ancestors(part))


def test_a_thousand_leaves_all_have_their_name_apart_from_the_others():
    tree = read_tree(CHECKOUT / "metadata/hierarchies/imagenet_tree.csv")
    figure = hierarchy_figure(tree, "ILSVRC")
    (axes,) = figure.axes
    names = {text.get_text(): text for text in axes.texts}
    assert set(tree.leaves) <= set(names) and tree.root in names
    width, _ = figure.get_size_inches()
    pixels = width / (axes.get_xlim()[1] - axes.get_xlim()[0]) * 72  # points for a unit of the plot
    for one, other in zip(tree.leaves, tree.leaves[1:], strict=False):
        apart = np.subtract(names[one].get_position(), names[other].get_position())
        assert np.hypot(*apart) * pixels > 0.99 * names[one].get_fontsize()


def test_a_small_tree_has_all_names():
    figure = hierarchy_figure(Hierarchy({"crow": "corvid", "corvid": "bird", "owl": "bird"}), "birds")
    assert {text.get_text() for text in figure.axes[0].texts} == {"crow", "owl", "corvid", "bird"}


def test_the_largest_branch_is_named_before_the_root_and_no_name_covers_a_leafs():
    levels, rows = read_rows(CHECKOUT / "metadata/hierarchies/cub.csv")
    tree = tier_tree(levels, [("", row) for _, row in rows], "cub.csv")
    assert "Passeriformes" in {text.get_text() for text in hierarchy_figure(tree, "CUB").axes[0].texts}
    tree = tier_tree(("category", "order"), [("", ("slug", "a very long name of an order")), ("", ("bee", "b"))], "")
    figure = hierarchy_figure(tree, "long")
    FigureCanvasAgg(figure).draw()
    covers = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert not any(covers["a very long name of an order"].overlaps(covers[leaf]) for leaf in tree.leaves if leaf in covers)


def test_a_cut_has_a_colour_and_a_mark_for_each_level():
    tree = Hierarchy({"crow": "corvid", "jay": "corvid", "corvid": "bird", "owl": "strix", "strix": "bird"})
    axes = hierarchy_figure(tree, "birds", {"species": ["owl"], "family": ["corvid"]}).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["species: 1", "family: 1"]
    names = {text.get_text(): text.get_color() for text in axes.texts}
    assert names["crow"] == names["jay"] != names["owl"]
    marks = [collection.get_offsets() for collection in axes.collections if len(collection.get_offsets())]
    assert sum(len(each) for each in marks if np.any(each)) == 2
