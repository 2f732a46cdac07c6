"""What pictures share: boxes, photos, names."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from wsol.plots.drawing import PREDICTED_BOX, TRUE_BOX, draw_boxes, show_photo, wrapped


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


def test_names_are_broken_where_their_words_end():
    assert wrapped("test/angular-yellow-dotted-cross/009.png", 24) == "test/angular-yellow-\ndotted-cross/009.png"
