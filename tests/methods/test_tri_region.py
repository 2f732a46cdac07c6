"""The tri-region head: its losses against plain arithmetic, its maps, and transformers with and without a class token."""

import math

import numpy as np
import pytest
import timm
import torch

from config import get_config
from wsol import build_model
from wsol.core.errors import InputError
from wsol.maps.cam_agg import AggregatedMaps
from wsol.maps.mapper import make_mapper
from wsol.methods.build import build_from_config
from wsol.methods.tri_region import BACKGROUND, FOREGROUND, adversarial_loss, pool_regions

IMAGES, LABELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2])


def built(name="resnet18", **options):
    torch.manual_seed(0)
    return build_model(name, "tri_region", 3, **options)


def test_regions_are_pooled_as_a_loop_does_it():
    generator = torch.Generator().manual_seed(1)
    features, regions = torch.randn(2, 4, 3, 2, generator=generator), torch.rand(2, 3, 3, 2, generator=generator)
    pooled = pool_regions(features, regions)
    for b, r, c in np.ndindex(2, 3, 4):
        pairs = [(regions[b, r, y, x].item(), features[b, c, y, x].item()) for y, x in np.ndindex(3, 2)]
        assert pooled[b, r, c].item() == pytest.approx(sum(m * f for m, f in pairs) / sum(m for m, _ in pairs), rel=1e-5)


def test_an_empty_region_pools_to_nothing_with_a_finite_gradient():
    regions = torch.zeros(1, 1, 2, 2, requires_grad=True)
    pooled = pool_regions(torch.ones(1, 3, 2, 2), regions)
    pooled.sum().backward()
    assert pooled.abs().max() == 0 and regions.grad.isfinite().all()


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_the_adversarial_loss_is_minus_log_of_one_minus_p(scale):
    logits = (scale * torch.randn(5, 4, generator=torch.Generator().manual_seed(2))).double()
    labels = torch.tensor([0, 1, 2, 3, 0])
    p = logits.softmax(dim=1).gather(1, labels[:, None])
    assert adversarial_loss(logits, labels).item() == pytest.approx(-(1 - p).log().mean().item(), rel=1e-10)


@pytest.mark.parametrize("margin", [0.0, 20.0, 90.0, 1e4])
def test_the_adversarial_loss_is_finite_however_certain_the_label_is(margin):
    logits = torch.tensor([[margin, 0.0, -1.0]], requires_grad=True)
    loss = adversarial_loss(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(
        math.log1p(math.exp(-margin) * (1 + math.exp(-1))) + margin - math.log1p(math.exp(-1)), rel=1e-5
    )
    assert logits.grad.isfinite().all() and logits.grad.abs().max() <= 1 + 1e-6
    assert logits.grad[0, 0].item() == pytest.approx(torch.softmax(logits.detach(), dim=1)[0, 0].item(), rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "terms"), [((1.0, 1.0), "abc"), ((0.0, 0.0), "a"), ((2.0, 0.0), "abb"), ((0.0, 1.0), "ac")]
)
def test_the_loss_is_the_weighted_sum(weights, terms):
    model = built(tri_foreground_weight=weights[0], tri_background_weight=weights[1]).train()
    outputs, loss = model.training_step(IMAGES, LABELS)
    known = {
        "a": torch.nn.functional.cross_entropy(outputs["logits"], LABELS),
        "b": torch.nn.functional.cross_entropy(outputs["foreground_logits"], LABELS),
        "c": adversarial_loss(outputs["background_logits"], LABELS),
    }
    torch.testing.assert_close(loss, sum(known[term] for term in terms))


def test_the_backgrounds_loss_teaches_the_regions_and_no_classifier():
    model = built().train()
    adversarial_loss(model(IMAGES)["background_logits"], LABELS).backward()
    assert model.classifier.weight.grad is None and model.region_classifier.weight.grad is None
    assert model.regions[0].weight.grad.abs().max() > 0 and model.backbone.conv1.weight.grad.abs().max() > 0


@pytest.mark.parametrize("layer_norm", [True, False])
def test_the_classifiers_see_the_summary_and_the_regions_means(layer_norm):
    model = built(tri_layer_norm=layer_norm).eval()
    outputs, features = model(IMAGES), model.backbone(IMAGES)
    torch.testing.assert_close(outputs["logits"], model.classifier(features.mean(dim=(2, 3))))
    if layer_norm:
        features = features - features.mean(dim=1, keepdim=True)
        features = features / (features.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(outputs["regions"].sum(dim=1), torch.ones(2, 4, 4))
    for name, region in (("foreground_logits", FOREGROUND), ("background_logits", BACKGROUND)):
        mask = outputs["regions"][:, [region]]
        mean = (features * mask).sum(dim=(2, 3)) / mask.sum(dim=(2, 3))
        torch.testing.assert_close(outputs[name], model.region_classifier(mean), rtol=1e-4, atol=1e-5)


def test_the_map_is_the_foreground_of_every_label_and_of_every_ancestor():
    model = built().eval()
    outputs = model(IMAGES)
    foreground = outputs["regions"][:, FOREGROUND]
    for labels in (LABELS, torch.tensor([1, 1])):
        assert torch.equal(model.raw_maps(outputs, labels), foreground)
        assert torch.equal(AggregatedMaps(model, np.array([0, 0, 1])).raw_maps(outputs, labels), foreground)
    assert not model.raw_maps(outputs, LABELS).requires_grad


def test_extractors_see_a_frozen_convolutional_network_and_are_refused_on_a_class_token():
    mapper = make_mapper("gradcam", built(freeze_backbone=True).eval())
    with torch.inference_mode():
        assert mapper.raw_maps(mapper(IMAGES, LABELS), LABELS).shape == (2, 4, 4)
    mapper = make_mapper("gradcam", built("timm:test_vit", freeze_backbone=True).eval())
    with torch.inference_mode(), pytest.raises(InputError, match="class token"):
        mapper(IMAGES, LABELS)


def test_one_class_is_refused():
    with pytest.raises(InputError, match="two or more"):
        build_model("resnet18", "tri_region", 1)


def test_mixed_precision_leaves_the_regions_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        outputs, loss = built().train().training_step(IMAGES, LABELS)
    assert outputs["regions"].dtype == torch.float32 and loss.isfinite()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_regions_have_unit_variance_over_the_temperature(temperature):
    model = built(tri_temperature=temperature).train()
    logits = []
    model.regions.register_forward_hook(lambda _module, _inputs, output: logits.append(output))
    outputs = model(IMAGES)
    torch.testing.assert_close(outputs["regions"], (logits[0] / temperature).softmax(dim=1))
    torch.testing.assert_close(logits[0].var(dim=(0, 2, 3), correction=0), torch.ones(3), rtol=1e-3, atol=1e-3)
    assert not list(model.regions[1].parameters())  # a learned scale would make up for the temperature


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_network_has_its_own_defaults(frozen):
    model = built(freeze_backbone=frozen)
    assert (model.temperature, model.layer_norm) == ((4.0, True) if frozen else (1.0, False))
    assert built(freeze_backbone=frozen, tri_temperature=2.0).temperature == 2.0


def test_a_configuration_states_the_defaults_and_an_older_one_without_them_has_a_learned_scale():
    frozen = ["--wsol_method", "tri_region", "--freeze_backbone", "TRUE"]
    wanted = {(): (4.0, True), ("--tri_temperature", "0"): (0.0, True), ("--tri_layer_norm", "FALSE"): (4.0, False)}
    for words, expected in wanted.items():
        config, _ = get_config([*frozen, *words])
        assert (config.tri_temperature, config.tri_layer_norm) == expected
    config, _ = get_config(frozen[:2])
    assert (config.tri_temperature, config.tri_layer_norm) == (0.0, False)
    older = {"architecture": "resnet18", "wsol_method": "tri_region", "large_feature_map": False, "freeze_backbone": True}
    model = build_from_config(older, 3)
    assert model.regions[1].affine and not model.layer_norm


def test_a_temperature_of_0_is_a_learned_scale():
    model = built(tri_temperature=0.0).train()
    with torch.no_grad():
        model.regions[1].weight.fill_(3.0)
        model.regions[1].bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    outputs, loss = model.training_step(IMAGES, LABELS)
    means = outputs["regions"].log().mean(dim=(0, 2, 3))  # of log-softmax: differences of logits' means are those of biases
    torch.testing.assert_close(means[1:] - means[:-1], torch.ones(2), rtol=1e-3, atol=1e-3)
    loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.regions[1].parameters())


@pytest.mark.parametrize(("temperature", "layer_norm", "times"), [(0.0, False, 2), (4.0, True, 1.25)])
def test_a_head_learns_where_the_object_is(monkeypatch, temperature, layer_norm, times):
    """Features with the class in one quarter and the same noise elsewhere: the foreground finds the quarter."""
    model = built(freeze_backbone=True, tri_temperature=temperature, tri_layer_norm=layer_norm).train()
    generator = torch.Generator().manual_seed(3)
    signal = torch.randn(3, 512, generator=generator)
    object_, scene = torch.randn(2, 512, generator=generator)
    labels = torch.arange(3).repeat(8)

    def features():
        found = 0.3 * torch.randn(24, 512, 4, 4, generator=generator) + scene[:, None, None]
        found[:, :, :2, :2] += (signal[labels] + object_ - scene)[:, :, None, None]
        return found

    monkeypatch.setattr(model.backbone, "encode", lambda _images: features())
    optimizer = torch.optim.SGD(model.parameter_groups(0.05, 1.0), momentum=0.9)
    for _ in range(150):
        optimizer.zero_grad()
        model.training_step(torch.zeros(24, 3, 64, 64), labels)[1].backward()
        optimizer.step()
    found = model.eval().score_maps(torch.zeros(24, 3, 64, 64), labels)
    inside = torch.zeros(4, 4, dtype=torch.bool)
    inside[:2, :2] = True
    assert (found[:, inside].amin(dim=1) > times * found[:, ~inside].amax(dim=1)).all()


# Name, patch, prefix tokens, whether there is a class token; small, of each family that docs/frozen.md names.
TRANSFORMERS = [
    ("vit_small_patch14_dinov2", 14, 1, True),
    ("vit_small_patch14_reg4_dinov2", 14, 5, True),
    ("vit_small_patch16_dinov3", 16, 5, True),
    ("vit_base_patch16_siglip_224", 16, 0, False),
    ("vit_base_patch32_clip_224", 32, 1, True),
    ("vit_base_patch16_224.mae", 16, 1, True),
]


@pytest.mark.parametrize(("name", "patch", "prefix", "has_class"), TRANSFORMERS)
def test_a_transformers_class_token_and_grid_are_timms_own(name, patch, prefix, has_class):
    model = built(f"timm:{name}", freeze_backbone=True).train()
    side = 4 * patch
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(4))
    features, summary = model.backbone.features_and_summary(images)
    network = model.backbone.network
    with torch.no_grad():
        tokens = network.forward_features(images)
    assert tokens.shape[1] == prefix + 16
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens[:, prefix:], rtol=1e-4, atol=1e-4)
    own = tokens[:, 0] if has_class else tokens.mean(dim=1)
    torch.testing.assert_close(summary, own, rtol=1e-4, atol=1e-4)
    model.training_step(images, LABELS)[1].backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert model.regions[0].weight.grad.abs().max() > 0
    with pytest.raises(InputError, match=rf"patches of {patch} x {patch} pixels do not divide {side + 2} x {side + 2}"):
        model.backbone(torch.zeros(1, 3, side + 2, side + 2))


@pytest.mark.parametrize("name", ["test_vit", "test_vit2"])
def test_position_embeddings_at_native_size_are_timms_and_others_are_interpolated(name):
    torch.manual_seed(0)
    native = timm.create_model(name, pretrained=False).eval()
    ours = build_model(f"timm:{name}", "cam", 3).eval().backbone
    ours.network.load_state_dict(native.state_dict(), strict=False)
    side = native.patch_embed.img_size[0]
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        tokens = native.forward_features(image)[:, native.num_prefix_tokens :]
        torch.testing.assert_close(ours(image).flatten(2).transpose(1, 2), tokens)
        assert ours(torch.zeros(1, 3, 2 * side, 2 * side)).shape[2:] == (2 * side // native.patch_embed.patch_size[0],) * 2


def test_a_transformer_trains_whole():
    model = built("timm:test_vit").train()
    model.training_step(torch.randn(2, 3, 64, 64), LABELS)[1].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
