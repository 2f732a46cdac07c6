import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from data_loaders import (
    EpochShuffle,
    LabeledImages,
    load_image,
    load_level,
    make_loader,
    require_images,
)
from samples import write_png
from wsol.core.errors import InputError
from wsol.data.crops import draw_crop
from wsol.data.levels import LevelSplit
from wsol.data.preprocessing import IMAGENET

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


def test_evaluation_resizes_the_whole_image_and_normalises():
    image = Image.new("RGB", (50, 30), (255, 0, 128))
    tensor = IMAGENET.evaluation(image, 16)
    assert tensor.shape == (3, 16, 16)
    expected = (np.array([1, 0, 128 / 255]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(tensor[:, 5, 5], expected, rtol=1e-5)


def test_training_crops_are_windows_of_the_resized_image_half_of_them_flipped():
    array = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    image = Image.fromarray(array)  # already of the resize size: crops are exact windows
    windows = {}
    for top in range(5):
        for left in range(5):
            window = Image.fromarray(array[top : top + 4, left : left + 4].copy())
            windows[IMAGENET.evaluation(window, 4).numpy().tobytes()] = (top, left, False)
            flipped = Image.fromarray(array[top : top + 4, left : left + 4][:, ::-1].copy())
            windows[IMAGENET.evaluation(flipped, 4).numpy().tobytes()] = (top, left, True)
    seen = [
        windows[IMAGENET.training(image, draw_crop(8, 4, np.random.default_rng(s))).numpy().tobytes()] for s in range(600)
    ]
    assert {(top, left) for top, left, _ in seen} == {(t, c) for t in range(5) for c in range(5)}
    assert 240 < sum(flip for *_, flip in seen) < 360


def test_images_of_any_mode_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.new(mode, (4, 3)).save(tmp_path / f"{mode}.{suffix}")
        assert load_image(tmp_path / f"{mode}.{suffix}").mode == "RGB"


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_divided_by_257(tmp_path, suffix):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for order in "<>" if suffix == "tif" else "<":
        Image.fromarray(values.astype(f"{order}u2")).save(tmp_path / f"a.{suffix}")
        loaded = np.array(load_image(tmp_path / f"a.{suffix}"))
        assert loaded.dtype == np.uint8 and np.array_equal(loaded, np.round(values / 257)[..., None].repeat(3, 2))


@pytest.mark.parametrize(("kind", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_32_bit_pixels_are_refused_by_name(tmp_path, kind, mode):
    Image.fromarray(np.ones((4, 4), kind)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=rf"a\.tif: 32-bit pixels \(mode {mode}\).*; expected 8 or 16 bits per channel"):
        load_image(tmp_path / "a.tif")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match=r"pipe\.jpg: a device, FIFO or socket"):
        load_image(tmp_path / "pipe.jpg")


def test_reading_does_not_turn_an_image(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (9, 5)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").size == (9, 5)


def test_an_image_that_declares_too_many_pixels_is_not_decoded_and_pillow_does_not_warn(tmp_path):
    message = r"a\.png: declares 20000 x 20000 pixels, 400\.0 megapixels; expected at most 100, or a larger max_megapixels"
    with warnings.catch_warnings(action="error"):
        write_png(tmp_path / "a.png", 20_000, 20_000)
        with pytest.raises(InputError, match=message):
            load_image(tmp_path / "a.png")
        write_png(tmp_path / "b.png", 9500, 9500)  # what it declares is not there
        with pytest.raises(InputError, match=r"b\.png: not a readable image"):
            load_image(tmp_path / "b.png")
    images = LabeledImages(tmp_path, bad_split(tmp_path), 8, max_megapixels=0.00008)
    assert images[
        0
    ] == f"{tmp_path}/good.png: declares 9 x 9 pixels, 0.0 megapixels; expected at most 8e-05, or a larger " + (
        "--max_megapixels"
    )


def bad_split(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    (tmp_path / "text.jpg").write_text("no image")
    return LevelSplit(["good.png", "cut.png", "text.jpg", "none.jpg"], np.array([1, 0, 0, 0]))


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_images_are_reported_with_their_path(tmp_path, workers):
    batches = list(make_loader(LabeledImages(tmp_path, bad_split(tmp_path), 8), 3, workers, CPU))
    assert [b.image_ids for b in batches] == [["good.png"], []]
    bad = [message for b in batches for message in b.bad]
    assert [name in message for name, message in zip(("cut.png", "text.jpg", "none.jpg"), bad, strict=True)] == [True] * 3
    assert batches[0].labels.tolist() == [1]


def test_missing_images_are_refused_and_named(tmp_path):
    split = bad_split(tmp_path)
    with pytest.raises(InputError, match=r"1 of 4 images of the val split are missing(.|\n)*none\.jpg"):
        require_images(tmp_path, split.image_ids, "val", "D")
    require_images(tmp_path, split.image_ids[:3], "val", "D")
