import json
import struct
from collections import defaultdict
from pathlib import Path

import pytest

from conftest import SMALL, TINY, link_toy, run
from wsol.runs import trackers

OPTIONS = (*TINY, *SMALL, "--pretrained", "F", "--bootstrap", "0", "--eval_test", "F", "--save_scoremaps", "none")
OPTIONS += ("--lr_decay_frequency", "1", "--lr_classifier_ratio", "10")
BLOCK, HEADER = 32768, 7  # of wandb's file, a log of LevelDB's format


@pytest.fixture(scope="module")
def logged(toy_root, tmp_path_factory):
    """Two runs, one of which logs everywhere that can be read back: the folders of both, and what the other printed."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    pytest.importorskip("wandb", reason="wandb is not installed")
    root = tmp_path_factory.mktemp("logged")
    link_toy(toy_root, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        run("main.py", *OPTIONS, "--experiment_name", "a", "--logger", "tensorboard", "wandb", cwd=root)
        left = [line for task in Path("/proc/self/task").glob("*/children") for line in task.read_text().split()]
        commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in left if Path(f"/proc/{child}").exists()]
    run("main.py", *OPTIONS, "--experiment_name", "b", cwd=root)
    return root / "train_log" / "a", root / "train_log" / "b", commands


def figures_of(folder):
    """Figure to {epoch: value}, as metrics.jsonl has them."""
    figures = defaultdict(dict)
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        results = json.loads(line)
        for name, value in results.items():
            if isinstance(value, float):
                figures[f"{results['split']}/{name}"][results["epoch"]] = value
        for iou, value in (results.get("MaxBoxAcc") or {}).items():
            figures[f"{results['split']}/MaxBoxAcc{iou}"][results["epoch"]] = value
    for group, factor in (("group0", 1), ("group1", 10)):
        figures[f"lr/{group}"] = {epoch: factor * lr for epoch, lr in figures["train/lr"].items()}
    return figures


def approximately(figures):
    return {name: pytest.approx(values, rel=1e-6) for name, values in figures.items()}


def test_results_do_not_depend_on_the_logger(logged):
    with_loggers, without, _ = logged
    for name in ("results.json", "metrics.jsonl", "val_images.npz", "val_curve.csv"):
        assert (with_loggers / name).read_bytes() == (without / name).read_bytes(), name


def test_tensorboard_has_the_figures_the_rates_and_the_maps(logged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logged[0] / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    found = {tag: {one.step: one.value for one in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    assert found == approximately(figures_of(logged[0]))
    assert list(found["lr/group0"].values()) == pytest.approx([0.001])
    pictures = {tag: [one.step for one in events.Images(tag)] for tag in events.Tags()["images"]}
    assert len(pictures) == trackers.EXAMPLES and all(steps == [0, 1] for steps in pictures.values())
    image_ids = (logged[0] / "val_image_ids.txt").read_text().splitlines()
    assert {tag.removeprefix("val/") for tag in pictures} <= set(image_ids)
    first = events.Images(next(iter(pictures)))[0]
    assert (first.width, first.height) == (64, 64) and first.encoded_image_string.startswith(b"\x89PNG")


def wandb_records(path):
    """Yield the records of a file that wandb wrote offline: blocks of pieces, each CRC (4), length (2), kind (1), data."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, data = path.read_bytes(), HEADER, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:  # too little is left of the block for a header
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        data += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(data)
            data = b""


def test_wandb_offline_has_the_same_below_the_run(logged):
    (path,) = (logged[0] / "wandb").glob("offline-run-*/*.wandb")
    found, pictures, exits, names = defaultdict(dict), defaultdict(list), [], []
    for record in wandb_records(path):
        items = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for name, value in items.items():
            if isinstance(value, (int, float)):  # 50.0 is written as 50
                found[name][items["epoch"]] = value
            elif value == "image-file":
                picture = name.removesuffix("._type")
                pictures[picture].append((items["epoch"], items[f"{picture}.width"]))
        exits += [record.exit.exit_code] if record.HasField("exit") else []
        names += [record.run.display_name] if record.HasField("run") else []
    expected = figures_of(logged[0])
    assert {name: found[name] for name in expected} == approximately(expected)
    assert len(pictures) == trackers.EXAMPLES
    assert all(shown == [(0, 64), (1, 64)] for shown in pictures.values())
    assert exits == [0] and names[0] == "a"
    assert len(list(path.parent.glob("files/media/**/*.png"))) == 2 * trackers.EXAMPLES


def test_no_process_of_wandb_outlives_the_run(logged):
    assert [words for words in logged[2] if b"wandb" in words] == []


def refused(workspace, *words):
    said = run("main.py", *TINY, "--logger", *words, cwd=workspace, code=2)
    assert not (workspace / "train_log").exists()
    return said


def test_a_missing_package_is_refused_with_the_line_that_installs_it(workspace, monkeypatch):
    def absent(name):
        raise trackers.PackageNotFoundError(name)

    monkeypatch.setattr(trackers, "version", absent)
    for name in trackers.TRACKERS:
        said = refused(workspace, name)
        assert f"--logger {name}: {name} is not installed; expected pip install -e '.[{name}]'" in said


@pytest.mark.parametrize("words", [("none", "tensorboard"), ("tensorboard", "tensorboard")])
def test_names_that_exclude_each_other_are_refused(workspace, words):
    assert "expected none alone, or different ones of tensorboard" in refused(workspace, *words)


def test_an_unknown_name_is_refused_from_a_file_too(workspace):
    (workspace / "a.yaml").write_text("logger: [tensorboard, mlflow]\n")
    said = run("main.py", "--config", "a.yaml", cwd=workspace, code=2)
    assert "logger: [tensorboard, mlflow] is invalid (one of none, tensorboard, wandb, trackio)" in said


def test_wandb_without_a_login_is_refused_before_work(workspace, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(workspace / "no_netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(workspace))
    assert "expected a login, or WANDB_MODE=offline" in refused(workspace, "wandb")


def test_a_failure_is_told_to_the_trackers_and_they_are_closed(tmp_path, monkeypatch):
    closed = []

    class Tracker:
        def __init__(self, folder, config, epoch):
            pass

        def close(self, failed):
            closed.append(failed)

    monkeypatch.setitem(trackers.TRACKERS, "wandb", Tracker)
    config = {"logger": ["wandb"], "data_root": "dataset", "dataset_name": "Toy"}
    with pytest.raises(KeyError), trackers.tracking(config, tmp_path, []):
        raise KeyError
    with trackers.tracking(config, tmp_path, []):
        pass
    assert closed == [True, False]
