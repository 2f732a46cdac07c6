"""Masks and boxes stay on the object when a training image is cropped and flipped."""

import numpy as np
import pytest
import torch
from PIL import Image

from samples import write_split
from wsol.data.batches import EpochShuffle, LabeledImages, make_loader
from wsol.data.levels import LevelSplit
from wsol.data.targets import BoxTargets, MaskTargets
from wsol.data.truth import SplitTruth

WIDTH, HEIGHT = 120, 80
SQUARES = {"a.png": (20, 10, 70, 50), "b.png": (60, 30, 120, 80)}  # right and bottom edges excluded
RESIZE, CROP = 96, 64


def painted(box, value):
    image = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = value
    return image


@pytest.fixture
def make(tmp_path):
    """Return the training images of a data set of white squares on black, with its targets."""

    def dataset(kind, lines):
        folder = tmp_path / "dataset" / "D"
        folder.mkdir(parents=True)
        for image_id, box in SQUARES.items():
            Image.fromarray(painted(box, 255)).convert("RGB").save(folder / image_id)
            Image.fromarray(painted(box, 255)).save(folder / f"mask_{image_id}")
            Image.fromarray(painted((0, 0, 30, HEIGHT), 255)).save(folder / f"ignore_{image_id}")
        ids = list(SQUARES)
        write_split(
            tmp_path / "metadata" / "D" / "val",
            image_ids=ids,
            class_labels=[f"{i},0" for i in ids],
            image_sizes=[f"{i},{WIDTH},{HEIGHT}" for i in ids],
            localization=lines,
        )
        truth = SplitTruth.read(tmp_path / "metadata", tmp_path / "dataset", "D", "val", ids)
        split = LevelSplit(ids, np.array([0, 0]))
        return LabeledImages(folder, split, CROP, RESIZE, targets=kind(truth))

    return dataset


def crops(dataset, epochs=6, workers=0):
    """Yield (image in [0, 1] (CROP, CROP), target) of several epochs."""
    shuffle = EpochShuffle(len(dataset), seed=0)
    loader = make_loader(dataset, 2, workers, torch.device("cpu"), shuffle)
    for shuffle.epoch in range(epochs):
        for batch in loader:
            assert batch.bad == []
            targets = batch.boxes if batch.masks is None else batch.masks
            for image, target in zip(batch.images, targets, strict=True):
                yield dataset.preprocessing.to_rgb(image.numpy())[..., 0] / 255, target.numpy()


def edges(bright):
    rows, columns = np.nonzero(bright > 0.5)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


BOX_LINES = [f"{i},{','.join(map(str, box))}" for i, box in SQUARES.items()]


@pytest.mark.parametrize("workers", [0, 1])
def test_boxes_move_with_the_image(make, workers):
    seen = set()
    for image, boxes in crops(make(BoxTargets, BOX_LINES), workers=workers):
        assert boxes.shape == (1, 4)
        assert np.abs(boxes[0] - edges(image)).max() <= 1
        seen.add(tuple(boxes[0]))
    assert len(seen) > 8


def test_boxes_are_filled_where_there_are_no_masks(make):
    for image, mask in crops(make(MaskTargets, BOX_LINES)):
        assert set(np.unique(mask)) <= {0, 1} and mask.dtype == np.uint8
        assert (mask != (image > 0.5)).mean() < 0.03


def test_masks_and_ignored_regions_move_with_the_image(make):
    lines = [f"{i},mask_{i},ignore_{i}" for i in SQUARES]
    ignored = 0
    for image, mask in crops(make(MaskTargets, lines)):
        assert ((mask == 1) != (image > 0.5)).mean() < 0.03
        ignored += int((mask == 255).sum())
    assert ignored > 0


def test_a_box_that_is_cropped_away_is_no_target(make):
    dataset = make(BoxTargets, [f"{i},0,0,30,20" for i in SQUARES])
    assert {boxes.shape for _, boxes in crops(dataset)} == {(0, 4), (1, 4)}


def test_evaluation_images_have_no_targets(make):
    dataset = make(BoxTargets, BOX_LINES)
    dataset.resize_size = None
    assert dataset[0][-1] is None
