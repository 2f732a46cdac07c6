"""scripts/plot.py, on runs of Toy by main.py."""

import json

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from conftest import TINY, link_toy, run
from dataset import toy
from samples import of_json
from wsol.plots.run_examples import example_page, map_images, reached, runs_by_level
from wsol.plots.shown_runs import shown_runs
from wsol.plots.sweep_figures import analysis_figure, levels_figure, sizes_figure
from wsol.sweeps.collection import collect

pytestmark = pytest.mark.slow  # a dozen trainings of two seconds; tests/plots/test_sweep_figures.py needs none

LEVELS = toy.LEVELS
FIGURES = ("3", "4", "5", "A3", "A4", "A10-CAM", "A10-CAM-Agg")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toy_root):
    """A folder with runs of CAM at 4 levels and 2 seeds, CAM-Agg, another schedule, fewer images; and those by name."""
    root = tmp_path_factory.mktemp("plots")
    link_toy(toy_root, root)

    quick = ("--lr", "0.05", "--threads", "1", "--num_val_sample_per_class", "2", "--bootstrap", "50")

    def train(name, level, *words, epochs=1, seed=0):
        options = ("--label_level", level, "--epochs", epochs, "--seed", seed, "--experiment_name", name)
        run("main.py", *TINY, *quick, *options, *words, cwd=root)

    for level in LEVELS:
        for seed in (0, 1):
            train(f"toy/cam-{level}-seed{seed}", level, seed=seed)
    weights = ("--pretrained", "T", "--pretrained_path", "train_log/toy/cam-species-seed0/last_checkpoint.pth.tar")
    train("toy/agg-order", "species", "--cam_agg_level", "order", *weights, epochs=0)
    train("toy/agg-genus", "species", "--cam_agg_level", "genus", *weights, epochs=0)
    train("toy/few-species", "species", "--num_train_sample_per_class", "2")
    train("toy/few-order", "order", "--num_train_sample_per_class", "3")
    train("long/cam-species-seed0", "species", epochs=2)
    return root


@pytest.fixture
def shown(runs, monkeypatch):
    monkeypatch.chdir(runs)
    return shown_runs(collect(["train_log/toy"]))["Toy"]


def figure_in(root, name, key="MaxBoxAccV2"):
    return of_json(root / f"train_log/toy/{name}/results.json")["test"][key]


def means(line):
    return [point.y for point in line.points]


def test_all_figures_are_written_and_what_is_missing_is_said(runs):
    printed = run("scripts/plot.py", "train_log/toy", "--output", "plots", "--examples", "2", cwd=runs)
    written = {path.name for path in (runs / "plots").iterdir()}
    assert written == {f"figure{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    assert "skipped: figure A1: runs of Toy alone; expected two or more data sets" in printed
    assert "skipped: figure A2: Toy: runs of 1 epochs; expected two or more numbers of epochs" in printed
    with Image.open(runs / "plots/figure3.png") as image:
        assert image.width == 680  # 3.4 inches at 200 dpi
        assert len(np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0)) > 100
    assert (runs / "plots/figure3.pdf").read_bytes().startswith(b"%PDF")
    printed = run("scripts/plot.py", "train_log", "--figure", "A2", "--output", "longer", cwd=runs)
    assert "written: longer/figureA2.png" in printed


def test_values_are_those_of_the_files(runs, shown):
    left, right = levels_figure(shown, 12.0).panels
    for panel, key in ((left, "MaxBoxAccV2"), (right, "top1_cls")):
        expected = [np.mean([figure_in(runs, f"cam-{level}-seed{seed}", key) for seed in (0, 1)]) for level in LEVELS]
        np.testing.assert_allclose(means(panel.lines[0]), expected)
        assert panel.places == LEVELS
    agg = left.lines[1]
    assert agg.name == "CAM-Agg" and [point.x for point in agg.points] == [1, 3]
    np.testing.assert_allclose(means(agg), [figure_in(runs, f"agg-{level}") for level in ("genus", "order")])
    lines = {line.name: line for line in sizes_figure(shown).panels[0].lines}
    assert [point.x for point in lines["species"].points] == [2 * 16, 16 * 24]
    assert [point.x for point in lines["order"].points] == [3 * 2, 16 * 24]
    np.testing.assert_allclose(means(lines["order"])[0], figure_in(runs, "few-order"))


def test_the_analysis_is_the_mean_over_the_images_that_have_it(runs, shown):
    drawing = analysis_figure(shown)
    for panel, name in zip(drawing.panels, ("area_ratio", "activation_ratio", "num_components"), strict=True):
        of_seeds = []
        for seed in (0, 1):
            with np.load(runs / f"train_log/toy/cam-family-seed{seed}/test_images.npz") as file:
                values = file[name].astype(float)
            of_seeds.append(np.mean(values[np.isfinite(values) & (values >= 0)]))
        np.testing.assert_allclose(panel.lines[0].points[2].values, of_seeds)


def test_maps_for_examples_are_those_of_the_evaluation(runs, shown):
    one = runs_by_level(shown.on_all_images, "CAM")["genus"]
    assert one.seed == 0
    counted = reached(one, "test")
    right = 100 * np.mean([number >= 2 for number in counted.values()])  # IoU 30 and 50
    np.testing.assert_allclose(right, figure_in(runs, "cam-genus-seed0", "MaxBoxAcc_at_val_threshold")["50"])
    folder = runs / "train_log/toy/cam-genus-seed0"
    threshold = of_json(folder / "results.json")["val"]["best_threshold"]["50"]
    assert threshold == of_json(folder / "results.json")["test"]["val_threshold"]["50"]
    image_ids = sorted(counted, key=lambda image_id: counted[image_id])[:: len(counted) // 6]
    maps = map_images(one, "test", image_ids, torch.device("cpu"))
    assert maps.threshold == threshold
    lines = (runs / "metadata/Toy/test/localization.txt").read_text().split()
    truth = {line.split(",")[0]: line.split(",")[1:] for line in lines}
    for image_id in image_ids:
        box = [int(int(edge) * 64 / 96) for edge in truth[image_id]]
        iou = maps.column.box(maps.maps[image_id], [box])[1]
        assert sum(iou >= least for least in (0.3, 0.5, 0.7)) == counted[image_id]


def test_gains_are_the_largest_of_the_images_and_draws_follow_the_seed(shown):
    shown = shown.on_all_images
    page, chosen = example_page(shown, "CAM", 3, "gain", 0, torch.device("cpu"))
    runs = list(runs_by_level(shown, "CAM").values())
    first, *others = (reached(one, "test") for one in runs)
    rise = {image_id: max(other[image_id] for other in others) - first[image_id] for image_id in first}
    thirtieth = sorted(rise.values(), reverse=True)[29]
    assert all(rise[image_id] >= thirtieth for image_id in chosen)

    def drawn_gains(figure):
        ious = [float(axes.get_xlabel().removeprefix("IoU ")) for axes in figure.axes if "IoU" in axes.get_xlabel()]
        by_row = np.reshape(ious, (-1, len(LEVELS)))
        return by_row[:, 1:].max(axis=1) - by_row[:, 0]

    gains = drawn_gains(page)
    assert (np.diff(gains) <= 0.011).all() and gains[0] > 0.2  # IoUs are rounded
    at_random, one = example_page(shown, "CAM", 3, "seed", 0, torch.device("cpu"))
    assert one == example_page(shown, "CAM", 3, "seed", 0, torch.device("cpu"))[1]
    assert one != example_page(shown, "CAM", 3, "seed", 1, torch.device("cpu"))[1]
    assert drawn_gains(at_random).max() <= gains[0] + 0.011
    FigureCanvasAgg(page).draw()
    sizes = {text.get_fontsize() for text in page.findobj(Text) if text.get_visible() and text.get_text().strip()}
    assert min(sizes) >= 6
    titles = [axes.get_title() for axes in page.axes[: len(LEVELS) + 1]]
    assert titles == ["photo", *LEVELS]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: no such folder"),
        (("metadata",), "metadata: no finished runs"),
        (("train_log/toy/cam-species-seed0", "--figure", "3"), "Toy: runs at the levels species; expected two"),
        (("train_log/toy", "--examples", "0"), "--examples 0: expected 1 or more"),
        (("train_log/toy", "--figure", "7"), "invalid choice: '7'"),
        (("train_log/toy", "--output", "train_log/toy/cam-species-seed0"), "--output"),
    ],
)
def test_what_cannot_be_drawn_is_refused(runs, words, message):
    options = words if "--output" in words else (*words, "--output", "refused")
    assert message in run("scripts/plot.py", *options, cwd=runs, code=2)
    assert not (runs / "refused").exists()


def test_the_data_of_a_sweep_without_a_reported_run_is_refused(runs, tmp_path):
    record = {"format": 1, "name": "sweep", "spec": {}, "levels_alike": {}, "choices": {}, "reported": {}, "test": None}
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/protocol.json").write_text(json.dumps(record))
    folder = tmp_path / "sweep/cam"
    folder.mkdir()
    source = runs / "train_log/toy/cam-order-seed0"
    (folder / "config.yaml").write_text((source / "config.yaml").read_text())
    results = of_json(source / "results.json")
    del results["test"]
    (folder / "results.json").write_text(json.dumps(results))
    said = run("scripts/plot.py", tmp_path / "sweep", "--output", "refused", cwd=runs, code=2)
    assert "1 runs, none of them reported by its sweep" in said
