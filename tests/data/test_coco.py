import json

import pytest

from wsol.core.errors import InputError
from wsol.data.coco import read_coco, read_coco_names


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def frogs():
    """Two images of one category, each with a box."""
    return {
        "images": [{"id": i, "file_name": f"t/{name}.jpg", "width": 200, "height": 150} for i, name in enumerate("xy")],
        "annotations": [{"image_id": i, "category_id": 7, "bbox": [50, 40, 60, 50]} for i in range(2)],
        "categories": [{"id": 7, "name": "Hyla arborea"}],
    }


def test_images_have_their_boxes_and_categories_but_no_crowds(tmp_path):
    content = frogs()
    content["annotations"][1]["iscrowd"] = 1
    images, categories = read_coco(write(tmp_path / "a.json", content))
    assert categories == content["categories"]
    assert [(each.file, each.size, each.categories) for each in images.values()] == [
        (name, (200, 150), {"Hyla arborea"}) for name in ("t/x.jpg", "t/y.jpg")
    ]
    assert images["t/x.jpg"].boxes == [((50, 40, 60, 50), f"{tmp_path / 'a.json'}: annotations[0]")]
    assert images["t/y.jpg"].boxes == []
    assert read_coco_names(tmp_path / "a.json") == {"0": "t/x.jpg", "1": "t/y.jpg"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "no list 'images'"),
        (lambda d: d["images"][1].pop("file_name"), r"images\[1\].*expected a field 'file_name'"),
        (lambda d: d["images"][1].update(id=0), r"images\[1\]: duplicate id 0"),
        (lambda d: d["images"][1].update(file_name="t/x.jpg"), r"images\[1\]: duplicate file_name 't/x.jpg'"),
        (lambda d: d["images"][0].update(width=0), r"images\[0\]: width 0, height 150; expected whole numbers from 1"),
        (lambda d: d["annotations"][0].update(image_id=99), r"annotations\[0\].*expected a listed image and category"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, "3", 4]), r"annotations\[0\]: bbox"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3, float("nan")]), r"annotations\[0\]: bbox"),
        (lambda d: d["annotations"][0].update(bbox=[-1, 2, 3, 4]), r"annotations\[0\]: bbox"),
    ],
)
def test_malformed_json_is_refused_with_the_record(tmp_path, change, message):
    content = frogs()
    change(content)
    with pytest.raises(InputError, match=message):
        read_coco(write(tmp_path / "a.json", content))


def test_what_is_no_json_is_refused(tmp_path):
    for text in ("{", "[]", "[" * 100_000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=r"a\.json"):
            read_coco(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "a JSON list"),
        ({}, "no list 'images'"),
        ({"images": 5}, "no list 'images'"),
        ({"images": []}, "the list 'images' is empty"),
        ({"images": [{"id": [1], "file_name": "a"}]}, r"images\[0\]"),
        ({"images": [{"id": 1}]}, r"images\[0\]"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": "1", "file_name": "b"}]}, "duplicate id '1'"),
    ],
)
def test_what_is_no_annotation_file_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_coco_names(write(tmp_path / "n.json", content))
