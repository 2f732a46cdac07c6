"""Pictures of data sets."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from conftest import run
from scripts.plot_dataset import box_sizes_figure, counts_figure, images_figure, read_rejected
from wsol.core.files import write_text
from wsol.data.hierarchy import Hierarchy
from wsol.plots.hierarchy_plot import hierarchy_figure


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
