from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from conftest import CHECKOUT, run
from samples import trees
from scripts.plot_dataset import box_sizes_figure, counts_figure, images_figure, read_rejected
from wsol.core.csv_rows import read_rows
from wsol.core.files import write_text
from wsol.data.hierarchy import Hierarchy, read_tree, tier_tree
from wsol.plots.drawing import PREDICTED_BOX, TRUE_BOX, draw_boxes, name_ticks, show_photo, slot_width, wrapped
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


def test_names_are_no_formulas(tmp_path):
    tree = Hierarchy({"$\\frac$": "cost $5 to $9", "b": "cost $5 to $9"})
    figures = [
        hierarchy_figure(tree, "$\\frac$"),
        counts_figure("$\\frac$", "train", {"$\\frac$": [("$\\frac$", 2), ("$5", 1)]}),
    ]
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    figures += [box_sizes_figure({"$\\frac$": np.arange(3)}), images_figure(tmp_path, {"a.png": "$\\frac$"}, {}, "$\\frac$")]
    for figure in figures:
        FigureCanvasAgg(figure).draw()
        named = [text for text in figure.findobj(Text) if "$5" in text.get_text() or "frac" in text.get_text()]
        assert named and not any(text.get_parse_math() for text in named)


def test_rejected_images_with_their_boxes_and_all_reasons(tmp_path):
    lines = [
        "image,reason,x0,y0,x1,y1",
        "a.png,close_up,1,2,3,4",
        "a.png,blurred,,,,",
        "a.png,close_up,5,6,7,8",
        "b.png,,,,,",
    ]
    write_text(tmp_path / "rejected.csv", "\n".join(lines))
    titles, boxes = read_rejected(tmp_path / "rejected.csv")
    assert titles == {"a.png": "close_up; blurred", "b.png": ""}
    assert boxes == {"a.png": [(1, 2, 3, 4), (5, 6, 7, 8)]}


def test_all_pictures_of_a_data_set(workspace):
    write_text(workspace / "rejected.csv", "image,reason\ntest/round-red-striped-ring/000.png,close-up\n")
    printed = run("scripts/plot_dataset.py", "Toy", "--rejected", "rejected.csv", "--out", "plots", cwd=workspace)
    names = ["Toy_counts", "box_sizes", "Toy_hierarchy", "Toy_samples", "Toy_rejected"]
    assert sorted(path.name for path in (workspace / "plots").iterdir()) == sorted(f"{name}.png" for name in names)
    for name in names:
        assert f"written: plots/{name}.png" in printed
        with Image.open(workspace / f"plots/{name}.png") as image:
            assert len(np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20  # not an empty page
    run("scripts/plot_dataset.py", "Toy", "--what", "hierarchy", "--format", "pdf", "--out", "plots", cwd=workspace)
    assert (workspace / "plots/Toy_hierarchy.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("Nope",), "metadata/Nope: no metadata of a data set 'Nope'; metadata has Toy"),
        (("Toy", "--what", "rejected"), "expected one data set and --rejected FILE"),
        (("Toy", "--what", "samples", "--data_root", "elsewhere"), "24 of 24 images are missing"),
        (("Toy", "--what", "rejected", "--rejected", "bad.csv"), "bad.csv:1: 'id,why'; expected the header image,reason"),
        (("Toy", "--what", "rejected", "--rejected", "empty.csv"), "empty.csv: no image"),
        (("Toy", "--what", "rejected", "--rejected", "box.csv"), "box.csv:2: box '1,2,3,x'; expected whole numbers"),
        (("Toy", "--what", "samples", "--seed", "-1"), "--seed -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused(workspace, options, message):
    write_text(workspace / "bad.csv", "id,why\n")
    write_text(workspace / "empty.csv", "image,reason\n")
    write_text(workspace / "box.csv", "image,reason,x0,y0,x1,y1\na.png,why,1,2,3,x\n")
    assert message in run("scripts/plot_dataset.py", *options, "--out", "plots", cwd=workspace, code=2)
    assert not (workspace / "plots").exists()


def test_masks_alone_and_one_level_leave_pictures_out_and_say_so(shared, tmp_path):
    root = shared / "data/metadata"
    printed = run("scripts/plot_dataset.py", "OpenImages", "CUB", "--metadata_root", root, "--out", "plots", cwd=tmp_path)
    written = {path.name for path in (tmp_path / "plots").iterdir()}
    assert written == {"OpenImages_counts.png", "CUB_counts.png", "box_sizes.png"}
    assert "skipped: hierarchy of OpenImages" in printed and "skipped: samples of CUB" in printed


def drawn(figure):
    """Return a figure's pixels, uint8 (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize("style", [TRUE_BOX, PREDICTED_BOX], ids=lambda style: style.name)
@pytest.mark.parametrize("color", ["black", "white", "#00e5ff", "grey"])
def test_a_box_at_the_frame_is_seen_on_any_photo(style, color):
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    show_photo(axes, Image.new("RGB", (200, 200), color))
    axes.axis("off")
    plain = drawn(figure).astype(int)
    draw_boxes(axes, [(0, 0, 200, 200)], (200, 200), style)
    changed = np.abs(drawn(figure).astype(int) - plain).max(axis=2) > 100  # clearly another colour
    middle = len(plain) // 2 + np.arange(-30, 30)  # of each side: both dashes and gaps
    for side in (changed[middle], changed[middle, ::-1], changed.T[middle], changed.T[middle, ::-1]):
        assert (side[:, :8].sum(axis=1) >= 1).mean() > 0.4  # all of it, or the dashes
        assert side[:, :8].any(axis=0).sum() >= 1 and not side[:, 8:90].any()


def test_a_photo_keeps_its_proportions_and_its_coordinates():
    axes = Figure().add_subplot()
    show_photo(axes, Image.new("RGB", (1200, 300)))
    (image,) = axes.images
    assert tuple(image.get_extent()) == (0, 1200, 300, 0) and max(image.get_size()) <= 400
    assert axes.get_aspect() == 1
    draw_boxes(axes, [(100, 50, 700, 250)], (1200, 300))
    assert axes.patches[0].get_bbox().extents.tolist() == [100, 50, 700, 250]


@pytest.mark.parametrize(
    "name", ["Acropora_cervicornis_of_the_reef", "a name of several words that is long", "a/b/" + "c" * 60]
)
def test_long_names_are_broken_into_short_lines(name):
    lines = wrapped(name, 16).split("\n")
    assert len(lines) <= 3 and max(map(len, lines)) <= 16
    assert lines[0][:4] == name[:4] and (len(name) <= 40 or lines[-1].endswith("..."))


@pytest.mark.parametrize("number", [2, 20])
def test_names_on_an_axis_do_not_cover_each_other(number):
    names = [f"QUITE_A_LONG_{i}\n123400 classes" for i in range(number)]
    figure = Figure(figsize=(number * slot_width(names), 3))
    axes = figure.add_axes((0, 0.3, 1, 0.7), xlim=(-0.5, number - 0.5))
    name_ticks(axes, names)
    FigureCanvasAgg(figure).draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_counts_are_whole_numbers_and_few_classes_have_their_names():
    counts = {"few": [("a name " * 9, 2), ("b", 1)], "many": [(str(i), 2 - i // 50) for i in range(100)]}
    figure = counts_figure("D", "train", counts)
    FigureCanvasAgg(figure).draw()
    few, many = figure.axes
    assert [label.get_text()[:5] for label in few.get_yticklabels()] == ["a nam", "b"]
    for ticks in (few.get_xticks(), many.get_xticks(), many.get_yticks()):
        assert (ticks == np.round(ticks)).all()
    assert few.yaxis.get_tightbbox().width < figure.bbox.width / 3  # of a long name


def test_an_imbalance_is_drawn_on_a_scale_of_whole_numbers():
    figure = counts_figure("D", "train", {"few": [("a", 500), ("b", 1)], "many": [(str(i), 500 - 9 * i) for i in range(55)]})
    FigureCanvasAgg(figure).draw()
    few, many = figure.axes
    seen = [tick for tick in few.xaxis.get_major_ticks() if tick.get_loc() >= few.get_xlim()[0]]
    assert {"1", "10", "100"} <= {tick.label1.get_text() for tick in seen} <= {"1", "10", "100", "1000"}
    assert few.get_xscale() == many.get_yscale() == "log"
