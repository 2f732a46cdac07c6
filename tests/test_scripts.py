import importlib
import json
import signal
import subprocess
import time

import pytest
from PIL import Image

from conftest import CHECKOUT, SMALL, run, run_process
from wsol.runs.results import split_results

COMMANDS = sorted(
    str(path.relative_to(CHECKOUT))
    for path in (*CHECKOUT.glob("*.py"), *CHECKOUT.glob("dataset/*.py"), *CHECKOUT.glob("scripts/*.py"))
    if "__main__" in path.read_text()
)
LEVELS = CHECKOUT / "scripts/experiments/levels.yaml"
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
        "dataset/pseudo_boxes.py --proposal",
        "dataset/wordnet.py --wordnets",
        "scripts/compare_runs.py --pages",
        "scripts/dataset_tables.py --splits",
        "scripts/plot_dataset.py --formats",
        "scripts/benchmark.py --map",
        "scripts/sweep.py spec.yaml --jbos",
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
        "dataset/pseudo_boxes.py Mine --proposals",
        "dataset/wordnet.py synsets",
        "scripts/compare_runs.py",
        "scripts/compare_runs.py a=b --page",
        "scripts/dataset_tables.py Toy --csv",
        "scripts/plot_dataset.py Toy --out",
        "scripts/parity.py",
        "scripts/benchmark.py",
        "scripts/sweep.py",
        "scripts/sweep.py spec.yaml --name",
    ],
)
def test_an_empty_name_is_refused_by_every_command(words, tmp_path):
    script, *words = words.split()
    said = run(script, *words, "", cwd=tmp_path, code=2)
    assert "an empty name" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def sweep(*options, cwd, code=0):
    return run_process("scripts/sweep_granularity.sh", *options, cwd=cwd, code=code)


def test_a_sweep_without_a_data_set_says_what_it_expects(tmp_path):
    for words in ((), ("--lr", "1"), ("--name", "s")):
        said = sweep(*words, cwd=tmp_path, code=2)
        assert said.startswith("error: expected DATASET [--name NAME] [main.py options]") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_sweep_runs_every_level_makes_its_tables_and_skips_what_is_finished(workspace):
    few = ("--epochs", "0", *SMALL[2:], "--cam_curve_interval", "0.1", "--bootstrap", "0")
    options = ("Toy", "--name", "s", "--architecture", "timm:test_efficientnet", "--large_feature_map", "F", *few)
    printed = sweep(*options, cwd=workspace)
    folder = workspace / "train_log/s"
    levels = ("species", "genus", "family", "order")
    assert "4 runs trained, 0 finished before, 4 evaluated on test, 0 failed" in printed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    assert rows[0][:3] == ["", "classes", "MaxBoxAccV2"] and rows[0][-1] == "top5_cls"
    found = {row[0]: row[1:] for row in rows[2:]}
    assert [found[f"CAM, {level}"][0] for level in levels] == ["16", "8", "4", "2"]
    for level in levels:
        value = split_results(json.loads((folder / f"{level}-seed0/results.json").read_text())["test"], "test", "x")
        assert found[f"CAM, {level}"][1] == f"{value.value('MaxBoxAccV2'):.1f}"
    assert "Center" in found and "| CAM, order" in (folder / "tables.md").read_text()
    assert min(Image.open(folder / "figures/figure3.png").size) > 300
    assert "species" in (folder / "report.html").read_text()

    before = (folder / "species-seed0/results.json").stat().st_mtime_ns
    printed = sweep(*options, cwd=workspace)
    assert "0 runs trained, 4 finished before, 0 evaluated on test, 0 failed" in printed
    refused = sweep(*options, "--lr", "0.5", cwd=workspace, code=2)
    assert "species-seed0 is a run with other options (lr was 0.01, now 0.5)" in refused and refused.count("\n") == 1
    assert (folder / "species-seed0/results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("script", ["sweep_granularity.sh", "tiny_animals.sh", "demo.sh"])
def test_the_help_of_a_sweep_names_the_options_and_starts_nothing(script, workspace):
    shown = run_process(f"scripts/{script}", "--help", cwd=workspace)
    assert "main.py" in shown and "#" not in shown and "set -" not in shown
    assert not (workspace / "train_log").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dataset_name", "Nope"), "no metadata of a data set 'Nope'"),
        (("--dataset_name", "toy"), "'toy'; did you mean Toy?; metadata has Toy, prepare.py makes Toy, CUB"),
        (("--lable_level", "x"), "error: unrecognized option --lable_level; did you mean --label_level?"),
        (("--label_level", "genus"), "label_level is in options too; expected it in one of them"),
        (("--experiment_name", "s"), "--experiment_name: the sweep sets it"),
        (("--coarsening", "x"), "--label_level species: expected not together with --coarsening"),
        (("--lr", "0"), "--lr 0.0: expected more than 0"),
        (("--jobs", "0"), "--jobs 0: expected 1 or more"),
        (("--name", "../s"), "--name"),
    ],
)
def test_a_sweep_refuses_bad_options_before_training(words, said, workspace):
    refused = run("scripts/sweep.py", LEVELS, *words, cwd=workspace, code=2)  # as sweep_granularity.sh calls it
    assert said in refused and refused.startswith("error: ") and refused.count("\n") == 1
    assert not (workspace / "train_log").exists()


def test_a_refused_sweep_ends_its_script(workspace):
    refused = sweep("Toy", "--label_level", "genus", cwd=workspace, code=2)
    assert "label_level is in options too" in refused and refused.count("\n") == 1
    assert not (workspace / "train_log").exists()


def heed_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests may run in the background of a shell, which ignores it


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_script_that_is_ended_ends_its_step_at_once(kind, code, tmp_path):
    (tmp_path / "script.sh").write_text(
        f'source "{CHECKOUT}/scripts/step.sh"\nstep sh -c "sleep 0.5; : > begun; exec sleep 60"\ntouch went_on\n'
    )  # half a second, so that bash waits by then: a signal in the instant before that, it heeds when the step has ended.
    # No command of its own makes the file: a shell goes on after Ctrl-C if the command that it waits for ends well.
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
