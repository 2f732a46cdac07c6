import gzip
import hashlib
import io
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from config import get_config, write_config
from conftest import CHECKOUT, run
from dataset import tiny_animals, toy
from dataset.addresses import Official
from dataset.layout import Entry, split_by_name, whole_folder, write_metadata
from dataset.sources import extract, fetch
from official import jpeg, write_archive
from wsol.core.errors import InputError
from wsol.data.hierarchy import read_tree
from wsol.data.levels import load_level, read_hierarchy
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_ids, get_mask_paths
from wsol.data.truth import SplitTruth
from wsol.metrics.split_evaluator import SplitEvaluator


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
    finished = tmp_path / "train_log/Toy_granularity/order"
    finished.mkdir(parents=True)
    write_config(get_config(["--lr", "0.5"])[0], finished / "config.yaml")
    (finished / "results.json").write_text("{}")
    before = contents(tmp_path)
    assert "lr was 0.5" in run("scripts/granularity.py", "plan", cwd=tmp_path, code=2)
    assert contents(tmp_path) == before and not list(tmp_path.rglob(".*"))


def test_a_file_in_the_place_of_a_root_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for words in (("--data_root", "file"), ("--metadata_root", "file")):
        for script, name in (("main.py", ()), ("dataset/prepare.py", ("Toy",))):
            assert "is not a writable folder" in run(script, *name, *words, cwd=tmp_path, code=2)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_take_the_place_of_another_leaves_it(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/a").write_text("mine")
    with pytest.raises(InputError, match="wrong"), whole_folder(tmp_path / "old") as new:
        new.mkdir()
        raise InputError("wrong")
    with pytest.raises(InputError, match="cannot be written"), whole_folder(tmp_path / "old"):
        pass  # nothing was put into it
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "a"]
    (tmp_path / "link").symlink_to("old")
    with whole_folder(tmp_path / "link") as new:
        new.mkdir()
        (new / "b").write_text("new")
    assert (tmp_path / "link").is_symlink() and [path.name for path in (tmp_path / "old").iterdir()] == ["b"]


def test_splits_by_name_are_disjoint_stable_and_complete():
    names = [f"cat_{i}" for i in range(10)]
    splits = split_by_name(names, {"train": 0.5, "val": 0.2, "test": 0.3})
    assert [len(part) for part in splits.values()] == [5, 2, 3]
    assert sorted(name for part in splits.values() for name in part) == names
    assert splits == split_by_name(reversed(names), {"train": 0.5, "val": 0.2, "test": 0.3})


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


def test_a_box_that_leaves_its_image_is_not_written(tmp_path):
    entry = Entry("a.jpg", ("x",), (10, 10), [(0, 0, 11, 5)])
    with pytest.raises(InputError, match=r"a\.jpg: box 0,0,11,5; expected it inside the 10 x 10 image"):
        write_metadata(tmp_path / "D", ["level"], [("x",)], {"val": [entry]})
    with pytest.raises(InputError, match="no images are left for the split val"):
        write_metadata(tmp_path / "D", ["level"], [("x",)], {"val": []})
    assert not list(tmp_path.iterdir())


def test_tiny_imagenet_from_an_archive_of_the_official_layout(tmp_path):
    synsets = ["n00000002", "n00000001"]
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "\n".join(synsets))
        words = "n00000001\tred fox, Vulpes\nn00000002\towl, bird\nn00000003\tunused\n"
        archive.writestr("tiny-imagenet-200/words.txt", words)
        lines = []
        for i in range(8):
            lines.append(f"val_{i}.JPEG\t{synsets[i % 2]}\t0\t{i}\t40\t63")
            archive.writestr(f"tiny-imagenet-200/val/images/val_{i}.JPEG", jpeg(64, 64))
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "\n".join(lines) + "\n")
        for synset in synsets:
            for i in range(3):
                archive.writestr(f"tiny-imagenet-200/train/{synset}/images/{synset}_{i}.JPEG", jpeg(64, 64))
        archive.writestr("tiny-imagenet-200/test/images/test_0.JPEG", jpeg(64, 64))
    run("dataset/prepare.py", "TinyImageNet", "--archive", "tiny.zip", cwd=tmp_path)
    data = load_level(tmp_path / "metadata", "TinyImageNet")
    assert (data.level, data.class_names) == ("synset", ["red fox, Vulpes", "owl, bird"])
    for split, count in (("train", 3), ("val", 2), ("test", 2)):
        assert np.bincount(data.splits[split].labels).tolist() == [count, count]
    assert not set(data.splits["val"].image_ids) & set(data.splits["test"].image_ids)
    boxes = get_bounding_boxes(configure_metadata(tmp_path / "metadata/TinyImageNet/val"))
    assert all(
        boxes[f"val/images/val_{i}.JPEG"] == [(0, i, 40, 63)] for i in range(8) if f"val/images/val_{i}.JPEG" in boxes
    )
    assert not (tmp_path / "metadata/TinyImageNet/train/localization.txt").read_text()


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


@pytest.mark.slow
def test_the_real_tiny_imagenet(shared, tmp_path):
    archive = shared / "data/tiny-imagenet-200-mini.zip"
    printed = run("dataset/prepare.py", "TinyImageNet", "--archive", archive, cwd=tmp_path)
    assert "level synset: 200 classes\nlevel c0: 192 classes" in printed
    assert "level c15: 2 classes\ntrain: 15000 images\n" in printed
    for split in ("val", "test"):
        assert f"{split}: 5000 images, 5000 boxes, all inside their images" in printed


def write_tar(path, *infos):
    with tarfile.open(path, "w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def tar_info(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (tar_info("../evil.txt"), "points outside the folder"),
        (tar_info("/etc/evil.txt"), "points outside the folder"),
        (tar_info("images/link.txt", tarfile.SYMTYPE, "/etc/passwd"), "link or device"),
        (tar_info("images/hard.txt", tarfile.LNKTYPE, "a.txt"), "link or device"),
        (tar_info("images/null.txt", tarfile.CHRTYPE), "link or device"),
    ],
)
def test_malicious_archives_are_refused(tmp_path, info, message):
    archive = write_tar(tmp_path / "evil.tar", info)
    with pytest.raises(InputError, match=message):
        extract(archive, tmp_path / "out", lambda name: name)
    assert not list(tmp_path.rglob("*.txt"))


def test_malicious_zips_damaged_archives_and_no_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    (tmp_path / "no.zip").write_text("no archive")
    whole = write_tar(tmp_path / "whole.tar", tar_info("a.txt"), tar_info("b.txt")).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(whole)[:60])
    for name, message in (
        ("evil.zip", "points outside the folder"),
        ("link.zip", "link or device"),
        ("no.zip", "not a .zip or .tar archive"),
        ("cut.tar.gz", "damaged|not a .zip"),
        ("none.zip", "no such archive"),
    ):
        with pytest.raises(InputError, match=message):
            extract(tmp_path / name, tmp_path / "out", lambda name: name)


@pytest.fixture
def content(server):
    """What the server has at /a.zip."""
    content = np.random.default_rng(0).bytes(60_000)
    server[0].folder.mkdir()
    (server[0].folder / "a.zip").write_bytes(content)
    return content


def test_a_broken_download_is_resumed_and_verified(server, content, tmp_path):
    handler, address = server
    folder = tmp_path / "downloads"
    official = Official("a.zip", f"{address}/a.zip", hashlib.md5(content).hexdigest())
    handler.breaks["a.zip"] = 1
    with pytest.raises(InputError, match=rf"could not be downloaded .*put it at {folder}/a\.zip"):
        fetch(official, folder)
    assert [path.name for path in folder.iterdir()] == ["a.zip.part"]
    assert fetch(official, folder).read_bytes() == content
    assert handler.requests == [("a.zip", None), ("a.zip", "bytes=30000-")]
    assert [path.name for path in folder.iterdir()] == ["a.zip"]
    fetch(official, folder)
    assert len(handler.requests) == 2  # what is there is not fetched again


def test_wrong_bytes_are_removed_and_a_dead_address_names_the_file(server, content, tmp_path):
    with pytest.raises(InputError, match="the MD5 is not 00; the download was removed"):
        fetch(Official("a.zip", f"{server[1]}/a.zip", "00"), tmp_path / "downloads")
    assert not list((tmp_path / "downloads").iterdir())
    with pytest.raises(InputError, match=r"put it at .*b\.zip"):
        fetch(Official("b.zip", "http://127.0.0.1:9/b.zip", None), tmp_path)


def test_an_archive_without_an_address_is_named_unless_it_is_there(tmp_path):
    official = Official("c.zip", None, page="https://example.org/sign_in")
    with pytest.raises(InputError, match=r"c\.zip cannot be downloaded .*example\.org/sign_in.*put it at .*c\.zip"):
        fetch(official, tmp_path)
    (tmp_path / "c.zip").write_bytes(b"by hand")
    assert fetch(official, tmp_path) == tmp_path / "c.zip"


def write_tiny_archive(path, synsets):
    """Write an archive of TinyImageNet's layout with two images of every synset in train, and in val/."""
    image = jpeg(16, 16)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "\n".join(synsets))
        archive.writestr("tiny-imagenet-200/words.txt", "".join(f"{synset}\tname\n" for synset in synsets))
        lines = []
        for i, synset in enumerate(2 * synsets):
            lines.append(f"val_{i}.JPEG\t{synset}\t0\t0\t9\t9\n")
            archive.writestr(f"tiny-imagenet-200/val/images/val_{i}.JPEG", image)
            archive.writestr(f"tiny-imagenet-200/train/{synset}/images/{synset}_{i}.JPEG", image)
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "".join(lines))


def test_tiny_animals_takes_the_animals_alone(tmp_path):
    animals = list(tiny_animals.taxonomy())
    write_tiny_archive(tmp_path / "tiny.zip", [*animals, "n00000001"])
    printed = run("dataset/prepare.py", "TinyAnimals", "--archive", "tiny.zip", cwd=tmp_path)
    for line in ("category: 59", "order: 35", "class: 14", "phylum: 5", "train: 118", "val: 59", "test: 59"):
        assert line in printed
    assert not list((tmp_path / "dataset/TinyAnimals").rglob("*n00000001*"))
    assert len(list((tmp_path / "dataset/TinyAnimals").rglob("*.JPEG"))) == 4 * 59
    hierarchy = read_hierarchy(tmp_path / "metadata/TinyAnimals")
    assert (len(hierarchy.leaves), hierarchy.ancestor("lesser panda", 2)) == (59, "Mammalia")
    write_tiny_archive(tmp_path / "less.zip", animals[1:])
    refused = run("dataset/prepare.py", "TinyAnimals", "--archive", "less.zip", cwd=tmp_path, code=2)
    assert "1 synsets are not in wnids.txt:\n  n01443537" in refused


def test_the_animals_are_those_of_wordnet():
    tree = read_tree(CHECKOUT / "metadata/hierarchies/tiny_imagenet_tree.csv")
    animals = {leaf for leaf in tree.leaves if "animal (n00015388)" in tree.ancestors(leaf)}
    table = {f"{row[0]} ({synset})" for synset, row in tiny_animals.taxonomy().items()}
    # The greedy rule leaves the cougar out of TinyImageNet's tree.
    assert table == animals | {"cougar (n02125311)"} and len(table) == 59
