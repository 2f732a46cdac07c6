"""import_dataset.py on what people have: photos stored lying on their side, spreadsheets' tables, no boxes."""

import contextlib
import io
import json
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import SMALL, run
from dataset import import_dataset, wordnet
from dataset.annotations import read_boxes, read_taxonomy
from dataset.orientation import Photo, read_photo, turn_array, turn_box, upright_bytes
from dataset.tables import TableOptions, find_box_columns, open_table, parse_columns, read_fields, read_table_text
from samples import write_png
from wsol.core.errors import InputError
from wsol.core.progress import tell
from wsol.data.levels import load_level
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_image_ids, get_image_sizes, get_mask_paths

STORED = (64, 48)
BOX = (8, 16, 39, 31)  # of the upright scene's object, both ends included


def scene(size, number):
    """An upright picture with an object at BOX, each another."""
    values = np.full((size[1], size[0], 3), 40 + number, np.uint8)
    values[BOX[1] : BOX[3] + 1, BOX[0] : BOX[2] + 1] = 230
    return values


def as_stored(upright, orientation):
    """The array that a camera stores of an upright one: turning is undone by turning again, but for quarter turns."""
    return turn_array(upright, {6: 8, 8: 6}.get(orientation, orientation))


def save(path, values, orientation=1, **options):
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Camera"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **({"exif": exif} if orientation > 1 else {}), **options)


def stored_scene(orientation, number):
    size = STORED if orientation < 5 else STORED[::-1]
    channels = np.moveaxis(scene(size, number), 2, 0)
    return np.stack([as_stored(channel, orientation) for channel in channels], axis=2)


@pytest.fixture
def turned(tmp_path):
    """Two classes of nine PNG and TIFF photos: every orientation, number 0 upright; image to its upright size."""
    sizes = {}
    for i in range(18):
        orientation, name = max(i % 9, 1), f"{'ab'[i // 9]}/{i}.{'png' if i % 2 else 'tif'}"
        save(tmp_path / "photos" / name, stored_scene(orientation, i), orientation)
        sizes[name] = STORED if orientation < 5 else STORED[::-1]
    return sizes


@pytest.fixture
def command(run_here):
    return partial(run_here, import_dataset.main, "Mine", "--images", "photos")


def used(tmp_path):
    splits = {split: configure_metadata(tmp_path / "metadata/Mine" / split) for split in ("train", "val", "test")}
    present = {split: each for split, each in splits.items() if Path(each.image_ids).exists()}
    return {split: [name.removeprefix("images/") for name in get_image_ids(each)] for split, each in present.items()}


def boxes_of(tmp_path):
    parts = [get_bounding_boxes(configure_metadata(tmp_path / "metadata/Mine" / split)) for split in ("val", "test")]
    return {name.removeprefix("images/"): boxes for part in parts for name, boxes in part.items()}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_and_masks_turn_alike(orientation):
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    upright = turn_array(mask, orientation)
    rows, columns = np.flatnonzero(upright.any(1)), np.flatnonzero(upright.any(0))
    photo = Photo(upright.shape[::-1], orientation)
    assert photo.stored == (7, 5)
    assert turn_box((2, 1, 5, 2), photo, True) == (columns[0], rows[0], columns[-1], rows[-1])
    assert turn_box((2, 1, 6, 3), photo, False) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert min(turn_box((0, 0, 7, 5), photo, True)) == 0  # an edge may equal the side


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_upright_copies_have_the_pixels_and_the_profile_and_no_orientation(tmp_path, suffix, orientation):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"png": {}, "tif": {}, "webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}[suffix]
    path, copy = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    save(path, stored_scene(orientation, 3), orientation, icc_profile=profile, **options)
    copy.write_bytes(upright_bytes(path))
    assert copy.read_bytes() == upright_bytes(path)
    size = STORED if orientation < 5 else STORED[::-1]
    assert read_photo(path) == Photo(size, orientation) and read_photo(copy) == Photo(size, 1)
    with Image.open(copy) as image:
        difference = np.abs(np.array(image).astype(int) - scene(size, 3)).max()
        assert difference <= (6 if suffix == "jpg" else 0)
        assert image.info["icc_profile"] == profile and 274 not in image.getexif() and 271 not in image.getexif()
        assert image.format == {"png": "PNG", "tif": "TIFF", "webp": "WEBP", "jpg": "JPEG"}[suffix]


@pytest.mark.parametrize("mode", ["L", "I;16", "CMYK", "P"])
def test_upright_copies_keep_the_mode(tmp_path, mode):
    values = np.random.default_rng(0).integers(0, 255, (5, 7, 4)).astype(np.uint8)
    image = Image.fromarray(values, "CMYK") if mode == "CMYK" else Image.fromarray(values[..., 0]).convert(mode)
    exif = Image.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.tif", exif=exif)  # uncompressed: Pillow maps such a file, if it is given a path
    (tmp_path / "b.tif").write_bytes(upright_bytes(tmp_path / "a.tif"))
    with Image.open(tmp_path / "b.tif") as copy:
        assert copy.mode == mode and np.array_equal(np.array(copy), np.rot90(np.array(image), -1))


def write_coco(path, sizes, boxes):
    images = [{"id": i, "file_name": name, "width": w, "height": h} for i, (name, (w, h)) in enumerate(sizes.items())]
    annotations = []
    for i, name in enumerate(sizes):
        x0, y0, x1, y1 = boxes[name]
        annotations.append({"image_id": i, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}))


def write_voc(folder, sizes, boxes):
    for name, (width, height) in sizes.items():
        corners = zip(("xmin", "ymin", "xmax", "ymax"), boxes[name], strict=True)
        edges = "".join(f"<{edge}>{value + 1}</{edge}>" for edge, value in corners)
        path = folder / name.replace("png", "xml").replace("tif", "xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        path.write_text(f"<annotation>{size}<object><bndbox>{edges}</bndbox></object></annotation>")


def drawn(sizes, stored):
    """Sizes and boxes as drawn on the upright or on the stored pixels."""
    orientations = {name: max(int(name.split("/")[1].split(".")[0]) % 9, 1) for name in sizes}
    boxes = {}
    for name, (width, height) in sizes.items():
        mask = np.zeros((height, width), bool)
        mask[BOX[1] : BOX[3] + 1, BOX[0] : BOX[2] + 1] = True
        mask = as_stored(mask, orientations[name]) if stored else mask
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes[name] = tuple(map(int, (columns[0], rows[0], columns[-1], rows[-1])))
        sizes = sizes | {name: mask.shape[::-1]}
    return sizes, boxes


@pytest.mark.parametrize("kind", ["coco", "voc", "csv"])
@pytest.mark.parametrize("stored", [False, True])
def test_boxes_of_either_orientation_where_the_size_tells(turned, command, tmp_path, kind, stored):
    sizes, boxes = drawn(turned, stored)
    if kind == "coco":
        write_coco(tmp_path / "boxes.json", sizes, {k: (x0, y0, x1 + 1, y1 + 1) for k, (x0, y0, x1, y1) in boxes.items()})
        arguments, expected = ("--boxes", "boxes.json"), (8, 16, 40, 32)
    elif kind == "voc":
        write_voc(tmp_path / "xml", sizes, boxes)
        arguments, expected = ("--boxes", "xml"), BOX
    else:
        lines = [",".join(map(str, (name, *sizes[name], *boxes[name]))) for name in sizes]
        (tmp_path / "boxes.csv").write_text("\n".join(["filename,width,height,xmin,ymin,xmax,ymax", *lines]))
        arguments, expected = ("--boxes", "boxes.csv"), BOX
    printed = command(*arguments)
    ambiguous = [name for name in turned if int(name.split("/")[1].split(".")[0]) % 9 in (2, 3, 4)]
    assert "rotated photos whose boxes may be drawn either way, left out: 6\n  a/2.tif (" in printed
    assert "photos rotated by their EXIF orientation, used as upright copies: 8\n" in printed
    splits = used(tmp_path)
    assert sorted(name for names in splits.values() for name in names) == sorted(set(turned) - set(ambiguous))
    found = boxes_of(tmp_path)
    assert len(found) > 4 and set(map(tuple, found.values())) == {(expected,)}
    for split, names in splits.items():
        written = get_image_sizes(configure_metadata(tmp_path / "metadata/Mine" / split))
        assert {name: written[f"images/{name}"] for name in names} == {name: turned[name] for name in names}
        for name in names:
            copy = tmp_path / "dataset/Mine/images" / name
            with Image.open(copy) as image:
                number = int(name.split("/")[1].split(".")[0])
                assert np.array_equal(np.array(image), scene(turned[name], number)) and image.getexif().get(274) is None
            assert copy.samefile(tmp_path / "photos" / name) == (number % 9 < 2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    command(*arguments)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_without_a_size_or_with_the_same_both_ways_a_turned_photo_is_left_out_alone(turned, command, tmp_path):
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\n" + "".join(f"{name},8,16,39,31\n" for name in list(turned)[:9]))
    save(tmp_path / "photos/b/square.png", np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8), 6)
    printed = command("--boxes", "boxes.csv")
    assert "rotated photos whose boxes may be drawn either way, left out: 7\n  a/2.tif (boxes.csv:4)" in printed
    names = [name for part in used(tmp_path).values() for name in part]
    assert {"a/0.tif", "a/1.png", "b/square.png"} <= set(names) and "a/5.png" not in names and len(names) == 12


@pytest.mark.parametrize("stored", [False, True])
def test_masks_of_either_orientation(turned, command, tmp_path, stored):
    for name, (width, height) in turned.items():
        mask = np.zeros((height, width), np.uint8)
        mask[BOX[1] : BOX[3] + 1, BOX[0] : BOX[2] + 1] = 1
        orientation = max(int(name.split("/")[1].split(".")[0]) % 9, 1)
        path = (tmp_path / "masks" / name).with_suffix(".png")
        save(path, np.ascontiguousarray(as_stored(mask, orientation)) if stored else mask)
    printed = command("--masks", "masks")
    assert "rotated photos whose mask may be drawn either way, left out: 6\n" in printed
    assert set(map(tuple, boxes_of(tmp_path).values())) == {(BOX,)}
    for split in ("val", "test"):
        masks, _ = get_mask_paths(configure_metadata(tmp_path / "metadata/Mine" / split))
        for image, [path] in masks.items():
            with Image.open(tmp_path / "dataset/Mine" / path) as mask:
                assert mask.size == turned[image.removeprefix("images/")] and mask.getbbox() == (8, 16, 40, 32)


def test_originals_in_the_data_sets_own_folder_are_not_replaced_by_what_is_made_of_them(turned, command, tmp_path):
    folder = tmp_path / "dataset/Mine/images"
    folder.parent.mkdir(parents=True)
    (tmp_path / "photos").rename(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    printed = command("--images", folder, "--replace", code=2)
    assert "would be replaced by its own copy" in printed
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before and not (tmp_path / "metadata").exists()


NAMES = [f"Vögel {i}.png" for i in range(8)]
ROWS = [
    ("Parus major", "Parus", "Paridae"),
    ("Cyanistes caeruleus", "Cyanistes", "Paridae"),
    ("Sitta europaea", "Sitta", "Sittidae"),
]


@pytest.fixture
def birds(tmp_path):
    for i, name in enumerate(NAMES):
        save(tmp_path / "photos" / name, scene(STORED, i))
    return [(name, *ROWS[i % 3]) for i, name in enumerate(NAMES)]


def csv_text(delimiter, header, rows):
    return "\r\n".join(delimiter.join(map(str, row)) for row in [header, *rows]) + "\r\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"])
def test_tables_of_any_spreadsheet(birds, command, tmp_path, delimiter, encoding):
    text = csv_text(delimiter, ("Filename", "Species", "Genus", "Family"), birds) + 3 * delimiter + "\r\n"
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    words = ("--encoding", encoding) if encoding in ("latin-1", "cp1252") else ()
    printed = command("--labels", "labels.csv", "--levels", "species", "genus", "family", *words)
    assert "labels.csv: 8 rows; 'Filename' names the image, 'Species' the class" in printed
    data = load_level(tmp_path / "metadata", "Mine", "family")
    assert data.levels == ["species", "genus", "family"] and set(data.class_names) == {"Paridae", "Sittidae"}
    assert sorted(name for part in used(tmp_path).values() for name in part) == NAMES
    if words:
        assert "labels.csv:2: not UTF-8 text" in command("--labels", "labels.csv", "--replace", code=2)


def test_tables_may_name_their_columns_differently_and_every_name_is_reported(command, tmp_path):
    names = [f"a/{i}.png" for i in range(9)]
    for name in names:
        save(tmp_path / "photos" / name, np.full((48, 64), 9 + int(name[2]), np.uint8))
    (tmp_path / "photos/more").mkdir()
    for i in range(7):
        (tmp_path / f"photos/more/{i}.heic").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text(
        csv_text(";", ("Datei", "Art"), [(name, "ab"[i % 2]) for i, name in enumerate(names)])
    )
    boxes = [(name, 1, 2, 20, 30) for name in names]
    (tmp_path / "boxes.csv").write_text(csv_text(";", ("Bild", "x0", "y0", "x1", "y1"), boxes))
    words = ("--labels", "labels.csv", "--boxes", "boxes.csv")
    printed = command(*words, "--columns", "image=Datei", "image=Bild")
    assert "WARNING: no column of labels.csv was taken for the class; to take one of 'Art'" in printed
    assert "... and 2 more" in printed and "all names of what follows: metadata/Mine/import_report.txt" in printed
    report = (tmp_path / "metadata/Mine/import_report.txt").read_text()
    assert all(f"more/{i}.heic" in report for i in range(7))
    assert set(map(tuple, boxes_of(tmp_path).values())) == {((1, 2, 20, 30),)}


def test_a_name_that_no_file_holds_is_reported_all_the_same(command, tmp_path):
    for i in range(4):
        save(tmp_path / f"photos/a/{i}.png", np.full((48, 64), 9 + i, np.uint8))
    coco = {"images": [{"id": i, "file_name": f"a/{i}.png"} for i in range(4)], "categories": [{"id": 1, "name": "a"}]}
    coco["images"].append({"id": 4, "file_name": "a\ud800b"})
    coco["annotations"] = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 20, 30]} for i in range(5)]
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert "boxes without an image: 1" in command("--boxes", "coco.json")
    assert "a\\ud800b" in (tmp_path / "metadata/Mine/import_report.txt").read_text()


def test_photos_are_no_masks(command, tmp_path):
    save(tmp_path / "photos/a/0.png", np.full((48, 64), 9, np.uint8))
    assert "is itself one of the photos; expected a folder of masks" in command("--masks", "photos", code=2)
    assert not (tmp_path / "metadata").exists()


def test_columns_are_named_where_their_names_are_unusual(birds, command, tmp_path):
    rows = [(name, "x", species, "1,5", "2,5", "20,0", "30,9") for name, species, *_ in birds]
    header = ("Foto", "Image", "Art", "links", "oben", "rechts", "unten")
    (tmp_path / "t.csv").write_text(csv_text(";", header, rows))
    columns = ("--columns", "image=foto", "label=Art", "x0=links", "y0=oben", "x1=rechts", "y1=unten")
    command("--labels", "t.csv", "--boxes", "t.csv", *columns)
    assert set(map(tuple, boxes_of(tmp_path).values())) == {((1, 2, 20, 30),)}
    for words, message in (
        ((*columns, "label=Image"), "t.csv:1: 'Image' or 'Art' may be the label"),
        (("--columns", "picture=Foto"), "--columns picture=Foto: expected ROLE=NAME"),
        (("--columns", "label=Spezies"), "t.csv:1: no column 'Spezies' (--columns label=NAME), among 'Foto', 'Image'"),
        (("--levels", "Art", "Gattung"), "t.csv:1: no column 'Gattung'; expected one among 'Foto', 'Image', 'Art'"),
        (("--encoding", "klingon"), "--encoding klingon: unknown"),
        (("--encoding", "hex"), "--encoding hex: unknown"),
    ):
        labels = ("--columns", "image=Foto") if "--columns" not in words else ()
        assert message in command("--labels", "t.csv", *labels, *words, "--replace", code=2)


def test_a_column_that_no_table_has_is_refused_before_anything_else_is_read(birds, command, tmp_path):
    (tmp_path / "t.csv").write_text(csv_text(",", ("Filename", "species", "genus", "family"), birds))
    (tmp_path / "b.csv").write_text("Photo,x0,y0,x1,y1\n")
    words = ("--images", "nowhere", "--labels", "t.csv", "--columns", "image=Filenme")
    expected = "t.csv:1: no column 'Filenme' (--columns image=NAME), among 'Filename', 'species', 'genus', 'family'"
    assert f"{expected}; did you mean Filename?" in command(*words, code=2)
    both = f"{expected}; nor b.csv:1, among 'Photo', 'x0', 'y0', 'x1', 'y1'; did you mean Filename?"
    assert both in command(*words, "--boxes", "b.csv", code=2)
    assert "nowhere: no such folder" in command(*words[:-1], "image=Photo", "--boxes", "b.csv", code=2)
    words = ("--columns", "image=Photo", "--boxes", "b.json")
    assert "--columns names columns of tables; expected --labels, or --boxes with a .csv" in command(*words, code=2)


def test_levels_that_contradict_one_another_are_refused_by_line(birds, command, tmp_path):
    for row, message in (
        (
            (NAMES[7], "Parus major", "Sitta", "Paridae"),
            "labels.csv:9: 'Parus major' belongs to ['Sitta', 'Paridae'], but at labels.csv:2",
        ),
        (
            (NAMES[7], "Parus major", "", "Paridae"),
            "labels.csv:9: 'Parus major' has no genus; expected a name at every level",
        ),
        (
            (NAMES[7], "Parus minor", "Parus", "Sittidae"),
            "labels.csv: the genus 'Parus' belongs to 'Paridae' and to 'Sittidae'",
        ),
    ):
        (tmp_path / "labels.csv").write_text(csv_text(",", ("image", "species", "genus", "family"), [*birds[:7], row]))
        assert message in command("--labels", "labels.csv", "--levels", "species", "genus", "family", code=2)
    assert not (tmp_path / "metadata").exists()


@pytest.mark.parametrize(
    ("header", "columns", "box", "size"),
    [
        ("image,xmin,ymin,xmax,ymax", "", (1, 2, 3, 4), False),
        ("File Name,X1,Y1,X2,Y2", "", (1, 2, 3, 4), False),
        ("path,left,top,right,bottom", "", (1, 2, 3, 4), False),
        ("image,x,y,width,height", "", (1, 2, 3, 4), False),
        ("image,bbox_x,bbox_y,bbox_w,bbox_h,image_width,image_height", "", (1, 2, 3, 4), True),
        ("filename,width,height,xmin,ymin,xmax,ymax", "", (3, 4, 5, 6), True),
        ("image,xmin,ymin,xmax,ymax,x1,y1,x2,y2", "x0=x1 y0=y1 x1=x2 y1=y2", (5, 6, 7, 8), False),
    ],
)
def test_usual_columns_of_boxes(tmp_path, header, columns, box, size):
    (tmp_path / "b.csv").write_text(header + "\n")
    options = TableOptions(columns=parse_columns(columns.split()))
    found, extent, sizes = find_box_columns(open_table(tmp_path / "b.csv"), options)
    assert tuple(found) == box and bool(sizes) == size and extent == ("w" in header and "max" not in header)


@pytest.mark.parametrize("header", ["image;width;height;x0;y0;x1;y1", "image;image_width;image_height;x;y;w;h"])
def test_a_row_without_an_images_size_has_none(tmp_path, header):
    (tmp_path / "b.csv").write_text(f"{header}\na.png;;;1;2;3;4\na.png;40;;1;2;3;4\na.png;40;30;1;2;3;4\n")
    boxes, *_ = read_boxes(tmp_path / "b.csv", ["a.png"], TableOptions())
    assert [box.size for box in boxes["a.png"]] == [None, None, (40, 30)]
    (tmp_path / "b.csv").write_text(f"{header}\na.png;4o;30;1;2;3;4\n")
    column = header.split(";")[1]
    with pytest.raises(InputError, match=rf"b\.csv:2: \['4o', '30'\]; expected numbers of pixels \(not so: '{column}'\)"):
        read_boxes(tmp_path / "b.csv", ["a.png"], TableOptions())


def test_long_values_are_cut_in_messages(tmp_path):
    digits = "1" * 4000  # Python reads no longer one from JSON
    (tmp_path / "a.csv").write_text(f"image,x0,y0,x1,y1\na.png,1,2,{digits},4\n")
    (tmp_path / "b.csv").write_text(f"image,x0,y0,x1,y1\n{digits}\n")
    (tmp_path / "c.csv").write_text(f"image,image_width,image_height,x0,y0,x1,y1\na.png,{digits},2,1,2,3,4\n")
    (tmp_path / "d.csv").write_text(f"{digits}\na.png\n")
    for name, size, edge in (("e", digits, "2"), ("f", "9", digits)):
        (tmp_path / name).mkdir()
        write_voc(tmp_path / name, {"a.png": (size, 9)}, {"a.png": (1, 2, 3, 4)})
        text = (tmp_path / name / "a.xml").read_text().replace("<ymin>3<", f"<ymin>{edge}<")
        (tmp_path / name / "a.xml").write_text(text)
    image, annotation = {"id": 1, "file_name": "a.png"}, {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    for name, change in (
        ("g", {"images": [image | {"width": int(digits), "height": 9}]}),
        ("h", {"annotations": [annotation | {"bbox": [1, 2, int(digits), 4]}]}),
        ("i", {"images": [image | {"id": int(digits)}, image | {"id": int(digits), "file_name": "b.png"}]}),
    ):
        data = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "x"}]} | change
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError) as error:
            read_boxes(path, ["a.png"], TableOptions())
        message = str(error.value).removeprefix(str(tmp_path))
        assert len(message) < 500 and "1" * 20 in message and "characters)" in message, path


def test_a_delimiter_is_said_or_seen_and_never_guessed(tmp_path):
    path = tmp_path / "t.csv"

    def fields(text):
        path.write_text(text)
        return [row for _, row, _ in read_fields(path)]

    assert fields("sep=;\na,b;c\n") == [["a,b", "c"]]
    assert fields("a;b\n1,5;2,5\n") == [["a", "b"], ["1,5", "2,5"]]
    assert fields('"a;x",b\n1,2\n') == [["a;x", "b"], ["1", "2"]]
    assert fields("a\rb\r") == [["a"], ["b"]]
    assert fields("\n;\nsep=|\n||\na|b\n") == [["a", "b"]]
    assert fields("") == fields("\n\n") == []
    with pytest.raises(InputError, match="comma and semicolon may separate the columns"):
        fields("a,b;c\nd,e;f\n")
    with pytest.raises(InputError, match=r"t\.csv:2: .*each row on one line"):
        fields('a,b\n"c\nd",e\n')
    path.write_bytes("a,b".encode("utf-16-le"))
    with pytest.raises(InputError, match="a NUL character; expected text"):
        read_table_text(path)
    assert read_table_text(path, "utf-16-le") == "a,b"


def test_blank_lines_are_skipped_and_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('\nimage,label\n\na,"x; y"\n,\n"",""\n  \nb,y\n,,\n\n')
    table = open_table(path)
    assert (table.where, table.rows) == (f"{path}:2", [(f"{path}:4", ["a", "x; y"]), (f"{path}:8", ["b", "y"])])
    path.write_text("\nimage;label\n\na\n")
    with pytest.raises(InputError, match=r"t\.csv:4: 'a'; expected 2 fields"):
        open_table(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species|genus\ncat|felis\n", "taxonomy.csv:1: one column, 'species|genus'; expected columns separated by comma, "),
        ("species|genus\ncat|felis\n", "semicolon or tab (these look separated by '|'): the levels of a taxonomy"),
        (
            "\nspecies\ncat\n",
            "taxonomy.csv:2: one column, 'species'; expected columns separated by comma, semicolon or tab: ",
        ),
    ],
)
def test_a_taxonomy_of_one_column_is_refused(tmp_path, text, message):
    (tmp_path / "taxonomy.csv").write_text(text)
    with pytest.raises(InputError) as error:
        read_taxonomy(tmp_path / "taxonomy.csv")
    assert message in str(error.value)


def unprintable(main, *words):
    """Run a command whose output cannot be written, no line of it."""
    with (
        mock.patch.object(sys, "argv", ["command", *map(str, words)]),
        io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full,
        contextlib.redirect_stdout(full),
        pytest.raises(SystemExit) as stop,
    ):
        main()
    assert stop.value.code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_printed_is_made_all_the_same(birds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(csv_text(",", ("image", "label"), [row[:2] for row in birds]))
    unprintable(import_dataset.main, "Mine", "--images", "photos", "--labels", "t.csv")
    assert len([name for names in used(tmp_path).values() for name in names]) == 8

    lines = ["  1 Notice", "00000001 03 n 01 living_thing 0 000 | x"]
    lines += [f"0000000{i} 03 n 01 {word} 0 001 @ 00000001 n 0000 | x" for i, word in ((3, "cat"), (4, "dog"))]
    (tmp_path / "data.noun").write_text("\n".join(lines))
    (tmp_path / "synsets.txt").write_text("n00000003\nn00000004\n")
    unprintable(wordnet.main, "synsets.txt", "tree.csv", "--wordnet", tmp_path)
    assert "cat (n00000003),living thing (n00000001)" in (tmp_path / "tree.csv").read_text()

    with io.TextIOWrapper(io.FileIO("/dev/full", "w")) as full:
        with contextlib.redirect_stdout(full):
            tell("a line of progress")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # so that it can be closed


def test_an_encoding_that_one_of_the_tables_does_not_have_is_named_where_nothing_fits(birds, command, tmp_path):
    for i in range(8):
        save(tmp_path / f"photos/é{i}.png", scene(STORED, 9 + i))
    names = [f"é{i}.png" for i in range(8)]
    labels = csv_text(",", ("image", "label"), [(name, "é") for name in names])
    (tmp_path / "labels.csv").write_bytes(labels.encode("utf-16"))
    boxes = csv_text(",", ("image", "x0", "y0", "x1", "y1"), [(name, 1, 2, 3, 4) for name in names])
    (tmp_path / "boxes.csv").write_text(boxes, "utf-8")
    (tmp_path / "taxonomy.csv").write_text("species,genus\né,x\n", "utf-8")
    words = ("--labels", "labels.csv", "--encoding", "latin-1")
    hint = "UTF-8 tables that were read as latin-1, since --encoding applies to all: 1\n  "
    printed = command(*words, "--boxes", "boxes.csv", code=2)
    assert "error: no labelled image has a box or mask; expected some, for val and test\n" in printed
    assert f"{hint}boxes.csv\n" in printed and "boxes without an image: 8\n  boxes.csv:2" in printed
    printed = command(*words, "--taxonomy", "taxonomy.csv", code=2)
    assert "error: taxonomy.csv: no row for a class of the labels:\n  é\n" in printed and f"{hint}taxonomy.csv\n" in printed
    assert "images without a label, left out: 8\n" in printed
    command(*words[:2], "--boxes", "boxes.csv", "--taxonomy", "taxonomy.csv")


def test_the_most_pixels_of_images_and_masks_is_an_option(command, tmp_path):
    for i in range(8):
        save(tmp_path / f"photos/{'ab'[i % 2]}/{i}.png", scene(STORED, i))
    save(tmp_path / "photos/a/large.png", scene((65, 48), 9))
    for i in range(8):
        save(tmp_path / f"masks/{'ab'[i % 2]}/{i}.png", np.ones(STORED[::-1] if i else (99, 99), np.uint8))
    write_png(tmp_path / "photos/b/bomb.png", 20_000, 20_000)
    write_png(tmp_path / "masks/a/large.png", 9500, 9500)  # Pillow warns of it
    with warnings.catch_warnings(action="error"):
        printed = command("--masks", "masks", "--max_megapixels", "0.003072")
    large = "photos/a/large.png: declares 65 x 48 pixels, 0.0 megapixels; expected at most 0.003072, or a larger --max_mega"
    bomb = "photos/b/bomb.png: declares 20000 x 20000 pixels, 400.0 megapixels; expected at most"
    mask = "masks/a/0.png: declares 99 x 99 pixels, 0.0 megapixels; expected at most 0.003072"
    for line in (large, bomb, mask, "unreadable images, left out: 2\n", "masks that cannot be used: 1\n"):
        assert line in printed
    with warnings.catch_warnings(action="error"):
        printed = command("--masks", "masks", "--replace")
    assert "masks/a/large.png: " in printed and f"{bomb} 100, or" in printed and "photos/a/large.png: " not in printed
    assert "--max_megapixels 0.0: expected more than 0" in command("--max_megapixels", "0", code=2)


def test_without_boxes_every_class_is_divided_and_groups_stay_together(command, tmp_path):
    for i in range(40):
        save(tmp_path / "photos" / "ab"[i % 2] / f"{i}.png", scene(STORED, i))
    printed = command()
    assert "localization cannot be measured, nor a threshold chosen" in printed
    data = load_level(tmp_path / "metadata", "Mine")
    counts = {split: np.bincount(part.labels).tolist() for split, part in data.splits.items()}
    assert counts == {"train": [10, 10], "val": [4, 4], "test": [6, 6]}
    for split in counts:
        paths = configure_metadata(tmp_path / "metadata/Mine" / split)
        assert not get_bounding_boxes(paths) and len(get_image_sizes(paths)) == sum(counts[split])
    rows = "".join(f"{'ab'[i % 2]}/{i}.png,{'ab'[i % 2]},{i // 4}\n" for i in range(40))
    (tmp_path / "t.csv").write_text("image,label,place\n" + rows)
    command("--labels", "t.csv", "--group", "Place", "--replace")
    places = [{int(name[2:-4]) // 4 for name in names} for names in used(tmp_path).values()]
    assert sum(map(len, places)) == len(set.union(*places)) == 10 and all(places)


def test_hostile_names_and_options_are_refused_in_a_line(birds, command, tmp_path):
    long = "x" * 300
    (tmp_path / "labels.csv").write_text(csv_text(",", ("image", "label"), [(name, species) for name, species, *_ in birds]))
    for words in (
        ("--labels", long), ("--taxonomy", long), ("--boxes", long), ("--masks", long), ("--images", long),
        ("--labels", "labels.csv", "--group", "\udc80"), ("--level", "\udc80"), ("--level", "a\0b"),
        ("--labels", "labels.csv", "--levels", "label", "\0"), ("--labels", "photos"),
        ("--labels", "labels.csv", "--levels", "label", long),
        ("--labels", "labels.csv", "--columns", f"image={long}"), ("--labels", "labels.csv", "--encoding", "a\0"),
        ("--data_root", long), ("--metadata_root", long), ("--data_root", "labels.csv"),
    ):  # fmt: skip
        labels = () if "--labels" in words else ("--labels", "labels.csv")
        assert "error: " in command(*labels, *words, code=2), words
    assert not (tmp_path / "metadata").exists() and not (tmp_path / "dataset").exists()


@pytest.mark.slow
def test_odd_photos_of_real_pets_are_imported_and_trained_on(shared, tmp_path):
    """A folder as people have them: turned phone photos, 16 bits, CMYK, HEIC, spaces and umlauts; a semicolon table."""
    pets = sorted((shared / "data/oxford-iiit-pet-mini/images").glob("*.jpg"))
    rows = []
    for i, source in enumerate(pets[:40] + pets[-40:]):
        breed, name = source.stem.rpartition("_")[0], f"Müller {i}.jpg"
        with Image.open(source) as image:
            upright = np.array(image.convert("RGB"))
        stored = np.stack([as_stored(channel, 1 + i % 8) for channel in np.moveaxis(upright, 2, 0)], axis=2)
        save(tmp_path / "photos" / name, stored, 1 + i % 8)
        mask = (tmp_path / "masks" / name).with_suffix(".png")
        mask.parent.mkdir(exist_ok=True)
        mask.write_bytes((source.parents[1] / f"annotations/trimaps/{source.stem}.png").read_bytes())
        rows.append((name.upper() if i == 0 else name, breed, "Katze" if breed[0].isupper() else "Hund"))
    grey = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "photos/tief.tif")
    Image.new("CMYK", (60, 40), (10, 200, 0, 0)).save(tmp_path / "photos/druck.jpg")
    (tmp_path / "photos/handy.HEIC").write_bytes(b"x")
    (tmp_path / "photos/kaputt.jpg").write_bytes(b"x")
    rows += [(name, *rows[0][1:]) for name in ("tief.tif", "druck.jpg", "handy.HEIC", "kaputt.jpg")]
    (tmp_path / "tabelle.csv").write_bytes(csv_text(";", ("Datei", "Rasse", "Art"), rows).encode("latin-1"))
    table = ("--labels", "tabelle.csv", "--encoding", "latin-1", "--columns", "image=Datei", "--levels", "Rasse", "Art")
    masks = ("--masks", "masks", "--foreground", "1", "--ignore", "3")
    printed = run("dataset/import_dataset.py", "Odd", "--images", "photos", *table, *masks, cwd=tmp_path)
    print(printed)
    for line in (
        "83 image files, 52 used",
        "level Art: 2 classes",
        "images in formats that are not read (1 .HEIC; save them as JPEG or PNG), left out: 1\n  handy.HEIC",
        "unreadable images, left out: 1\n  photos/kaputt.jpg: not a readable image",
        "rotated photos whose mask may be drawn either way, left out: 30\n  Müller 1.jpg (masks/Müller 1.png)",
        "photos rotated by their EXIF orientation, used as upright copies: 40\n",
        "or extension: 1\n  MÜLLER 0.JPG = Müller 0.jpg",
    ):
        assert line in printed
    words = ("--dataset_name", "Odd", "--label_level", "Art", "--architecture", "resnet18", "--pretrained", "f")
    print(run("main.py", *words, *SMALL, "--resize_size", "72", "--crop_size", "64", cwd=tmp_path))
