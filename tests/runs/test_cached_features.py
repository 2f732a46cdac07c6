"""Batches of a frozen network's features: the bits of the network itself, and what makes them stale."""

import numpy as np
import pytest
import torch
from PIL import Image

from wsol import build_model
from wsol.data.batches import EpochShuffle, LabeledImages
from wsol.data.levels import LevelSplit
from wsol.networks.device import to_device
from wsol.runs.cached_features import EncodedBatches, load_batches, network_digest, stand_in

CPU = torch.device("cpu")
CONFIG = {"architecture": "resnet18", "large_feature_map": False, "amp": "off"}


def built(name="resnet18", method="cam", seed=0, **options):
    torch.manual_seed(seed)
    return build_model(name, method, 3, freeze_backbone=True, **options).to(memory_format=torch.channels_last).train()


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(7)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path, LevelSplit(names, np.arange(7) % 3)


def losses(model, loader, epochs=2):
    """The loss of every step of SGD, and every logit."""
    optimizer = torch.optim.SGD(model.parameter_groups(0.01, 1.0))
    for epoch in range(epochs):
        for batch in loader(epoch):
            optimizer.zero_grad()
            outputs, loss = model.batch_step(to_device(batch, CPU), {})
            loss.backward()
            optimizer.step()
            yield loss.detach(), outputs["logits"].detach()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("resnet18", "cam"),
        ("resnet18", "tri_region"),
        ("inception_v3", "cam"),
        ("vgg16", "acol"),
        ("timm:test_vit", "tri_region"),
    ],
)
def test_training_on_kept_features_gives_the_bits_of_training_on_images(photos, tmp_path, name, method):
    root, split = photos
    side = 32 if name == "vgg16" else 64
    encoded = []

    def run(cache):
        model = built(name, method)
        images = LabeledImages(root, split, side, side)

        def loader(epoch):
            shuffle = EpochShuffle(7, 0)
            shuffle.epoch = epoch
            batches = load_batches(images, model, CONFIG, 3, 0, CPU, shuffle, cache_features=cache)
            yield from batches
            encoded.append(getattr(batches, "encoded", 7))
            assert not model.backbone.takes_encoded

        torch.manual_seed(1)
        return list(losses(model, loader))

    runs = [run(None), run(tmp_path / "cache"), run(tmp_path / "cache")]
    for plain, kept, again in zip(*runs, strict=True):
        assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(plain, kept, again, strict=True))
    assert encoded[2] == 7 and encoded[3] < 7 and encoded[4:] == [0, 0]


def test_batches_state_the_size_of_the_images_and_stand_ins_have_it_too(photos, tmp_path):
    root, split = photos
    model = built()
    loader = load_batches(LabeledImages(root, split, 32), model, CONFIG, 4, 0, CPU, cache_features=tmp_path / "cache")
    assert isinstance(loader, EncodedBatches) and len(loader) == 2
    for batch in loader:
        assert batch.size == (32, 32) and batch.images.shape[1:] == (512, 2, 2)
    blank = stand_in(loader, 2, 32, ())
    assert blank.size == (32, 32) and blank.images.shape == (2, 512, 2, 2)


def test_a_changed_image_is_seen_again(photos, tmp_path):
    root, split = photos
    model = built()

    def features():
        loader = load_batches(LabeledImages(root, split, 32), model, CONFIG, 7, 0, CPU, cache_features=tmp_path / "cache")
        (batch,) = loader
        return batch.images, loader.encoded

    before, _ = features()
    Image.new("RGB", (40, 30), "red").save(root / "2.png")
    after, encoded = features()
    assert encoded == 1 and [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [i != 2 for i in range(7)]


def test_whatever_changes_features_changes_the_digest():
    model = built()
    first = network_digest(model.backbone, CPU, CONFIG)
    assert network_digest(built().backbone, CPU, CONFIG) == first
    others = [network_digest(model.backbone, CPU, {**CONFIG, "amp": "bf16"})]
    others.append(network_digest(built(large_feature_map=True).backbone, CPU, {**CONFIG, "large_feature_map": True}))
    others.append(network_digest(built(seed=1).backbone, CPU, CONFIG))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        others.append(network_digest(model.backbone, CPU, CONFIG))
    finally:
        torch.set_num_threads(threads)
    model.backbone.layer1[0].bn1.running_mean[3] += 1e-3
    others.append(network_digest(model.backbone, CPU, CONFIG))
    preprocessings = {
        network_digest(built("timm:vit_tiny_patch16_224", preprocessing=name).backbone, CPU, CONFIG)
        for name in ("imagenet", "network")
    }
    assert len({first, *others}) == 6 and len(preprocessings) == 2


def test_new_stages_are_no_part_of_the_digest():
    """They are trained, after what is kept."""
    model = built("vgg16")
    first = network_digest(model.backbone, CPU, CONFIG)
    with torch.no_grad():
        model.backbone.extra[0].weight += 1
    assert network_digest(model.backbone, CPU, CONFIG) == first
