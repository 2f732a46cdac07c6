import json

import numpy as np
import pytest
from PIL import Image

from samples import write_split
from scripts import examples
from scripts.examples import draw_examples, spaced
from wsol.core.files import write_text
from wsol.maps.score_maps import save_score_map

IDS = ["wide/a.png", "tall/b.png"]


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Return a function: draw the page of one run on two photos of 300 x 100 and 100 x 200; return its figure."""
    (tmp_path / "dataset/D/wide").mkdir(parents=True)
    (tmp_path / "dataset/D/tall").mkdir()
    Image.new("RGB", (300, 100)).save(tmp_path / "dataset/D" / IDS[0])
    Image.new("RGB", (100, 200)).save(tmp_path / "dataset/D" / IDS[1])
    score_map = np.zeros((40, 40))
    score_map[10:30, 20:40] = 1
    for image_id in IDS:
        save_score_map(tmp_path / "run/scoremaps", image_id, score_map)
    kept = []
    monkeypatch.setattr(examples, "save_figure", lambda figure, path: kept.append(figure))

    def draw(boxes, thresholds):
        names = {"image_ids": IDS, "class_labels": [f"{IDS[0]},0", f"{IDS[1]},1"], "localization": boxes}
        sizes = [f"{IDS[0]},600,200", f"{IDS[1]},100,200"]  # the first is listed at twice its size
        write_split(tmp_path / "metadata/D/test", image_sizes=sizes, **names)
        write_text(tmp_path / "metadata/D/class_names.txt", "crow,0\n$owl$,1\n")
        write_text(tmp_path / "run/results.json", json.dumps({"val": {"best_threshold": thresholds}}))
        config = {"dataset_name": "D", "data_root": tmp_path / "dataset", "metadata_root": tmp_path / "metadata"}
        draw_examples(config, "test", IDS, {"a run": tmp_path / "run"}, tmp_path / "x.png")
        return kept[-1]

    return draw


def test_rows_have_id_class_and_iou_and_photos_their_own_proportions(pages):
    figure = pages([f"{IDS[0]},300,50,600,150", f"{IDS[1]},0,0,50,200"], {"30": 0.1, "50": 0.5})
    grid, bar = np.reshape(figure.axes[:4], (2, 2)), figure.axes[4]
    assert [axes.get_ylabel().replace("\n", " ") for axes in grid[:, 0]] == ["wide/a.png crow", "tall/b.png $owl$"]
    assert [tuple(axes.images[0].get_extent()) for axes in grid[:, 1]] == [(0, 300, 100, 0), (0, 100, 200, 0)]
    assert all(axes.get_aspect() == 1 for axes in grid.flat)
    # On the map of 40 x 40: predicted (20, 10, 39, 30), true (20, 10, 40, 30): 20 x 21 of 21 x 21 pixels.
    assert grid[0, 1].get_xlabel() == "IoU 0.95" and grid[1, 1].get_xlabel() == "IoU 0.02"
    predicted = grid[0, 1].patches[-1].get_bbox().extents
    np.testing.assert_allclose(predicted, [150, 25, 292.5, 75])
    true = grid[0, 1].patches[0].get_bbox().extents
    np.testing.assert_allclose(true, [150, 25, 296.4, 75])  # the right edge is inset
    assert bar.get_xlim() == (0, 1) and bar.get_xlabel() == "score"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["true box", "predicted box"]


def test_without_boxes_the_maps_alone_are_drawn(pages):
    figure = pages([], None)
    assert not any(axes.patches for axes in figure.axes[:4]) and not figure.legends
    assert [axes.get_xlabel() for axes in figure.axes[:4]] == [""] * 4


def test_examples_are_spaced_over_the_list():
    assert spaced(list("abcdefgh"), 4) == list("aceg") and spaced(["a"], 6) == ["a"]
