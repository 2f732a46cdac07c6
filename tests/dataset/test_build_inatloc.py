"""build_inatloc.py on made-up JSON in which every rule of appendix B has a case."""

import csv
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import run
from dataset.build_inatloc import COLUMNS, Photo, box_size_fits, draw_splits, split_species
from wsol.data.levels import load_level
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_sizes

GOOD = [10, 10, 100, 80]  # inside a 200 x 150 image


class Json:
    """A COCO file in the making; an image may have several boxes, or None for a label alone."""

    def __init__(self, **species):
        self.numbers = {name: i for i, name in enumerate(species, 7)}
        self.data = {"images": [], "annotations": [], "categories": []}
        for name, ranks in species.items():
            ranks = dict(zip(("genus", "family", "order", "class", "phylum", "kingdom"), ranks, strict=False))
            self.data["categories"].append({"id": self.numbers[name], "name": name.replace("_", " "), **ranks})

    def add(self, species, file, observation, *boxes):
        number = len(self.data["images"])
        self.data["images"].append(
            {"id": number, "file_name": file, "width": 200, "height": 150, "observation_id": observation}
        )
        for box in boxes:
            extra = {} if box is None else {"bbox": box}
            self.data["annotations"].append({"image_id": number, "category_id": self.numbers[species], **extra})

    def write(self, path):
        path.write_text(json.dumps(self.data))


def made_up(folder):
    """Write a.json (training) and b.json (boxed): Hyla arborea is to survive, every other species breaks one rule."""
    frog = ("Hyla", "Hylidae", "Anura", "Amphibia", "Chordata", "Animalia")
    oak = ("Quercus", "Fagaceae", "Fagales", "Magnoliopsida", "Tracheophyta", "Plantae")
    train = Json(Hyla_arborea=frog, Hyla_rare=frog, Quercus_robur=oak, Only_train=frog)
    boxed = Json(Hyla__Arborea=(), Hyla_rare=(), Quercus_robur=(), Only_boxed=())
    for i in range(4):
        train.add("Hyla_arborea", f"t/arborea{i}.jpg", 100 + i, None)
        train.add("Hyla_rare", f"t/rare{i}.jpg", 200 + i, None)
        train.add("Quercus_robur", f"t/oak{i}.jpg", 300 + i, None)
        train.add("Only_train", f"t/only{i}.jpg", 400 + i, None)
        boxed.add("Only_boxed", f"b/only{i}.jpg", 500 + i, GOOD)
        boxed.add("Quercus_robur", f"b/oak{i}.jpg", 600 + i, None)
        boxed.add("Hyla_rare", f"b/rare{i % 3}{i}.jpg", 700, GOOD)  # four images of one observation
    for i in range(2):  # two observations of two images each, and six of one
        boxed.add("Hyla__Arborea", f"b/pair{i}a.jpg", 800 + i, GOOD)
        boxed.add("Hyla__Arborea", f"b/pair{i}b.jpg", 800 + i, GOOD)
    for i in range(6):
        boxed.add("Hyla__Arborea", f"b/single{i}.jpg", 810 + i, GOOD)
    boxed.add("Hyla__Arborea", "b/two.jpg", 103, GOOD, GOOD)  # several boxes; its observation has a training image
    boxed.add("Hyla__Arborea", "b/none.jpg", 900, None)
    boxed.add("Hyla__Arborea", "b/thin.jpg", 901, [10, 10, 31.9, 80])
    boxed.add("Hyla__Arborea", "b/flat.jpg", 902, [10, 10, 80, 31])
    boxed.add("Hyla__Arborea", "b/wide.jpg", 903, [0, 10, 192.5, 80])
    boxed.add("Hyla__Arborea", "b/high.jpg", 904, [10, 0, 80, 144.5])
    boxed.add("Hyla__Arborea", "b/limits.jpg", 905, [0, 0, 192, 32])
    train.write(folder / "a.json")
    boxed.write(folder / "b.json")
    return ("MyLoc", "--train_json", "a.json", "--boxed_json", "b.json", "--per_split", "3")


def fill(path, verdicts, default="keep"):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == COLUMNS
    for row in rows[1:]:
        row[-1] = verdicts.get(row[0], default)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return [row[0] for row in rows[1:]]


def test_every_rule_and_its_count(tmp_path):
    arguments = (*made_up(tmp_path), "--review", "review.csv")
    printed = run("dataset/build_inatloc.py", *arguments, cwd=tmp_path)
    assert printed.splitlines() == [
        "read, labelled: 16 training images of 4 species, 29 boxed images of 4 species",
        "species in both: 12 training images of 3 species, 25 boxed images of 3 species",
        "species with boxes: 8 training images of 2 species, 21 boxed images of 2 species",
        "no observation in both: 7 training images of 2 species, 21 boxed images of 2 species (dropped: 1 training images)",
        "one box: 7 training images of 2 species, 19 boxed images of 2 species (dropped: 1 without, 1 with several)",
        "box of 32 pixels to 96% of a side: 7 training images of 2 species, 15 boxed images of 2 species",
        "review.csv: 15 images to review; fill in the last column and call again",
    ]
    assert not (tmp_path / "metadata").exists()
    rejected = {"b/single0.jpg": "close_up", "b/single1.jpg": "missing_instances", "b/single2.jpg": ""}
    listed = fill(tmp_path / "review.csv", rejected)
    assert "b/limits.jpg" in listed and not {"b/thin.jpg", "b/flat.jpg", "b/wide.jpg", "b/high.jpg"} & set(listed)
    printed = run("dataset/build_inatloc.py", *arguments, cwd=tmp_path)
    assert (
        "manual review: 7 training images of 2 species, 12 boxed images of 2 species (of 14 reviewed: "
        "missing_instances 1, inaccurate_box 0, indirect_evidence 0, close_up 1)"
    ) in printed
    assert (
        "3 for val and for test: 3 training images of 1 species, 6 boxed images of 1 species (1 species with fewer, or "
        "without training images, dropped)"
    ) in printed
    data = load_level(tmp_path / "metadata", "MyLoc", "family")
    assert data.levels == ["species", "genus", "family", "order", "class", "phylum", "kingdom"]
    assert data.class_names == ["Hylidae"]
    ids = {split: part.image_ids for split, part in data.splits.items()}
    assert ids["train"] == ["t/arborea0.jpg", "t/arborea1.jpg", "t/arborea2.jpg"]  # 3's observation has a boxed image
    assert len(ids["val"]) == len(ids["test"]) == 3
    for pair in ("b/pair0", "b/pair1"):
        assert len({split for split, names in ids.items() for name in names if name.startswith(pair)}) <= 1
    assert not {"b/single0.jpg", "b/single1.jpg", "b/single2.jpg"} & {*ids["val"], *ids["test"]}
    paths = configure_metadata(tmp_path / "metadata/MyLoc/val")
    assert set(get_image_sizes(paths).values()) == {(200, 150)}
    assert {box for boxes in get_bounding_boxes(paths).values() for box in boxes} <= {(10, 10, 110, 90), (0, 0, 192, 32)}
    log = (tmp_path / "metadata/MyLoc/construction.txt").read_text().splitlines()
    rejected = (tmp_path / "metadata/MyLoc/rejected.csv").read_text().splitlines()
    assert rejected == [
        "image,reason,x0,y0,x1,y1",
        "b/single0.jpg,close_up,10,10,110,90",
        "b/single1.jpg,missing_instances,10,10,110,90",
    ]
    assert len(log) == 8 and log == printed.splitlines()[:8]


def test_bad_verdicts_are_refused(tmp_path):
    arguments = (*made_up(tmp_path), "--review", "review.csv")
    run("dataset/build_inatloc.py", *arguments, cwd=tmp_path)
    review = tmp_path / "review.csv"
    good = review.read_text()
    for text, message in (
        (good.replace("814,10,10,110,90,", "814,10,10,110,90,blurry", 1), "verdict 'blurry'; expected keep, missing_inst"),
        (good + good.splitlines()[1] + "\n", "review.csv:17: "),
        (good + "b/other.jpg,x,1,0,0,1,1,keep\n", "review.csv:17: "),
        (good.replace("verdict", "answer", 1), "review.csv:1: "),
        (good + '"' + "x" * 200_000 + '"', "review.csv:17: field larger than field limit"),
        (good, "no species has 3 boxed images"),
    ):
        review.write_text(text)
        assert message in run("dataset/build_inatloc.py", *arguments, cwd=tmp_path, code=2)
        assert not (tmp_path / "metadata").exists()


def test_observations_come_from_a_table_or_are_asked_for(tmp_path):
    arguments = made_up(tmp_path)
    content = json.loads((tmp_path / "a.json").read_text())
    table = [f"{image['file_name']},{image.pop('observation_id')}" for image in content["images"]]
    (tmp_path / "a.json").write_text(json.dumps(content))
    message = run("dataset/build_inatloc.py", *arguments, cwd=tmp_path, code=2)
    assert "a.json: 't/arborea0.jpg' has no observation_id; expected one for every image, or a CSV" in message
    (tmp_path / "o.csv").write_text("\n".join(["file_name,observation_id", *table, "t/other.jpg,7"]))
    printed = run("dataset/build_inatloc.py", *arguments, "--train_observations", "o.csv", cwd=tmp_path)
    assert "no observation in both: 7 training images" in printed
    assert "o.csv: 1 of 17 rows do not name an image of a.json, the first 't/other.jpg'" in printed
    printed = run("dataset/build_inatloc.py", *arguments, "--no_observations", "--replace", cwd=tmp_path)
    assert "no observation in both: 8 training images" in printed
    (tmp_path / "o.csv").write_text("t/arborea0.jpg\n")
    message = run("dataset/build_inatloc.py", *arguments, "--train_observations", "o.csv", cwd=tmp_path, code=2)
    assert "o.csv:1: 't/arborea0.jpg'; expected file_name,observation_id" in message


@pytest.mark.parametrize(
    ("file", "old", "new", "words", "message"),
    [
        ("b.json", "[10, 10, 100, 80]", "[150, 10, 100, 80]", (), r"b.json: annotations["),
        ("a.json", '"t/arborea0.jpg"', '"/t1"', (), "a.json: file_name '/t1'; expected a path relative"),
        ("a.json", '"Hyla"', "5", (), "a.json: category 'Hyla arborea': genus 5; expected text"),
        ("a.json", "", "", ("--max_share", "96"), "--max_share 96.0: expected a share"),
        ("a.json", "", "", ("--min_box", "nan"), "--min_box: 'nan' is not a finite number"),
        ("a.json", "", "", ("--seed", "-1"), "--seed -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_built_from_is_refused_before_the_review(tmp_path, file, old, new, words, message):
    arguments = made_up(tmp_path)
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(old, new))
    printed = run("dataset/build_inatloc.py", *arguments, "--review", "r.csv", *words, cwd=tmp_path, code=2)
    assert message in printed and not (tmp_path / "r.csv").exists()


def test_an_observation_of_a_boxed_image_that_is_dropped_counts(tmp_path):
    arguments = made_up(tmp_path)
    content = json.loads((tmp_path / "b.json").read_text())
    content["images"].append({"id": 999, "file_name": "b/unlabelled.jpg", "width": 9, "height": 9, "observation_id": 102})
    (tmp_path / "b.json").write_text(json.dumps(content))
    assert "(dropped: 2 training images)" in run("dataset/build_inatloc.py", *arguments, cwd=tmp_path)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=9), st.integers(1, 5), st.integers(0, 99))
def test_a_species_is_given_up_only_when_no_choice_of_whole_observations_fills_both(sizes, count, seed):
    chosen = draw_splits(sizes, count, np.random.default_rng(seed))
    possible = any(
        sum(size for size, where in zip(sizes, choice, strict=True) if where == 1) == count
        and sum(size for size, where in zip(sizes, choice, strict=True) if where == 2) == count
        for choice in itertools.product(range(3), repeat=len(sizes))
    )
    assert (chosen is not None) == possible
    if chosen is not None:
        totals = Counter()
        for size, where in zip(sizes, chosen, strict=True):
            totals[where] += size
        assert (totals["val"], totals["test"]) == (count, count)


def test_the_draw_depends_on_the_seed_alone_and_takes_every_image_alike():
    photos = [Photo(f"{i:02d}.jpg", "x", str(i), (99, 99)) for i in range(20)]
    first = split_species(photos, 5, np.random.default_rng(3))
    assert first == split_species(photos[::-1], 5, np.random.default_rng(3))
    times = Counter()
    for seed in range(400):
        times.update(p.file for p in split_species(photos, 5, np.random.default_rng(seed))["val"])
    assert min(times.values()) > 60 and max(times.values()) < 145  # 100 expected of each, standard deviation 8.7


def test_the_limits_of_a_box_belong_to_it():
    def fits(width, height):
        return box_size_fits(Photo("a", "x", "1", (200, 100), ((0, 0, width, height),)), 32, 0.96)

    assert fits(192, 96) and fits(32, 32)
    assert not fits(192.1, 50) and not fits(50, 96.1) and not fits(31.9, 50) and not fits(50, 31.9)


def test_a_data_set_of_that_name_is_not_overwritten(tmp_path):
    arguments = made_up(tmp_path)
    folder = tmp_path / "metadata/MyLoc"

    def state():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    (folder / "train").mkdir(parents=True)
    (folder / "train/image_ids.txt").write_text("mine.jpg\n")
    before = state()
    printed = run("dataset/build_inatloc.py", *arguments, cwd=tmp_path, code=2)
    assert (
        printed == "error: metadata/MyLoc: already exists and was not built by this command; "
        "expected another NAME, or --replace\n"
    )
    (folder / "mine.csv").write_text("class,k\n")
    printed = run("dataset/build_inatloc.py", *arguments, "--replace", cwd=tmp_path, code=2)
    assert "metadata/MyLoc/mine.csv: not a file of a data set's metadata, which would replace" in printed
    (folder / "mine.csv").unlink()
    assert state() == before
    run("dataset/build_inatloc.py", *arguments, "--replace", cwd=tmp_path)
    built = state()
    assert "already exists, unchanged" in run("dataset/build_inatloc.py", *arguments, cwd=tmp_path)
    printed = run("dataset/build_inatloc.py", *arguments, "--seed", "5", cwd=tmp_path, code=2)
    assert "metadata/MyLoc: already exists with different content (" in printed
    assert state() == built
    run("dataset/build_inatloc.py", *arguments, "--seed", "5", "--replace", cwd=tmp_path)
    assert state() != built


def test_half_a_letter_in_json_is_refused(tmp_path):
    arguments = made_up(tmp_path)
    for old, new in (("Hyla arborea", "Hyla \ud800"), ("t/arborea0.jpg", "t/\udc80.jpg")):
        made_up(tmp_path)
        data = json.loads((tmp_path / "a.json").read_text().replace(old, json.dumps(new)[1:-1]))
        (tmp_path / "a.json").write_text(json.dumps(data))
        boxed = (tmp_path / "b.json").read_text().replace("Hyla  Arborea", json.dumps(new)[1:-1])
        (tmp_path / "b.json").write_text(boxed if old.startswith("Hyla") else (tmp_path / "b.json").read_text())
        printed = run("dataset/build_inatloc.py", *arguments, cwd=tmp_path, code=2)
        assert "expected names without NUL, in characters that UTF-8 can encode" in printed
        assert not (tmp_path / "metadata").exists()
