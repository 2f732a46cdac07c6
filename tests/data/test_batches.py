import sys

import pytest
import torch

from data_loaders import (
    EpochShuffle,
    LabeledImages,
    load_level,
    make_loader,
)
from samples import bad_split
from wsol.data import batches as batches_module

CPU = torch.device("cpu")


@pytest.fixture
def toy_train(toy_root):
    split = load_level(toy_root / "metadata", "Toy", None, num_train_sample_per_class=2).splits["train"]
    return LabeledImages(toy_root / "dataset" / "Toy", split, crop_size=32, resize_size=40)


def epoch_of(dataset, workers, epoch=0, seed=0):
    shuffle = EpochShuffle(len(dataset), seed)
    loader = make_loader(dataset, 6, workers, CPU, shuffle)
    batches = []
    for shuffle.epoch in range(epoch + 1):
        batches = list(loader)
    return batches


def test_batches_do_not_depend_on_the_number_of_workers(toy_train):
    for epoch in (0, 1):
        one, two = epoch_of(toy_train, 0, epoch), epoch_of(toy_train, 2, epoch)
        assert [b.image_ids for b in one] == [b.image_ids for b in two]
        assert all(torch.equal(a.images, b.images) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("start", [0, 6, 31, 32])
def test_an_epoch_can_start_anywhere(toy_train, start):
    whole, shuffle = epoch_of(toy_train, 0), EpochShuffle(len(toy_train), 0)
    shuffle.start = start
    rest = list(make_loader(toy_train, 6, 0, CPU, shuffle))
    assert [i for b in rest for i in b.image_ids] == [i for b in whole for i in b.image_ids][start:]
    images = [torch.cat([b.images for b in batches]) for batches in (rest, whole) if batches]
    assert start == 32 or torch.equal(images[0], images[-1][start:])
    assert sum(map(len, (b.image_ids for b in rest))) == len(shuffle) == 32 - start


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_says_where_its_images_are_in_the_data_set(toy_train, workers):
    for batch in epoch_of(toy_train, workers):
        assert [toy_train.split.image_ids[position] for position in batch.positions] == batch.image_ids
        assert batch.boxes is None and batch.masks is None


def test_loading_leaves_the_global_random_stream_alone(toy_train):
    torch.manual_seed(0)
    epoch_of(toy_train, 0)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


def test_every_epoch_has_every_image_in_an_order_of_its_own_and_keeps_the_last_batch(toy_train):
    first, second = ([i for b in epoch_of(toy_train, 0, epoch) for i in b.image_ids] for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second) == sorted(toy_train.split.image_ids)
    assert [len(b.image_ids) for b in epoch_of(toy_train, 0)] == [6, 6, 6, 6, 6, 2]
    assert first != [i for b in epoch_of(toy_train, 0, seed=1) for i in b.image_ids]


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_images_are_reported_with_their_path(tmp_path, workers):
    batches = list(make_loader(LabeledImages(tmp_path, bad_split(tmp_path), 8), 3, workers, CPU))
    assert [b.image_ids for b in batches] == [["good.png"], []]
    bad = [message for b in batches for message in b.bad]
    assert [name in message for name, message in zip(("cut.png", "text.jpg", "none.jpg"), bad, strict=True)] == [True] * 3
    assert batches[0].labels.tolist() == [1]


def test_a_process_that_loads_images_keeps_quiet_about_its_parent_s_end_alone(monkeypatch):
    said = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: said.append(error[0]))
    monkeypatch.setattr(batches_module, "ignore_stopping", lambda: None)
    batches_module._start_worker(0)
    for error in (ConnectionResetError(), EOFError(), ValueError()):
        sys.excepthook(type(error), error, None)
    assert said == [ValueError]
