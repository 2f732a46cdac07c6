"""What tests of several rooms make: files, trees, a full disk."""

import csv
import json
import resource
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from PIL import Image

from wsol.core import registry
from wsol.core.files import write_json, write_text
from wsol.data.hierarchy import Hierarchy
from wsol.data.levels import LevelSplit
from wsol.data.metadata import configure_metadata
from wsol.data.truth import BoxTruth, SplitTruth
from wsol.maps.score_maps import save_score_map
from wsol.metrics.images_file import images_name, write_images
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.runs.checkpoints import read_checkpoint


def write_png(path, width, height):
    """Write a PNG of a few bytes that declares a size."""
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)


def bad_split(folder):
    """A split of one good image in a folder, two broken ones and one that is missing."""
    Image.new("RGB", (9, 9)).save(folder / "good.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:40])
    (folder / "text.jpg").write_text("no image")
    return LevelSplit(["good.png", "cut.png", "text.jpg", "none.jpg"], np.array([1, 0, 0, 0]))


def write_split(folder, **files):
    for name, lines in files.items():
        write_text(folder / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    return configure_metadata(folder)


# The methods that are trained on labels; tests of FSL-Seg and FSL-Det give them masks and boxes.
OF_LABELS = [name for name, entry in registry.METHODS.items() if entry.classifies]
BOTH = ("a.jpg", "x, y/b.jpg")  # the images of the fixture two_images


def save_maps(root, ids=BOTH, seed=2, kind="npy"):
    rng = np.random.default_rng(seed)
    for image_id in ids:
        score_map = cv2.resize(rng.random((4, 4)), (16, 16), interpolation=cv2.INTER_CUBIC)
        save_score_map(root, image_id, (score_map - score_map.min()) / (score_map.max() - score_map.min()), kind)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def of_json(path):
    return json.loads(path.read_text())


def write_json_file(folder, content):
    write_text(folder / "other.json", json.dumps(content))
    return "other.json"


@contextmanager
def full_disk(size):
    """As on a disk with room for files of at most `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@st.composite
def trees(draw, even=False):
    """A random tree; `even`: every leaf at the same depth."""
    if even:
        parents, tier = {}, ["n"]
        for _ in range(draw(st.integers(1, 4))):
            tier_of = {f"{node}.{i}": node for node in tier for i in range(draw(st.integers(1, 3)))}
            parents |= tier_of
            tier = list(tier_of)
        return Hierarchy(parents)
    size = draw(st.integers(2, 25))
    return Hierarchy({f"n{i}": f"n{draw(st.integers(0, i - 1))}" for i in range(1, size)})


def generator(seed=0):
    """A generator of torch's random numbers."""
    return torch.Generator().manual_seed(seed)


def noise(height=33, width=46, batch=3):
    """Images of random numbers, float32 (batch, 3, height, width), always the same."""
    return torch.randn(batch, 3, height, width, generator=generator(1))


def named_as_in_wsolevaluation(state_dict):
    """Entries of a ResNet with a linear classifier under wsolevaluation's names."""
    return {name.removeprefix("backbone.").replace("classifier.", "fc."): value for name, value in state_dict.items()}


def scored_evaluator(right, image_ids=None, size=(9, 9), split="test", multi_contour=True):
    """An evaluator of data set D that has counted images: `right` is bool (images, up to 3 IoU thresholds, 10)."""
    ids = image_ids or [f"{i}.jpg" for i in range(len(right))]
    truth = SplitTruth("D", split, ids, ids, BoxTruth({}, {}), None)
    evaluator = SplitEvaluator(truth, 0.1, [30, 50, 70][: right.shape[1]], multi_contour)
    for image_id, bits in zip(ids, right, strict=True):
        evaluator.add(Scored(image_id, np.packbits(bits, axis=1), size=size, rank=0))
    return evaluator


def write_run(folder, evaluator, num_classes=8, **options):
    """A finished run's folder, as main.py leaves it, with what an evaluator has counted."""
    split = evaluator.truth.split
    config = {"experiment_name": folder.name, "seed": 0, "dataset_name": "D", "architecture": "resnet50", "lr": 0.1}
    config |= {"wsol_method": "cam", "label_level": "species", "cam_agg_level": None, "num_train_sample_per_class": 0}
    config |= {"metadata_root": "metadata/", "mask_root": "dataset/", "crop_size": 9, "eval_test": True, **options}
    write_text(folder / "config.yaml", yaml.safe_dump(config))
    level = config["label_level"]
    results = {"dataset_name": config["dataset_name"], "label_level": level, "num_classes": num_classes}
    write_json(folder / "results.json", {**results, split: evaluator.results()})
    write_images(folder / images_name(split), evaluator, None)
    write_text(folder / f"{split}_image_ids.txt", "".join(f"{image_id}\n" for image_id in evaluator.scored_ids))
    return folder


def outcome(folder: Path) -> dict[str, object]:
    """What a run leaves behind that may not depend on how it got there."""
    kept = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("log.txt", "run.json", "config.yaml") and "checkpoint" not in path.name
    }
    for kind in ("last", "best"):
        content = read_checkpoint(folder / f"{kind}_checkpoint.pth.tar")
        kept[kind] = flat({name: value for name, value in content.items() if name != "config"})
    assert not list(folder.glob("step_*")) and json.loads((folder / "run.json").read_text())["state"] == "finished"
    return kept


def flat(value: object) -> object:
    """A checkpoint's content with its tensors as bytes, which compare."""
    if isinstance(value, torch.Tensor):
        return value.shape, value.numpy().tobytes()
    if isinstance(value, dict):
        return {name: flat(one) for name, one in value.items()}
    return [flat(one) for one in value] if isinstance(value, list | tuple) else value
