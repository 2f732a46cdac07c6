"""Features kept in a folder: the same numbers, or nothing; what they depend on; batches of what is kept and what is not."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from wsol.core.errors import InputError
from wsol.data.batches import EpochShuffle, LabeledImages, make_loader
from wsol.data.feature_cache import FeatureCache, FeatureImages, FeatureSource, Kept
from wsol.data.image_cache import Source
from wsol.data.levels import LevelSplit
from wsol.data.preprocessing import IMAGENET

SOURCE = FeatureSource("network", Source("/photos/ä, b.jpg", 123, 456, 8, "full"), False)
OTHERS = {
    "network": SOURCE._replace(network="other"),
    "flip": SOURCE._replace(flipped=True),
    "size": SOURCE._replace(image=SOURCE.image._replace(num_bytes=124)),
    "time": SOURCE._replace(image=SOURCE.image._replace(mtime_ns=457)),
    "side": SOURCE._replace(image=SOURCE.image._replace(side=9)),
    "path": SOURCE._replace(image=SOURCE.image._replace(path="/photos/c.jpg")),
    "scale": SOURCE._replace(image=SOURCE.image._replace(decode_scale="reduced")),
}


def features(shape=(5, 2, 3), dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


def entry_of(cache):
    (entry,) = [path for path in cache.folder.rglob("*") if path.is_file()]
    return entry


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 2, 3), (7, 4)])
def test_features_come_back_with_every_bit(cache, shape, dtype):
    given = features(shape, dtype)
    given[0, 0] = torch.nan
    cache.put(SOURCE, Kept(given, (30, 20)))
    kept = FeatureCache(cache.folder).get(SOURCE)
    assert kept.size == (30, 20) and kept.features.dtype == dtype and kept.features.shape == shape
    integers = torch.int32 if dtype == torch.float32 else torch.int16
    assert torch.equal(kept.features.view(integers), given.view(integers))


@pytest.mark.parametrize("other", OTHERS)
def test_features_of_something_else_are_not_taken(cache, other):
    cache.put(SOURCE, Kept(features(), (30, 20)))
    assert cache.get(OTHERS[other]) is None
    cache.put(OTHERS[other], Kept(features() + 1, (30, 20)))
    assert torch.equal(cache.get(OTHERS[other]).features, features() + 1)
    assert (cache.get(SOURCE) is None) == (other in ("size", "time"))  # a changed file replaces what is kept of it


def test_no_flipped_bit_and_no_cut_goes_unnoticed(cache):
    cache.put(SOURCE, Kept(features((2, 2)), (3, 2)))
    entry = entry_of(cache)
    whole = entry.read_bytes()
    for number in range(len(whole)):
        entry.write_bytes(whole[:number] + bytes([whole[number] ^ 4]) + whole[number + 1 :])
        assert cache.get(SOURCE) is None
        entry.write_bytes(whole[:number])
        assert cache.get(SOURCE) is None


@pytest.mark.parametrize(
    "layout", [b"[]", b'["float32", [-2, -2], [1, 1]]', b'["float32", [3, 2], [1, 1]]', b'["int8", [4], [1]]', b"\xff"]
)
def test_a_layout_that_does_not_fit_is_nothing(cache, layout):
    cache.put(SOURCE, Kept(features((2, 2)), (3, 2)))
    heading = bytes(cache.read("\0".join(("network", SOURCE.image.path, "8", "full", "False")), 10**6)).split(b"\n")[0]
    cache.write(
        "\0".join(("network", SOURCE.image.path, "8", "full", "False")), heading + b"\n" + layout + b"\n" + bytes(16)
    )
    assert cache.get(SOURCE) is None


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path, LevelSplit(names, np.arange(5))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_has_what_is_kept_and_the_images_that_are_not(photos, cache, workers):
    root, split = photos
    (root / "3.png").write_bytes(b"no image")
    images = LabeledImages(root, split, 8)
    known = FeatureImages(images, cache, "network")
    for number in (1, 4):
        source = FeatureSource("network", images.reader.source(f"{number}.png", 8), False)
        cache.put(source, Kept(features() + number, (11, 9)))
    (unseen,) = make_loader(known, 5, workers, torch.device("cpu"))
    assert unseen.batch.image_ids == ["0.png", "1.png", "2.png", "4.png"] and len(unseen.batch.bad) == 1
    assert unseen.batch.labels.tolist() == [0, 1, 2, 4] and list(unseen.batch.sizes) == [(11, 9)] * 4
    assert [one is None for one in unseen.kept] == [True, False, True, False]
    assert torch.equal(unseen.kept[3], features() + 4)
    assert torch.equal(unseen.batch.images, torch.stack([images[0].image, images[2].image]))


def test_flips_are_kept_apart(photos, cache):
    root, split = photos
    images = LabeledImages(root, split, 8, 8)
    known = FeatureImages(images, cache, "network")
    items = [known[item] for item in EpochShuffle(5, 1)] + [known[0, seed] for seed in range(20)]
    assert {item.source.flipped for item in items} == {False, True}
    plain = LabeledImages(root, split, 8)
    for item in items:
        straight = plain[item.sample.position].image
        assert torch.equal(item.sample.image, straight.flip(2) if item.source.flipped else straight)


def test_what_is_cropped_at_random_is_refused(photos, cache):
    root, split = photos
    with pytest.raises(InputError, match="cropped at random"):
        FeatureImages(LabeledImages(root, split, 8, 9, preprocessing=IMAGENET), cache, "network")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "cache").mkdir(mode=0o500)
    cache = FeatureCache(tmp_path / "cache")
    for _ in range(2):
        cache.put(SOURCE, Kept(features(), (1, 1)))
    assert cache.get(SOURCE) is None and caplog.text.count("keeping more features") == 1
