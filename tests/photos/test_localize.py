"""Boxes for photos, from the command that a user types to the files that other programs read."""

import csv
import json
import os
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import inference
from conftest import TINY, link_toy, run
from wsol.core.errors import InputError
from wsol.data.images import load_upright
from wsol.photos import localize, parts
from wsol.photos.finding import find_photos
from wsol.runs.predictor import restore

QUALITY = {"webp": {"lossless": True, "exact": True}, "jpg": {"quality": 100, "subsampling": 0}}
COUNT = 600  # photos in `many`: three parts


@pytest.fixture(scope="module")
def folder(toy_root, tmp_path_factory):
    """A folder with a run on Toy, with boxes of val and without."""
    folder = tmp_path_factory.mktemp("photos")
    link_toy(toy_root, folder)
    words = (*TINY, "--epochs", "1", "--num_train_sample_per_class", "6", "--threads", "1", "--bootstrap", "0")
    words += ("--label_level", "family", "--eval_test", "F", "--save_scoremaps", "val")
    run("main.py", *words, "--experiment_name", "one", cwd=folder)
    run("main.py", *words, "--experiment_name", "bare", "--calibrate", "F", cwd=folder)
    return folder


@pytest.fixture
def place(folder, tmp_path):
    """An empty folder with the run."""
    for name in ("dataset", "metadata", "train_log"):
        (tmp_path / name).symlink_to(folder / name)
    return tmp_path


@pytest.fixture(scope="module")
def picture(toy_root):
    return Image.open(sorted((toy_root / "dataset/Toy/val").rglob("000.png"))[0]).convert("RGB").crop((0, 0, 96, 70))


def boxes(place, *words, images="photos", output="out", code=0, run_name="one"):
    """Call the command; return what it printed."""
    checkpoint = f"train_log/{run_name}/last_checkpoint.pth.tar"
    options = ("--checkpoint", checkpoint, "--images", images, "--output", output, "--workers", "0", "--threads", "1")
    return run("inference.py", *options, *words, cwd=place, code=code)


def rows_of(place, output="out"):
    with (place / output / "boxes.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def edges(row):
    return [float(row[name]) for name in ("x0", "y0", "x1", "y1")]


def test_boxes_of_the_photos_of_a_split_are_scored_as_its_maps_are(place):
    """With the classes given, the accuracy is that of the saved maps' largest contour at the checkpoint's threshold."""
    lines = (place / "metadata/Toy/class_names_family.txt").read_text().split()
    names = dict(reversed(line.rsplit(",", 1)) for line in lines)
    labels = (place / "metadata/Toy/val/class_labels_family.txt").read_text().split()
    lines = [f"{line.rsplit(',', 1)[0]},{names[line.rsplit(',', 1)[1]]}" for line in labels]
    (place / "labels.csv").write_text("\n".join(["file,label", *lines]))
    boxes(place, "--labels", "labels.csv", "--image_root", "dataset/Toy", images="metadata/Toy/val/image_ids.txt")
    scored = ("--dataset_name", "Toy", "--split", "val", "--bootstrap", "0", "--map_size", "64", "--json", "scores.json")
    run("evaluation.py", "--boxes", "out/detections.json", *scored, cwd=place)
    rule = restore(place / "train_log/one/last_checkpoint.pth.tar").box_rules["given"]
    assert json.loads((place / "scores.json").read_text())["MaxBoxAcc"]["50"] == pytest.approx(rule.accuracy, abs=1e-9)
    assert {row["label_source"] for row in rows_of(place).values()} == {"given"}


def test_exif_orientations_give_the_box_of_the_upright_photo(place, picture):
    (place / "photos").mkdir()
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of each orientation, Image.Transpose's value
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        stored = picture if orientation == 1 else picture.transpose(Image.Transpose(turns[orientation]))
        stored.save(place / f"photos/{orientation}.png", exif=exif)
    boxes(place)
    rows = rows_of(place)
    assert len(rows) == 8
    assert {(row["width"], row["height"]) for row in rows.values()} == {("96", "70")}
    assert len({tuple(edges(row)) for row in rows.values()}) == 1 and max(edges(rows["1.png"])) > 0


@pytest.mark.parametrize("kind", ["png", "tif", "webp", "jpg"])
def test_photos_of_any_format_are_turned_upright_once(kind, tmp_path, picture):
    exif = Image.Exif()
    exif[0x112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"a.{kind}", exif=exif, **QUALITY.get(kind, {}))
    upright = load_upright(tmp_path / f"a.{kind}")
    assert upright.size == picture.size
    apart = np.abs(np.asarray(upright).astype(int) - np.asarray(picture)).mean()
    assert apart < 3 if kind == "jpg" else apart == 0


def test_photos_of_any_kind_and_name(place, picture):
    photos = place / "photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("plain.png", "sub/plain.png", 'quo"te, comma.png', "new\nline.png", "日本 ü.png", "UPPER.JPG"):
        picture.save(photos / name)
    for mode, name in (("L", "grey.png"), ("P", "palette.png"), ("RGBA", "alpha.png"), ("CMYK", "cmyk.jpg")):
        picture.convert(mode).save(photos / name)
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(photos / "sixteen.png")
    picture.save(photos / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    Image.new("RGB", (1, 1)).save(photos / "tiny.png")
    picture.resize((3000, 2500)).save(photos / "huge.png")
    (photos / "zero.jpg").write_bytes(b"")
    (photos / "cut.png").write_bytes((photos / "plain.png").read_bytes()[:200])
    with open(os.fsencode(photos) + b"/\xff.png", "wb") as file:
        picture.save(file, "PNG")
    printed = boxes(place, "--max_megapixels", "7", "--overlays", "--maps", "--crops")
    assert "3 photos could not be read:" in printed and "1 photos have names that are not UTF-8:" in printed
    with (place / "out/unreadable.csv").open(encoding="utf-8", newline="") as file:
        unread = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    assert sorted(unread) == ["cut.png", "huge.png", "zero.jpg"] and "7.5 megapixels" in unread["huge.png"]
    rows = rows_of(place)
    assert set(rows) == set(find_photos(str(photos)).ids) - set(unread)
    assert edges(rows["plain.png"]) == edges(rows["sub/plain.png"]) == edges(rows["new\nline.png"])
    content = json.loads((place / "out/detections.json").read_text())
    assert {image["file_name"] for image in content["images"]} == set(rows)
    for row in rows.values():
        assert (place / f"out/maps/{row['file']}.npy").is_file() and (place / f"out/overlays/{row['file']}.jpg").is_file()
        if row["x0"]:
            with Image.open(place / f"out/crops/{row['file']}.jpg") as crop:
                x0, y0, x1, y1 = (int(edge) for edge in edges(row))
                size = (min(x1 + 1, int(row["width"])) - x0, min(y1 + 1, int(row["height"])) - y0)
                assert crop.size == size


@pytest.fixture
def many(place, picture):
    """COUNT links to a few photos, one of them unreadable, each with a name of its own."""
    (place / "photos").mkdir()
    sources = []
    for number in range(3):
        sources.append(place / f"source{number}.png")
        picture.rotate(40 * number).save(sources[-1])
    sources.append(place / "broken.png")
    sources[-1].write_bytes(b"no image")
    for number in range(COUNT):
        (place / f"photos/{number:04d}.png").symlink_to(sources[3 if number % 97 == 5 else number % 3])
    return place


def results(place, output="out"):
    names = ("boxes.csv", "detections.json", "unreadable.csv")
    return [(place / output / name).read_bytes() for name in names]


def test_stopped_at_any_part_it_goes_on_and_ends_with_the_same_bytes(many):
    printed = boxes(many, output="whole")
    assert f"{COUNT} photos in" in printed and "7 photos could not be read" in printed
    size = parts.part_size(restore(many / "train_log/one/last_checkpoint.pth.tar").config.batch_size)
    written = parts.write_text
    for stop in range(3):
        shutil.rmtree(many / "out", ignore_errors=True)
        calls = 0

        def write(path, text, stop=stop):
            nonlocal calls
            calls += 1
            if calls == stop + 1:
                raise KeyboardInterrupt
            written(path, text)

        with mock.patch.object(parts, "write_text", write):
            boxes(many, code=130)
        assert not (many / "out/boxes.csv").exists()
        printed = boxes(many)
        assert f"{COUNT - stop * size} photos in" in printed and (f"{stop * size} photos were done" in printed) == bool(stop)
        assert results(many) == results(many, "whole")


def test_the_coco_file_is_read_by_pycocotools_and_imported_as_boxes(place, picture):
    coco = pytest.importorskip("pycocotools.coco")
    names = restore(place / "train_log/one/last_checkpoint.pth.tar").class_names
    for number in range(40):
        folder = place / "photos" / names[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        picture.rotate(9 * number, fillcolor=(number, 0, 0)).save(folder / f"{number}.png")
    boxes(place)
    read = coco.COCO(place / "out/detections.json")
    assert len(read.getImgIds()) == 40 and [one["name"] for one in read.loadCats(read.getCatIds())] == names
    ours = rows_of(place)
    for one in read.loadAnns(read.getAnnIds()):
        # FiftyOne's importer hands every further field to its Detection, next to these
        assert not set(one) & {"label", "bounding_box", "mask", "mask_path", "confidence", "index", "instance", "tags"}
        x, y, width, height = one["bbox"]
        assert [x, y, x + width, y + height] == edges(ours[read.loadImgs(one["image_id"])[0]["file_name"]])
    words = ("Mine", "--images", "photos", "--boxes", "out/detections.json", "--data_root", "d", "--metadata_root", "m")
    run("dataset/import_dataset.py", *words, cwd=place)
    imported = [line.rsplit(",", 4) for line in (place / "m/Mine/test/localization.txt").read_text().split()]
    assert imported
    for name, *box in imported:
        assert [float(edge) for edge in box] == edges(ours[name.removeprefix("images/")])


def test_called_again_nothing_is_mapped_and_other_conditions_apply(many):
    boxes(many)
    with mock.patch.object(localize, "make_loader", side_effect=AssertionError):
        printed = boxes(many, "--min_confidence", "0.99999")
        assert f"0 boxes in 0 of {COUNT} photos" in printed and "a second" not in printed
        boxes(many, "--min_confidence", "0")
    assert len(rows_of(many)) == COUNT - 7


def test_a_page_to_look_at_and_its_verdicts(many):
    boxes(many, "--html")
    page = (many / "out/gallery.html").read_text()
    assert page.count("data:image/jpeg") + page.count("/9j/") >= COUNT - 7 and "0005.png" not in page and "0004.png" in page
    verdicts = "file,verdict\n0001.png,accept\n0002.png,reject\n0003.png,accept\nelse.png,reject\n"
    (many / "verdicts.csv").write_text(verdicts)
    printed = boxes(many, "--html", "--keep", "verdicts.csv")
    assert f"--keep: 2 accepted, 1 rejected, {COUNT - 3} without a verdict and left out; verdicts of files" in printed
    assert list(rows_of(many)) == ["0001.png", "0003.png"]
    content = json.loads((many / "out/detections.json").read_text())
    assert [one["file_name"] for one in content["images"]] == [
        "0001.png",
        "0003.png",
    ]  # a rejected photo is not an empty one
    assert {one["image_id"] for one in content["annotations"]} <= {2, 4}
    assert (many / "out/gallery.html").read_text() == page  # judging can go on
    (many / "verdicts.csv").write_text("file,verdict\nother.png,accept\n")
    assert "--keep verdicts.csv: none of its files" in boxes(many, "--html", "--keep", "verdicts.csv", code=2)


def test_other_settings_in_the_same_folder_are_refused(many):
    boxes(many)
    before = results(many)
    printed = boxes(many, "--threshold", "0.5", code=2)
    assert "error: out: was begun with threshold None, not 0.5; expected the same" in printed
    (many / "photos/0003.png").unlink()
    assert "error: out: was begun with other photos; expected the same" in boxes(many, code=2)
    (many / "other").mkdir()
    (many / "other/file.txt").write_text("mine")
    assert "error: other: not empty, and without inference.json" in boxes(many, output="other", code=2)
    assert results(many) == before and os.listdir(many / "other") == ["file.txt"]


def test_a_precision_that_was_measured_stays_when_it_goes_on(many):
    with mock.patch.object(inference, "resolve_mapping_amp", return_value=("bf16", ["measured"])):
        boxes(many, "--amp", "auto")
    before = results(many)
    assert json.loads((many / "out/inference.json").read_text())["settings"]["amp"] == "bf16"
    next((many / "out/parts").glob("*.jsonl")).unlink()
    boxes(many, "--amp", "auto")  # would otherwise measure, and might take another
    assert results(many) == before


def test_a_damaged_part_is_named(many):
    boxes(many)
    part = next((many / "out/parts").glob("*.jsonl"))
    part.write_text(part.read_text()[:-40])
    printed = boxes(many, code=2)
    assert f"error: out/parts/{part.name}: damaged" in printed
    part.unlink()
    boxes(many)


def test_a_checkpoint_without_rules_needs_a_threshold(place, picture):
    (place / "photos").mkdir()
    picture.save(place / "photos/a.png")
    assert "--threshold none: train_log/bare/last" in boxes(place, run_name="bare", code=2)
    for other in (("--extractor", "gradcam"), ("--cam_agg_level", "order")):  # val chose for other maps
        assert "has no box rule for these maps" in boxes(place, *other, code=2)
        boxes(place, *other, "--threshold", "0.2", output=other[1])
    boxes(place, "--threshold", "0.2", run_name="bare")
    row = rows_of(place)["a.png"]
    assert row["expected_iou"] == row["reaches_50"] == "" and row["score"] == row["confidence"]
    assert float(row["x1"]) > 0


def test_labels_of_some_photos(place, picture):
    (place / "photos").mkdir()
    for name in ("a.png", "b.png"):
        picture.save(place / "photos" / name)
    names = restore(place / "train_log/one/last_checkpoint.pth.tar").class_names
    (place / "labels.csv").write_text(f"Datei;Art\nb.png;{names[2]}\n")
    words = ("--labels", "labels.csv", "--columns", "image=Datei", "label=Art")
    boxes(place, *words, "--top_k", "3")
    rows = rows_of(place)
    assert (rows["b.png"]["label"], rows["b.png"]["label_source"]) == (names[2], "given")
    assert rows["a.png"]["label_source"] == "predicted" and rows["a.png"]["label_3"] in names
    assert rows["a.png"]["order"] in ("round", "angular")
    (place / "labels.csv").write_text("file,label\nb.png,dragon\n")
    printed = boxes(place, "--labels", "labels.csv", output="out2", code=2)
    assert printed.startswith("error: --labels labels.csv: ") and "'dragon' is none of the 4 classes" in printed
    assert not (place / "out2").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "nowhere", "--output", "o"), "--images nowhere: there is no such folder, file or list"),
        (
            ("--images", "train_log/*.nothing", "--output", "o"),
            "--images train_log/*.nothing: no photos; expected",
        ),
        (("--images", "photos"), "--output none: expected where to write"),
        (("--images", "photos", "--output", "o", "--split", "test"), "--split test: expected not together with --images"),
        (("--scoremap_root", "maps", "--top_k", "2"), "--top_k 2: expected not together with --scoremap_root"),
        ((), "expected one of --images PHOTOS for boxes, --scoremap_root FOLDER"),
        (("--images", "photos", "--output", "o", "--cache_images", "c"), "--cache_images c: expected not together with"),
        (("--images", "photos", "--output", "o", "--on_bad_image", "skip"), "--on_bad_image skip: expected not together"),
        (("--images", "photos", "--output", "o", "--max_boxes", "0"), "--max_boxes 0: expected 1 or more"),
        (("--images", "photos", "--output", "o", "--threshold", "1"), "--threshold 1.0: expected 0 or more, less than 1"),
    ],
)
def test_impossible_options_are_refused(place, picture, words, message):
    (place / "photos").mkdir()
    picture.save(place / "photos/a.png")
    words = ("--checkpoint", "train_log/one/last_checkpoint.pth.tar", *words)
    assert message in run("inference.py", *words, cwd=place, code=2)
    assert not (place / "o").exists()


def test_a_checkpoint_describes_itself(place):
    printed = run("inference.py", "--describe", "train_log/one/last_checkpoint.pth.tar", cwd=place)
    assert "trained on Toy at level 'family': 4 classes: round-red" in printed and "above it 'order': round" in printed
    assert "boxes for predicted classes: largest component" in printed and "lacks" not in printed
    printed = run("inference.py", "--describe", "train_log/bare/last_checkpoint.pth.tar", cwd=place)
    assert "lacks a threshold for boxes" in printed
    printed = run("inference.py", "--describe", "train_log/one/best_checkpoint.pth.tar", cwd=place)
    assert "lacks the hierarchy" in printed and "--pretrained_path train_log/one/best_checkpoint.pth.tar" in printed


def test_only_the_checkpoint_and_the_photos_are_read(place, picture):
    (place / "photos").mkdir()
    picture.save(place / "photos/a.png")
    boxes(place)
    (place / "alone").mkdir()
    shutil.copy(place / "train_log/one/last_checkpoint.pth.tar", place / "alone/model.pth.tar")
    shutil.copytree(place / "photos", place / "alone/photos")
    words = ("--checkpoint", "model.pth.tar", "--images", "photos", "--output", "out", "--workers", "0", "--threads", "1")
    run("inference.py", *words, cwd=place / "alone")
    assert rows_of(place / "alone") == rows_of(place)


def test_the_names_of_results_are_relative_to_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/one.png", "a/b/two.PNG", "c/three.jpg", "a/._one.png", "a/text.txt", "a/b/IMG_1.HEIC"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "list.txt").write_text("c/three.jpg\na/one.png\n")
    (tmp_path / "in_a.txt").write_text("one.png\n")
    assert find_photos("a").ids == ["b/two.PNG", "one.png"] and find_photos("a").other_formats == ["b/IMG_1.HEIC"]
    assert find_photos("a", ".").ids == ["a/b/two.PNG", "a/one.png"]
    assert find_photos("*/*.png").ids == ["one.png"]
    assert find_photos("**/*.jpg").ids == ["three.jpg"]
    assert find_photos("list.txt").ids == ["c/three.jpg", "a/one.png"]
    found = find_photos("in_a.txt", "a")
    assert found.ids == ["one.png"] and found.paths() == [Path("a/one.png")]
    assert find_photos("c/three.jpg").ids == ["three.jpg"]
    with pytest.raises(InputError, match=r"image_root c: 'a/b/two.PNG' is not in it"):
        find_photos("a", "c")
    (tmp_path / "twice.txt").write_text("a/one.png\na/../a/one.png\n")
    with pytest.raises(InputError, match=r"'a/../a/one.png' is named twice"):
        find_photos("twice.txt")


def test_a_model_is_exported_and_checked(place):
    words = ("--checkpoint", "train_log/one/last_checkpoint.pth.tar", "--export", "onnx", "--threads", "1")
    printed = run("inference.py", *words, "--output", "model.onnx", cwd=place)
    assert "model.onnx: " in printed and "checked with onnxruntime on 4 random images and 4 photos" in printed
    assert (place / "model.onnx").stat().st_size > 100_000
    refused = run("inference.py", *words, "--split", "test", cwd=place, code=2)
    assert "--split test: expected not together with --export" in refused
    assert "--output none: expected where to write" in run("inference.py", *words, cwd=place, code=2)
