import re

"""What a checkpoint or a weights file holds is checked when it is read: each wrong file is one line that names it."""

import pytest
import torch

from config import get_config
from conftest import TINY, refused_start, run
from samples import full_disk, named_as_in_wsolevaluation
from wsol import build_model, load_wsolevaluation_state_dict
from wsol.core.errors import InputError
from wsol.runs.checkpoints import ENTRIES, FORMAT, read_checkpoint, write_checkpoint

ARCHITECTURE = TINY[1]
WEIGHT = "classifier.weight"


def older_checkpoint():
    """Return a checkpoint for Toy's two orders as main.py wrote it before checkpoints stated a format."""
    torch.manual_seed(0)
    config, _ = get_config(list(TINY))
    return {
        "architecture": ARCHITECTURE,
        "epoch": 1,
        "state_dict": build_model(ARCHITECTURE, "cam", 2).state_dict(),
        "optimizer": {},
        "config": dict(config),
        "label_level": "order",
        "class_names": ["round", "angular"],
        "file_labels": [0, 1],
        "score_map_thresholds": {"30": 0.1, "50": 0.2, "70": 0.3},
    }


def good_checkpoint():
    """Return a checkpoint as main.py writes it for Toy's two orders."""
    return older_checkpoint() | {
        "format": FORMAT,
        "ancestors": None,
        "step": 0,
        "scaler": {},
        "epoch_sums": torch.zeros(2, dtype=torch.float64),
        "epoch_images": 0,
        "best": 50.0,
        "validation": {kind: {"epoch": 1, "results": {"PxAP": None}, "counts": {}} for kind in ("last", "best")},
        "metrics": [{"epoch": 0, "split": "val"}],
        "bad_images": [],
    }


def changed(**entries):
    """Return what puts entries into a checkpoint."""
    return lambda checkpoint: checkpoint | entries


def of_config(**entries):
    return lambda checkpoint: checkpoint | {"config": checkpoint["config"] | entries}


def of_state(value, name=WEIGHT):
    """Return what replaces a tensor, or (a function) what is made of it."""

    def change(checkpoint):
        state = dict(checkpoint["state_dict"])
        state[name] = value(state[name]) if callable(value) else value
        return checkpoint | {"state_dict": state}

    return change


def without(name):
    return lambda checkpoint: {key: value for key, value in checkpoint.items() if key != name}


def without_config(name):
    return lambda checkpoint: checkpoint | {"config": without(name)(checkpoint["config"])}


TENSORS = {
    "shape": of_state(torch.zeros(3, 3)),
    "text": of_state("weights"),
    "none": of_state(None),
    "sparse": of_state(lambda x: x.to_sparse()),
    "quantized": of_state(lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)),
    "complex": of_state(lambda x: x.to(torch.complex64)),
    "meta": of_state(lambda x: x.to("meta")),
    "nested": of_state(lambda x: torch.nested.nested_tensor([x[0], x[1, :5]])),
    "integers": of_state(lambda x: x.to(torch.int8)),
    "huge": of_state(torch.zeros(1).expand(10**12)),
    "scalar": of_state(torch.tensor(1.0)),
    "extra": of_state(torch.zeros(2), name="extra.weight"),
    "number": lambda c: c | {"state_dict": {0: torch.zeros(2)}},
    "empty state": changed(state_dict={}),
    "list state": changed(state_dict=[torch.zeros(2)]),
    "no state": changed(state_dict=None),
}
WRONG = {
    **{f"no {name}": without(name) for name in ("epoch", "state_dict", "optimizer", "config", "class_names")},
    **{
        f"{name} is none": changed(**{name: None})
        for name in ("architecture", "epoch", "optimizer", "config", "label_level")
    },
    "epoch": changed(epoch=-1),
    "epoch text": changed(epoch="1"),
    "epoch true": changed(epoch=True),
    "architecture": changed(architecture="vgg16"),
    "architecture list": changed(architecture=["vgg16"]),
    "names": changed(class_names=["round"]),
    "names numbers": changed(class_names=[0, 1]),
    "names text": changed(class_names="ab"),
    "no names": changed(class_names=[], file_labels=[]),
    "labels": changed(file_labels=[0, 0]),
    "labels negative": changed(file_labels=[-1, 1]),
    "labels floats": changed(file_labels=[0.0, 1.0]),
    "labels tensor": changed(file_labels=torch.tensor([0, 1])),
    "other names": changed(class_names=["a", "b"]),
    "level": changed(label_level="tribe"),
    "thresholds": changed(score_map_thresholds={"50": 1.5}),
    "thresholds nan": changed(score_map_thresholds={"50": float("nan")}),
    "thresholds list": changed(score_map_thresholds=[0.5]),
    "config list": changed(config=["lr"]),
    "config keys": changed(config={1: 2}),
    "no config": changed(config={}),
    "method": of_config(wsol_method="nope"),
    "no method": without_config("wsol_method"),
    "method of the file": of_config(wsol_method="acol"),
    "network": lambda c: of_config(architecture="vgg99")(c | {"architecture": "vgg99"}),
    "no such network": lambda c: of_config(architecture="timm:nope")(c | {"architecture": "timm:nope"}),
    "crop size": of_config(crop_size=0),
    "crop size text": of_config(crop_size="64"),
    "crop size huge": of_config(crop_size=10**30),
    "batch size": of_config(batch_size=True),
    "data set": of_config(dataset_name=["Toy"]),
    "data set path": of_config(dataset_name="../Toy"),
    "no data set": of_config(dataset_name="Nope"),
    "root": of_config(data_root="nowhere"),
    "large": of_config(large_feature_map=None),
    "option": of_config(adl_drop_rate="much"),
    "threshold of a method": of_config(wsol_method="adl", adl_drop_rate=float("nan")),
    "interval": of_config(cam_curve_interval=float("inf")),
    **{f"state {name}": change for name, change in TENSORS.items()},
}
NEWER = [name for name, entry in ENTRIES.items() if entry.since > 1 and name != "format"]
WRONG |= {
    "format": changed(format=0),
    "format text": changed(format="2"),
    "format none": changed(format=None),
    "newer format": changed(format=FORMAT + 1),
    "a huge format": changed(format=10**30),
    **{f"no {name}": without(name) for name in NEWER},
    **{f"{name} is text": changed(**{name: "x"}) for name in NEWER},
    "step negative": changed(step=-1),
    "cam_agg_level list": of_config(cam_agg_level=["x"]),
    "coarsening number": of_config(coarsening=7),
    "dataset path": of_config(dataset_name="../x"),
    "metadata root with NUL": of_config(metadata_root="a\0b", cam_agg_level="shape"),
    "amp": of_config(amp="fp99"),
    "bootstrap text": of_config(bootstrap="x"),
    "ancestors huge": changed(ancestors={"shape": [2**70, 0]}),
    "ancestors below -1": changed(ancestors={"shape": [-7, 0]}),
    "ancestors at a number": changed(ancestors={3: [0, 0]}),
    "ancestors list": changed(ancestors=[0, 0]),
    "ancestors text": changed(ancestors={"shape": ["a", "b"]}),
    "ancestors of three classes": changed(ancestors={"shape": [0, 0, 1]}),
    "best nan": changed(best=float("nan")),
    "sums of another width": changed(epoch_sums=torch.zeros(2)),
    "sums without values": changed(epoch_sums=torch.zeros(2, dtype=torch.float64, device="meta")),
    "validation list": changed(validation=[1]),
    "validation of others": changed(validation={"first": {"epoch": 0, "results": {}, "counts": {}}}),
    "validation without counts": changed(validation={"last": {"epoch": 0, "results": {}}}),
    "validation of epoch -1": changed(validation={"last": {"epoch": -1, "results": {}, "counts": {}}}),
    "metrics numbers": changed(metrics=[1]),
    "bad images numbers": changed(bad_images=[1]),
}
NOT_ONE = {"list": [1], "tensor": torch.zeros(2), "empty": {}, "text": "checkpoint", "nothing": None}


@pytest.fixture(scope="module")
def checkpoint():
    return good_checkpoint()


def refusal(workspace, content, *words, script="inference.py"):
    """Return the one line with which a command refuses a checkpoint."""
    path = workspace / "wrong.pth.tar"
    torch.save(content, path)
    printed = run(script, *words, cwd=workspace, code=2)
    assert "Traceback" not in printed
    assert printed.startswith("error: ")
    return printed


def test_a_good_checkpoint_is_mapped_and_read(workspace, checkpoint):
    write_checkpoint(workspace / "good.pth.tar", checkpoint)
    assert read_checkpoint(workspace / "good.pth.tar")["class_names"] == ["round", "angular"]
    # By a finished run (test_calibrate.py), and by one of several levels (test_levels_at_once.py).
    added = {"box_rules", "hierarchy", "version", "trained_levels"}
    assert set(read_checkpoint(workspace / "good.pth.tar")) == set(ENTRIES) - added
    assert mapped(workspace, "good.pth.tar")


def mapped(workspace, name):
    """Map one image with a checkpoint."""
    (workspace / "few.txt").write_text((workspace / "metadata/Toy/val/image_ids.txt").read_text().split()[0] + "\n")
    words = ("--checkpoint", name, "--scoremap_root", "maps", "--image_list", "few.txt", "--workers", "0")
    return "1 score maps of Toy val" in run("inference.py", *words, cwd=workspace)


@pytest.mark.parametrize("thresholds", [True, False])
def test_a_checkpoint_from_before_formats_is_still_mapped_scored_and_started_from(workspace, thresholds):
    older = older_checkpoint() if thresholds else without("score_map_thresholds")(older_checkpoint())
    torch.save(older, workspace / "older.pth.tar")
    assert mapped(workspace, "older.pth.tar")
    words = ("--dataset_name", "Toy", "--center", "--thresholds_from", "older.pth.tar", "--multi_contour_eval")
    scored = run("evaluation.py", *words, cwd=workspace, code=0 if thresholds else 2)
    assert "at val's threshold" in scored if thresholds else "older.pth.tar: no best_threshold" in scored
    options = ("--pretrained", "T", "--pretrained_path", "older.pth.tar", "--epochs", "0", "--eval_test", "F")
    small = ("--num_val_sample_per_class", "1", "--num_train_sample_per_class", "1", "--save_scoremaps", "none")
    started = run("main.py", *TINY, *options, *small, cwd=workspace)
    assert "weights: all of older.pth.tar (epoch 1)" in started


@pytest.mark.parametrize("name", ["step", "validation is text", "best nan", "no optimizer"])
def test_what_would_not_be_read_is_not_written(workspace, checkpoint, name):
    wrong = {**WRONG, "step": without("step")}[name](checkpoint)
    with pytest.raises(InputError, match=r"new\.pth\.tar: "):
        write_checkpoint(workspace / "new.pth.tar", wrong)
    assert not (workspace / "new.pth.tar").exists()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_entry_is_refused_by_name(workspace, checkpoint, name):
    words = ("--checkpoint", "wrong.pth.tar", "--scoremap_root", "maps", "--workers", "0")
    printed = refusal(workspace, WRONG[name](checkpoint), *words)
    elsewhere = {"no data set": "no metadata", "root": "images of the val split are missing"}
    assert elsewhere.get(name, "wrong.pth.tar: ") in printed
    assert not (workspace / "maps").exists()


@pytest.mark.parametrize("name", NOT_ONE)
def test_what_is_no_checkpoint_is_refused(workspace, name):
    words = ("--checkpoint", "wrong.pth.tar", "--scoremap_root", "maps")
    assert "wrong.pth.tar: not a checkpoint of main.py" in refusal(workspace, NOT_ONE[name], *words)


@pytest.mark.parametrize("name", ["no config", "thresholds", "thresholds nan", "epoch", "data set", "no state_dict"])
def test_thresholds_are_not_taken_from_a_wrong_checkpoint(workspace, checkpoint, name):
    words = ("--dataset_name", "Toy", "--center", "--thresholds_from", "wrong.pth.tar", "--cam_curve_interval", "0.1")
    assert "wrong.pth.tar: " in refusal(workspace, WRONG[name](checkpoint), *words, script="evaluation.py")


@pytest.mark.parametrize("name", [*(f"state {name}" for name in TENSORS), "epoch", "names", "config list", "thresholds"])
def test_a_run_does_not_start_from_a_wrong_checkpoint(workspace, checkpoint, name):
    torch.save(WRONG[name](checkpoint), workspace / "wrong.pth.tar")
    printed = refused_start(workspace, "wrong.pth.tar")
    assert printed.startswith("error: wrong.pth.tar: ")
    assert not (workspace / "train_log").exists()


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)


@pytest.mark.parametrize("name", ["sparse", "quantized", "complex", "nested", "meta", "text", "shape", "integers"])
def test_a_checkpoint_of_wsolevaluation_is_checked_too(name):
    model = build_model("resnet18", "cam", 2)
    theirs = named_as_in_wsolevaluation(model.state_dict())
    wrong = TENSORS[name]({"state_dict": theirs | {WEIGHT: theirs["fc.weight"]}})["state_dict"]
    theirs["fc.weight"] = wrong[WEIGHT]
    with pytest.raises(InputError, match=r"fc\.weight (is a|holds)|fc\.weight is \(3, 3\)"):
        load_wsolevaluation_state_dict(model, {"state_dict": theirs})


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_a_full_disk_is_one_line_and_the_older_checkpoint_stays(workspace, checkpoint, size):
    path = workspace / "last_checkpoint.pth.tar"
    write_checkpoint(path, checkpoint)
    with full_disk(size), pytest.raises(InputError) as caught:
        write_checkpoint(path, checkpoint | {"epoch": 2})
    assert str(caught.value).startswith(f"{path}: cannot be written (")
    assert "\n" not in str(caught.value)
    assert read_checkpoint(path)["epoch"] == 1
    assert not list(workspace.rglob("*.tmp"))


@pytest.mark.parametrize(
    "cause", [KeyboardInterrupt(), RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed.")]
)
def test_what_interrupts_the_writing_of_a_checkpoint_is_no_full_disk(tmp_path, checkpoint, monkeypatch, cause):
    write_checkpoint(path := tmp_path / "run/last_checkpoint.pth.tar", checkpoint)
    before = path.read_bytes()

    def interrupted(content, file):
        try:
            raise cause
        finally:
            raise RuntimeError("unexpected pos 294 vs 0")  # as torch's writer ends

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(type(cause), match=re.escape(str(cause))):
        write_checkpoint(path, checkpoint)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
