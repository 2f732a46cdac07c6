"""prepare.py against archives of the official layouts, by path and from a local server that misbehaves."""

import gzip
import os
import shutil
import tarfile
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from dataset import addresses, cub_levels, oxford_pet, prepare, tiny_imagenet
from dataset.addresses import SOURCES, Official
from dataset.layout import Entry, metadata_files, write_lines
from dataset.sources import extract
from official import BIRDS, OFFICIAL_LAYOUTS, inatloc, jpeg, mask_png, tar_bytes, write_archive
from wsol.core.errors import InputError
from wsol.data.levels import SPLITS, load_level
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_ids, get_image_sizes, get_mask_paths

WRITE_CUB_LEVELS = cub_levels.write_levels


def write_levels(folder, splits):
    """Stand-in for CUB's table of taxa, which knows the 200 real categories only: two birds of one family."""
    write_lines(folder / "levels.txt", ["category", "family"])
    write_lines(folder / "class_names_family.txt", ["Diomedeidae,0"])
    for split, labels in splits.items():
        write_lines(folder / split / "class_labels_family.txt", [f"{name},0" for name in labels.ids])


@pytest.fixture(autouse=True)
def no_published_checksums(monkeypatch):
    """The archives here are not the real ones; a checksum is published where a test says so."""
    monkeypatch.setattr(cub_levels, "write_levels", write_levels)
    for name, source in SOURCES.items():
        files = tuple(Official(f.file, f.address, None, None, f.splits, f.page) for f in source.files)
        monkeypatch.setitem(SOURCES, name, addresses.Source(files, source.licence, source.citation))


@pytest.fixture
def command(run_here):
    """prepare.py, run in this process."""
    return partial(run_here, prepare.main)


def archives(folder):
    return sorted(folder.iterdir())


def written(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", OFFICIAL_LAYOUTS)
def test_archives_of_the_official_layout_by_path_and_again(name, command, tmp_path):
    OFFICIAL_LAYOUTS[name](tmp_path / "a")
    printed = command(name, "--archive", *archives(tmp_path / "a"))
    assert "Terms: " in printed and "Cite: " in printed
    first = written(tmp_path / "metadata")
    command(name, "--check")
    shutil.rmtree(tmp_path / "dataset" / name / "released", ignore_errors=True)
    command(name, "--archive", *archives(tmp_path / "a"))
    assert written(tmp_path / "metadata") == first
    for split in SPLITS:
        ids = get_image_ids(configure_metadata(tmp_path / "metadata" / name / split))
        assert ids and all((tmp_path / "dataset" / name / image_id).is_file() for image_id in ids)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("name", OFFICIAL_LAYOUTS)
def test_one_split_needs_no_other_splits_archives(name, command, tmp_path):
    OFFICIAL_LAYOUTS[name](tmp_path / "a")
    needed = {official.file for official in SOURCES[name].files if "val" in official.splits}
    command(name, "--splits", "val", "--archive", *(p for p in archives(tmp_path / "a") if p.name in needed))
    assert [path.name for path in (tmp_path / "metadata" / name).iterdir() if path.is_dir()] == ["val"]
    message = command(name, "--check", code=2)
    assert "no train/image_ids.txt; prepare the split first" in message


@pytest.mark.parametrize("name", OFFICIAL_LAYOUTS)
def test_downloads_that_break_off_are_resumed(name, command, server, tmp_path):
    handler, address = server
    OFFICIAL_LAYOUTS[name](handler.folder)
    files = [official.file for official in SOURCES[name].files]
    handler.breaks |= dict.fromkeys(files, 1)
    for _ in files:
        message = command(name, "--mirror", address, code=2)
        assert "broke off after" in message and "Call again to resume" in message
    command(name, "--mirror", address)
    for file in files:
        first, second = (wanted for asked, wanted in handler.requests if asked == file)
        assert first is None and second.startswith("bytes=")
    requests = len(handler.requests)
    command(name, "--mirror", address)
    assert len(handler.requests) == requests


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "ILSVRC" else ()) for name in OFFICIAL_LAYOUTS]
)
def test_interrupted_at_any_file_and_called_again_it_finishes(name, command, tmp_path, monkeypatch):
    OFFICIAL_LAYOUTS[name](tmp_path / "a")
    arguments = (name, "--proxy", "--archive", *archives(tmp_path / "a"))
    command(*arguments)
    whole = written(tmp_path / "metadata"), written(tmp_path / "dataset")
    replace, left = os.replace, 0

    def interrupted(source, target):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        replace(source, target)

    step = 0
    monkeypatch.setattr(os, "replace", interrupted)
    while True:
        step += 1 + step // 8
        shutil.rmtree(tmp_path / "metadata")
        shutil.rmtree(tmp_path / "dataset")
        left = step
        if "interrupted" not in command(*arguments, code=None):
            break
        assert not list(tmp_path.rglob("*.tmp"))
        left = 0
        command(*arguments)
        assert (written(tmp_path / "metadata"), written(tmp_path / "dataset")) == whole
    assert step > 20


def test_wrong_bytes_are_removed(command, server, tmp_path, monkeypatch):
    handler, address = server
    OFFICIAL_LAYOUTS["FGVC-Aircraft"](handler.folder)
    [official] = SOURCES["FGVC-Aircraft"].files
    size = (handler.folder / official.file).stat().st_size
    for published, message in (
        (Official(official.file, official.address, "00"), "the MD5 is not 00"),
        (Official(official.file, official.address, None, size + 1), f"the size is {size} bytes, not {size + 1}"),
    ):
        monkeypatch.setitem(SOURCES, "FGVC-Aircraft", addresses.Source((published,), "", ""))
        assert f"{message}; the download was removed" in command("FGVC-Aircraft", "--mirror", address, code=2)
        assert not list((tmp_path / "dataset/downloads/FGVC-Aircraft").iterdir())
        # By hand it is held to the same; named on the command line it is used, with a note.
        shutil.copy(handler.folder / official.file, tmp_path / "dataset/downloads/FGVC-Aircraft")
        assert message in command("FGVC-Aircraft", "--mirror", address, code=2)
        (tmp_path / "dataset/downloads/FGVC-Aircraft" / official.file).unlink()
    assert "; using it anyway" in command("FGVC-Aircraft", "--archive", handler.folder / official.file)


def test_bytes_that_are_no_archive_a_web_page_and_a_dead_address(command, server, tmp_path):
    handler, address = server
    OFFICIAL_LAYOUTS["FGVC-Aircraft"](handler.folder)
    [official] = SOURCES["FGVC-Aircraft"].files
    handler.pages.add(official.file)
    message = command("FGVC-Aircraft", "--mirror", address, code=2)
    assert "the server sent a web page, not the file" in message
    assert "put it at dataset/downloads/FGVC-Aircraft/fgvc-aircraft-2013b.tar.gz" in message
    assert "HTTP Error 404" in command("CUB", "--mirror", address, code=2)
    handler.pages.clear()
    handler.wrong.add(official.file)
    assert "not a .zip or .tar archive" in command("FGVC-Aircraft", "--mirror", address, code=2)
    assert not (tmp_path / "metadata").exists()


def test_what_only_a_person_can_fetch_is_asked_for_at_once(command, tmp_path):
    message = command("ILSVRC", code=2)
    assert "2 of 4 files cannot be downloaded without signing in" in message
    assert "ILSVRC2012_img_train.tar (https://image-net.org" in message and "ILSVRC2012_img_val.tar" in message
    assert "dataset/downloads/ILSVRC" in message and not (tmp_path / "dataset").exists()


@pytest.mark.parametrize("kind", ["../evil.jpg", "/tmp/evil.jpg", "data/images//tmp/evil.jpg", "link"])
def test_a_malicious_archive_from_the_server_is_refused(kind, command, server, tmp_path):
    handler, address = server
    OFFICIAL_LAYOUTS["FGVC-Aircraft"](handler.folder)
    [path] = archives(handler.folder)
    with tarfile.open(path) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}
    if kind == "link":
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("fgvc-aircraft-2013b/data/images_box.txt")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    else:
        write_archive(path, {kind: jpeg(4, 4), **members})
    message = command("FGVC-Aircraft", "--mirror", address, code=2)
    assert ("is a link or device" if kind == "link" else "points outside the folder") in message
    assert not list(tmp_path.rglob("evil*")) and not (tmp_path / "metadata").exists()


def test_the_check_finds_missing_images_other_images_and_boxes_that_leave_them(command, tmp_path):
    OFFICIAL_LAYOUTS["CUB"](tmp_path / "a")
    command("CUB", "--archive", *archives(tmp_path / "a"))
    before = written(tmp_path / "metadata")
    image = tmp_path / "dataset/CUB" / BIRDS[0] / "301.jpg"
    content = image.read_bytes()
    image.unlink()
    assert "1 of 4 images are missing or empty:\n  001.Black_footed_Albatross/301.jpg" in command("CUB", "--check", code=2)
    image.write_bytes(jpeg(61, 45))
    assert "is 61 x 45; the file says 60 x 45" in command("CUB", "--check", code=2)
    image.write_bytes(content)
    boxes = tmp_path / "metadata/CUB/val/localization.txt"
    boxes.write_text(boxes.read_text().replace("1,2,30,40", "1,2,61,40", 1))
    assert "localization.txt:1: box 1,2,61,40" in command("CUB", "--check", code=2)
    command("CUB", "--splits", "test", "--check")
    boxes.write_bytes(before["CUB/val/localization.txt"])
    assert written(tmp_path / "metadata") == before
    shutil.rmtree(tmp_path / "metadata/CUB/val")
    assert "no val/image_ids.txt" in command("CUB", "--check", code=2)


def test_the_proxy_list_is_a_tenth_of_every_class_and_a_released_one_stays(command, tmp_path):
    OFFICIAL_LAYOUTS["CUB"](tmp_path / "a")
    assert "2 in the proxy list" in command("CUB", "--proxy", "--archive", *archives(tmp_path / "a"))
    assert "2 in the proxy list" in command("CUB", "--archive", *archives(tmp_path / "a"))  # it stays
    data = load_level(tmp_path / "metadata", "CUB", splits=["train"], proxy=True)
    assert sorted(data.splits["train"].labels) == [0, 1]
    OFFICIAL_LAYOUTS["ILSVRC"](tmp_path / "b")
    command("ILSVRC", "--proxy", "--archive", *archives(tmp_path / "b"))
    proxy = get_image_ids(configure_metadata(tmp_path / "metadata/ILSVRC/train"), proxy=True)
    assert proxy == ["train/n01440764/n01440764_0.JPEG", "train/n01443537/n01443537_0.JPEG"]
    command("CUB", "--proxy", "--splits", "val", code=2)


def changed(path, target, **changes):
    """Write an archive anew, with one text replaced in a member: `member="old>new"`; return its path."""
    with tarfile.open(path) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}
    for member, change in changes.items():
        [name] = [name for name in members if name.endswith(f"/{member}.txt")]
        old, new = change.encode().split(b">")
        assert old in members[name]
        members[name] = members[name].replace(old, new, 1)
    return write_archive(target / path.name, members)


@pytest.mark.parametrize(
    ("name", "member", "change", "message"),
    [
        ("CUB", "images", f"1 {BIRDS[0]}/>1 /tmp/evil/", "images.txt:1: "),
        ("CUB", "images", f"2 {BIRDS[0]}/>2 ../", "images.txt:2: "),
        ("CUB", "bounding_boxes", "2 5.7>2 55.7", "bounding_boxes.txt:2: 001.Black"),
        ("FGVC-Aircraft", "images_box", " 1 5 > 48 5 ", "images_box.txt:1: images/"),
    ],
)
def test_bad_lines_of_an_archives_text_are_named(name, member, change, message, command, tmp_path):
    OFFICIAL_LAYOUTS[name](tmp_path / "a")
    [first] = [path for path in archives(tmp_path / "a") if path.suffix in (".tgz", ".gz")]
    broken = changed(first, tmp_path / "b", **{member: change})
    assert message in command(name, "--splits", "train", "test", "--archive", broken, code=2)
    assert not (tmp_path / "metadata").exists()


def test_texts_that_are_not_utf8_are_refused(tmp_path):
    for name in ("words.txt", "list.txt", "val.txt"):
        (tmp_path / name).write_bytes("n1\tcaf\xe9".encode("cp1252"))
    for read in (
        lambda: tiny_imagenet.read_names(tmp_path),
        lambda: tiny_imagenet.read_annotations(tmp_path / "val.txt", {}),
        lambda: oxford_pet.read_list(tmp_path / "list.txt"),
    ):
        with pytest.raises(InputError, match="not UTF-8 text"):
            read()


def test_a_damaged_member_is_the_archives_fault(tmp_path):
    content = tar_bytes({"a.txt": b"x" * 5000})
    first = bytearray(gzip.compress(content[:2000]))
    first[-8] ^= 255  # the CRC
    (tmp_path / "a.tgz").write_bytes(first + gzip.compress(content[2000:]))
    with pytest.raises(InputError, match=r"a\.tgz: damaged or unreadable \(CRC"):
        extract(tmp_path / "a.tgz", tmp_path / "out", lambda name: name)
    assert not list((tmp_path / "out").rglob("*"))


def test_empty_files_are_found_and_repaired_and_unpacked_archives_may_hold_archives(command, tmp_path):
    OFFICIAL_LAYOUTS["ILSVRC"](tmp_path / "a")
    [train, *others] = [path for path in archives(tmp_path / "a") if path.name != "ILSVRC2012_img_val.tar"]
    unpacked = tmp_path / "unpacked"
    with tarfile.open(train) as archive:
        archive.extractall(unpacked, filter="data")
    arguments = ("ILSVRC", "--splits", "train", "val", "--archive", unpacked, *others)
    command(*arguments)
    image = tmp_path / "dataset/ILSVRC/train/n01440764/n01440764_0.JPEG"
    content = image.read_bytes()
    image.write_bytes(b"")
    assert "1 of 6 images are missing or empty" in command("ILSVRC", "--splits", "train", "--check", code=2)
    command(*arguments)
    assert image.read_bytes() == content
    (unpacked / "n01440764.tar").write_bytes(b"no archive")
    image.write_bytes(b"")
    assert "unpacked/n01440764.tar: damaged or unreadable" in command(*arguments, code=2)


@pytest.mark.parametrize("name", ["a\n", "a\nb", ""])
def test_a_class_name_that_is_no_line_is_refused(name):
    with pytest.raises(InputError, match="names on one line"):
        metadata_files("X", ["class"], [[name]], {"train": [Entry("a.jpg", [name], (9, 9))]})


def test_a_root_that_is_a_file_is_refused(command, tmp_path):
    (tmp_path / "file").write_text("x")
    for option in ("--data_root", "--metadata_root"):
        assert "is not a writable folder" in command("Toy", option, "file/below", code=2)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/downloads").write_text("x")
    assert "dataset/downloads is not a writable folder" in command("FGVC-Aircraft", code=2)


def test_cub_has_the_archives_lists_boxes_and_levels(command, tmp_path):
    OFFICIAL_LAYOUTS["CUB"](tmp_path / "a")
    printed = command("CUB", "--archive", *archives(tmp_path / "a"))
    assert "level category: 2 classes\nlevel family: 1 classes" in printed
    paths = configure_metadata(tmp_path / "metadata/CUB/test")
    boxes = get_bounding_boxes(paths)
    assert boxes[f"{BIRDS[0]}/{BIRDS[0][4:]}_0.jpg"] == [(5, 4, 45, 24)]  # 5.7 + 40 and 4 + 20.9, truncated
    assert boxes[f"{BIRDS[0]}/{BIRDS[0][4:]}_8.jpg"] == [(5, 4, 49, 24)]  # cut at 50 pixels
    table = tmp_path / "dataset/CUB/annotations/bounding_boxes.txt"
    broken = table.read_text().replace("2 5.7", "2 x", 1)
    write_archive(
        tmp_path / "b/CUB_200_2011.tgz", {"CUB_200_2011/" + p.name: p.read_bytes() for p in table.parent.iterdir()}
    )
    with tarfile.open(tmp_path / "b/CUB_200_2011.tgz") as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}
    members["CUB_200_2011/bounding_boxes.txt"] = broken
    write_archive(tmp_path / "b/CUB_200_2011.tgz", members)
    message = command("CUB", "--splits", "test", "--archive", tmp_path / "b/CUB_200_2011.tgz", code=2)
    assert "bounding_boxes.txt:2: " in message and "expected a unique number, then x y width height" in message


def test_openimages_has_its_masks_under_either_name(command, tmp_path):
    OFFICIAL_LAYOUTS["OpenImages"](tmp_path / "a")
    assert "val: 4 images, 8 masks" in command("OpenImages30k", "--archive", *archives(tmp_path / "a"))
    masks, ignores = get_mask_paths(configure_metadata(tmp_path / "metadata/OpenImages/val"))
    assert masks["val/0bt0/0.jpg"] == ["val/0bt0/0_m_1.png", "val/0bt0/0_m_2.png"]
    assert ignores["val/0bt0/0.jpg"] == "val/0bt0/0_ignore.png"


def test_inatloc500_has_seven_levels_and_its_images_own_sizes(command, tmp_path):
    OFFICIAL_LAYOUTS["iNatLoc500"](tmp_path / "a")
    printed = command("iNatLoc500", "--archive", *archives(tmp_path / "a"))
    assert printed.count("2 released lines are path,height,width") + printed.count("2 of 4 released lines") >= 3
    assert "level species: 2 classes" in printed and "level phylum: 1 classes" in printed
    assert set(get_image_sizes(configure_metadata(tmp_path / "metadata/iNatLoc500/val")).values()) == {(80, 60)}
    rows = (tmp_path / "metadata/iNatLoc500/hierarchy.csv").read_text().splitlines()
    assert rows[0] == "species,genus,family,order,class,phylum,kingdom"
    assert rows[2] == "Bufo bufo,Bufo,Bufonidae,Anura,Amphibia,Chordata,Animalia"


def test_images_of_another_size_than_the_annotated_ones_are_refused(command, tmp_path):
    inatloc(tmp_path / "a", size=(81, 60))
    message = command("iNatLoc500", "--archive", *archives(tmp_path / "a"), code=2)
    assert "is 81 x 60; expected the annotated image, 60 x 80" in message
    assert not (tmp_path / "metadata").exists()
    inatloc(tmp_path / "b", size=(80, 60), said=("81,60", "80,60"))
    assert "expected the annotated image" in command("iNatLoc500", "--archive", *archives(tmp_path / "b"), code=2)
    # Training images have no boxes, so that their sizes matter less: it is said, and the images' own are written.
    printed = command("iNatLoc500", "--splits", "train", "--archive", *archives(tmp_path / "b"))
    assert "2 images differ in size from the release" in printed


def test_a_name_of_no_data_set_is_refused_but_checked_if_it_is_there(command, toy_root, tmp_path):
    assert "'Birds': expected one of Toy, CUB" in command("Birds", code=2)
    for root in ("dataset", "metadata"):
        shutil.copytree(toy_root / root / "Toy", tmp_path / root / "Birds")
    assert "val: 128 images, 128 boxes, all inside their images, 128 masks" in command("Birds", "--check")
    next((tmp_path / "dataset/Birds").rglob("*_mask.png")).unlink()
    assert "masks are missing or empty" in command("Birds", "--check", code=2)


def test_aircraft_has_its_three_levels_and_boxes_counted_from_0(command, tmp_path):
    OFFICIAL_LAYOUTS["FGVC-Aircraft"](tmp_path / "a")
    printed = command("FGVC-Aircraft", "--archive", *archives(tmp_path / "a"))
    assert "level variant: 2 classes\nlevel family: 2 classes\nlevel manufacturer: 2 classes" in printed
    boxes = get_bounding_boxes(configure_metadata(tmp_path / "metadata/FGVC-Aircraft/train"))
    assert boxes["images/0034310.jpg"] == [(0, 4, 29, 19)] and boxes["images/0034311.jpg"] == [(0, 4, 49, 19)]
    assert "F-16A/B,F-16,Lockheed Martin" in (tmp_path / "metadata/FGVC-Aircraft/hierarchy.csv").read_text()


def test_every_data_set_has_terms_a_citation_and_untried_addresses_are_marked():
    assert set(SOURCES) == set(prepare.DATASETS)
    for source in SOURCES.values():
        assert source.licence and source.citation
        for official in source.files:
            assert official.address or official.page
            assert not official.tried


def _sized_jpeg(width, height):
    """Return a small JPEG file whose header says width x height: what reads sizes alone is content with it."""
    content = bytearray(jpeg(8, 8))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(content)


@pytest.mark.slow
def test_cub_from_its_own_files_equals_the_released_metadata_line_for_line(shared, command, tmp_path, monkeypatch):
    monkeypatch.setattr(cub_levels, "write_levels", WRITE_CUB_LEVELS)
    released = shared / "data/metadata/CUB"
    unpacked = Path(shutil.copytree(shared / "data/CUB_200_2011", tmp_path / "u/CUB_200_2011"))
    for split in SPLITS:
        for image_id, size in get_image_sizes(configure_metadata(released / split)).items():
            path = unpacked / "images" / image_id
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_sized_jpeg(*size))
    assert Image.open(path).size == size
    printed = command("CUB", "--archive", unpacked, released)
    assert "level category: 200 classes\nlevel species: 188 classes" in printed
    assert "train: 5994 images" in printed and "val: 1000 images" in printed and "test: 5794 images" in printed
    for split in SPLITS:
        for name in ("image_ids", "class_labels", "image_sizes", "localization"):
            ours = (tmp_path / "metadata/CUB" / split / f"{name}.txt").read_text().splitlines()
            assert ours == (released / split / f"{name}.txt").read_text().splitlines(), (split, name)
    before = written(tmp_path / "metadata")
    command("CUB", "--splits", "val", "--archive", unpacked, released)  # one split again: the classes are the same
    assert written(tmp_path / "metadata") == before


def lines_of(folder, split):
    return {path.name: path.read_text().splitlines() for path in (folder / split).glob("*.txt")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes"), [("iNatLoc500", "500 317 184 61 18 5 1"), ("ILSVRC", "1000"), ("OpenImages", "100")]
)
def test_the_released_lists_are_written_line_for_line(name, classes, shared, command, tmp_path):
    released = shared / "data/metadata" / name
    paths = configure_metadata(released / "val")
    sizes, (masks, ignores) = get_image_sizes(paths), get_mask_paths(paths) if name == "OpenImages" else ({}, {})
    files = {image_id: _sized_jpeg(*sizes.get(image_id, (9, 9))) for image_id in get_image_ids(paths)}
    files |= {mask: mask_png(9, 9) for several in masks.values() for mask in several}
    files |= {mask: mask_png(9, 9) for mask in ignores.values() if mask}
    write_archive(tmp_path / "images.tar", {f"outer/{file.removeprefix('val2/')}": files[file] for file in files})
    printed = command(name, "--splits", "val", "--archive", tmp_path / "images.tar", released)
    found = [line.split(": ")[1].split()[0] for line in printed.splitlines() if line.startswith("level ")]
    assert found[: len(classes.split())] == classes.split()
    ours = lines_of(tmp_path / "metadata" / name, "val")
    for file, lines in lines_of(released, "val").items():
        assert ours[file] == lines, file


@pytest.mark.parametrize("path", ["fifo", "/dev/zero"])
def test_an_archive_that_never_ends_is_refused_before_it_is_opened(path, command, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert f"{path}: a device, FIFO or socket; expected a regular file" in command("CUB", "--archive", path, code=2)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fifo"]
