"""Proposals from COCO's JSON: whose they are, what is left out, what is refused."""

import json

import pytest

from wsol.core.errors import InputError
from wsol.data.proposals import read_proposals

SIZES = {"a.jpg": (20, 10), "x, y/b.jpg": (8, 8)}


def write(folder, content):
    (folder / "p.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "p.json"


def boxes_of(found):
    return {image_id: [one.box for one in proposals] for image_id, proposals in found.items()}


def test_a_list_of_results_keeps_its_order_and_what_is_inside_the_image(tmp_path):
    entries = [
        {"image_id": "a.jpg", "bbox": [1.9, 2, 30, 4], "score": 0.1},
        {"image_id": "a.jpg", "bbox": [-5, -5, 8, 8]},
        {"image_id": "a.jpg", "bbox": [20, 0, 5, 5]},  # beside the image
        {"image_id": "a.jpg", "bbox": [3, 3, 0.5, 5]},  # less than a pixel
        {"image_id": "z.jpg", "bbox": [0, 0, 1, 1]},
        {"image_id": "z.jpg", "bbox": [0, 0, 2, 1]},
    ]
    found, unknown = read_proposals(write(tmp_path, entries), SIZES)
    assert boxes_of(found) == {"a.jpg": [(1, 2, 20, 6), (0, 0, 3, 3)], "x, y/b.jpg": []}
    assert unknown == ["z.jpg"]
    assert found["a.jpg"][0].mask((20, 10)) is None


def test_an_annotation_file_names_its_own_images_and_its_crowds_do_not_count(tmp_path):
    square = {"size": [8, 8], "counts": [9, 2, 6, 2, 45]}
    content = {
        "images": [{"id": 3, "file_name": "x, y/b.jpg"}, {"id": 4, "file_name": "other.jpg"}],
        "annotations": [
            {"image_id": 3, "bbox": [0, 0, 8, 8], "segmentation": square},  # the segmentation is more exact
            {"image_id": 3, "bbox": [0, 0, 8, 8], "iscrowd": 1},
            {"image_id": 3, "bbox": [2, 2, 2, 2], "segmentation": []},
            {"image_id": 3, "segmentation": {"size": [8, 8], "counts": [64]}},  # empty
            {"image_id": 4, "bbox": [0, 0, 1, 1]},
        ],
    }
    found, unknown = read_proposals(write(tmp_path, content), SIZES)
    assert boxes_of(found)["x, y/b.jpg"] == [(1, 1, 3, 3), (2, 2, 4, 4)]
    assert unknown == ["other.jpg"]
    mask = found["x, y/b.jpg"][0].mask((8, 8))
    assert mask[1:3, 1:3].all() and mask.sum() == 4


def test_numeric_ids_of_results_need_a_file_of_names(tmp_path):
    (tmp_path / "names.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}]}))
    path = write(tmp_path, [{"image_id": 1, "bbox": [0, 0, 5, 5]}, {"image_id": 2, "bbox": [0, 0, 5, 5]}])
    with pytest.raises(InputError, match=r"entry 1: the numeric image_id 1; expected .* coco_images FILE"):
        read_proposals(path, SIZES)
    found, unknown = read_proposals(path, SIZES, tmp_path / "names.json")
    assert boxes_of(found)["a.jpg"] == [(0, 0, 5, 5)] and unknown == ["2"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "not a readable JSON"),
        (3, "a JSON int; expected a list"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}]}, "a JSON dict; expected a list"),
        ({"annotations": []}, "no list 'images'"),
        ([{"bbox": [0, 0, 1, 1]}], "entry 1: .* expected"),
        ([{"image_id": "a.jpg"}], "entry 1: .* finite numbers"),
        ([{"image_id": "a.jpg", "bbox": [0, 0, 1]}], "entry 1: .* finite numbers"),
        ([{"image_id": "a.jpg", "bbox": [0, 0, 1, "1"]}], "entry 1: .* finite numbers"),
        ([{"image_id": "a.jpg", "bbox": [0, 0, -1, 1]}], "entry 1: .* no negative side"),
        ('[{"image_id": "a.jpg", "bbox": [0, 0, NaN, 1]}]', "entry 1: .* finite numbers"),
        ([{"image_id": "a.jpg", "segmentation": [[0, 0, 1]]}], "entry 1: segmentation: expected polygons"),
    ],
)
def test_other_files_and_entries_are_refused_by_name(tmp_path, content, reason):
    with pytest.raises(InputError, match=rf"p\.json: {reason}"):
        read_proposals(write(tmp_path, content), SIZES)
