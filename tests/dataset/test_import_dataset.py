"""import_dataset.py: every kind of labels, boxes and masks, what it reports, and what it refuses."""

import io
import json
import os
from collections import Counter
from functools import partial
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import CHECKOUT, run
from dataset import import_dataset
from dataset.addresses import check_own_name
from dataset.annotations import Names, parse_xml, read_boxes
from dataset.grouped_splits import draw_splits
from dataset.layout import Entry, write_metadata
from dataset.tables import TableOptions
from wsol.core.errors import InputError
from wsol.data.levels import load_level
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_ids, get_mask_paths

SIZE = (40, 30)


def picture(shade):
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (shade % 256, shade // 256, 50)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path):
    """A folder per class: 10 cats in two sub-folders and 10 dogs, every image another."""
    names = [f"cat/{'ab'[i % 2]}/{i}.png" for i in range(10)] + [f"dog/{i + 10}.png" for i in range(10)]
    for i, name in enumerate(names):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return names


@pytest.fixture
def command(run_here):
    """import_dataset.py of the photos, run in this process."""
    return partial(run_here, import_dataset.main, "Mine", "--images", "photos")


def coco(path, names, box=(1, 2, 30, 20)):
    images = [{"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for i, name in enumerate(names)]
    annotations = [{"image_id": i, "category_id": 1, "bbox": list(box)} for i in range(len(names))]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}))


def voc(path, *boxes, head=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    edges = ("xmin", "ymin", "xmax", "ymax")
    corners = ["".join(f"<{e}>{v}</{e}>" for e, v in zip(edges, box, strict=True)) for box in boxes]
    objects = [f"<object><name>x</name><bndbox>{each}</bndbox></object>" for each in corners]
    path.write_text(f"{head}<annotation><filename>other.jpg</filename>{''.join(objects)}</annotation>")


def written(folder):
    found = [path for part in ("metadata", "dataset") for path in sorted((folder / part).rglob("*"))]
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def ids(tmp_path, split):
    return get_image_ids(configure_metadata(tmp_path / "metadata/Mine" / split))


def test_a_folder_per_class_with_coco_boxes(photos, command, tmp_path):
    coco(tmp_path / "boxes.json", photos)
    printed = command("--boxes", "boxes.json")
    assert "20 image files, 20 used\nlevel class: 2 classes of 10 to 10 images\ntrain: 10 images" in printed
    assert "val: 4 images, 4 boxes" in printed and "test: 6 images, 6 boxes" in printed
    data = load_level(tmp_path / "metadata", "Mine")
    assert (data.level, data.class_names) == ("class", ["cat", "dog"])
    assert [np.bincount(data.splits[split].labels).tolist() for split in ("train", "val", "test")] == [
        [5, 5],
        [2, 2],
        [3, 3],
    ]
    boxes = get_bounding_boxes(configure_metadata(tmp_path / "metadata/Mine/val"))
    assert all(found == [(1, 2, 31, 22)] for found in boxes.values())
    first = {path: path.read_bytes() for path in (tmp_path / "metadata").rglob("*.txt")}
    command("--boxes", "boxes.json")
    assert {path: path.read_bytes() for path in (tmp_path / "metadata").rglob("*.txt")} == first
    val = ids(tmp_path, "val")
    message = command("--boxes", "boxes.json", "--seed", "1", code=2)
    assert "metadata/Mine: already exists with different content (train/image_ids.txt differs); expected another" in message
    command("--boxes", "boxes.json", "--seed", "1", "--replace")
    assert ids(tmp_path, "val") != val


def test_a_table_a_taxonomy_voc_boxes_and_groups(photos, command, tmp_path):
    rows = [
        f"{name.split('/')[-1]},{'tabby' if i < 5 else 'manx' if i < 10 else 'pug'},cam{i // 2},x"
        for i, name in enumerate(photos)
    ]
    (tmp_path / "labels.csv").write_text("image,label,camera,note\n" + "\n".join(rows))
    (tmp_path / "taxonomy.csv").write_text('breed,species\nunused,cat\npug,"dog, tame"\nmanx,cat\ntabby,cat\n')
    for name in photos:
        voc(tmp_path / "xml" / name.replace(".png", ".xml"), (1, 1, 40, 30), (0, 2, 5.9, 6))
    arguments = ("--labels", "labels.csv", "--taxonomy", "taxonomy.csv", "--boxes", "xml", "--group", "camera")
    printed = command(*arguments)
    assert "level breed: 3 classes of 5 to 10 images\nlevel species: 2 classes of 10 to 10 images" in printed
    data = load_level(tmp_path / "metadata", "Mine", "species")
    assert data.levels == ["breed", "species"] and data.class_names == ["dog, tame", "cat"]
    hierarchy = (tmp_path / "metadata/Mine/hierarchy.csv").read_text().splitlines()
    assert hierarchy == ["breed,species", 'pug,"dog, tame"', "manx,cat", "tabby,cat"]
    boxes = get_bounding_boxes(configure_metadata(tmp_path / "metadata/Mine/val"))
    assert all(found == [(0, 0, 39, 29), (0, 1, 4, 5)] for found in boxes.values())  # VOC counts from 1
    cameras = {f"images/{name}": i // 2 for i, name in enumerate(photos)}
    of_split = [{cameras[name] for name in ids(tmp_path, split)} for split in ("train", "val", "test")]
    assert sum(map(len, of_split)) == len(set.union(*of_split)) == 10


def test_masks_with_values_for_object_and_border(photos, command, tmp_path):
    for i, name in enumerate(photos):
        mask = np.full(SIZE[::-1], 2, np.uint8)
        mask[5:15, 10:20], mask[5, 10:20] = 1, 3
        path = tmp_path / "masks" / name.split("/")[-1]
        path.parent.mkdir(exist_ok=True)
        if i == 0:
            mask[:] = 2
        image = Image.fromarray(mask if i != 1 else mask[:-1])
        if i % 2:
            image = image.convert("P")  # a palette image's indices count, not its colours
            image.putdata(mask.ravel().tolist() if i != 1 else mask[:-1].ravel().tolist())
        image.save(path)
    printed = command("--masks", "masks", "--foreground", "1", "--ignore", "3", "--shares", "0", "0.4", "0.6")
    assert "masks that cannot be used: 2\n  masks/0.png: no foreground\n  masks/1.png: 29 x 40 (rows x columns)" in printed
    assert sorted(ids(tmp_path, "train")) == ["images/cat/a/0.png", "images/cat/b/1.png"]
    paths = configure_metadata(tmp_path / "metadata/Mine/test")
    masks, ignores = get_mask_paths(paths)
    assert set(masks) == set(ids(tmp_path, "test")) and set(ignores.values()) != {""}
    for name, [path] in masks.items():
        with Image.open(tmp_path / "dataset/Mine" / path) as image:
            assert (np.array(image) > 0).sum() == 90 and image.size == SIZE
        with Image.open(tmp_path / "dataset/Mine" / ignores[name]) as image:
            assert (np.array(image) > 0).sum() == 10
    assert {box for found in get_bounding_boxes(paths).values() for box in found} == {(10, 6, 19, 14)}


def test_what_it_found_is_reported(photos, command, tmp_path):
    folder = tmp_path / "photos"
    (folder / "loose.png").write_bytes(picture(500))  # no class folder
    (folder / "dog/copy.png").write_bytes(picture(12))
    (folder / "dog/a_cat.png").write_bytes(picture(3))  # another label on the same picture
    (folder / "dog/broken.jpg").write_bytes(b"no image")
    (folder / "dog/notes.txt").write_text("x")
    coco(tmp_path / "boxes.json", [*photos, "gone.png"])
    printed = command("--boxes", "boxes.json")
    for part in (
        "images without a label, left out: 1\n  loose.png",
        "copies of another image, left out: 1\n  dog/copy.png = dog/12.png",
        "equal files with different labels, all left out: 1\n  cat/b/3.png = dog/a_cat.png",
        "unreadable images, left out: 1\n  photos/dog/broken.jpg: not a readable image",
        "boxes without an image: 1\n  boxes.json: annotations[20] (gone.png)",
        "24 image files, 19 used",
    ):
        assert part in printed
    used = {name for split in ("train", "val", "test") for name in ids(tmp_path, split)}
    assert used == {f"images/{name}" for name in photos} - {"images/cat/b/3.png"}
    (tmp_path / "labels.csv").write_text("image,label\ncat/a/0.png,cat\ngone.png,cat\ndog/10.png,\n")
    printed = command("--labels", "labels.csv", "--replace")
    assert "lines of --labels without an image: 1\n  labels.csv:3: gone.png" in printed
    assert "images without a label, left out: 23\n" in printed and "... and 18 more" in printed
    assert [path.name for path in (tmp_path / "metadata/Mine").iterdir() if path.is_dir()] == ["train"]


def test_a_part_with_boxes_is_shared_between_val_and_test(photos, command, tmp_path):
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\n" + "".join(f"{name},0,0,40,30\n" for name in photos[:5]))
    printed = command("--boxes", "boxes.csv")
    assert [len(ids(tmp_path, split)) for split in ("train", "val", "test")] == [15, 2, 3]
    assert "classes without an image in val: 1\n  dog" in printed


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("labels.csv", "day,label\na,b\n", "labels.csv:1: no column for the image among 'day', 'label'; expected a header"),
        (
            "labels.csv",
            "image|label\na|b\n",
            "labels.csv:1: one column, 'image|label'; expected columns separated by comma,",
        ),
        (
            "labels.csv",
            "file;path;label\na;b;c\n",
            "labels.csv:1: 'file' or 'path' may be the image; choose one with",
        ),
        (
            "labels.csv",
            "image;label\na;b\nc,d\n",
            "labels.csv:3: 'c,d'; expected 2 fields; the header is semicolon-separated,",
        ),
        ("labels.csv", 'image,label\n"a.png,x\n",y\n', "labels.csv:2: unexpected end of data; expected comma-separated"),
        ("labels.csv", "image,label\n\0,x\n", "labels.csv:2: a NUL character"),
        ("boxes.csv", "image,x,y\na,1,2\n", "boxes.csv:1: no columns of a box among 'image', 'x', 'y'; expected"),
        (
            "boxes.csv",
            "image,x0,y0,x1,y1\n0.png,0.1,0.2,0.5,0.9\n",
            "boxes.csv:2: box (0.1, 0.2, 0.5, 0.9); expected pixels,",
        ),
        ("boxes.csv", "image,x,y,w,h\n0.png,1,2,0,9\n", "boxes.csv:2: box (1.0, 2.0, 0.0, 9.0); expected a width and a"),
        ("boxes.csv", "file,xmin,ymin,xmax,ymax,x1,y1,x2,y2\n", "xmin,ymin,xmax,ymax or x1,y1,x2,y2 may be the box"),
        ("labels.csv", "image,label\ncat/a/0.png\n", "labels.csv:2: 'cat/a/0.png'; expected 2 fields"),
        (
            "labels.csv",
            "image,label\ncat/a/0.png,x\n0.png,x\n",
            "labels.csv:3: duplicate image 'cat/a/0.png', already at labels.csv:2",
        ),
        ("labels.csv", "image,label\ngone.png,x\n", "no image has a label"),
        ("taxonomy.csv", "breed,species\ncat,animal\n", "taxonomy.csv: no row for a class of the labels:\n  dog"),
        ("taxonomy.csv", "breed,species\ncat,\n", "taxonomy.csv:2: 'cat,'; expected a unique leaf, then its ancestors"),
        ("taxonomy.csv", "breed,species\ncat,a\ncat,a\n", "taxonomy.csv:3: "),
        ("taxonomy.csv", "breed,species\n", "taxonomy.csv: no rows"),
        (
            "taxonomy.csv",
            "breed,species,class\ncat,animal,big\ndog,animal,small\n",
            "taxonomy.csv: the species 'animal' belongs to 'big' and to 'small'; expected one class",
        ),
        (
            "boxes.csv",
            "image,x0,y0,x1,y1\ncat/a/0.png,1,2,41,4\n",
            "boxes.csv:2: box 1,2,41,4; expected it inside the 40 x 30",
        ),
        ("boxes.csv", "image,x0,y0,x1,y1\ncat/a/0.png,9,2,4,4\n", "boxes.csv:2: box 9,2,4,4; expected it inside"),
        ("boxes.csv", "image,x0,y0,x1,y1\ncat/a/0.png,1,two,4,4\n", "boxes.csv:2: ['1', 'two', '4', '4']; expected numbers"),
        ("boxes.csv", "image,x0,y0,x1,y1\ncat/a/0.png,1,nan,4,4\n", "boxes.csv:2: "),
        ("boxes.csv", "image,x0,y0,x1,y1\ngone.png,1,2,4,4\n", "no labelled image has a box or mask"),
        ("boxes.json", "{}", "boxes.json: no list 'images'"),
        (
            "boxes.json",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "0.png", "width": 30, "height": 40}],
                    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
                    "categories": [{"id": 1, "name": "x"}],
                }
            ),
            "boxes.json: annotations[0] (0.png): drawn on an image of 30 x 40, but cat/a/0.png is 40 x 30; expected",
        ),
        ("labels.csv", "image,label\n", "labels.csv: no rows"),
        ("taxonomy.csv", "breed,..\ncat,a\ndog,a\n", "taxonomy.csv:1: '..'; expected unique level names"),
        (
            "boxes.json",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "0.png"}],
                    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 10**400, 4]}],
                    "categories": [{"id": 1, "name": "x"}],
                }
            ),
            "boxes.json: annotations[0]: bbox",
        ),
        ("boxes.txt", "", "boxes.txt: expected COCO .json, .csv with image,x0,y0,x1,y1, or a folder"),
    ],
)
def test_refusals_name_file_and_line_and_nothing_is_written(photos, command, tmp_path, file, text, message):
    (tmp_path / file).write_text(text)
    assert message in command(f"--{file.split('.')[0]}", file, code=2)
    assert not (tmp_path / "metadata").exists() and not (tmp_path / "dataset").exists()


def test_groups_for_a_folder_per_class_names_with_commas_and_images_that_are_in_place(photos, command, tmp_path):
    folder = tmp_path / "dataset/Mine/images"
    folder.parent.mkdir(parents=True)
    (tmp_path / "photos").rename(folder)
    (folder / "dog").rename(folder / "dog, wild é")
    names = [name.replace("dog", "dog, wild é") for name in photos]
    (tmp_path / "t.csv").write_text(
        "image,camera\r\n" + "".join(f'"{n}",{i % 4}\r\n' for i, n in enumerate(names)), "utf-8-sig"
    )
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\n" + "".join(f'"{name}",0,0,9,9\n' for name in names))
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    command("--images", folder, "--labels", "t.csv", "--group", "camera", "--boxes", "boxes.csv")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert load_level(tmp_path / "metadata", "Mine").class_names == ["cat", "dog, wild é"]
    cameras = {f"images/{name}": i % 4 for i, name in enumerate(names)}
    of_split = [{cameras[name] for name in ids(tmp_path, split)} for split in ("train", "val", "test")]
    assert sum(map(len, of_split)) == 4


def test_options_are_checked(photos, command):
    assert "expected three shares that sum to 1" in command("--shares", "1", "1", "1", code=2)
    assert "expected both" in command("--group", "camera", code=2)
    assert "--shares: 'nan' is not a finite number" in command("--shares", "nan", "0.5", "0.5", code=2)
    assert "--seed -1: expected 0 or more" in command("--seed", "-1", code=2)
    assert "--level: 'a/b'; expected unique level names" in command("--level", "a/b", code=2)
    for name in ("OpenImages30k", "Hierarchies", "downloads", "cub", "x" * 300):
        with pytest.raises(InputError, match="expected a name of your own"):
            check_own_name(name)
    assert "--images none: no such folder" in command("--images", "none", code=2)
    assert "expected a name of your own" in run(
        "dataset/import_dataset.py", "CUB", "--images", "photos", cwd=CHECKOUT, code=2
    )


def test_an_import_is_not_replaced_unasked_and_one_broken_off_is_finished(photos, command, tmp_path, monkeypatch):
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\n" + "".join(f"{name},1,1,5,5\n" for name in photos))
    taxonomy = tmp_path / "taxonomy.csv"
    taxonomy.write_text("breed,species\ncat,animal\ndog,animal\n")
    arguments = ("--boxes", "boxes.csv", "--taxonomy", "taxonomy.csv")
    monkeypatch.setattr(import_dataset, "_copy", mock.Mock(side_effect=KeyboardInterrupt))
    assert "interrupted" in command(*arguments, code=130)
    assert not list((tmp_path / "metadata").rglob("*"))
    monkeypatch.undo()
    command(*arguments)
    before = written(tmp_path)
    command(*arguments)
    assert "already exists with different content" in command("--boxes", "boxes.csv", code=2)
    message = command("--boxes", "boxes.csv", "--shares", "0", "0.5", "0.5", "--replace", code=2)
    assert "no images are left for train" in message
    (tmp_path / "photos" / photos[0]).rename(tmp_path / "kept.png")
    (tmp_path / "photos" / photos[0]).write_bytes(picture(900))
    assert f"dataset/Mine/images/{photos[0]}: already exists with different content" in command(*arguments, code=2)
    assert written(tmp_path) == before
    command("--boxes", "boxes.csv", "--replace")
    assert not (tmp_path / "metadata/Mine/hierarchy.csv").exists()
    assert not list((tmp_path / "metadata/Mine").glob("class_names_*"))


def test_what_only_looks_like_an_image_or_annotation(photos, command, tmp_path):
    folder = tmp_path / "photos/cat"
    (folder / "gone.jpg").symlink_to("/nonexistent")
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    for name in photos:
        voc(tmp_path / "xml" / name.replace(".png", ".XML"), (1, 1, 5, 5))
    (folder / "loop").symlink_to(folder)
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "phone.HEIC").write_bytes(b"x")
    (folder / "camera.nef").write_bytes(b"x")
    printed = command("--boxes", "xml")
    assert "(1 .HEIC, 1 .nef; save them as JPEG or PNG), left out: 2\n  cat/camera.nef\n  cat/phone.HEIC" in printed
    assert (
        "named like images, left out: 5\n  cat/folder.jpg\n  cat/gone.jpg\n  cat/loop\n  cat/pipe.jpg\n  cat/self.jpg"
        in printed
    )
    assert "val: 4 images, 4 boxes" in printed  # also of .XML
    for head in ('<?xml version="1.0" encoding="gb2312"?>', '<?xml version="1.0" encoding="none"?>'):
        voc(tmp_path / "xml/dog/10.XML", (1, 1, 5, 5), head=head)
        assert "xml/dog/10.XML: not a readable XML file" in command("--boxes", "xml", code=2)
    voc(tmp_path / "xml/dog/10.XML", (-3, 1, 5, 5))
    assert "object 1: box -4,0,4,4; expected it inside" in command("--boxes", "xml", code=2)
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(picture(700))
    assert r"b'cat/caf\xe9.png'; expected file names in UTF-8" in command("--boxes", "xml", "--replace", code=2)


def test_masks_do_not_share_files_and_two_of_an_image_are_refused(photos, command, tmp_path):
    (tmp_path / "photos/dog/10_ignore.png").write_bytes(picture(900))
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[5:9, 5:9], mask[0] = 1, 3
    for i, name in enumerate([*photos[1:], "dog/10_ignore.png"]):
        path = tmp_path / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path.with_suffix(".PNG" if i % 2 else ".png"), format="PNG")
    arguments = ("--masks", "masks", "--foreground", "1", "--ignore", "3", "--shares", "0", "0.5", "0.5")
    command(*arguments)
    used = [get_mask_paths(configure_metadata(tmp_path / "metadata/Mine" / split)) for split in ("val", "test")]
    files = [file for masks, ignores in used for file in (*(name for [name] in masks.values()), *ignores.values())]
    assert len(files) == len(set(files)) == 40
    (tmp_path / "masks/10.png").write_bytes((tmp_path / "masks/dog/10_ignore.PNG").read_bytes())
    assert "masks/dog/10.PNG and masks/10.png both mean 'dog/10.png'" in command(*arguments, code=2)


def test_what_described_other_levels_is_removed(tmp_path):
    def entries(*names):
        return {"val": [Entry("a.png", names, SIZE)]}

    write_metadata(tmp_path, ["breed", "species"], [("manx", "cat")], entries("manx", "cat"))
    (tmp_path / "tree.csv").write_text("child,parent\nmanx,cat\n")
    write_metadata(tmp_path, ["breed"], [("manx",)], entries("manx"))
    assert {path.name for path in tmp_path.iterdir()} == {"class_names.txt", "levels.txt", "tree.csv", "val"}
    write_metadata(tmp_path, ["breed"], [("cat",)], entries("cat"))
    assert not (tmp_path / "tree.csv").exists()


def test_no_split_with_a_share_stays_empty_while_groups_suffice():
    labels = {f"{label}{i}": label for label in "abc" for i in range(4)}
    for seed in range(5):
        splits, left_out = draw_splits(labels, set(labels), labels, (0.2, 0.4, 0.4), np.random.default_rng(seed))
        assert [len(names) for names in splits.values()] == [4, 4, 4] and not left_out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_a_doctype_is_refused_unexpanded(tmp_path, encoding):
    laughs = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    text = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]><annotation>&l9;</annotation>'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match=r"a\.xml: has a DOCTYPE"):
        parse_xml(tmp_path / "a.xml")
    external = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'
    (tmp_path / "a.xml").write_text(external)
    with pytest.raises(InputError, match="has a DOCTYPE"):
        read_boxes(tmp_path, ["a.png"], TableOptions())
    for text in ("<annotation>", "", "&x;"):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(InputError, match=r"a\.xml: not a readable XML file"):
            parse_xml(tmp_path / "a.xml")


def test_names_are_found_by_path_or_file_and_never_guessed():
    names = Names(["a/1.jpg", "b/1.jpg", "b/2.jpg"])
    assert names.find("a/1.jpg", "x") == "a/1.jpg" and names.find("photos\\b\\2.jpg", "x") == "b/2.jpg"
    assert names.find("2.jpg", "x") == "b/2.jpg" and names.find("a/2.jpg", "x") is None and names.find("3.jpg", "x") is None
    with pytest.raises(InputError, match=r"t\.csv:4: '1\.jpg' may be 'a/1\.jpg' or 'b/1\.jpg'"):
        names.find("1.jpg", "t.csv:4")
    assert Names(["a/1.v2.jpg"], stems=True).find("1.v2.xml", "x") == "a/1.v2.jpg"
    with pytest.raises(InputError, match="differ only in their extension"):
        Names(["a/1.jpg", "a/1.png"], stems=True)


def test_names_are_guessed_by_case_extension_and_composed_letters_where_no_other_name_means_the_image():
    names = Names(["a/IMG_1.JPG", "a/img_2.png", "ä.jpg".replace("ä", "a\u0308"), "v.2.jpg"])
    given = ["img_1.jpg", "IMG_2", "IMG_2.png", "A/IMG_1.heic", "ä.jpg", "V.2", "none.jpg", "v.jpg"]
    found, guessed = names.find_all([(name, "x") for name in given])
    assert found == ["a/IMG_1.JPG", "a/img_2.png", "a/img_2.png", "a/IMG_1.JPG", "a\u0308.jpg", "v.2.jpg", None, None]
    assert len(guessed) == 6
    found, guessed = names.find_all([("a/IMG_1.JPG", "x"), ("IMG_1.heic", "y")])
    assert found == ["a/IMG_1.JPG", None] and not guessed
    with pytest.raises(InputError, match=r"t:1: 'b' may be 'B\.jpg' or 'b\.png'"):
        Names(["B.jpg", "b.png"]).find_all([("b", "t:1")])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40),
    st.booleans(),
    st.integers(0, 9),
)
def test_splits_are_disjoint_groups_whole_and_shares_exact_without_groups(images, grouped, seed):
    labels = {f"{i:02d}": label for i, (label, _, _) in enumerate(images)}
    localized = {f"{i:02d}" for i, (_, boxed, _) in enumerate(images) if boxed}
    groups = {f"{i:02d}": f"g{group}" for i, (_, _, group) in enumerate(images) if grouped and group}
    splits, left_out = draw_splits(labels, localized, groups, (0.5, 0.2, 0.3), np.random.default_rng(seed))
    assert sorted([name for names in splits.values() for name in names] + left_out) == sorted(labels)
    assert set(splits["val"] + splits["test"]) <= localized and not set(left_out) & localized
    where = {name: split for split, names in splits.items() for name in names}
    for group in set(groups.values()):
        assert len({where[name] for name in where if groups.get(name) == group}) <= 1
    if not grouped:
        assert not left_out
        for label in set(labels.values()):
            total, boxed = Counter(labels.values())[label], sum(labels[name] == label for name in localized)
            counts = [sum(labels[name] == label for name in splits[split]) for split in ("val", "test")]
            wanted = [round(total * 0.2), round(total * 0.3)]
            assert counts == wanted if sum(wanted) <= boxed else sum(counts) == boxed
