"""Extractors without training: LOST against loops, TokenCut against the eigenproblem as stated, its sign on objects."""

import numpy as np
import pytest
import scipy.linalg
import torch

from wsol import build_model
from wsol.core.errors import InputError
from wsol.maps.lost import lost_maps
from wsol.maps.mapper import make_mapper
from wsol.maps.tokencut import TAU, WEAK, affinities, second_eigenvector, with_sign
from wsol.runs.predictor import require_own_maps

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, 4])
AGNOSTIC = ("attention", "lost", "tokencut")


def lost_plainly(descriptors, k):
    """LOST's map, position by position."""
    c, h, w = descriptors.shape
    f = [descriptors.reshape(c, -1)[:, p] for p in range(h * w)]
    degrees = [sum(float(a @ b) >= 0 for b in f) for a in f]
    smallest = sorted(range(h * w), key=lambda p: (degrees[p], p))[:k]
    seed = smallest[0]
    members = [p for p in smallest if float(f[p] @ f[seed]) >= 0]
    return np.array([sum(float(f[q] @ f[p]) for q in members) for p in range(h * w)]).reshape(h, w)


@pytest.mark.parametrize(("seed", "share", "k"), [(0, 1 / 8, 4), (1, 1 / 8, 4), (2, 1.0, 30), (3, 0.01, 1)])
def test_lost_is_its_formula(seed, share, k):
    descriptors = np.random.default_rng(seed).normal(size=(2, 3, 5, 6))
    maps = lost_maps(torch.from_numpy(descriptors), share).numpy()
    for one, found in zip(descriptors, maps, strict=True):
        np.testing.assert_allclose(found, lost_plainly(one, k), rtol=1e-12, atol=1e-12)


def scene(rng, side=12, noise=0.3, least=2, most=6):
    """Descriptors (C, side, side) of an object anywhere, also at the border, and where it is, bool (side, side)."""
    inside = np.zeros((side, side), dtype=bool)
    height, width = rng.integers(least, most + 1, 2)
    y, x = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    inside[y : y + height, x : x + width] = True
    one, other = rng.normal(size=(2, 16))
    other -= (one @ other) / (one @ one) * one  # nothing alike
    return np.where(inside, one[:, None, None], other[:, None, None]) + noise * rng.normal(size=(16, side, side)), inside


def test_lost_finds_a_small_object_anywhere():
    rng = np.random.default_rng(0)
    for _ in range(50):
        descriptors, inside = scene(rng, noise=0.1)
        descriptors -= descriptors.mean(axis=(1, 2), keepdims=True)  # as of a convolutional network
        found = lost_maps(torch.from_numpy(descriptors[None]))[0].numpy()
        assert ((found > found.max() / 2) == inside).mean() > 0.95


def test_tokencut_solves_the_generalised_eigenproblem():
    rng = np.random.default_rng(0)
    for _ in range(20):
        descriptors = rng.normal(size=(3, 20))
        weights = affinities(descriptors)
        cosines = np.corrcoef(np.vstack([descriptors, -descriptors]).T)  # of vectors whose mean is zero
        np.testing.assert_array_equal(weights, np.where(cosines >= TAU, 1, WEAK))
        degrees = np.diag(weights.sum(axis=1))
        values, vectors = scipy.linalg.eigh(degrees - weights, degrees)
        assert values[0] == pytest.approx(0, abs=1e-9) and values[2] - values[1] > 1e-3  # so that the vector is the only one
        found = second_eigenvector(weights)
        np.testing.assert_allclose(found * np.sign(found @ vectors[:, 1]), vectors[:, 1], atol=1e-8)


@pytest.mark.parametrize(("least", "most"), [(2, 6), (7, 10)], ids=["small", "of up to two thirds of the image"])
def test_the_sign_of_tokencut_is_that_of_the_object_anywhere(least, most):
    rng = np.random.default_rng(0)
    at_border = 0
    for _ in range(100):
        descriptors, inside = scene(rng, least=least, most=most)
        vector = second_eigenvector(affinities(descriptors.reshape(16, -1))).reshape(inside.shape)
        found = with_sign(vector)
        np.testing.assert_array_equal(with_sign(-vector), found)  # whatever sign the solver gives
        assert ((found > found.mean()) == inside).mean() > 0.9  # inverted it would be less than a tenth
        at_border += bool(inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any())
    assert at_border > 20


def test_by_the_largest_value_alone_large_objects_would_be_inverted():
    inside = np.zeros((12, 12), dtype=bool)
    inside[1:11, 1:11] = True
    weights = np.where(inside.ravel()[:, None] == inside.ravel(), 1.0, WEAK)
    vector = second_eigenvector(weights).reshape(12, 12)
    assert not inside.flat[np.abs(vector).argmax()]
    np.testing.assert_array_equal(with_sign(vector) > vector.mean(), inside)


def test_as_many_border_positions_on_both_sides_leave_it_to_the_largest_value():
    vector = np.array([[1.0, 1.0, -3.0], [1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])  # four of eight on the border each
    np.testing.assert_array_equal(with_sign(vector), -vector)
    np.testing.assert_array_equal(with_sign(-vector), -vector)


def test_an_image_of_one_colour_has_no_cut():
    weights = affinities(np.zeros((3, 9)))
    np.testing.assert_array_equal(second_eigenvector(weights), np.zeros(9))


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    return build_model("timm:vit_tiny_patch16_224", "cam", 5).eval()


@pytest.fixture(scope="module")
def convolutions():
    torch.manual_seed(0)
    return build_model("resnet18", "cam", 5).eval()


@pytest.mark.parametrize("extractor", AGNOSTIC)
def test_maps_are_the_same_for_every_label_batch_and_call(extractor, transformer):
    mapper = make_mapper(extractor, transformer).eval()
    with torch.inference_mode():
        outputs = mapper(IMAGES)
        maps = mapper.raw_maps(outputs, LABELS)
        again = mapper.raw_maps(mapper(IMAGES, LABELS), torch.tensor([0, 0]))
        alone = mapper.raw_maps(mapper(IMAGES[1:]), LABELS[1:])
    assert maps.shape == (2, 4, 4) and maps.dtype == torch.float32 and not maps.requires_grad
    assert torch.equal(maps, again)
    torch.testing.assert_close(alone, maps[1:], rtol=1e-4, atol=1e-5)
    assert torch.equal(outputs["logits"], transformer(IMAGES)["logits"])
    assert not transformer.backbone._forward_hooks and not transformer.backbone.network.blocks[-1].attn._forward_pre_hooks


@pytest.mark.parametrize("extractor", AGNOSTIC)
def test_a_frozen_network_sees_images_one_by_one_and_has_a_map_of_each(extractor):
    torch.manual_seed(0)
    model = build_model("timm:test_vit", "tri_region", 5, freeze_backbone=True).eval()
    mapper = make_mapper(extractor, model).eval()
    with torch.inference_mode():
        maps = mapper(IMAGES)["maps"]
        alone = [mapper(image)["maps"] for image in IMAGES.split(1)]
    torch.testing.assert_close(maps, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_the_attention_is_the_class_tokens_own(transformer):
    attention = transformer.backbone.network.blocks[-1].attn
    seen = []
    attention.fused_attn = False
    handle = attention.attn_drop.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    mapper = make_mapper("attention", transformer)
    with torch.inference_mode():
        maps = mapper.raw_maps(mapper(IMAGES), LABELS)
    handle.remove()
    attention.fused_attn = True
    expected = seen[0][:, :, 0, 1:].mean(dim=1).reshape(2, 4, 4)
    torch.testing.assert_close(maps, expected)


def test_lost_and_tokencut_take_the_keys_of_a_transformer(transformer):
    attention = transformer.backbone.network.blocks[-1].attn
    seen = []
    handle = attention.qkv.register_forward_hook(lambda _m, _i, output: seen.append(output))
    mapper = make_mapper("lost", transformer)
    with torch.inference_mode():
        maps = mapper.raw_maps(mapper(IMAGES), LABELS)
    handle.remove()
    keys = seen[0][:, 1:, 192:384].transpose(1, 2).reshape(2, 192, 4, 4)
    torch.testing.assert_close(maps, lost_maps(keys).float())


def test_on_a_convolutional_network_they_take_the_last_feature_map(convolutions):
    with torch.inference_mode():
        features = convolutions.backbone(IMAGES).double()
        features -= features.mean(dim=(2, 3), keepdim=True)
        lost, cut = (make_mapper(name, convolutions) for name in ("lost", "tokencut"))
        torch.testing.assert_close(lost.raw_maps(lost(IMAGES), LABELS), lost_maps(features).float())
        maps = cut.raw_maps(cut(IMAGES), LABELS)
    expected = [with_sign(second_eigenvector(affinities(one.reshape(512, -1).numpy())).reshape(4, 4)) for one in features]
    np.testing.assert_allclose(maps.numpy(), np.stack(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("architecture", "lacks"),
    [("resnet18", "attention from every patch"), ("timm:vit_medium_patch16_gap_256", "a class token")],
)
def test_attention_needs_a_class_token(architecture, lacks):
    with pytest.raises(InputError, match=f"extractor attention: the network does not have {lacks}"):
        make_mapper("attention", build_model(architecture, "cam", 2))


@pytest.mark.parametrize("extractor", [*AGNOSTIC, "text"])
def test_maps_of_coarser_levels_are_refused(extractor, transformer):
    with pytest.raises(InputError, match="cam_agg"):
        make_mapper(extractor, transformer, np.zeros(5, dtype=np.int64))


def test_a_network_that_tells_no_classes_apart_has_such_maps_too():
    model = build_model("resnet18", "fsl_seg", 1).eval()
    require_own_maps("fsl_seg", "lost", None)
    mapper = make_mapper("lost", model)
    with torch.inference_mode():
        outputs = mapper(IMAGES)
    assert "logits" not in outputs and mapper.raw_maps(outputs, LABELS).shape == (2, 4, 4)
    with pytest.raises(InputError, match="extractor gradcam: fsl_seg tells no classes apart"):
        require_own_maps("fsl_seg", "gradcam", None)
