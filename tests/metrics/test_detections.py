import json

import pytest

from wsol.core.errors import InputError
from wsol.data.coco import read_coco_names
from wsol.metrics.detections import read_detections

SIZES = {"a.jpg": (100, 50), "b/c, d.jpg": (10, 10)}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def entry(image_id, box, score, **more):
    return {"image_id": image_id, "category_id": 1, "bbox": box, "score": score, **more}


def test_the_best_box_of_every_image_clipped_to_it(tmp_path):
    path = write(
        tmp_path / "d.json",
        [
            entry("a.jpg", [1, 2, 30, 40], 0.2),
            entry("a.jpg", [5, 5, 10.5, 10], 0.9),
            entry("a.jpg", [0, 0, 1, 1], 0.9),  # the first of equal scores stays
            entry("b/c, d.jpg", [-3, -3, 20, 9], 0.1),
            entry("z.jpg", [0, 0, 1, 1], 1),
            entry("z.jpg", [0, 0, 1, 1], 1),
        ],
    )
    boxes, unknown = read_detections(path, SIZES)
    assert boxes == {"a.jpg": (5, 5, 15.5, 15), "b/c, d.jpg": (0, 0, 10, 6)}
    assert unknown == ["z.jpg"]


def test_numeric_ids_by_an_annotation_file(tmp_path):
    path = write(tmp_path / "d.json", [entry(7, [1, 2, 3, 4], 0.5), entry(8, [1, 2, 3, 4], 0.5)])
    with pytest.raises(InputError, match=r"entry 1: the numeric image_id 7; expected .* coco_images FILE"):
        read_detections(path, SIZES)
    names = read_coco_names(write(tmp_path / "n.json", {"images": [{"id": 7, "file_name": "a.jpg"}]}))
    boxes, unknown = read_detections(path, SIZES, names)
    assert boxes == {"a.jpg": (1, 2, 4, 6)}
    assert unknown == ["8"]
    names = read_coco_names(write(tmp_path / "n.json", {"images": [{"id": "8", "file_name": "a.jpg"}]}))
    assert list(read_detections(path, SIZES, names)[0]) == ["a.jpg"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not a readable JSON file"),
        ({"boxes": []}, "a JSON dict; expected a list"),
        ({"annotations": []}, "no list 'images'"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": {}}, "a JSON dict; expected a list"),
        (["text"], "entry 1: text; expected"),
        ([entry("a.jpg", [1, 2, 3], 0.5)], "entry 1"),
        ([entry("a.jpg", [1, 2, 3, "4"], 0.5)], "entry 1"),
        ([entry("a.jpg", [1, 2, 3, -4], 0.5)], "entry 1"),
        ([entry("a.jpg", [1, 2, 3, 4], None)], "entry 1"),
        ([entry("a.jpg", [1, 2, 3, 4], 10**400)], "entry 1"),
        ('[{"image_id": "a.jpg", "bbox": [1, 2, 3, NaN], "score": 1}]', "entry 1"),
        ([entry("a.jpg", [1, 2, 3, 4], 1), {"image_id": "a.jpg"}], "entry 2"),
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_detections(write(tmp_path / "d.json", content), SIZES)
    assert "d.json" in str(caught.value)
