"""Commands with --cache_images, which changes no byte of what they give, and --decode_scale, which does."""

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import SMALL, TINY, run
from wsol.core.errors import OptionError
from wsol.runs.checkpoints import read_checkpoint
from wsol.runs.resume import check_same_run
from wsol.sweeps.states import differing

GIVEN = ("metrics.jsonl", "results.json", "val_images.npz", "test_images.npz", "test_curve.csv", "test_per_class.csv")


def weights(folder):
    return read_checkpoint(folder / "last_checkpoint.pth.tar")["state_dict"]


@pytest.mark.slow
def test_a_run_gives_the_same_bytes_without_a_cache_and_from_a_cold_and_a_warm_one(workspace):
    cache = ("--cache_images", "kept/here")
    options = {
        "plain": ("--workers", "0"),
        "cold": ("--workers", "2", *cache),
        "warm": ("--workers", "0", *cache),
        "warm_too": ("--workers", "2", *cache),
    }
    entries = []
    for name, given in options.items():
        run("main.py", *SMALL, *TINY, *given, "--eval_checkpoint_type", "best", "--experiment_name", name, cwd=workspace)
        entries.append({path: path.stat().st_mtime_ns for path in (workspace / "kept").rglob("*") if path.is_file()})
    assert not entries[0] and entries[1] and entries[1] == entries[2] == entries[3]
    log = workspace / "train_log"
    for name in list(options)[1:]:
        for file in GIVEN:
            assert (log / name / file).read_bytes() == (log / "plain" / file).read_bytes(), (name, file)
        maps = [path.relative_to(log / "plain") for path in (log / "plain/scoremaps").rglob("*.npy")]
        assert maps and all((log / name / path).read_bytes() == (log / "plain" / path).read_bytes() for path in maps)
        ours, plain = weights(log / name), weights(log / "plain")
        assert ours.keys() == plain.keys() and all(torch.equal(ours[key], plain[key]) for key in plain)
    one = ("--checkpoint", log / "plain/last_checkpoint.pth.tar", "--workers", "0")
    run("inference.py", *one, "--scoremap_root", "a", cwd=workspace)
    run("inference.py", *one, "--scoremap_root", "b", *cache, cwd=workspace)
    maps = [path.relative_to(workspace / "a") for path in (workspace / "a").rglob("*.npy")]
    assert maps and all((workspace / "a" / path).read_bytes() == (workspace / "b" / path).read_bytes() for path in maps)


@pytest.fixture
def jpegs(workspace):
    """Toy with its images three times as large, as JPEGs under their old names."""
    images = workspace / "dataset" / "Toy"
    (workspace / "large").mkdir()
    for path in images.resolve().rglob("*.png"):
        target = workspace / "large" / "Toy" / path.relative_to(images.resolve())
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((3 * image.width, 3 * image.height)).save(target, format="JPEG", quality=90)
    return ("--data_root", "large")


@pytest.mark.slow
def test_maps_are_made_at_the_scale_of_training_unless_told_otherwise(workspace, jpegs):
    options = (*SMALL, *TINY, *jpegs, "--save_scoremaps", "test")
    run("main.py", *options, "--decode_scale", "reduced", "--experiment_name", "reduced", cwd=workspace)
    checkpoint = workspace / "train_log/reduced/last_checkpoint.pth.tar"
    assert read_checkpoint(checkpoint)["config"]["decode_scale"] == "reduced"
    one = ("--checkpoint", checkpoint, "--split", "test", "--workers", "0", *jpegs)
    run("inference.py", *one, "--scoremap_root", "as_trained", cwd=workspace)
    run("inference.py", *one, "--scoremap_root", "full", "--decode_scale", "full", cwd=workspace)
    folders = (workspace / "train_log/reduced/scoremaps", workspace / "as_trained", workspace / "full")
    ids = [path.relative_to(folders[1]) for path in folders[1].rglob("*.npy")]
    own, again, full = ([np.load(folder / path) for path in ids] for folder in folders)
    assert ids and all(np.allclose(a, b, atol=1e-9) for a, b in zip(own, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(again, full, strict=True))


@pytest.mark.parametrize("command", ["main.py", "inference.py"])
def test_a_cache_that_cannot_be_is_refused_before_any_work(workspace, command, request):
    (workspace / "file").touch()
    words = (
        () if command == "main.py" else ("--scoremap_root", "maps", "--checkpoint", request.getfixturevalue("checkpoint"))
    )
    for folder, message in (
        ("file", "not a writable folder; expected a folder, or a name for a new one"),
        ("file/in", "not a writable folder; expected a folder, or a name for a new one"),
        ("dataset/Toy", "--cache_images dataset/Toy: expected a folder outside dataset/Toy, which holds the images"),
        ("dataset/Toy/kept", "expected a folder outside dataset/Toy, which holds the images"),
    ):
        printed = run(command, *words, "--cache_images", folder, cwd=workspace, code=2)
        assert printed.startswith("error: --cache_images") and message in printed
    assert not (workspace / "train_log/test_case").exists() and not (workspace / "maps").exists()


@pytest.fixture
def checkpoint(workspace):
    run("main.py", *SMALL, *TINY, "--epochs", "0", "--save_scoremaps", "none", "--experiment_name", "c", cwd=workspace)
    return workspace / "train_log/c/last_checkpoint.pth.tar"


def test_a_cache_makes_no_other_run_and_a_reduced_scale_does(workspace):
    one = {"cache_images": None, "decode_scale": "full", "lr": 0.1}
    assert differing(one, {**one, "cache_images": "kept"}) == []
    check_same_run(one, {**one, "cache_images": "kept"}, workspace)
    assert differing(one, {**one, "decode_scale": "reduced"}) == ["decode_scale"]
    with pytest.raises(OptionError, match=r"decode_scale full: .* began with reduced"):
        check_same_run(one, {**one, "decode_scale": "reduced"}, workspace)
