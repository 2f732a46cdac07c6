"""The files that evaluation.py reads and writes: no input is overwritten, and no output lost."""

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys

import cv2
import numpy as np
import pytest

import evaluation
from conftest import CHECKOUT
from samples import BOTH, of_json, save_maps
from wsol.core.files import write_text
from wsol.maps.score_maps import save_score_map


def test_nothing_is_written_where_something_is_wrong(two_images, tmp_path, command):
    save_maps(tmp_path / "maps")
    outputs = {name: tmp_path / f"{name}.csv" for name in ("curve", "per_image", "per_class")}
    for path in outputs.values():
        write_text(path, "old")
    write_text(tmp_path / "metadata/D/val/class_labels.txt", "nonsense\n")
    words = [word for name, path in outputs.items() for word in (f"--{name}", path)]
    output = command("--dataset_name", "D", "--scoremap_root", "maps", *words, code=2)
    assert "class_labels.txt:1: 'nonsense'; expected path,label" in output
    (tmp_path / "metadata/D/val/class_labels.txt").unlink()
    assert "val/class_labels.txt: no labels" in command("--dataset_name", "D", "--center", *words, code=2)
    assert {path.read_text() for path in outputs.values()} == {"old"}


def test_an_output_that_is_a_link_is_written_through(two_images, tmp_path, command):
    write_text(tmp_path / "real.json", '{"scored": "old"}')
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    command("--dataset_name", "D", "--center", "--json", "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert of_json(tmp_path / "real.json")["split"] == "val"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("--json dataset/D/images/photo.jpg", "is inside dataset/D, which holds data"),
        ("--curve metadata/D/val/curve.csv", "is inside metadata/D, which holds data"),
        ("--json config.yaml", "not written by evaluation.py"),
        ("--json results.json", "not written by evaluation.py"),
    ],
)
def test_outputs_replace_nothing_of_another_kind(two_images, tmp_path, command, output, expected):
    write_text(tmp_path / "dataset/D/images/photo.jpg", "pixels")
    write_text(tmp_path / "config.yaml", "lr: 0.1\n")
    write_text(tmp_path / "results.json", '{"val": {}}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert expected in command("--dataset_name", "D", "--center", *output.split(), code=2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


INPUTS = {
    "thresholds_from": "val.json",
    "image_list": "ids.txt",
    "class_ranks": "ranks.csv",
    "boxes": "boxes.json",
    "coco_images": "coco.json",
}


@pytest.fixture
def inputs(two_images, tmp_path, command):
    """All files that the command may read, beside D; return what is in each file below the folder."""
    save_maps(tmp_path / "maps")
    (tmp_path / "dataset/D").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "dataset/D/m.png"), np.ones((8, 16), np.uint8))
    write_text(tmp_path / "metadata/D/val/image_sizes.txt", "a.jpg,20,10\nx, y/b.jpg,20,10\n")
    write_text(tmp_path / "metadata/D/val/masks.txt", "a.jpg,m.png,m.png\nx, y/b.jpg,m.png,\n")
    write_text(tmp_path / "ids.txt", "".join(f"{i}\n" for i in BOTH))
    write_text(tmp_path / "ranks.csv", 'image_id,rank\na.jpg,3\n"x, y/b.jpg",0\n')
    boxes = [{"image_id": n, "bbox": [0, 0, 9, 4], "score": 0.3} for n in (1, 2)]
    write_text(tmp_path / "boxes.json", json.dumps(boxes))
    images = [{"id": n, "file_name": i} for n, i in enumerate(BOTH, 1)]
    write_text(tmp_path / "coco.json", json.dumps({"images": images}))
    command("--dataset_name", "D", "--center", "--json", "val.json", "--bootstrap", "20")
    return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("link", ["same", "another_name", "link", "hard_link"])
@pytest.mark.parametrize(
    "target",
    [*INPUTS, "compare", "metadata/D/val/image_sizes.txt", "dataset/D/m.png", "maps/a.jpg.npy", "maps/x, y/b.jpg.npy"],
)
def test_no_input_is_overwritten(inputs, tmp_path, command, link, target):
    words = ["--dataset_name", "D", "--bootstrap", "20"]
    if target in ("boxes", "coco_images"):
        words += ["--boxes", "boxes.json", "--coco_images", "coco.json"]
    elif target == "compare":
        target = "boxes.json"
        words += ["--boxes", "boxes.json", "--coco_images", "coco.json", "--compare", "boxes.json"]
    else:
        words += ["--scoremap_root", "maps"]
        words += [f"--{target}", INPUTS[target]] if target in INPUTS else []
    path = INPUTS.get(target, target)
    output = {"same": path, "another_name": tmp_path / "maps" / ".." / path}.get(link, "out.json")
    if link == "link":
        (tmp_path / output).symlink_to(tmp_path / path)
    elif link == "hard_link":
        (tmp_path / output).hardlink_to(tmp_path / path)
    refused = command(*words, "--json", output, "--curve" if "--boxes" not in words else "--per_class", "c.csv", code=2)
    assert f"error: --json {output}: would replace the input " in refused and "; expected another file" in refused
    assert not (tmp_path / "c.csv").exists()
    assert {path: path.read_bytes() for path in inputs} == inputs


def test_tables_overwrite_no_input_either(inputs, tmp_path, command):
    words = ["--dataset_name", "D", "--scoremap_root", "maps", "--class_ranks", "ranks.csv"]
    for name in ("curve", "per_class", "per_image"):
        assert f"--{name} ranks.csv: would replace the input ranks.csv" in command(*words, f"--{name}", "ranks.csv", code=2)
    write_text(tmp_path / "metadata/D/hierarchy.csv", "finest\n")
    assert "would replace the input metadata/D/hierarchy.csv" in command(
        *words, "--curve", "metadata/D/hierarchy.csv", code=2
    )
    save_maps(tmp_path / "more", ids=[*BOTH, "stray.jpg"])
    output = command(*words, "--compare", "more", "--json", "more/stray.jpg.npy", code=2)
    assert "more/stray.jpg.npy; expected another file" in output
    command(*words, "--json", "new.json")
    command(*words, "--json", "new.json")  # an output of its own is replaced


class Broken(io.StringIO):
    """A standard output whose reader is gone, or that is full."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device")])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_that_cannot_be_printed_costs_no_file(inputs, tmp_path, monkeypatch, error, stream):
    save_score_map(tmp_path / "maps", "a.jpg", np.eye(30))  # of another size, which is warned of on standard error
    save_score_map(tmp_path / "maps", "stray.jpg", np.eye(30))
    words = ["--dataset_name", "D", "--scoremap_root", "maps", "--bootstrap", "20", "--compare", "center", "--analysis"]
    words += ["--json", "r.json", "--curve", "c.csv", "--per_class", "p.csv", "--per_image", "i.csv"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluation.py", *words])
    monkeypatch.setattr(sys, stream, Broken(error))
    with contextlib.suppress(OSError, SystemExit):  # how it ends is another matter
        evaluation.main()
    for name in ("r.json", "c.csv", "p.csv", "i.csv"):
        assert (tmp_path / name).stat().st_size > 50


@pytest.mark.slow
@pytest.mark.parametrize("where", [">/dev/full", ">&-", "| true"])
def test_a_closed_or_full_output_costs_no_file(inputs, tmp_path, where):
    words = [sys.executable, str(CHECKOUT / "evaluation.py"), "--dataset_name", "D", "--scoremap_root", "maps"]
    command = f"{shlex.join([*words, '--bootstrap', '20', '--json', 'r.json', '--curve', 'c.csv'])} {where}"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"}, timeout=300)
    assert (tmp_path / "r.json").is_file() and (tmp_path / "c.csv").is_file()


def test_linked_folders_of_maps_are_found(two_images, tmp_path, command):
    save_maps(tmp_path / "disk")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/x, y").symlink_to(tmp_path / "disk/x, y")
    (tmp_path / "maps/a.jpg.npy").symlink_to(tmp_path / "disk/a.jpg.npy")
    assert "2 images" in command("--dataset_name", "D", "--scoremap_root", "maps")


def test_a_runs_folder_is_told_from_that_of_its_maps(two_images, tmp_path, command):
    save_maps(tmp_path / "run/scoremaps")
    write_text(tmp_path / "run/config.yaml", "")
    message = "error: run: a run's folder; expected that of its maps, run/scoremaps"
    assert message in command("--dataset_name", "D", "--scoremap_root", "run", code=2)
    assert message in command("--dataset_name", "D", "--scoremap_root", "run/scoremaps", "--compare", "run", code=2)
    save_maps(tmp_path / "run")  # maps of its own
    command("--dataset_name", "D", "--scoremap_root", "run")


def test_an_image_list_is_blamed_for_its_own_lines(two_images, tmp_path, command):
    for text, message in (
        (
            "a.jpg\nz.jpg\nb.jpg\n",
            "ids.txt:2: 'z.jpg' is not an image of D val; expected ids as in image_ids.txt, but 2 of 3 are not:\n"
            "  2: z.jpg\n  3: b.jpg",
        ),
        ("a.jpg\na.jpg\n", "ids.txt:2: "),
        ("a.jpg\n\n", "ids.txt:2: ''; expected a path"),
        ("", "ids.txt: no image ids; expected one per line"),
    ):
        write_text(tmp_path / "ids.txt", text)
        assert message in command("--dataset_name", "D", "--center", "--image_list", "ids.txt", code=2)


def test_a_fifo_is_refused_as_any_input(inputs, tmp_path, command):
    for name in ("f.txt", "f.json", "npy/a.jpg.npy", "npz/a.jpg.npz", "png/a.jpg.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    write_text(tmp_path / "ids.txt", "a.jpg\n")
    for words in (
        *(("--scoremap_root", kind, "--image_list", "ids.txt") for kind in ("npy", "npz", "png")),
        ("--center", "--image_list", "f.txt"),
        ("--center", "--thresholds_from", "f.json"),
        ("--boxes", "f.json"),
        ("--boxes", "boxes.json", "--coco_images", "f.json"),
    ):
        assert "a device, FIFO or socket; expected a regular file" in command("--dataset_name", "D", *words, code=2)
    (tmp_path / "dataset/D/m.png").unlink()
    os.mkfifo(tmp_path / "dataset/D/m.png")
    assert "dataset/D/m.png: a device, FIFO or socket" in command("--dataset_name", "D", "--center", code=2)


def test_maps_and_masks_that_declare_too_much_are_refused_by_the_command(inputs, tmp_path, command):
    where = ["--dataset_name", "D", "--scoremap_root", "maps", "--bootstrap", "0"]
    output = command(*where, "--max_megapixels", "0.0001", code=2)
    assert "maps/a.jpg.npy: declares 16 x 16 pixels, 0.0 megapixels; expected at most 0.0001, or a larger --max" in output
    cv2.imwrite(str(tmp_path / "dataset/D/m.png"), np.ones((80, 160), np.uint8))
    output = command(*where, "--max_megapixels", "0.01", code=2)
    assert "dataset/D/m.png: declares 160 x 80 pixels" in output
    assert "160 x 80 pixels" in command(*where, "--max_megapixels", "0.01", "--workers", "2", code=2)
    command(*where, "--max_megapixels", "0.0128")
