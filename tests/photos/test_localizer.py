"""A checkpoint as a function from photos to boxes."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import wsol
from conftest import TINY, run
from wsol.core.errors import InputError
from wsol.metrics.boxes import resize_bbox
from wsol.photos.localization import to_photo


@pytest.fixture(scope="module")
def localizer(toy_root):
    words = (*TINY, "--epochs", "1", "--num_train_sample_per_class", "6", "--threads", "1", "--bootstrap", "0")
    words += ("--label_level", "family", "--eval_test", "F", "--save_scoremaps", "none", "--experiment_name", "localizer")
    run("main.py", *words, cwd=toy_root)
    return wsol.Localizer.load(toy_root / "train_log/localizer/last_checkpoint.pth.tar", max_boxes=3, top_k=4)


@pytest.fixture(scope="module")
def path(toy_root):
    return sorted((toy_root / "dataset/Toy/val").rglob("000.png"))[0]


def test_a_path_an_image_and_an_array_give_the_same(localizer, path):
    image = Image.open(path)
    of = [localizer(photo) for photo in (path, str(path), image, np.asarray(image.convert("RGB")))]
    assert all(found.to_dict() | {"file": None} == of[0].to_dict() | {"file": None} for found in of)
    assert of[0].file == str(path) and of[2].file is None
    assert all((found.score_map == of[0].score_map).all() for found in of)


def test_an_open_image_is_read_as_its_file_is(localizer, path, tmp_path):
    sixteen = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 257
    Image.fromarray(sixteen).save(tmp_path / "sixteen.png")
    exif = Image.Exif()
    exif[0x112] = 8
    Image.open(path).convert("RGB").save(tmp_path / "turned.png", exif=exif)
    for name in ("sixteen.png", "turned.png"):
        of_path, of_image = localizer(tmp_path / name), localizer(Image.open(tmp_path / name))
        assert of_path.to_dict() | {"file": None} == of_image.to_dict()


def test_what_is_found(localizer, path):
    found = localizer(path)
    assert isinstance(found, wsol.Localization)
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 <= x1 < found.size[0] and 0 <= y0 <= y1 < found.size[1]
    assert (found.score_map.shape, found.score_map.min(), found.score_map.max()) == ((64, 64), 0, 1)
    assert found.label == found.top[0][0] and found.confidence == found.top[0][1] == max(p for _, p in found.top)
    assert math.isclose(sum(p for _, p in found.top), 1, rel_tol=1e-5)
    assert 0 < found.expected_iou < 1 and 0 < found.reaches_50 < 1 and found.scores[0] == found.reaches_50
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert found.ancestors == {"order": found.label.split("-")[0]}
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["boxes"][0]["box"] == list(found.box)


def test_a_list_gives_a_list_whose_labels_may_be_given(localizer, path):
    names = localizer.predictor.class_names
    alone = localizer(path)
    other = next(name for name in names if name != alone.label)
    found = localizer([path] * 40, [None, other] * 20)
    assert len(found) == 40
    assert [one.label for one in found[:2]] == [alone.label, other]
    assert [one.label_source for one in found[:2]] == ["predicted", "given"]
    np.testing.assert_allclose(found[0].score_map, alone.score_map, atol=1e-4)
    assert not np.allclose(found[0].score_map, found[1].score_map)
    assert localizer(path, other).label == other
    assert localizer([]) == []


def test_whatever_is_no_photo_is_refused(localizer, path, tmp_path):
    for photo, message in [
        (np.zeros((4, 4, 3)), "shape .4, 4, 3. and type float64; expected uint8"),
        (np.zeros((4, 4, 4), np.uint8), "expected uint8"),
        (np.zeros((0, 4), np.uint8), "expected uint8"),
        (tmp_path / "none.png", r"none\.png"),
    ]:
        with pytest.raises(InputError, match=message):
            localizer(photo)
    with pytest.raises(InputError, match="'dragon' is none of the 4 classes"):
        localizer(path, "dragon")
    with pytest.raises(InputError, match="1 labels for 2 photos"):
        localizer([path, path], ["dragon"])
    with pytest.raises(InputError, match="for one photo; expected one name"):
        localizer(path, [localizer.predictor.class_names[0]])


def test_a_photo_without_contrast_has_no_box(localizer):
    """The network's padding gives even a blank photo some map; a constant one is made by hand."""
    classifier = localizer.predictor.model.classifier
    before = classifier.weight.detach().clone()
    with torch.no_grad():
        classifier.weight.zero_()
    found = localizer(np.full((50, 60, 3), 128, np.uint8))
    with torch.no_grad():
        classifier.weight.copy_(before)
    assert found.box is None and found.boxes == () and found.expected_iou is None
    assert found.warnings == ("nothing found",)
    assert found.to_dict()["boxes"] == []


@pytest.mark.parametrize("photo_size", [(500, 300), (224, 224), (223, 225), (64, 1000), (37, 53), (4000, 3000), (3, 2)])
def test_a_box_in_the_photo_is_the_same_box_in_the_map(photo_size):
    rng = np.random.default_rng(0)
    for _ in range(300):
        x = np.sort(rng.integers(0, 224, 2)).tolist()
        y = np.sort(rng.integers(0, 224, 2)).tolist()
        box = (x[0], y[0], x[1], y[1])
        x0, y0, x1, y1 = to_photo(box, (224, 224), photo_size)
        assert 0 <= x0 <= x1 <= photo_size[0] and 0 <= y0 <= y1 <= photo_size[1]
        width, height = round(x1 - x0, 4), round(y1 - y0, 4)  # as in COCO's files
        assert resize_bbox((x0, y0, x0 + width, y0 + height), photo_size, (224, 224)) == box


@pytest.mark.slow
def test_segmenters_and_detectors_draw_boxes_too(toy_root, path):
    common = ("--architecture", "resnet18", "--pretrained", "F", "--large_feature_map", "T", "--epochs", "0")
    common += ("--bootstrap", "0", "--workers", "0", "--eval_test", "F", "--fsl_val_share", "0.5", "--threads", "1")
    for method in ("fsl_seg", "fsl_det"):
        run("main.py", *common, "--wsol_method", method, "--experiment_name", method, cwd=toy_root)
        found = wsol.Localizer.load(toy_root / f"train_log/{method}/last_checkpoint.pth.tar")(path)
        assert (found.label, found.confidence, found.top, found.ancestors) == ("object", None, (), {})
        assert found.box is None or len(found.box) == 4
        assert (found.score_map is None) == (method == "fsl_det")
        assert (found.expected_iou is None) == (method == "fsl_det" or found.box is None)
