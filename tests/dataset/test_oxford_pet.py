import io
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from conftest import run
from dataset.layout import Entry, write_metadata
from official import jpeg, write_archive
from wsol.core.errors import InputError
from wsol.data.levels import load_level
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_ids
from wsol.data.truth import SplitTruth
from wsol.metrics.split_evaluator import SplitEvaluator


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def pet_archives(folder, per_breed=10):
    """Write images.tar.gz and annotations.tar.gz as the official ones are, with three images that cannot be used."""
    trimap = np.full((20, 30), 2, np.uint8)
    trimap[4:12, 5:25], trimap[4, 5:25] = 1, 3
    images, annotations, lines = {}, {}, ["#Image CLASS-ID SPECIES BREED ID"]
    for breed, number, species in (("Birman", 8, 1), ("beagle", 5, 2)):
        for i in range(per_breed):
            name = f"{breed}_{i}"
            lines.append(f"{name} {number} {species} 1")
            images[f"images/{name}.jpg"] = jpeg(30, 20)
            annotations[f"annotations/trimaps/{name}.png"] = png(trimap)
            annotations[f"annotations/trimaps/._{name}.png"] = b"resource fork"
    images["images/Birman_99.jpg"] = jpeg(30, 20)  # on no list
    images["images/beagle_0.jpg"] = jpeg(31, 20)  # of another size than its trimap
    annotations["annotations/trimaps/beagle_1.png"] = png(np.full((20, 30), 2, np.uint8))  # no foreground
    images["images/beagle_2.jpg"] = b"broken"
    annotations["annotations/list.txt"] = "\n".join(lines).encode() + b"\n"
    return [write_archive(folder / "images.tar.gz", images), write_archive(folder / "annotations.tar.gz", annotations)]


def test_oxford_pet_from_archives_of_the_official_layout(tmp_path):
    printed = run("dataset/prepare.py", "OxfordPet", "--archive", *pet_archives(tmp_path), cwd=tmp_path)
    for reason in ("Birman_99: not in annotations/list.txt", "beagle_0: its trimap is 30 x 20, the image 31 x 20"):
        assert reason in printed
    assert "beagle_1: its trimap has no foreground" in printed
    assert "beagle_2.jpg: not a readable image" in printed
    data = load_level(tmp_path / "metadata", "OxfordPet", "species")
    assert data.class_names == ["cat", "dog"]
    ids = [image_id for split in data.splits.values() for image_id in split.image_ids]
    assert len(ids) == len(set(ids)) == 17
    metadata = configure_metadata(tmp_path / "metadata/OxfordPet/test")
    assert set(map(tuple, get_bounding_boxes(metadata).values())) == {((5, 5, 24, 11),)}
    truth = SplitTruth.read(tmp_path / "metadata", tmp_path / "dataset", "OxfordPet", "test")
    evaluator = SplitEvaluator(truth, 0.1, [50], True)
    perfect = np.zeros((20, 30))
    perfect[5:12, 5:25] = 1
    for image_id in evaluator.image_ids:
        evaluator.accumulate(perfect, image_id)
    assert (evaluator.results()["MaxBoxAccV2"], evaluator.results()["PxAP"]) == (100, 100)
    assert evaluator.results()["counts"]["background_pixels"] == (600 - 160) * len(evaluator.image_ids)  # border ignored


def test_preparing_again_and_one_split_at_a_time_gives_the_same(tmp_path):
    archives = pet_archives(tmp_path)
    run("dataset/prepare.py", "OxfordPet", "--archive", *archives, cwd=tmp_path)
    first = {path: path.read_bytes() for path in (tmp_path / "metadata").rglob("*.txt")}
    shutil.rmtree(tmp_path / "dataset/OxfordPet/images")
    run("dataset/prepare.py", "OxfordPet", "--splits", "val", "--archive", *archives, cwd=tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "metadata").rglob("*.txt")} == first
    val = get_image_ids(configure_metadata(tmp_path / "metadata/OxfordPet/val"))
    laid_out = {f"images/{path.name}" for path in (tmp_path / "dataset/OxfordPet/images").iterdir()}
    assert laid_out >= set(val)
    assert not laid_out & set(get_image_ids(configure_metadata(tmp_path / "metadata/OxfordPet/train")))


def test_archives_that_lack_images_are_refused_and_nothing_is_overwritten(tmp_path):
    archives = pet_archives(tmp_path)
    run("dataset/prepare.py", "OxfordPet", "--archive", *archives, cwd=tmp_path)
    first = {path: path.read_bytes() for path in (tmp_path / "metadata").rglob("*.txt")}
    printed = run("dataset/prepare.py", "OxfordPet", "--archive", archives[1], cwd=tmp_path, code=2)
    assert "20 of 20 annotated images are missing" in printed
    assert {path: path.read_bytes() for path in (tmp_path / "metadata").rglob("*.txt")} == first


def test_the_folders_of_an_archive_may_be_given_apart(tmp_path):
    for archive in pet_archives(tmp_path):
        with tarfile.open(archive) as opened:
            opened.extractall(tmp_path / "unpacked", filter="data")
    folders = ("unpacked/images", "unpacked/annotations")
    assert "species: 2 classes" in run("dataset/prepare.py", "OxfordPet", "--archive", *folders, cwd=tmp_path)


def test_other_classes_are_refused_while_splits_of_the_old_ones_stay(tmp_path):
    def entries(name):
        return [Entry(f"{name}.jpg", (name,), (10, 10))]

    write_metadata(tmp_path / "D", ["level"], [("a",), ("b",)], {"train": entries("a"), "val": entries("b")})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.txt")}
    with pytest.raises(InputError, match="has different classes than these archives, and the splits train use them"):
        write_metadata(tmp_path / "D", ["level"], [("b",)], {"val": entries("b")})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.txt")} == before


def test_the_real_pets(shared, tmp_path):
    printed = run("dataset/prepare.py", "OxfordPet", "--archive", shared / "data/oxford-iiit-pet-mini", cwd=tmp_path)
    assert "left out: Abyssinian_34" in printed
    for line in (
        "level breed: 3 classes",
        "level species: 2 classes",
        "train: 179 images",
        "val: 72 images",
        "test: 107 images",
    ):
        assert line in printed
