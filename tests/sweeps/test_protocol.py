"""What guards the test split: every accident is made to happen to a finished sweep."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from conftest import call, link_toy, run
from option_tables import training_groups
from scripts import open_test as open_test_command
from scripts import sweep as sweep_command
from wsol.core.errors import InputError
from wsol.core.options import by_name
from wsol.sweeps.conduct import Sweep
from wsol.sweeps.executors import BUSY
from wsol.sweeps.protocol import LATER_RUN, LATER_SEED, REUSED, Candidate, open_protocol, read_protocol
from wsol.sweeps.spec import Where, read_spec

TABLE = by_name(training_groups())

SPEC = {
    "name": "s",
    "options": {
        "dataset_name": "Toy",
        "architecture": "timm:test_efficientnet",
        "pretrained": False,
        "large_feature_map": True,
        "resize_size": 36,
        "crop_size": 32,
        "batch_size": 8,
        "epochs": 1,
        "num_train_sample_per_class": 4,
        "num_val_sample_per_class": 1,
        "workers": 0,
        "bootstrap": 5,
        "save_scoremaps": "none",
    },
    "vary": {"label_level": ["order"]},
    "choose": {"grid": {"lr": [0.01, 0.0001]}},
    "report": [{"seeds": [0, 1]}],
    "run": {"jobs": 2, "retries": 0},
}


def sweep(folder: Path, spec: dict, *words: object, code: int = 0) -> str:
    (folder / "s.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return call(sweep_command.main, "s.yaml", *words, cwd=folder, code=code)


@pytest.fixture(scope="module")
def finished(toy_root, tmp_path_factory) -> tuple[Path, str]:
    """A folder with a sweep that has opened test, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    link_toy(toy_root, folder)
    return folder, sweep(folder, SPEC)


@pytest.fixture
def again(finished, tmp_path) -> Path:
    """A copy of the finished sweep, to be harmed."""
    shutil.copytree(finished[0], tmp_path / "again", symlinks=True)
    return tmp_path / "again"


def record(folder: Path) -> dict:
    return json.loads((folder / "train_log/s/protocol.json").read_text())


def runs_of(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob("train_log/s/*/results.json"))}


def winner(folder: Path) -> str:
    return record(folder)["choices"]["order"]["run"]


def test_only_the_chosen_configuration_is_evaluated_on_test(finished):
    folder, printed = finished
    chosen = winner(folder)
    assert "3 runs trained, 0 finished before, 2 evaluated on test, 0 failed" in printed
    tested = {name for name, content in runs_of(folder).items() if "test" in json.loads(content)}
    assert tested == {chosen, chosen.replace("seed0", "seed1")} == set(record(folder)["test"]["runs"])
    assert len(runs_of(folder)) == 3
    choice = record(folder)["choices"]["order"]
    assert choice["fullsup_images"] == choice["fullsup_boxes"] == 16 and choice["figure"] == "MaxBoxAccV2"
    assert choice["candidates"][chosen] == max(choice["candidates"].values()) and len(choice["candidates"]) == 2
    assert all(one["opened"] >= one["intended"] and one["marks"] == [] for one in record(folder)["test"]["runs"].values())


def test_opening_test_later_gives_the_bytes_of_a_run_that_evaluates_it_itself(finished, workspace):
    folder, _ = finished
    options = {
        **SPEC["options"],
        "label_level": "order",
        "lr": record(folder)["choices"]["order"]["options"]["lr"],
        "seed": 0,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    run("main.py", *words, "--threads", 1, "--experiment_name", "whole", cwd=workspace)
    for file in ("results.json", "test_curve.csv", "test_per_class.csv", "test_class_ranks.csv", "test_images.npz"):
        assert (folder / "train_log/s" / winner(folder) / file).read_bytes() == (
            workspace / "train_log/whole" / file
        ).read_bytes(), file


def test_called_again_nothing_is_done(again):
    before = runs_of(again), record(again)
    assert "0 runs trained, 3 finished before, 0 evaluated on test" in sweep(again, SPEC)
    assert (runs_of(again), record(again)) == before
    assert "3 runs; 3 of them finished" in sweep(again, SPEC, "--dry_run")
    assert "3 of 3 runs finished" in sweep(again, SPEC, "--status")


def test_runs_at_the_finest_level_by_default_are_known_again(workspace):
    spec = {name: value for name, value in SPEC.items() if name not in ("vary", "choose")} | {"report": [{"seeds": [0]}]}
    assert "1 runs trained" in sweep(workspace, spec)
    assert "0 runs trained, 1 finished before" in sweep(workspace, spec)


def test_another_choice_is_refused_and_marked_where_it_is_allowed(again):
    (loser,) = set(record(again)["choices"]["order"]["candidates"]) - {winner(again)}
    other = {**SPEC, "choose": {"grid": {"lr": [float(loser.split("-lr")[1].split("-seed")[0])]}}}
    before = runs_of(again)
    assert "expected the choice to stay, or --allow_test_reuse" in sweep(again, other, code=2)
    assert runs_of(again) == before
    assert "1 runs trained, 1 finished before, 2 evaluated on test" in sweep(again, other, "--allow_test_reuse")
    marks = {name: one["marks"] for name, one in record(again)["test"]["runs"].items()}
    assert marks[loser] == marks[loser.replace("seed0", "seed1")] == [REUSED]
    assert [each for name, each in marks.items() if loser.split("-seed")[0] not in name] == [[], []]


def test_a_choice_edited_in_the_record_is_made_again_from_val(again):
    content = record(again)
    (loser,) = set(content["choices"]["order"]["candidates"]) - {winner(again)}
    chosen = content["choices"]["order"]["run"]
    content["choices"]["order"] |= {"run": loser, "options": {"lr": 5.0}}
    (again / "train_log/s/protocol.json").write_text(json.dumps(content))
    assert "0 runs trained" in sweep(again, SPEC)
    assert winner(again) == chosen


def test_a_seed_and_a_level_added_later_are_marked(again):
    more = {**SPEC, "report": [{"seeds": [0, 1, 2]}], "vary": {"label_level": ["order", "family"]}}
    sweep(again, more)
    marks = {name: one["marks"] for name, one in record(again)["test"]["runs"].items()}
    assert {tuple(each) for name, each in marks.items() if name.endswith("seed2")} == {(LATER_SEED,)}
    assert {tuple(each) for name, each in marks.items() if name.startswith("family") and "seed2" not in name} == {
        (LATER_RUN,)
    }
    assert record(again)["test"]["seeds"] == [0, 1]


def test_an_edited_option_is_refused(again):
    other = {**SPEC, "options": {**SPEC["options"], "epochs": 2}}
    before = runs_of(again)
    assert "epochs was 1, now 2" in sweep(again, other, code=2)
    assert "| refused | is a run with other options (epochs was 1, now 2)" in sweep(again, other, "--status")
    assert runs_of(again) == before


def test_an_edited_option_is_refused_where_nothing_is_chosen(again):
    """There are no candidates that would show that the sweep has begun."""
    other = {**SPEC, "options": {**SPEC["options"], "epochs": 2, "lr": 0.01}, "report": [{"seeds": [7]}]}
    del other["choose"]
    assert "began with other options (epochs was '1', now '2')" in sweep(again, other, code=2)


@pytest.mark.parametrize(
    ("options", "cases"),
    [
        (  # as versions before wrote them: the texts of the file, several values as a list
            {"large_feature_map": "true", "batch_size": "0128", "lr": "1e-2", "iou_threshold_list": ["30", "50"]},
            [{"where": {"label_level": "finest"}, "options": {"pretrained": "no"}}],
        ),
        (
            {"large_feature_map": "True", "batch_size": "128", "lr": "0.01", "iou_threshold_list": "30 50"},
            [{"where": {"label_level": ["finest"]}, "options": {"pretrained": "False"}}],
        ),
    ],
)
def test_a_record_of_another_version_is_read_by_its_values(tmp_path, options, cases):
    """A record stays that of the same experiment, however its version spelled options; another value is refused."""
    content = {"format": 1, "name": "s", "levels_alike": {}, "choices": {}, "reported": {}, "test": None}
    old = {"options": options, "cases": cases}
    (tmp_path / "protocol.json").write_text(json.dumps({**content, "spec": old}))
    text = (
        "vary: {label_level: all}\n"
        "options: {large_feature_map: TRUE, batch_size: 128, lr: 0.01, iou_threshold_list: [30, 50]}\n"
        "cases:\n  - {where: {label_level: finest}, options: {pretrained: f}}\n"
    )

    def opened(text: str) -> dict:
        (tmp_path / "s.yaml").write_text(text)
        spec = read_spec(tmp_path / "s.yaml", TABLE)
        return open_protocol(tmp_path, "s", spec.tree, {}, TABLE, is_new=False).content["spec"]

    assert opened(text)["options"]["batch_size"] == "128"
    with pytest.raises(InputError, match=r"other options \(lr was '0\.01', now '0\.02'\)"):
        opened(text.replace("0.01", "0.02"))
    with pytest.raises(InputError, match=r"other options \(iou_threshold_list was '30, 50', now '30, 70'\)"):
        opened(text.replace("50", "70"))
    with pytest.raises(InputError, match=r"other cases \(cases\[0\]\.options\.pretrained was 'False', now 'True'\)"):
        opened(text.replace(": f}", ": yes}"))
    with pytest.raises(InputError, match=r"other cases \(cases\[0\]\.where\.label_level was 'finest', now 'genus'\)"):
        opened(text.replace("finest", "genus"))


def test_options_that_change_no_result_and_another_spelling_are_the_same_experiment(again):
    other = {**SPEC["options"], "workers": 1, "pretrained": "no", "large_feature_map": "TRUE"}
    assert "0 runs trained, 3 finished before" in sweep(again, {**SPEC, "options": other})


def test_what_is_reported_stays_while_a_new_candidate_fails(again):
    before = record(again)["reported"]
    sweep(again, {**SPEC, "choose": {"grid": {"lr": [0.01, 0.0001, 0.1]}}, "cases": []}, "--device", "cuda:9", code=2)
    assert record(again)["reported"] == before and record(again)["test"]["runs"].keys() == before.keys()


def test_results_of_test_without_a_record_are_refused(again):
    (again / "train_log/s/protocol.json").unlink()
    assert "has results of test, but train_log/s/protocol.json does not say when" in sweep(again, SPEC, code=2)
    assert not (again / "train_log/s/protocol.json").exists()


def test_a_run_that_evaluated_test_by_itself_is_refused(again):
    name = winner(again).replace("seed0", "seed2")
    shutil.copytree(again / "train_log/s" / winner(again), again / "train_log/s" / name)
    assert "does not say when test was opened for it" in sweep(again, SPEC, code=2)


def test_results_without_their_options_are_refused(again):
    (again / "train_log/s" / winner(again) / "config.yaml").unlink()
    assert "has results, but no config.yaml" in sweep(again, SPEC, code=2)


def test_a_copied_folder_is_refused(again):
    (loser,) = set(record(again)["choices"]["order"]["candidates"]) - {winner(again)}
    name = winner(again).replace("seed0", "seed2")
    shutil.copytree(again / "train_log/s" / loser, again / "train_log/s" / name)
    more = {**SPEC, "report": [{"seeds": [0, 1, 2]}]}
    assert f"train_log/s/{name} is a copy of the run s/{loser}" in sweep(again, more, code=2)


def test_another_checkpoint_under_a_recorded_name_is_refused(again):
    (loser,) = set(record(again)["choices"]["order"]["candidates"]) - {winner(again)}
    folder = again / "train_log/s"
    shutil.copy(folder / loser / "last_checkpoint.pth.tar", folder / winner(again) / "last_checkpoint.pth.tar")
    assert "its checkpoint is not the one for which test was opened" in sweep(again, SPEC, code=2)


@pytest.mark.parametrize("is_evaluated", [False, True])
def test_an_opening_that_was_killed_is_finished(again, is_evaluated):
    """Killed before the evaluation had written its results, or before it was recorded."""
    folder, name = again / "train_log/s", winner(again)
    before = runs_of(again)
    content = record(again)
    content["test"]["runs"][name]["opened"] = None
    (folder / "protocol.json").write_text(json.dumps(content))
    if not is_evaluated:
        results = json.loads((folder / name / "results.json").read_text())
        del results["test"]
        (folder / name / "results.json").write_text(json.dumps(results))
    assert "1 evaluated on test" in sweep(again, SPEC)
    assert runs_of(again) == before and record(again)["test"]["runs"][name]["opened"]


def test_a_run_that_was_lost_after_test_was_opened_comes_back_with_the_same_results(again):
    folder, before = again / "train_log/s" / winner(again), runs_of(again)
    results, checkpoint = folder / "results.json", folder / "last_checkpoint.pth.tar"
    trained = checkpoint.read_bytes()
    results.unlink()
    assert "its results are gone" in sweep(again, SPEC, code=2)
    assert checkpoint.read_bytes() == trained
    shutil.rmtree(folder)
    assert "1 runs trained, 2 finished before, 1 evaluated on test" in sweep(again, SPEC)
    assert runs_of(again) == before


def test_an_opening_by_another_process_counts_only_with_its_results(tmp_path):
    plan = SimpleNamespace(folder=tmp_path, spec=SimpleNamespace(run=Where()))
    conducted = Sweep(plan, SimpleNamespace(train="main", open_test="scripts.open_test"), print)
    training, opening = (conducted.job("a", module, []) for module in ("main", "scripts.open_test"))
    assert conducted.reason(training, BUSY)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/results.json").write_text('{"val": {"MaxBoxAcc": {"50": 1.0}}}')
    assert not conducted.reason(training, BUSY)
    assert conducted.reason(opening, BUSY) == "the process that was at it did not finish it"


def test_test_is_not_opened_by_hand(again):
    (loser,) = set(record(again)["choices"]["order"]["candidates"]) - {winner(again)}
    printed = call(open_test_command.main, f"train_log/s/{loser}", cwd=again, code=2)
    assert "states no intent to open test for it" in printed
    inside = call(open_test_command.main, ".", cwd=again / "train_log/s" / loser, code=2)
    (again / "link").symlink_to(again / "train_log/s" / loser)
    linked = call(open_test_command.main, "link", cwd=again, code=2)
    assert "states no intent" in inside and "states no intent" in linked
    assert "has results of test already" in call(open_test_command.main, f"train_log/s/{winner(again)}", cwd=again, code=2)


def test_a_run_that_is_named_twice_is_evaluated_once(again):
    folder, name = again / "train_log/s", winner(again)
    before = runs_of(again)
    results = json.loads((folder / name / "results.json").read_text())
    (folder / name / "results.json").write_text(json.dumps({key: one for key, one in results.items() if key != "test"}))
    (again / "link").symlink_to(folder / name)
    printed = call(open_test_command.main, f"train_log/s/{name}", "link", f"train_log/./s/{name}", cwd=again)
    assert printed.count("written:") == 1 and runs_of(again) == before


def test_a_failing_candidate_leaves_test_closed_and_says_why(workspace):
    (workspace / "weights.pth").write_bytes(b"no weights")
    spec = {**SPEC, "options": {**SPEC["options"], "pretrained": True, "pretrained_path": "weights.pth"}}
    printed = sweep(workspace, spec, code=2)
    assert "test stays closed until nothing fails" in printed and "weights.pth" in printed.split("still failing")[1]
    assert record(workspace)["test"] is None
    assert "| failed | weights.pth: not a weights file" in sweep(workspace, spec, "--status")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 9}'])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "protocol.json").write_text(text)
    with pytest.raises(InputError, match=r"protocol\.json"):
        read_protocol(tmp_path)


def test_the_first_of_equal_candidates_is_chosen(tmp_path):
    protocol = open_protocol(tmp_path, "s", {}, {}, {}, is_new=True)
    candidates = [Candidate("a", {"lr": 1}, 5.0), Candidate("b", {"lr": 2}, 7.0), Candidate("c", {"lr": 3}, 7.0)]
    assert protocol.choose("p", candidates, "PxAP", {}, allow_reuse=False).run == "b"
    assert read_protocol(tmp_path).role("c") == "choosing" and read_protocol(tmp_path).role("d") == ""


def test_a_figure_that_val_cannot_have_is_refused_before_anything_is_trained(workspace):
    shutil.copytree(workspace / "metadata" / "Toy", workspace / "boxes" / "Toy")
    (workspace / "boxes" / "Toy" / "val" / "masks.txt").unlink()
    spec = {**SPEC, "options": {**SPEC["options"], "metadata_root": "boxes"}}
    printed = sweep(workspace, {**spec, "choose": {**SPEC["choose"], "figure": "PxAP"}}, code=2)
    assert "choose.figure: PxAP needs masks, and val of Toy has none" in printed
    assert not list(workspace.glob("train_log/s/*/config.yaml"))
