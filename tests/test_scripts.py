import csv
import importlib
import json
import signal
import subprocess
import time
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from config import get_config, write_config
from conftest import CHECKOUT, SMALL, call, run, run_process
from scripts import granularity, tiny_animals
from wsol.core.files import write_text
from wsol.runs.results import split_results

COMMANDS = sorted(
    str(path.relative_to(CHECKOUT))
    for path in (*CHECKOUT.glob("*.py"), *CHECKOUT.glob("dataset/*.py"), *CHECKOUT.glob("scripts/*.py"))
    if "__main__" in path.read_text()
)
SHELL = ("demo.sh", "test.sh", "sweep_granularity.sh", "tiny_animals.sh")


@pytest.mark.parametrize("script", COMMANDS)
def test_help_of_a_command(script, tmp_path):
    output = run(script, "--help", cwd=tmp_path)
    first = importlib.import_module(script.removesuffix(".py").replace("/", ".")).__doc__.splitlines()[0]
    assert first in output
    assert output.startswith(("usage: ", first))


@pytest.mark.slow
@pytest.mark.parametrize("script", COMMANDS)
def test_a_command_runs_from_any_folder(script, tmp_path):
    run_process(script, "--help", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SHELL)
def test_help_of_a_shell_script_from_any_folder(script, tmp_path):
    output = run_process(f"scripts/{script}", "--help", cwd=tmp_path)
    first = (CHECKOUT / "scripts" / script).read_text().splitlines()[1]
    assert output.startswith(first.removeprefix("# ")) and "set -euo" not in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        "main.py --lable_level",
        "evaluation.py --scoremaproot",
        "inference.py --chekpoint",
        "dataset/prepare.py --archve",
        "dataset/import_dataset.py --imags",
        "dataset/build_inatloc.py --boxed_jsn",
        "dataset/add_levels.py --metadataroot",
        "dataset/wordnet.py --wordnets",
        "scripts/compare_runs.py --pages",
        "scripts/dataset_tables.py --splits",
        "scripts/plot_dataset.py --formats",
        "scripts/benchmark.py --map",
        "scripts/tiny_animals.py report f --levls",
    ],
)
def test_a_mistyped_option_is_one_line_with_the_one_that_was_meant(words, tmp_path):
    script, *words = words.split()
    said = run(script, *words, "x", cwd=tmp_path, code=2)
    assert said.startswith(f"error: unrecognized option {words[-1]}; did you mean --") and said.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "main.py --config",
        "evaluation.py --image_list",
        "inference.py --scoremap_root s --checkpoint",
        "dataset/prepare.py",
        "dataset/prepare.py CUB --archive",
        "dataset/import_dataset.py Mine --images",
        "dataset/import_dataset.py Mine --images i --group",
        "dataset/build_inatloc.py Mine --train_json t --boxed_json",
        "dataset/add_levels.py",
        "dataset/wordnet.py synsets",
        "scripts/compare_runs.py",
        "scripts/compare_runs.py a=b --page",
        "scripts/dataset_tables.py Toy --csv",
        "scripts/plot_dataset.py Toy --out",
        "scripts/parity.py",
        "scripts/benchmark.py",
        "scripts/granularity.py plan --dataset_name",
        "scripts/tiny_animals.py finished",
        "scripts/tiny_animals.py choose",
    ],
)
def test_an_empty_name_is_refused_by_every_command(words, tmp_path):
    script, *words = words.split()
    said = run(script, *words, "", cwd=tmp_path, code=2)
    assert "an empty name" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_sweep_without_a_data_set_says_what_it_expects(tmp_path):
    for words in ((), ("--lr", "1")):
        assert sweep(*words, cwd=tmp_path, code=2).startswith("error: expected DATASET [main.py options]")


def sweep(*options, cwd, code=0):
    return run_process("scripts/sweep_granularity.sh", *options, cwd=cwd, code=code)


@pytest.mark.slow
def test_a_sweep_runs_every_level_makes_its_table_and_skips_what_is_finished(workspace):
    options = ("Toy", *SMALL, "--experiment_name", "s")
    printed = sweep(*options, cwd=workspace)
    folder = workspace / "train_log/s"
    with (folder / "granularity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["level"] for row in rows] == ["species", "genus", "family", "order", "Center"]
    assert [row["classes"] for row in rows] == ["16", "8", "4", "2", ""]
    assert [row["train images"] for row in rows] == ["32", "16", "8", "4", ""]
    assert "trained on different numbers of images" in printed
    assert {"MaxBoxAccV2", "MaxBoxAcc30", "MaxBoxAcc50", "MaxBoxAcc70", "PxAP", "top1_cls"} <= set(rows[0])
    assert "| Center" in printed
    for name in ("granularity.png", "examples.png"):
        assert min(Image.open(folder / name).size) > 300

    (folder / "genus" / "results.json").unlink()  # as if it had been killed
    before = (folder / "species" / "results.json").stat().st_mtime_ns
    printed = sweep(*options, cwd=workspace)
    assert printed.count("finished before, skipped") == 3
    assert (folder / "genus" / "results.json").exists()
    assert (folder / "species" / "results.json").stat().st_mtime_ns == before
    with (folder / "granularity.csv").open() as file:
        assert list(csv.DictReader(file)) == rows

    printed = sweep(*options, "--lr", "0.5", cwd=workspace, code=2)
    assert "finished run with other options (lr was 0.01, now 0.5)" in printed


def test_the_help_of_every_helper(workspace):
    for script in ("sweep_granularity.sh", "tiny_animals.sh"):
        shown = run_process(f"scripts/{script}", "--help", cwd=workspace)
        assert "main.py options" in shown and "#" not in shown and "set -" not in shown
    for script in ("granularity", "tiny_animals", "compare_runs", "plot_dataset", "simulate_paired_test"):
        assert f"scripts/{script}.py" in run(f"scripts/{script}.py", "--help", cwd=workspace)
    assert not (workspace / "train_log").exists()


def test_a_sweep_refuses_bad_options_before_training(workspace):
    assert "a sweep runs every level" in sweep("Toy", "--label_level", "genus", cwd=workspace, code=2)
    plan = partial(run, "scripts/granularity.py", "plan", "--dataset_name", cwd=workspace, code=2)  # as the sweep begins
    assert "no metadata of a data set 'Nope'" in plan("Nope")
    assert "'toy'; did you mean Toy?; metadata has Toy, prepare.py makes Toy, CUB" in plan("toy")
    assert plan("Toy", "--lable_level", "x") == "error: unrecognized option --lable_level; did you mean --label_level?\n"
    assert "The options are those of main.py" in plan("Toy", "--help", code=0)
    assert "--lr 0.0: expected more than 0" in plan("Toy", "--lr", "0")
    assert not (workspace / "train_log").exists()


INTERVALS = {"MaxBoxAccV2": [50.0, 70.0], "MaxBoxAcc": {"30": [80.0, 92.0], "50": [55.0, 66.0], "70": [20.0, 40.0]}}
BOXES = {"MaxBoxAccV2": 60.0, "MaxBoxAcc": {"30": 90.0, "50": 60.0, "70": 30.0}, "PxAP": 55.5, "top1_loc": 40.0}
NOTHING = {"MaxBoxAccV2": None, "MaxBoxAcc": None, "PxAP": None, "top1_loc": None, "intervals": {}}


def results_of(figures):
    return split_results(figures, "test", "x")


def finished_sweep(workspace, results, left_out=()):
    """Write train_log/s/LEVEL as finished runs on Toy leave them; `left_out`: levels that scored one image less."""
    ids = (workspace / "metadata/Toy/test/image_ids.txt").read_text().split("\n")[:-1]
    for level in ("species", "genus", "family", "order"):
        folder = workspace / "train_log/s" / level
        part = {"intervals": {**INTERVALS, "PxAP": [50.0, 60.0], "top1_cls": [75.0, 85.0]}, "top1_cls": 80.0, **results}
        write_text(folder / "results.json", json.dumps({"val": part, "test": part}))
        write_text(folder / "test_image_ids.txt", "\n".join(ids[level in left_out :]) + "\n")


def report(workspace, *options):
    run("scripts/granularity.py", "report", "--dataset_name", "Toy", "--experiment_name", "s", *options, cwd=workspace)
    return (workspace / "train_log/s/granularity.md").read_text()


def figure_of(monkeypatch):
    """Keep the figures that scripts/granularity.py saves."""
    kept = []
    monkeypatch.setattr(granularity, "save_figure", lambda figure, path, dpi: kept.append(figure))
    return kept


def test_a_sweep_without_boxes_and_masks_reports_classification_alone(workspace, monkeypatch):
    finished_sweep(workspace, NOTHING)
    kept = figure_of(monkeypatch)
    text = report(workspace, "--save_scoremaps", "none")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["level", "classes", "train images", "top1_cls"]
    assert [row[0] for row in rows[2:]] == ["species", "genus", "family", "order"]  # no Center
    assert "No boxes and no masks: localization cannot be measured" in text
    assert [axes.get_title() for axes in kept[0].axes] == ["classification"]


def test_a_sweep_is_drawn_in_two_panels_with_intervals_and_a_hollow_center(workspace, monkeypatch):
    finished_sweep(workspace, BOXES, left_out=["order"])
    monkeypatch.setattr(granularity, "center_results", lambda config, split, ids: results_of({**BOXES, "top1_loc": None}))
    kept = figure_of(monkeypatch)
    text = report(workspace, "--save_scoremaps", "none", "--num_train_sample_per_class", "3")
    assert "granularity and the amount of data are confounded" in text
    assert "| Center (species, genus, family) |" in text and "| species " in text and "| 48 " in text
    FigureCanvasAgg(kept[0]).draw()
    left, right = kept[0].axes
    assert [left.get_title(), right.get_title()] == ["localization", "classification"]
    names = [label.get_text().replace("\n", " ") for label in left.get_xticklabels()]
    assert names[0].startswith("species") and "48 images" in names[0] and names[-1].startswith("Center (order)")
    assert len(right.get_xticklabels()) == 4
    (accuracy, caps, _), *_ = (one for one in left.containers if one.get_label() == "MaxBoxAccV2")
    assert [line.get_ydata()[0] for line in caps] == [50.0, 70.0]  # its interval
    hollow = [one[0] for one in left.containers if one[0].get_markerfacecolor() == "white"]
    assert hollow and all(line.get_linestyle() == "None" for line in hollow) and accuracy.get_markerfacecolor() != "white"
    markers = [one[0].get_marker() for one in left.containers if one.get_label() in left.get_legend_handles_labels()[1]]
    assert len(set(markers)) == len(markers)  # told apart in grey, too


@pytest.mark.parametrize("count", [1, 3, 18])
def test_panels_stay_readable_with_long_names_and_with_many_levels(count, tmp_path, monkeypatch):
    splits = {"train": SimpleNamespace(image_ids=["a"] * 12345)}
    names = [f"a_level_with_quite_a_long_name_{i}" for i in range(count)]
    levels = {name: SimpleNamespace(class_names=["x"] * 927, splits=splits) for name in names}
    figures = {
        name: granularity.figures_of(results_of({**BOXES, "top1_cls": 5.0}))
        for name in [*names, f"Center ({', '.join(names)})"]
    }
    kept = figure_of(monkeypatch)
    granularity.plot(levels, figures, "D", tmp_path / "x.png")
    FigureCanvasAgg(kept[0]).draw()
    for axes in kept[0].axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))
        assert axes.bbox.width > 0.4 * min(kept[0].bbox.width, 9 * kept[0].dpi) and axes.bbox.height > 2 * kept[0].dpi


def test_a_sweep_of_equally_many_images_says_nothing_of_confounding(workspace):
    finished_sweep(workspace, NOTHING)
    assert "confounded" not in report(workspace, "--save_scoremaps", "none")


@pytest.mark.slow
def test_the_study_of_tiny_animals_chooses_rates_on_val_and_makes_its_table(workspace, monkeypatch):
    for name, value in {"DATASET": "Toy", "LEVELS": "family order", "RATES": "0.01 0.5", "SEEDS": "0 1"}.items():
        monkeypatch.setenv(name, value)
    small = ("--architecture", "resnet18", "--pretrained", "FALSE", "--resize_size", "32", "--crop_size", "32", *SMALL)
    printed = run_process("scripts/tiny_animals.sh", *small, cwd=workspace)
    folder = workspace / "train_log/tiny_animals"
    rates = folder / "rates/family"
    val = {rate: json.loads((rates / rate / "results.json").read_text())["val"] for rate in ("0.01", "0.5")}
    assert "test" not in json.loads((rates / "0.5/results.json").read_text())
    best = max(val, key=lambda rate: val[rate]["MaxBoxAccV2"])
    assert f"| family | 4       | 2     | {best}" in printed
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["level"], row["run"]) for row in rows[:3]] == [("family", "0"), ("family", "1"), ("order", "0")]
    assert (rows[4]["level"], len(rows)) == ("Center", 5)
    assert min(Image.open(folder / "figure.png").size) > 300
    again = run_process("scripts/tiny_animals.sh", *small, cwd=workspace)
    assert again.count("finished before, skipped") == 8
    refused = run_process("scripts/tiny_animals.sh", *small, "--momentum", "0.5", cwd=workspace, code=2)
    assert "0.01 is a finished run with other options (momentum was 0.9, now 0.5)" in refused
    assert "error: --lr: the study sets it" in run_process("scripts/tiny_animals.sh", "--lr=0.1", cwd=workspace, code=2)


STUDY = {"lr": 0.1, "seed": 0, "crop_size": 32, "workers": 0}


@pytest.fixture
def study(tmp_path):
    """The files of finished runs of two levels, two rates and two seeds; a third seed that is not asked for is broken."""
    for level in ("family", "order"):
        runs = {"rates": {"0.1": {"lr": 0.1}, "1": {"lr": 1.0}}, "seeds": {"0": {"seed": 0}, "1": {"seed": 1}, "2": {}}}
        for kind, changes in runs.items():
            for name, change in changes.items():
                run = tmp_path / kind / level / name
                config = {**STUDY, "label_level": level, "dataset_name": "D$", **change, "eval_test": kind == "seeds"}
                write_text(run / "config.yaml", yaml.safe_dump(config))
                boxes = {"MaxBoxAccV2": 50.0 + (name == "0.1"), "MaxBoxAcc": {"30": 1.0, "50": 2.0, "70": 3.0}}
                spread = {"MaxBoxAccV2": {"0": 49.0}.get(name, 51.0)} if kind == "seeds" else {}
                test = {**boxes, **spread, "MaxBoxAccV2_at_val_threshold": 4.0, "top1_cls": 5.0}
                results = {"num_classes": 4, "val": boxes, **({"test": test} if kind == "seeds" else {})}
                write_text(run / "results.json", "{" if name == "2" else json.dumps(results))
                write_text(run / "test_image_ids.txt", "a\nb\n" if level == "family" else "a\n")
    return tmp_path


ASKED = ("--levels", "family", "order", "--rates", "0.1", "1", "--seeds", "0", "1")


def test_the_study_reports_the_seeds_asked_for_and_center_for_each_set_of_images(study, run_here, monkeypatch):
    results = results_of({"MaxBoxAccV2": 7.0, "MaxBoxAcc": {"30": 8.0, "50": 9.0, "70": 10.0}})
    monkeypatch.setattr(tiny_animals, "center_results", lambda config, split, ids: results)
    run_here(tiny_animals.main, "report", ".", *ASKED)
    with (study / "table.csv").open() as file:
        rows = [(row["level"], row["run"]) for row in csv.DictReader(file)]
    table = (study / "table.md").read_text()
    assert "Mean ± sample standard deviation, over the runs of each row." in table and "51.0 ± 0.0" not in table
    assert "| 50.0 ± 1.4 " in table  # 49 and 51
    runs = [("family", "0"), ("family", "1"), ("order", "0"), ("order", "1")]
    assert rows == [*runs, ("Center (family)", ""), ("Center (order)", "")]
    assert (study / "figure.png").exists()


@pytest.mark.parametrize(
    ("run", "old", "new", "message"),
    [
        ("seeds/order/1/config.yaml", "lr: 0.1", "lr: 1.0", "seeds/order/1: was run with --lr 1.0; expected 0.1"),
        ("seeds/order/1/config.yaml", "seed: 1", "seed: 0", "seeds/order/1: was run with --seed 0; expected 1"),
        ("rates/order/1/config.yaml", "lr: 1.0", "lr: 0.1", "rates/order/1: was run with --lr 0.1; expected 1"),
        ("seeds/order/0/config.yaml", "order", "family", "seeds/order/0: was run with --label_level family; expected order"),
        ("rates/order/1/config.yaml", "crop_size: 32", "crop_size: 48", "another --crop_size than rates/family/0.1"),
        ("seeds/order/1/config.yaml", "lr", "]", "not a readable YAML file"),
        ("seeds/order/1/config.yaml", "lr", "xyz", "seeds/order/1/config.yaml: unknown option 'xyz'"),
        ("seeds/order/1/config.yaml", "lr: 0.1", "lr: x", "'x' is not a finite number); expected a run's configuration"),
        ("seeds/order/1/results.json", "}", "", "seeds/order/1/results.json: not a readable JSON"),
        ("rates/order/1/results.json", "V2", "V3", "rates/order/1/results.json: val.MaxBoxAccV2 is None; expected a number"),
    ],
)
def test_runs_that_are_not_of_the_study_are_refused(study, run_here, run, old, new, message):
    write_text(study / run, (study / run).read_text().replace(old, new))
    assert message in run_here(tiny_animals.main, "report", ".", *ASKED, code=2)
    assert not (study / "table.md").exists()


def test_a_finished_run_of_other_options_is_not_reused(workspace):
    options = ("--dataset_name", "Toy", "--label_level", "order", "--lr", "0.1")
    config, _ = get_config(options)
    run = workspace / "train_log/s/0.1"
    write_config(config, run / "config.yaml")

    def state(*more, code=0):
        return call(tiny_animals.main, "finished", "s/0.1", *options, *more, cwd=workspace, code=code)

    assert state() == "\n"  # it has no results yet
    write_text(run / "results.json", "{}")
    assert state("--workers", "1") == "finished\n"
    write_config({name: value for name, value in config.items() if name != "max_megapixels"}, run / "config.yaml")
    assert state() == "finished\n"  # a run from before that option
    assert "(lr was 0.1, now 0.2)" in state("--lr", "0.2", code=2)
    assert "(label_level was order, now genus)" in state("--label_level", "genus", code=2)
    assert state("--lr", "0.2", "--override_cache", "TRUE") == "\n"
    write_text(run / "results.json", "{")
    assert "results.json: not a readable JSON" in state(code=2)


def heed_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests may run in the background of a shell, which ignores it


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_script_that_is_ended_ends_its_step_at_once(kind, code, tmp_path):
    (tmp_path / "script.sh").write_text(
        f'source "{CHECKOUT}/scripts/step.sh"\nstep sh -c "sleep 0.5; touch begun; sleep 60"\ntouch went_on\n'
    )  # half a second, so that bash waits by then: a signal in the instant before that, it heeds when the step has ended
    script = subprocess.Popen(["bash", "script.sh"], cwd=tmp_path, start_new_session=True, preexec_fn=heed_ctrl_c)
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    script.send_signal(kind)
    assert script.wait(timeout=20) == code and not (tmp_path / "went_on").exists()
    left = subprocess.run(["ps", "-s", str(script.pid), "-o", "args="], capture_output=True, text=True).stdout
    assert "sleep" not in left.replace("[sleep] <defunct>", "")


def test_a_step_that_fails_ends_the_script_with_its_code(tmp_path):
    (tmp_path / "script.sh").write_text(
        f'set -e\nsource "{CHECKOUT}/scripts/step.sh"\nstep true\nstep sh -c "exit 7"\ntouch went_on\n'
    )
    assert subprocess.run(["bash", "script.sh"], cwd=tmp_path).returncode == 7 and not (tmp_path / "went_on").exists()
