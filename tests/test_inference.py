import pytest

import inference
from conftest import SMALL, run
from evaluation import evaluate_wsol
from wsol.core.errors import InputError, ScoreMapError


@pytest.fixture(scope="module")
def checkpoint(toy_root):
    """The checkpoint of an untrained tiny run at Toy's level order."""
    words = ("--architecture", "timm:test_efficientnet", "--large_feature_map", "F", "--label_level", "order")
    words = (*SMALL, *words, "--epochs", "0", "--eval_test", "F", "--save_scoremaps", "none")
    run("main.py", *words, "--experiment_name", "of_inference", cwd=toy_root)
    return toy_root / "train_log/of_inference/last_checkpoint.pth.tar"


def test_maps_of_a_command_that_was_stopped_are_neither_scored_nor_mixed_with_others(workspace, checkpoint, monkeypatch):
    words = ("--checkpoint", checkpoint, "--scoremap_root", "maps", "--workers", "0")
    saved, own = [], inference.save_score_map

    def save_some(*arguments):
        saved.append(arguments)
        if len(saved) > 5:
            raise KeyboardInterrupt
        own(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(inference, "save_score_map", save_some)
        run("inference.py", *words, cwd=workspace, code=130)
    assert list((workspace / "maps").rglob("*.npy"))
    assert (workspace / "maps/UNFINISHED.txt").read_text().startswith(f"python inference --checkpoint {checkpoint}")
    printed = run("inference.py", *words, cwd=workspace, code=2)
    assert "--scoremap_root maps: not finished by 'python inference" in printed
    scoring = ("--scoremap_root", "maps", "--dataset_name", "Toy", "--on_missing", "skip")
    printed = run("evaluation.py", *scoring, cwd=workspace, code=2)
    assert "maps: not all of its score maps are written" in printed
    with pytest.raises(ScoreMapError, match="not all of its score maps"):
        evaluate_wsol(workspace / "maps", workspace / "metadata", workspace / "dataset", "Toy", "val", True, True, [50], 0.1)
    (workspace / "maps/UNFINISHED.txt").unlink()
    assert "score maps are missing; only" in run("evaluation.py", *scoring, cwd=workspace)
    assert "128 score maps" in run("inference.py", *words[:2], "--scoremap_root", "whole", "--workers", "0", cwd=workspace)
    assert not (workspace / "whole/UNFINISHED.txt").exists()


def test_a_bad_image_leaves_the_mark(workspace, checkpoint, monkeypatch):
    def fail(path, *_):
        raise InputError(f"{path}: not a readable image")

    monkeypatch.setattr("wsol.data.reading.read_image", fail)
    words = ("--checkpoint", checkpoint, "--scoremap_root", "maps", "--workers", "0")
    assert "--on_bad_image skip" in run("inference.py", *words, cwd=workspace, code=2)
    assert (workspace / "maps/UNFINISHED.txt").exists()


@pytest.mark.parametrize(
    ("words", "content", "message"),
    [
        (("--split", "vall"), None, "--split vall: Toy has the splits train, val, test"),
        (("--image_list", "list.txt"), "", "list.txt: no image id"),
        (("--image_list", "list.txt"), "{0}\nother.png\n{0}x\n", "list.txt:2: 'other.png' is not an image of val"),
        (("--image_list", "list.txt"), None, "list.txt: no such file"),
        (("--scoremap_root", "metadata/Toy/val/image_ids.txt"), None, "image_ids.txt"),
        (("--dataset_name", "Nope"), None, "no metadata of a data set 'Nope'"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_any_map(workspace, checkpoint, words, content, message):
    if content is not None:
        first = (workspace / "metadata/Toy/val/image_ids.txt").read_text().split()[0]
        (workspace / "list.txt").write_text(content.format(first))
    printed = run("inference.py", "--checkpoint", checkpoint, "--scoremap_root", "maps", *words, cwd=workspace, code=2)
    assert message in printed
    assert "Traceback" not in printed
    assert not (workspace / "maps").exists()
