import csv
import shutil

import numpy as np
import pytest

from conftest import run
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.levels import read_class_names
from wsol.data.statistics import images_per_category, imbalance, level_rows, relative_box_areas, split_rows

INATLOC500 = {"finest": 500, "genus": 317, "family": 184, "order": 61, "class": 18, "phylum": 5, "kingdom": 1}


@pytest.mark.parametrize("split", ["val", "test"])
def test_table_a1_of_inatloc500(shared, split):
    rows = {row["level"]: row for row in level_rows(shared / "data/metadata/iNatLoc500", split)}
    assert {level: row["categories"] for level, row in rows.items()} == INATLOC500
    assert (rows["finest"]["min"], rows["finest"]["max"], rows["finest"]["imbalance"]) == (25, 25, 1.0)
    assert (rows["phylum"]["min"], rows["phylum"]["max"], rows["phylum"]["imbalance"]) == (125, 8500, 68.0)


def test_table_a1_of_a_training_list(shared, tmp_path):
    """Training lists are not at hand: species s of the real hierarchy gets 149 + s % 159 images, as many as published."""
    folder = tmp_path / "iNatLoc500"
    shutil.copytree(shared / "data/metadata/iNatLoc500/val", folder / "train")
    val = shared / "data/metadata/iNatLoc500"
    for path in val.glob("*.txt"):
        shutil.copy(path, folder / path.name)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    label_of = {level: {} for level in INATLOC500}  # of each species
    lines = {level: _labels(val / "val", level) for level in INATLOC500}
    for image_id, species in lines["finest"].items():
        for level, labels in lines.items():
            label_of[level][species] = labels[image_id]
    images = {f"{species}/{i}.jpg": species for species in range(500) for i in range(149 + species % 159)}
    write_text(folder / "train/image_ids.txt", "".join(f"{name}\n" for name in images))
    for level in INATLOC500:
        suffix = "" if level == "finest" else f"_{level}"
        text = "".join(f"{name},{label_of[level][species]}\n" for name, species in images.items())
        write_text(folder / "train" / f"class_labels{suffix}.txt", text)
    rows = {row["level"]: row for row in level_rows(folder, "train")}
    assert {level: row["categories"] for level, row in rows.items()} == INATLOC500
    assert (rows["finest"]["min"], rows["finest"]["max"]) == (149, 307)
    assert round(rows["finest"]["imbalance"], 1) == 2.1  # as published
    for level, row in rows.items():  # against a plain count
        totals = np.zeros(row["categories"], dtype=int)
        for species in range(500):
            totals[label_of[level][species]] += 149 + species % 159
        assert (row["min"], row["max"], row["mean"]) == (totals.min(), totals.max(), totals.mean())


def _labels(split, level):
    path = split / ("class_labels.txt" if level == "finest" else f"class_labels_{level}.txt")
    return {line.rpartition(",")[0]: int(line.rpartition(",")[2]) for line in path.read_text().splitlines()}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("CUB", {"train": (200, 29, 30, 30, 5994), "val": (200, 3, 6, 5, 1000), "test": (200, 11, 30, 29, 5794)}),
        (
            "OpenImages",
            {"train": (100, 230, 300, 298, 29819), "val": (100, 25, 25, 25, 2500), "test": (100, 50, 50, 50, 5000)},
        ),
        ("iNatLoc500", {"val": (500, 25, 25, 25, 12500), "test": (500, 25, 25, 25, 12500)}),
        ("ILSVRC", {"val": (1000, 10, 10, 10, 10000)}),
    ],
)
def test_table_1(shared, name, published):
    rows = {row["split"]: row for row in split_rows(shared / "data/metadata" / name)}
    found = {
        split: (row["categories"], row["min"], row["max"], round(row["mean"]), row["total"]) for split, row in rows.items()
    }
    assert found == published


def test_a_category_without_an_image_counts(tmp_path):
    write_text(tmp_path / "D/val/image_ids.txt", "a.jpg\nb.jpg\n")
    write_text(tmp_path / "D/val/class_labels.txt", "a.jpg,0\nb.jpg,0\nunlisted.jpg,1\n")
    write_text(tmp_path / "D/class_names.txt", "x,0\ny,1\n")
    assert read_class_names(tmp_path / "D", "finest") == {0: "x", 1: "y"}
    counts = images_per_category(tmp_path / "D", "val")["finest"]
    assert counts.tolist() == [2, 0] and imbalance(counts) is None
    with pytest.raises(InputError, match=r"no split with image_ids.txt"):
        split_rows(tmp_path)


def test_relative_box_areas(tmp_path):
    write_text(tmp_path / "val/localization.txt", "a.jpg,0,0,10,10\na.jpg,0,0,20,40\nb.jpg,1,1,2,2\n")
    write_text(tmp_path / "val/image_sizes.txt", "a.jpg,20,40\nb.jpg,10,10\n")
    assert relative_box_areas(tmp_path, "val").tolist() == [0.01, 0.125, 1.0]


def test_the_command(workspace):
    printed = run("scripts/dataset_tables.py", "Toy", "--split", "train", "--csv", "tables", cwd=workspace)
    assert "| Toy      | test  | 16         | 12  | 12  | 12.0 | 192   |" in printed
    assert "| Toy      | train | order   | 2          | 192 | 192 | 192.0 | 1.0       |" in printed
    with open(workspace / "tables/levels.csv", newline="") as file:
        assert [row["categories"] for row in csv.DictReader(file)] == ["16", "8", "4", "2"]
    assert "--split val" in run("scripts/dataset_tables.py", "Toy", "--split", "val", cwd=_without_val(workspace), code=2)


def _without_val(workspace):
    (workspace / "other/metadata").mkdir(parents=True)
    shutil.copytree(workspace / "metadata/Toy", workspace / "other/metadata/Toy")
    shutil.rmtree(workspace / "other/metadata/Toy/val")
    return workspace / "other"
