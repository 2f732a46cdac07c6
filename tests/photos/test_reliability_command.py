import json
import re

import numpy as np
import pytest

from conftest import run
from samples import write_split


@pytest.fixture
def place(tmp_path):
    """A data set D with 60 images in val and test, and boxes that are right where the confidence is high."""
    rng = np.random.default_rng(0)
    for split in ("val", "test"):
        names = [f"{split}/{number}.jpg" for number in range(60)]
        write_split(
            tmp_path / "metadata/D" / split,
            image_ids=names,
            class_labels=[f"{name},0" for name in names],
            image_sizes=[f"{name},100,100" for name in names],
            localization=[f"{name},0,0,49,49" for name in names],
        )
        sure = rng.random(60)
        right = rng.random(60) < sure
        content = {
            "images": [{"id": number + 1, "file_name": name} for number, name in enumerate(names)],
            "annotations": [
                {
                    "image_id": number + 1,
                    "bbox": [0, 0, 49, 49] if right[number] else [60, 60, 30, 30],
                    "score": 1.0,
                    "confidence": float(sure[number]),
                    "expected_iou": float(sure[number]),
                    "reaches_50": float(sure[number]),
                }
                for number in range(60)
            ],
        }
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    return tmp_path


WORDS = ("scripts/reliability.py", "test.json", "--dataset_name", "D")


def test_the_table_and_the_diagram(place):
    printed = run(*WORDS, "--val", "val.json", "--figure", "a.svg", cwd=place)
    assert "D test, 60 photos" in printed
    briers = [float(line.split("|")[-2]) for line in printed.splitlines() if re.match(r"\| (IoU|share)", line)]
    assert len(briers) == 7
    assert briers[0] < briers[1] and briers[3] < briers[4]  # than the constant
    assert briers[3] == briers[6]  # here the confidence is the belief
    assert "<svg" in (place / "a.svg").read_text()
    assert run(*WORDS, cwd=place).count("calibrated") == 2


def test_other_files_are_refused(place):
    content = json.loads((place / "test.json").read_text())
    content["annotations"][3]["reaches_50"] = None
    (place / "test.json").write_text(json.dumps(content))
    assert "test.json: entry 4: expected_iou, reaches_50 or confidence" in run(*WORDS, cwd=place, code=2)
    (place / "test.json").write_text("{}")
    assert "test.json: a JSON dict; expected a list of results" in run(*WORDS, cwd=place, code=2)
    content["annotations"][3] = {"image_id": 4, "score": 1}
    (place / "test.json").write_text(json.dumps(content))
    assert "test.json: entry 4: {'image_id': 4, 'score': 1}; expected" in run(*WORDS, cwd=place, code=2)
    (place / "test.json").write_text('{"images": [{"id": 1, "file_name": "other.jpg"}], "annotations": []}')
    assert "no box of an image with true boxes" in run(*WORDS, cwd=place, code=2)
