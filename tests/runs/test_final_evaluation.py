import json

import pytest

from conftest import SMALL, link_toy, run
from wsol.core.errors import InputError
from wsol.runs.final_evaluation import evaluate_run


@pytest.fixture(scope="module")
def finished(toy_root, tmp_path_factory):
    """A folder with a finished run, `done`, whose best checkpoint was evaluated at a coarser level's maps."""
    folder = tmp_path_factory.mktemp("finished")
    link_toy(toy_root, folder)
    words = (
        "--label_level",
        "genus",
        "--cam_agg_level",
        "order",
        "--eval_checkpoint_type",
        "best",
        "--save_scoremaps",
        "none",
    )
    run("main.py", *SMALL, *words, "--experiment_name", "done", "--bootstrap", "50", cwd=folder)
    return folder


def test_a_finished_run_is_evaluated_again_from_its_checkpoint_alone(finished, monkeypatch):
    monkeypatch.chdir(finished)
    results, evaluator = evaluate_run("train_log/done/best_checkpoint.pth.tar", "test")
    expected = json.loads((finished / "train_log/done/results.json").read_text())["test"]
    assert json.loads(json.dumps(results)) == expected
    assert len(evaluator.scored_ids) == expected["counts"]["images"] and evaluator.ranks


def test_an_image_that_cannot_be_read_stops_it(finished, monkeypatch):
    monkeypatch.chdir(finished)

    def fail(path, *_):
        raise InputError(f"{path}: broken")

    monkeypatch.setattr("wsol.data.reading.read_image", fail)
    with pytest.raises(InputError, match=r"broken \(on_bad_image skip leaves such images out\)"):
        evaluate_run("train_log/done/best_checkpoint.pth.tar", "val")


def test_a_split_that_is_not_there_is_named(finished, monkeypatch):
    monkeypatch.chdir(finished)
    with pytest.raises(InputError, match="extra"):
        evaluate_run("train_log/done/best_checkpoint.pth.tar", "extra")
