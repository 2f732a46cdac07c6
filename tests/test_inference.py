import cv2
import numpy as np
import pytest
import torch

import inference
from conftest import SMALL, run
from data_loaders import Batch
from evaluation import evaluate_wsol
from wsol.core.errors import InputError, ScoreMapError
from wsol.maps.normalize import normalize_raw_map
from wsol.maps.prediction import predict
from wsol.networks.device import resolve_device


def test_a_raw_map_is_resized_bicubically_then_normalised():
    raw = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    resized = cv2.resize(raw.astype(np.float64), (224, 112), interpolation=cv2.INTER_CUBIC)
    expected = (resized - resized.min()) / (resized.max() - resized.min())
    got = normalize_raw_map(raw, (224, 112))
    assert (got.dtype, got.shape) == (np.float64, (112, 224))
    np.testing.assert_array_equal(got, expected)
    assert (got.min(), got.max()) == (0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_value_gives_all_zeros(value):
    raw = np.eye(3)
    raw[1, 1] = value
    assert not normalize_raw_map(raw, (9, 9)).any()


def test_a_constant_map_gives_all_zeros():
    assert not normalize_raw_map(np.full((3, 3), 0.3), (3, 3)).any()


class _Fixed(torch.nn.Module):
    """Gives the logits it was made with."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images, labels=None):
        return {"logits": self.logits}

    def raw_maps(self, outputs, labels):
        return torch.rand(len(labels), 2, 2)


def test_ranks_are_those_of_a_stable_sort_and_nan_is_never_right():
    nan = float("nan")
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [nan, nan, nan], [0.0, nan, 0.0]])
    labels = torch.tensor([2, 0, 2, 1, 0])
    batch = Batch(torch.zeros(5, 3, 8, 8), labels, list("abcde"), [])
    found = list(predict(_Fixed(logits), [batch], torch.device("cpu"), "off", []))
    assert [p.rank for p in found] == [1, 0, 2, 3, 1]
    assert [p.image_id for p in found] == list("abcde")
    assert found[0].score_map().shape == (8, 8)


def test_images_that_could_not_be_read_are_passed_on():
    bad = []
    batches = [Batch(torch.empty(0), torch.empty(0, dtype=torch.int64), [], ["x.jpg: broken"])]
    assert list(predict(_Fixed(torch.zeros(0, 2)), batches, torch.device("cpu"), "off", bad)) == []
    assert bad == ["x.jpg: broken"]


def test_devices_that_do_not_exist_are_refused():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="device cuda:99: expected cpu or one of"):
        resolve_device("cuda:99")
    with pytest.raises(InputError, match="amp fp16"):
        resolve_device("cpu", "fp16")


@pytest.mark.parametrize("name", ["cuda:9999999999999999999999", "cuda:" + "9" * 5000, "cuda:200", "cuda:x", "tpu", ""])
def test_no_name_of_a_device_is_a_traceback(name):
    with pytest.raises(InputError, match=r"^device"):
        resolve_device(name)


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

    monkeypatch.setattr("wsol.data.batches.load_image", fail)
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
