"""The papers' tables: from small real runs on Toy, and from written runs whose figures are known."""

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest

from conftest import SMALL, link_toy, run
from samples import scored_evaluator, write_run
from wsol.core.errors import InputError
from wsol.core.files import write_json
from wsol.sweeps.collection import collect
from wsol.sweeps.table_text import latex, markdown
from wsol.sweeps.tables import TABLES, Tables

SMALLEST = ("--architecture", "timm:test_efficientnet", "--large_feature_map", "T", "--crop_size", "32", *SMALL)
SMALLEST += ("--resize_size", "36", "--cam_curve_interval", "0.05", "--bootstrap", "0", "--save_scoremaps", "none")
MARK = "seed added after test was opened"


@pytest.fixture(scope="module")
def sweep(toy_root, tmp_path_factory):
    """A folder with train_log/tiny: 2 methods x 2 levels x 2 seeds on Toy, CAM-Agg, and the record of a sweep."""
    root = tmp_path_factory.mktemp("sweep")
    link_toy(toy_root, root)
    reported = {}
    for method in ("cam", "cutmix"):
        for level in ("species", "order"):
            for seed in (0, 1):
                reported[f"{method}-{level}-lr0.01-seed{seed}"] = f"{method}-{level}"
                words = ("--wsol_method", method, "--label_level", level, "--seed", seed, "--lr", "0.01")
                run("main.py", *SMALLEST, *words, "--experiment_name", f"tiny/{list(reported)[-1]}", cwd=root)
    for seed in (0, 1):
        finest = f"cam-species-lr0.01-seed{seed}"
        for level in ("species", "order"):
            reported[f"{finest}-cam_agg_{level}"] = "cam-species"
            words = ("--wsol_method", "cam", "--label_level", "species", "--seed", seed, "--lr", "0.01", "--epochs", "0")
            words += ("--pretrained", "T", "--pretrained_path", f"train_log/tiny/{finest}/last_checkpoint.pth.tar")
            words += ("--cam_agg_level", level, "--experiment_name", f"tiny/{list(reported)[-1]}")
            run("main.py", *SMALLEST, *words, cwd=root)
    choices = {
        point: {"options": {"lr": 0.01}, "run": f"{point}-lr0.01-seed0", "figure": "MaxBoxAccV2", "fullsup_images": 32}
        | {"fullsup_boxes": 32, "candidates": {f"{point}-lr0.01-seed0": 10.0}, "time": "2026-11-30T15:00:00+00:00"}
        for point in set(reported.values())
    }
    time = "2026-11-30T15:00:00+00:00"
    common = {"chosen": "lr 0.01", "seed": 0, "sha256": "0", "intended": time, "opened": time}
    opened = {name: {"point": point, **common, "marks": []} for name, point in reported.items()}
    opened["cutmix-species-lr0.01-seed1"]["marks"] = [MARK]
    record = {"format": 1, "name": "tiny", "spec": {}, "created": time, "levels_alike": {"Toy": {"family": "order"}}}
    record |= {"choices": choices, "reported": reported, "test": {"seeds": [0, 1], "runs": opened}}
    write_json(root / "train_log/tiny/protocol.json", record)
    return root


def tables_of(text):
    """Title to {row label: {column: cell}} of the Markdown tables in a text."""
    found = {}
    for block in text.split("\n\n"):
        if block.startswith("**"):
            title = block.strip("*\n")
        elif block.startswith("|"):
            lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.strip().split("\n")]
            found[title] = {line[0]: dict(zip(lines[0][1:], line[1:], strict=True)) for line in lines[2:]}
    return found


def value(root, name, split="test"):
    return json.loads((root / f"train_log/tiny/{name}/results.json").read_text())[split]["MaxBoxAccV2"]


def cell(*values):
    """Mean and sample standard deviation of two values, written out."""
    mean = sum(values) / 2
    return f"{mean:.1f} ± {(sum((x - mean) ** 2 for x in values)) ** 0.5:.1f}"


def test_all_rows_are_collected(sweep, tmp_path):
    printed = run("scripts/collect.py", "train_log", "--output", tmp_path / "rows.csv", cwd=sweep)
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} figures of 12 runs" in printed
    (row,) = [
        row
        for row in rows
        if (row["run"], row["split"], row["metric"], row["threshold_rule"], row["same_as"])
        == ("train_log/tiny/cutmix-species-lr0.01-seed1", "test", "MaxBoxAccV2", "best", "")
    ]
    assert float(row["value"]) == pytest.approx(value(sweep, "cutmix-species-lr0.01-seed1"))
    assert (row["method"], row["level"], row["seed"], row["mark"], row["role"]) == (
        *("cutmix", "species", "1"),
        *(MARK, "reported"),
    )
    assert float(row["wall_seconds"]) > 0 and row["fullsup_boxes"] == "32"
    assert {row["level"] for row in rows} == {"species", "order", "family"}
    run("scripts/collect.py", "train_log/tiny", "--output", tmp_path / "rows.parquet", cwd=sweep)
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [one["value"] for one in table] == [float(one["value"]) for one in rows]
    printed = run("scripts/collect.py", "train_log", "--output", tmp_path / "rows.csv", cwd=sweep, code=2)
    assert "--output" in printed and "exists; expected a new file" in printed


def test_table_2_has_the_finest_level_with_blanks_where_nothing_ran(sweep):
    (table,) = tables_of(run("scripts/tables.py", "train_log", "--table", "2", cwd=sweep)).values()
    column = {label: cells["Toy (species)"] for label, cells in table.items()}
    cam, cutmix = ([value(sweep, f"{method}-species-lr0.01-seed{seed}") for seed in (0, 1)] for method in ("cam", "cutmix"))
    assert column["CAM"].strip("*") == cell(*cam)
    assert column["CutMix"] in (f"{cell(*cutmix)} [1]", f"**{cell(*cutmix)}** [1]")
    blank = ("HaS", "ACoL", "SPG", "ADL", "FSL-Seg", "FSL-Det")
    assert {column[name] for name in blank} == {""} and "CAM-Agg" not in column
    assert column["train-fullsup images / boxes or masks"] == "32 / 32"


def test_center_is_the_one_of_the_evaluation_on_the_same_images(sweep, tmp_path):
    words = ("--center", "--center_size", "32", "--cam_curve_interval", "0.05", "--multi_contour_eval", "--multi_iou_eval")
    where = ("--dataset_name", "Toy", "--split", "test", "--bootstrap", "0", "--json", tmp_path / "c.json")
    run("evaluation.py", *words, *where, cwd=sweep)
    (table,) = tables_of(run("scripts/tables.py", "train_log", "--table", "A2", cwd=sweep)).values()
    expected = f"{json.loads((tmp_path / 'c.json').read_text())['MaxBoxAccV2']:.1f}"
    assert table["Center"] == {"species": expected, "order": expected, "family": expected}


def test_table_a2_has_cam_agg_and_levels_alike_with_their_notes(sweep):
    text = run("scripts/tables.py", "train_log", "--table", "A2", cwd=sweep)
    (table,) = tables_of(text).values()
    assert list(table["CAM"]) == ["species", "order", "family"]
    assert "[1] Trained as order, which has the same classes." in text and f"[2] {MARK[0].upper()}{MARK[1:]}." in text
    assert table["CutMix"]["species"].endswith(" [2]") and table["CutMix"]["family"].endswith(" [1]")
    plain = {label: {level: c.split(" [")[0].strip("*") for level, c in cells.items()} for label, cells in table.items()}
    assert plain["CAM-Agg"]["species"] == plain["CAM"]["species"]
    assert all(plain[name]["order"] == plain[name]["family"] for name in ("CAM", "CutMix", "CAM-Agg"))
    agg = [value(sweep, f"cam-species-lr0.01-seed{seed}-cam_agg_order") for seed in (0, 1)]
    assert plain["CAM-Agg"]["order"] == cell(*agg)
    # family and order are the same runs; CAM-Agg at the level that it was trained at is CAM
    assert "correction for 2 comparisons): species: C" in text
    assert "CAM-Agg against CAM" not in text.split("order:")[0]


def test_table_a3_has_what_was_chosen(sweep):
    text = run("scripts/tables.py", "train_log", "--table", "A3", cwd=sweep)
    (table,) = tables_of(text).values()
    assert "A number without a name is the learning rate." in text
    assert table["CAM"] == {"species": "0.01", "order": "0.01", "family": "0.01 [1]"}
    assert table["CutMix"] == {"species": "0.01 [2]", "order": "0.01", "family": "0.01 [1]"}
    assert set(table["ACoL"].values()) == {""} and "CAM-Agg" not in table and "Center" not in table


def test_the_figures_of_every_level_are_those_of_the_runs(sweep):
    (table,) = tables_of(run("scripts/tables.py", "train_log", "--table", "figures", cwd=sweep)).values()
    assert list(table)[:3] == ["CAM, species", "CAM, order", "CAM, family"] and "CAM-Agg, order" in table
    results = [json.loads((sweep / f"train_log/tiny/cam-order-lr0.01-seed{s}/results.json").read_text()) for s in (0, 1)]
    row = {column: one.split(" [")[0] for column, one in table["CAM, order"].items()}
    assert row["classes"] == "2" and row["IoU 50"] == cell(*(one["test"]["MaxBoxAcc"]["50"] for one in results))
    for figure in ("MaxBoxAccV2", "PxAP", "top1_loc", "top1_cls"):
        assert row[figure] == cell(*(one["test"][figure] for one in results))
    assert float(table["Center"]["IoU 30"]) > float(table["Center"]["IoU 70"]) and table["Center"]["top1_cls"] == ""


def test_the_benchmark_has_gains_for_each_seed(sweep):
    (table,) = tables_of(run("scripts/tables.py", "train_log", "--table", "benchmark", cwd=sweep)).values()
    cam, cutmix = ([value(sweep, f"{name}-species-lr0.01-seed{seed}") for seed in (0, 1)] for name in ("cam", "cutmix"))
    gains = [b - a for a, b in zip(cam, cutmix, strict=True)]
    found = table["CutMix"]["Toy timm:test_efficientnet"].split(" [")[0].strip("*")
    mean, deviation = cell(*gains).split(" ± ")
    assert found == f"{sum(gains) / 2:+.1f} ± {deviation}" and mean.lstrip("-+") in found


def test_every_table_as_latex_into_a_new_file(sweep, tmp_path):
    run("scripts/tables.py", "train_log", "--format", "latex", "--output", tmp_path / "t.tex", cwd=sweep)
    text = (tmp_path / "t.tex").read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 5
    assert r"$\pm$" in text and "±" not in text and r"test\_efficientnet" in text and "_efficientnet" in text
    printed = run("scripts/tables.py", "train_log", "--output", tmp_path / "t.tex", cwd=sweep, code=2)
    assert "exists; expected a new file" in printed


def test_runs_without_results_of_the_split_are_refused_by_name(sweep, tmp_path):
    printed = run("scripts/tables.py", tmp_path, "--table", "A2", cwd=sweep, code=2)
    assert "no finished runs for --table A2 with results of test" in printed


# Written runs, whose figures are known.


def right(share, images=60, seed=0):
    """Bool (images, 3, 10): a share of the images is right, at every threshold."""
    order = np.random.default_rng(seed).permutation(images)
    return np.broadcast_to((order < share * images)[:, None, None], (images, 3, 10))


@pytest.fixture
def tables(tmp_path):
    """Return a function that makes `Tables` of what was written in tmp_path; there are no metadata, so no Center."""

    def make(split="test"):
        made = Tables(collect([tmp_path]), split)
        with pytest.warns(UserWarning, match="Center on .* is left out"):
            return {name: made.of(name) for name in TABLES}

    return make


def labels_of(table, position=0):
    return {row.label: row.cells[position] for row in table.rows}


def test_published_figures_stand_beside_ours_where_they_are_comparable(tmp_path, tables):
    inat = {"dataset_name": "iNatLoc500", "num_classes": 500}
    write_run(tmp_path / "inat", scored_evaluator(right(0.5)), **inat)
    write_run(tmp_path / "inat_order", scored_evaluator(right(0.6)), **{**inat, "num_classes": 61}, label_level="order")
    write_run(tmp_path / "other", scored_evaluator(right(0.5)), **inat, architecture="vgg16")
    write_run(tmp_path / "open", scored_evaluator(right(0.5)), dataset_name="OpenImages", num_classes=100)
    write_run(tmp_path / "cub", scored_evaluator(right(0.5)), dataset_name="CUB", num_classes=38, label_level="order")
    found = tables()
    by_title = {table.title.split(":")[0]: table for table in found["2"]}
    ours = by_title["Methods and data sets, resnet50"]
    assert [name for _, name in ours.columns] == ["CUB (order)", "OpenImages (species)", "iNatLoc500 (species)"]
    assert [cell.published for cell in labels_of(ours, 2).values()][:2] == [60.2, None]  # HaS is blank, and stays so
    assert labels_of(ours, 0)["CAM"].published is None and labels_of(ours, 1)["FSL-Det"].text == "-"
    assert "| 50.0 (60.2)" in markdown(ours) and "In parentheses: published by Cole et al., ECCV 2022." in ours.notes
    assert "50.0 (60.2)" in latex(ours) and " & -- & " in latex(ours)
    assert labels_of(by_title["Methods and data sets, vgg16"])["CAM"].published is None
    (a2,) = found["A2"]
    assert [labels_of(a2, i)["CAM"].published for i in (0, 1)] == [60.2, 65.4]
    assert [cell.text for cell in next(row for row in a2.rows if row.label == "ACoL").cells] == ["-", "-"]


@pytest.mark.parametrize(("better", "bold"), [(0.9, True), (0.52, False)])
def test_the_best_is_bold_only_where_the_test_separates_it(tmp_path, tables, better, bold):
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", scored_evaluator(right(0.5, seed=seed)), seed=seed)
        write_run(tmp_path / f"b{seed}", scored_evaluator(right(better, seed=9 + seed)), seed=seed, wsol_method="has")
    (table,) = tables()["2"]
    cells = labels_of(table)
    assert (cells["HaS"].bold, cells["CAM"].bold) == (bold, False)
    assert any("correction for 1 comparison): D (species): HaS against CAM, p = " in note for note in table.notes)
    assert (r"\textbf{90.0 $\pm$ 0.0}" in latex(table)) == bold == ("| **90.0 ± 0.0**" in markdown(table))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_ids": [f"{i}.png" for i in range(60)]}, "their runs scored different images"),
        ({"size": (7, 7)}, "their maps differ in size"),
        (None, "no such file"),
    ],
)
def test_runs_that_cannot_be_paired_are_not_bold_and_say_why(tmp_path, tables, change, reason):
    write_run(tmp_path / "a", scored_evaluator(right(0.1)))
    write_run(tmp_path / "b", scored_evaluator(right(0.9), **(change or {})), wsol_method="has")
    if change is None:
        (tmp_path / "b/test_images.npz").unlink()
    (table,) = tables()["2"]
    assert not any(cell.bold for cell in labels_of(table).values())
    assert any(note.startswith("Not tested: D (species): HaS against CAM (") and reason in note for note in table.notes)


def test_what_else_varied_makes_rows_of_its_own_and_a_seed_counts_once(tmp_path, tables):
    for name, options in {"a": {}, "b": {"lr": 0.2}, "c": {"num_train_sample_per_class": 5}}.items():
        write_run(tmp_path / name, scored_evaluator(right(0.5)), **options)
    (table,) = tables()["2"]
    assert [row.label for row in table.rows][:3] == ["CAM, lr 0.1", "CAM, lr 0.2", "HaS"]  # c was trained on fewer images
    write_run(tmp_path / "d", scored_evaluator(right(0.5)))
    with pytest.raises(InputError, match=r"CAM, lr 0\.1, D \(species\): .*/a and .*/d are both of seed 0"):
        Tables(collect([tmp_path]), "test").of("2")


def test_the_benchmark_has_means_over_architectures_and_gains_of_means_where_seeds_differ(tmp_path, tables):
    for architecture, figures in {"vgg16": (0.5, 0.6), "resnet50": (0.4, 0.7)}.items():
        for method, share in zip(("cam", "has"), figures, strict=True):
            options = {"architecture": architecture, "wsol_method": method}
            write_run(tmp_path / f"{method}_{architecture}", scored_evaluator(right(share)), **options)
    write_run(tmp_path / "more", scored_evaluator(right(0.8)), architecture="vgg16", wsol_method="has", seed=1)
    write_run(tmp_path / "fsl", scored_evaluator(right(0.9)), architecture="vgg16", wsol_method="fsl_seg")
    write_run(tmp_path / "mine", scored_evaluator(right(0.4)), architecture="resnet50", wsol_method="my_method")
    (table,) = tables()["benchmark"]
    assert table.columns == [("D", "vgg16"), ("D", "resnet50"), ("D", "mean")]
    text = {line.split("|")[1].strip(): line for line in markdown(table).split("\n") if line.startswith("| ")}
    assert [c.strip() for c in text["CAM"].split("|")[2:5]] == ["50.0", "40.0", "45.0"]
    assert [c.strip().strip("*") for c in text["HaS"].split("|")[2:5]] == ["+20.0", "+30.0", "+25.0"]
    assert [c.strip() for c in text["FSL-Seg"].split("|")[2:5]] == ["90.0", "", ""]
    assert [c.strip() for c in text["my_method"].split("|")[2:5]] == ["", "+0.0", ""]
    order = [row.label for row in table.rows]
    assert order.index("CutMix") < order.index("my_method") < order.index("Center") < order.index("FSL-Seg")
    assert r"\multicolumn{3}{c}{D}" in latex(table) and r"\cmidrule(lr){2-4}" in latex(table)


def test_different_full_supervision_is_told_apart(tmp_path, tables):
    for name, method in {"a": "cam", "b": "fsl_seg"}.items():
        write_run(tmp_path / f"{name}/run", scored_evaluator(right(0.5)), wsol_method=method, eval_test=False)
        choice = {"options": {}, "run": "run", "figure": "MaxBoxAccV2", "candidates": {"run": 1.0}, "time": ""}
        choice |= {"fullsup_images": 10 * len(method), "fullsup_boxes": 99}
        opened = {"point": "p", "chosen": "", "seed": 0, "sha256": "", "intended": "-", "opened": "-", "marks": []}
        test = {"seeds": [0], "runs": {"run": opened}}
        record = {"format": 1, "name": name, "spec": {}, "created": "", "levels_alike": {}, "choices": {"p": choice}}
        write_json(tmp_path / name / "protocol.json", record | {"reported": {"run": "p"}, "test": test})
    (table,) = tables()["2"]
    said = {row.label: row.cells[0].text for row in table.rows if row.label.startswith("train-fullsup")}
    name = "train-fullsup images / boxes or masks of"
    assert said == {f"{name} CAM": "30 / 99", f"{name} FSL-Seg": "70 / 99"}
