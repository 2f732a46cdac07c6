import zipfile

import numpy as np
import pytest

from conftest import run
from official import jpeg
from wsol.data.levels import load_level
from wsol.data.metadata import configure_metadata, get_bounding_boxes


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


@pytest.mark.slow
def test_the_real_tiny_imagenet(shared, tmp_path):
    archive = shared / "data/tiny-imagenet-200-mini.zip"
    printed = run("dataset/prepare.py", "TinyImageNet", "--archive", archive, cwd=tmp_path)
    assert "level synset: 200 classes\nlevel c0: 192 classes" in printed
    assert "level c15: 2 classes\ntrain: 15000 images\n" in printed
    for split in ("val", "test"):
        assert f"{split}: 5000 images, 5000 boxes, all inside their images" in printed
