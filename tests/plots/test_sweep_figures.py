"""What the figures of sweeps show: lines and points, from entries made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from scipy import stats

from samples import write_split
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.plots.panels import COLORS, DASHES, MARKERS, WIDTH, Line, Panel, Point, panels_figure
from wsol.plots.shown_runs import bars_note, figure_of, shown_runs
from wsol.plots.sweep_figures import (
    datasets_figure,
    ious_figure,
    levels_figure,
    schedules_figure,
    sizes_figure,
    spread_figure,
)
from wsol.runs.results import Results
from wsol.sweeps.cells import rows_by_label
from wsol.sweeps.collection import RunEntry

CLASSES = {"species": 6, "genus": 3, "order": 2}
LEVELS = tuple(CLASSES)


@pytest.fixture
def entry(tmp_path):
    """Return a function that makes an entry; `value` is its MaxBoxAccV2, and `ious` its MaxBoxAcc."""
    for dataset in ("D", "E"):
        write_text(tmp_path / f"metadata/{dataset}/levels.txt", "".join(f"{level}\n" for level in LEVELS))
        ids = [f"{i}.png" for i in range(12)]
        classes = {"class_labels": [0, 1, 2, 3, 4, 5], "class_labels_genus": [0, 0, 1, 1, 2, 2]}
        classes["class_labels_order"] = [0, 0, 0, 0, 1, 1]
        labels = {name: [f"{one},{of[i // 2]}" for i, one in enumerate(ids)] for name, of in classes.items()}
        write_split(tmp_path / f"metadata/{dataset}/train", image_ids=ids, **labels)

    def make(
        level="species",
        value=50.0,
        seed=0,
        method="cam",
        split="test",
        ious=None,
        interval=None,
        about=None,
        figures=None,
        **config,
    ):
        config = {
            "dataset_name": "D",
            "metadata_root": str(tmp_path / "metadata"),
            "wsol_method": method,
            "label_level": level,
            "seed": seed,
            "epochs": 3,
            "lr": 0.1,
            "num_train_sample_per_class": 0,
            "num_val_sample_per_class": 0,
            "proxy_training_set": False,
            "coarsening": None,
            "cam_agg_level": None,
            **config,
        }
        ious = ious or {"30": value + 10, "50": value, "70": value - 10}
        figures = {"MaxBoxAccV2": value, "MaxBoxAcc": ious, "top1_cls": 90.0} if figures is None else figures
        part = {**figures, "box_rule": "multi_contour", "counts": {"images": 100}}
        if interval:
            part["intervals"] = {"MaxBoxAccV2": interval}
        content = {"dataset_name": config["dataset_name"], "label_level": level, "num_classes": CLASSES[level], split: part}
        folder = tmp_path / f"{config['dataset_name']}-{method}-{level}-{seed}-{config['cam_agg_level']}"
        made = RunEntry(
            folder,
            None,
            config,
            Results(folder / "results.json", content, config),
            None,
            {},
            "",
            (),
            config["cam_agg_level"] or level,
            None,
            7,
        )
        return replace(made, **(about or {}))

    return make


def only(entries):
    (shown,) = shown_runs(entries).values()
    return shown


def data(lines):
    return {line.name: [(point.x, point.y) for point in line.points] for line in lines}


def test_levels_finest_first_a_line_a_method_and_the_mean_over_seeds_with_students_interval(entry):
    values = {"order": (60.0, 61.0, 65.0), "species": (50.0, 52.0, 51.0)}
    entries = [entry(level, value, seed) for level, some in values.items() for seed, value in enumerate(some)]
    entries += [entry("genus", 58.0, method="cutmix", interval=[56.5, 60.0])]
    entries += [
        entry("species", 40.0, cam_agg_level="order", epochs=0),
        entry("species", 45.0, cam_agg_level="genus", epochs=0),
    ]
    entries += [entry(value=80.0, method="fsl_seg", seed=0), entry(value=82.0, method="fsl_seg", seed=1)]
    drawing = levels_figure(only(entries), 33.0)
    left, right = drawing.panels
    assert left.places == right.places == LEVELS and left.ylabel == "MaxBoxAccV2"
    cam = [(0, 51.0), (2, 62.0)]
    assert data(left.lines) == {"CAM": cam, "CutMix": [(1, 58.0)], "CAM-Agg": [(1, 45.0), (2, 40.0)]}
    assert data(right.lines) == {"CAM": [(0, 90.0), (2, 90.0)], "CutMix": [(1, 90.0)]}
    assert dict(left.references) == {"Center": 33.0, "FSL-Seg": 81.0} and not right.references
    order = left.lines[0].points[1]
    expected = stats.t.interval(0.95, 2, loc=62, scale=stats.sem(values["order"]))
    np.testing.assert_allclose((order.low, order.high), expected)
    one_run = left.lines[1].points[0]
    assert (one_run.low, one_run.high) == (56.5, 60.0)
    said = " ".join(drawing.notes).replace("\N{NO-BREAK SPACE}", " ")
    assert "95 % interval of the mean over 3 seeds (Student's t); where there is one run, 95 % bootstrap" in said
    assert "FSL-Seg: trained on 7 images of train-fullsup." in said
    assert not any("FSL" in note for note in ious_figure(only(entries)).notes)  # which does not show it


def test_lines_are_named_by_the_part_of_the_network_that_was_trained_and_not_by_what_goes_with_it(entry):
    entries = [entry("species", 60.0), entry("order", 55.0)]
    frozen = {"freeze_backbone": True, "epochs": 8, "preprocessing": "network", "cache_features": "features"}
    entries += [entry("species", 50.0, **frozen), entry("order", 52.0, **frozen)]
    entries += [entry("order", 56.0, train_last_blocks=count, epochs=4) for count in (1, 2)]
    entries += [entry("species", 70.0, method="tri_region", **frozen)]
    lines = only(entries).lines(figure_of("MaxBoxAccV2"))
    last = {"CAM, last 1 block": [(1, 56.0)], "CAM, last 2 blocks": [(1, 56.0)]}
    frozen_lines = {"CAM, frozen": [(0, 50.0), (1, 52.0)], "tri-region, frozen": [(0, 70.0)]}
    assert data(lines) == {"CAM": [(0, 60.0), (1, 55.0)], **frozen_lines, **last}
    assert len({line.style for line in lines}) == 5


def test_a_figure_says_that_its_points_are_single_runs_without_intervals():
    single = Line("CAM", (Point(0, (50.0,)), Point(1, (60.0,))))
    assert bars_note([single]) == "Each point is one run, without an interval."
    assert bars_note([]) == ""
    said = bars_note([single, Line("HaS", (Point(0, (50.0,), 49.0, 51.0),))])
    assert "bootstrap interval" in said and said.endswith("a point without a bar is one run.")


def test_of_a_sweep_only_reported_runs_count_and_what_it_chose_parts_no_line(entry, tmp_path):
    sweep = {"sweep": tmp_path / "S", "chosen": {"lr": "of the point"}}
    reported = {**sweep, "role": "reported"}
    entries = [
        entry("species", 50.0, lr=0.1, about=reported),
        entry("species", 99.0, seed=1, about={**sweep, "role": "choosing"}),
        entry("order", 60.0, lr=0.5, about={**reported, "marks": ("test opened again for another choice",)}),
        entry("order", 60.0, lr=0.5, about={**reported, "level": "genus", "same_as": "order"}),
    ]
    drawing = levels_figure(only(entries), None)
    assert data(drawing.panels[0].lines) == {"CAM": [(0, 50.0), (1, 60.0), (2, 60.0)]}
    said = " ".join(drawing.notes)
    assert "test opened again for another choice: D-cam-order-0-None." in said
    assert "trained once; genus: the runs of order." in said
    with pytest.raises(InputError, match="none of them reported"):
        shown_runs(entries[1:2])


def test_other_options_name_their_lines_and_two_runs_of_one_seed_are_refused(entry):
    entries = [entry("species", lr=0.1), entry("genus", lr=0.5), entry("order", lr=0.5), entry("order", method="has")]
    (left, _) = levels_figure(only(entries), None).panels
    assert [line.name for line in left.lines] == ["CAM, lr 0.1", "CAM, lr 0.5", "HaS"]
    with pytest.raises(InputError, match=r"D-cam-order-0-None and .*: both would be seed 0 of one point"):
        levels_figure(only([entries[0], entries[2], entries[2]]), None)


def test_test_is_shown_where_there_is_any_else_val_which_is_said(entry):
    on_val = [entry("species", split="val"), entry("order", split="val")]
    assert only(on_val).split == "val" and "val (train-fullsup), not test." in only(on_val).notes()
    both = [*on_val, entry("genus"), entry("order", seed=1)]
    shown = only(both)
    assert shown.split == "test" and [run.level for run in shown.runs] == ["genus", "order"]
    assert "2 runs without results of test are left out." in shown.notes()


def test_masks_alone_give_pxap(entry):
    figures = {"PxAP": 44.0, "top1_cls": 80.0}
    (left, _) = levels_figure(only([entry(level, figures=figures) for level in LEVELS]), None).panels
    assert left.ylabel == "PxAP" and data(left.lines) == {"CAM": [(0, 44.0), (1, 44.0), (2, 44.0)]}


def test_sizes_are_numbers_of_training_images_and_the_finest_level_with_all_is_dashed(entry):
    entries = [entry("species", 50.0), entry("species", 54.0, seed=1), entry("order", 60.0)]
    entries += [entry("species", 40.0, num_train_sample_per_class=1), entry("order", 45.0, num_train_sample_per_class=3)]
    entries += [entry("order", 1.0, method="cutmix")]  # no subset: not in this figure
    entries += [entry("order", 1.0, method="has", num_train_sample_per_class=1)]  # one number alone: nor this
    entries += [entry("species", 99.0, num_train_sample_per_class=2)]  # all twelve: repeats the runs on all images
    (panel,) = sizes_figure(only(entries)).panels
    assert data(panel.lines) == {"species": [(6, 40.0), (12, 52.0)], "order": [(6, 45.0), (12, 60.0)]}
    assert dict(panel.references) == {"species, all images": 52.0} and panel.title == "CAM"
    (left, _) = levels_figure(only(entries), None).panels
    assert data(left.lines)["CAM"] == [(0, 52.0), (1, 60.0)]  # all images


def test_there_is_no_gain_over_nothing(entry):
    entries = [
        entry(level, seed=0, ious={"50": value, "70": 0.0}) for level, value in {"species": 40.0, "order": 50.0}.items()
    ]
    left, right = ious_figure(only(entries)).panels
    assert len(left.lines) == 2 and [line.name for line in right.lines] == ["IoU 50"]


def test_gains_are_relative_to_the_finest_level_seed_by_seed(entry):
    ious = {(0, "species"): 40.0, (0, "order"): 50.0, (1, "species"): 50.0, (1, "order"): 55.0, (2, "order"): 99.0}
    entries = [entry(level, seed=seed, ious={"50": value}) for (seed, level), value in ious.items()]
    left, right = ious_figure(only(entries)).panels
    assert data(left.lines) == {"IoU 50": [(0, 45.0), (1, 68.0)]}
    np.testing.assert_allclose(right.lines[0].points[1].values, (25.0, 10.0))  # seed 2 has no finest level
    assert right.lines[0].points[0].values == (0.0, 0.0)


def test_schedules_are_lines_of_their_epochs_also_with_another_decay(entry):
    entries = [entry(level, 50.0 + 10 * (level == "order"), epochs=2, lr_decay_frequency=2) for level in LEVELS]
    entries += [entry(level, 55.0, epochs=10, lr_decay_frequency=3) for level in LEVELS]
    entries += [entry(level, 1.0, cam_agg_level="order", epochs=0) for level in LEVELS[:1]]
    (panel,) = schedules_figure(only(entries)).panels
    assert panel.title == "CAM"
    assert data(panel.lines) == {"2 epochs": [(0, 50.0), (1, 50.0), (2, 60.0)], "10 epochs": [(0, 55), (1, 55), (2, 55)]}


def test_data_sets_have_a_panel_each_with_their_center(entry):
    entries = [entry(level, dataset_name=name) for name in ("D", "E") for level in LEVELS]
    drawing = datasets_figure(shown_runs(entries), {"D": 12.0, "E": 13.0})
    assert [panel.title for panel in drawing.panels] == ["D, test", "E, test"]
    assert [dict(panel.references) for panel in drawing.panels] == [{"Center": 12.0}, {"Center": 13.0}]


def test_the_spread_is_drawn_and_printed(entry):
    entries = [entry("species", value, seed) for seed, value in enumerate((50.0, 52.0, 57.0))] + [entry("order", 60.0)]
    drawing = spread_figure(only(entries))
    (axes,) = drawing.figure().axes
    assert [text.get_text() for text in axes.texts] == [f"{np.std([50, 52, 57], ddof=1):.2f}", "one run"]
    assert list(axes.lines[0].get_ydata()) == [50.0, 52.0, 57.0]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda shown: levels_figure(shown, None),
            "runs at the levels species; expected two levels or more",
        ),
        (sizes_figure, "no runs that differ in num_train_sample_per_class"),
        (schedules_figure, "runs of 3 epochs"),
        (ious_figure, "runs at the levels species"),
        (spread_figure, "one seed of every configuration"),
        (lambda shown: datasets_figure({"D": shown}, {}), "runs of D alone"),
    ],
)
def test_a_figure_without_its_runs_says_what_is_missing(entry, draw, message):
    with pytest.raises(InputError, match=message):
        draw(only([entry()]))


def test_runs_without_localization_are_refused_by_name(entry):
    with pytest.raises(InputError, match="D: no MaxBoxAccV2 and no PxAP of test"):
        levels_figure(only([entry(level, figures={"top1_cls": 80.0}) for level in LEVELS]), None)


def test_lines_differ_without_colour_and_text_is_readable_and_inside_one_column():
    points = (Point(0, (50.0,), 45.0, 56.0), Point(1, (60.0, 62.0)))
    lines = tuple(Line(f"a method, option {i}", points, i) for i in range(7))
    panels = [Panel("MaxBoxAccV2", lines, "level", f"$T_{i}$", ("a_species", "a_genus")) for i in range(3)]
    figure = panels_figure(panels, "$D_1$, test", ["A note on what is shown here. " * 9, "Another."])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert figure.get_size_inches()[0] == WIDTH
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            assert text.get_fontsize() >= 6 and not ("$" in text.get_text() and text.get_parse_math())
            extent = text.get_window_extent()
            assert extent.x0 >= -1 and extent.x1 <= figure.bbox.width + 1, text.get_text()
            assert extent.y0 >= -1 and extent.y1 <= figure.bbox.height + 1, text.get_text()
    assert len(set(DASHES)) == len(set(MARKERS)) == len(set(COLORS)) == 7
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert len({line.get_marker() for line in drawn}) == len({str(line._dash_pattern) for line in drawn}) == 7
    titles = [axes.title.get_window_extent() for axes in figure.axes[:2]]
    assert not figure.legends[0].get_window_extent().overlaps(titles[0])


def test_more_lines_than_colours_differ_without_colour_too():
    points = (Point(0, (50.0,), 45.0, 56.0), Point(1, (60.0, 62.0)))
    lines = tuple(Line(f"option {i}", points, i) for i in range(3 * len(COLORS)))
    figure = panels_figure([Panel("MaxBoxAccV2", lines, "level", "", ("species", "genus"))], "D", [])
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert len({(line.get_marker(), str(line._dash_pattern)) for line in drawn}) == len(lines)


def test_axes_end_where_values_cannot_be():
    def ends(**bounds):
        panel = Panel("ratio", (Line("a", (Point(0, (90.0,), -200.0, 190.0),)),), places=("x",), **bounds)
        return panels_figure([panel], "", []).axes[0].get_ylim()

    assert -2 <= ends()[0] <= 0 and 100 <= ends()[1] <= 102
    low, high = ends(bounds=(0, np.inf))
    assert -5 < low <= 0 and high > 190
    low, high = ends(bounds=(-100, np.inf))
    assert -110 < low <= -100 and high > 190


def test_long_names_stay_in_the_figure_and_horizontal_lines_can_be_told_apart():
    names = [f"FSL-Seg, architecture timm:{'long_name_' * i}" for i in range(1, 7)]
    lines = (Line("CAM, " + "an option of many letters " * 5, (Point(0, (9.0,)),)),)
    panel = Panel("PxAP", lines, places=("x",), references={name: float(i) for i, name in enumerate(names)})
    figure = panels_figure([panel], "Toy, test", [])
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    extent = legend.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width and extent.y1 <= figure.bbox.height
    assert not extent.overlaps(figure.axes[0].get_window_extent())
    dashes = {str(line._dash_pattern) for line in figure.axes[0].lines if line.get_label() in names}
    assert len(dashes) == len(names)


def test_full_supervision_is_not_named_by_the_file_of_its_thresholds(entry):
    entries = [entry(level) for level in LEVELS]
    entries += [
        entry(
            method="fsl_seg",
            value=70.0 + i,
            num_val_sample_per_class=i,
            thresholds_from=f"train_log/s/share-{i}/results.json",
        )
        for i in (5, 25)
    ]
    left, _ = levels_figure(only(entries), None).panels
    assert set(left.references) == {f"FSL-Seg, num_val_sample_per_class {i}" for i in (5, 25)}
    rows = rows_by_label(entries, lambda one: ("", one.level))
    assert set(rows) == {"CAM", *left.references}


def test_percentages_end_at_100():
    figure = panels_figure([Panel("PxAP", (Line("a", (Point(0, (90.0,), 20.0, 190.0),)),), places=("x",))], "", [])
    assert figure.axes[0].get_ylim()[1] <= 102
