import hashlib

import numpy as np
import pytest
from PIL import Image

from config import get_config, write_config
from conftest import CHECKOUT, run
from dataset import toy
from wsol.core.errors import InputError
from wsol.data.levels import load_level
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_ids, get_mask_paths


def test_toy_is_the_same_arrays_everywhere():
    digest = hashlib.sha256()
    for seed, kind in enumerate(toy.species()):
        example = toy.draw(kind, seed)
        digest.update(example.image.tobytes() + example.mask.tobytes() + bytes(example.box))
    assert digest.hexdigest() == "5f2989f999b02dd052455943f2a564533b3943a08c32861cdca07c2ca0d1013d"


def test_toy_has_boxes_that_are_the_extent_of_its_masks_off_centre_and_of_varied_size(toy_root):
    centres, areas = [], []
    for split in ("train", "val", "test"):
        metadata = configure_metadata(toy_root / "metadata/Toy" / split)
        boxes, (masks, _) = get_bounding_boxes(metadata), get_mask_paths(metadata)
        assert list(boxes) == list(masks) == get_image_ids(metadata)
        for image_id, [(x0, y0, x1, y1)] in boxes.items():
            mask = np.array(Image.open(toy_root / "dataset/Toy" / masks[image_id][0])) > 0
            rows, columns = np.nonzero(mask)
            assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max(), rows.max())
            centres.append(((x0 + x1) / 2 - toy.SIZE / 2, (y0 + y1) / 2 - toy.SIZE / 2))
            areas.append((x1 - x0 + 1) * (y1 - y0 + 1) / toy.SIZE**2)
    assert np.median(np.hypot(*np.array(centres).T)) > 15
    assert np.quantile(areas, 0.9) > 3 * np.quantile(areas, 0.1)


def test_toy_has_four_consistent_levels(toy_root):
    sizes = [len(load_level(toy_root / "metadata", "Toy", level).class_names) for level in toy.LEVELS]
    assert sizes == [16, 8, 4, 2]
    rows = (toy_root / "metadata/Toy/hierarchy.csv").read_text().splitlines()
    assert rows[0] == "species,genus,family,order"
    assert rows[1] == "round-red-striped-ring,round-red-striped,round-red,round"
    assert len(rows) == 17


def test_toy_is_made_once_and_again_when_its_version_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "IMAGES_PER_SPECIES", {"train": 1, "val": 1, "test": 1})
    assert toy.prepare(tmp_path / "d", tmp_path / "m")
    assert not toy.prepare(tmp_path / "d", tmp_path / "m")
    monkeypatch.setattr(toy, "VERSION", "next")
    assert toy.prepare(tmp_path / "d", tmp_path / "m")


@pytest.fixture
def small_toy(monkeypatch):
    monkeypatch.setattr(toy, "IMAGES_PER_SPECIES", {"train": 1, "val": 1, "test": 1})


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "files", [["dataset/Toy/bird.jpg"], ["metadata/Toy/train/image_ids.txt"], ["dataset/Toy/train/a.png"]]
)
def test_a_persons_own_toy_is_not_replaced(small_toy, tmp_path, files):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="not a file of the data set Toy that this program makes, which would replace"):
        toy.prepare(tmp_path / "dataset", tmp_path / "metadata")
    printed = run("dataset/prepare.py", "Toy", cwd=tmp_path, code=2)
    assert "Toy" in printed and contents(tmp_path) == before
    printed = run("main.py", cwd=tmp_path, code=2)
    assert "move it elsewhere first" in printed and contents(tmp_path) == before


def test_a_file_put_into_toy_is_not_removed_and_older_ones_are_replaced(small_toy, tmp_path, monkeypatch):
    roots = tmp_path / "d", tmp_path / "m"
    toy.prepare(*roots)
    for extra in ("d/Toy/mine.jpg", "m/Toy/k.csv"):
        (tmp_path / extra).write_text("mine")
        with pytest.raises(InputError, match=f"{extra}: not a file of"):
            toy.prepare(*roots, again=True)
        (tmp_path / extra).unlink()
    (tmp_path / "d/Toy/files.txt").unlink()  # as older copies are
    assert toy.prepare(*roots, again=True)
    monkeypatch.setattr(toy, "VERSION", "next")
    monkeypatch.setattr(toy, "IMAGES_PER_SPECIES", {"train": 2, "val": 1, "test": 1})
    assert toy.prepare(*roots)
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("changed", ["dataset/Toy/val/round-red-striped-ring/000.png", "metadata/Toy/val/localization.txt"])
def test_a_file_of_toy_that_was_changed_is_not_replaced(small_toy, tmp_path, monkeypatch, changed):
    run("dataset/prepare.py", "Toy", cwd=tmp_path)
    with (tmp_path / changed).open("ab") as file:
        file.write(b"mine")
    before = contents(tmp_path)
    refused = run("dataset/prepare.py", "Toy", cwd=tmp_path, code=2)
    assert f"{tmp_path / changed}: changed since this program made it" in refused
    monkeypatch.setattr(toy, "VERSION", "next")
    assert "move it elsewhere first" in run("main.py", cwd=tmp_path, code=2)
    assert contents(tmp_path) == before
    (tmp_path / changed).unlink()
    run("dataset/prepare.py", "Toy", cwd=tmp_path)


def test_a_toy_whose_lists_have_names_alone_or_are_not_there_is_replaced(small_toy, tmp_path):
    roots = tmp_path / "d", tmp_path / "m"
    toy.prepare(*roots)
    before = contents(tmp_path)
    names = tmp_path / "d/Toy/files.txt"
    names.write_text("".join(f"{line.split()[1]}\n" for line in names.read_text().splitlines()))  # as in older copies
    (tmp_path / "m/Toy/files.txt").unlink()
    assert toy.prepare(*roots, again=True)
    assert contents(tmp_path) == before


def test_a_refused_command_leaves_the_toy_that_was_there(small_toy, tmp_path, monkeypatch):
    run("dataset/prepare.py", "Toy", cwd=tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(toy, "VERSION", "next")
    assert "breed" in run("main.py", "--label_level", "breed", cwd=tmp_path, code=2)
    assert contents(tmp_path) == before and not list(tmp_path.rglob(".*"))
    finished = tmp_path / "train_log/levels/order-seed0"
    finished.mkdir(parents=True)
    name = ["--experiment_name", "levels/order-seed0"]
    write_config(get_config(["--lr", "0.5", *name])[0], finished / "config.yaml")
    (finished / "results.json").write_text("{}")
    before, levels = contents(tmp_path), CHECKOUT / "scripts/experiments/levels.yaml"
    assert "lr was 0.5" in run("scripts/sweep.py", levels, "--dry_run", cwd=tmp_path, code=2)
    assert contents(tmp_path) == before and not list(tmp_path.rglob(".*"))


def test_a_file_in_the_place_of_a_root_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for words in (("--data_root", "file"), ("--metadata_root", "file")):
        for script, name in (("main.py", ()), ("dataset/prepare.py", ("Toy",))):
            assert "is not a writable folder" in run(script, *name, *words, cwd=tmp_path, code=2)
    assert (tmp_path / "file").read_text() == "mine"
