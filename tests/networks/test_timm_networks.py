"""Networks of timm: their maps, strides and layouts, and which are refused."""

import pytest
import timm
import torch

from wsol import build_model
from wsol.core.errors import InputError
from wsol.networks.timm_networks import Layout, grid_of


@pytest.mark.parametrize(
    ("architecture", "large", "reason"),
    [
        ("vgg99", False, "expected one of resnet18, resnet50, vgg16, inception_v3, or timm:NAME"),
        ("timm:no_such", False, "has no such network"),
        ("timm:crossvit_9_240", False, r"its last features are list; expected a map \(1, channels, h, w\)"),
        ("timm:maxvit_nano_rw_256", False, "fails on a 224 x 224 image"),
        ("timm:levit_128s", True, "the last stride of timm:levit_128s could not be removed"),
        ("timm:vit_tiny_patch16_224", True, "the last stride of timm:vit_tiny_patch16_224 could not be removed"),
        ("timm:halonet26t", False, r"fails on a 224 x 224 image \(AssertionError, raised by .*block_size"),
        ("timm:resnet50.nope", False, "timm cannot create it"),
        ("timm:ese_vovnet19b_dw", True, "the last stride of timm:ese_vovnet19b_dw could not be removed"),  # overlapping pool
    ],
)
def test_networks_without_a_usable_map_are_refused_with_the_reason(architecture, large, reason):
    with pytest.raises(InputError, match=reason):
        build_model(architecture, "cam", 3, large_feature_map=large)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("tf_efficientnet_lite0", ["blocks.5.0.conv_dw"]),
        ("resnet26d", ["layer4.0.conv2", "layer4.0.downsample.0"]),
        ("pvt_v2_b0", ["stages.3.downsample.proj"]),  # its attention's reduced keys have strides too
    ],
)
def test_only_the_last_stage_loses_its_stride(name, changed):
    def strides(network):
        return {key: m.stride for key, m in network.named_modules() if hasattr(m, "stride") and not list(m.children())}

    whole = strides(timm.create_model(name))
    finer = strides(build_model(f"timm:{name}", "cam", 3, large_feature_map=True).backbone.network)
    assert [key for key in finer if finer[key] != whole[key]] == changed


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "deit_tiny_distilled_patch16_224", "mixer_s16_224"])
def test_a_network_of_another_layout_gives_the_map_that_is_where_its_positions_are(name):
    """Changing one corner of the image changes the features there more than in the opposite corner."""
    torch.manual_seed(0)
    backbone = build_model(f"timm:{name}", "cam", 3).eval().backbone
    images = torch.randn(1, 3, 224, 224)
    changed = images.clone()
    changed[:, :, :32, 192:] += 3
    with torch.no_grad():
        difference = (backbone(changed) - backbone(images)).abs().mean(1)[0]
    assert difference.shape[0] == difference.shape[1] >= 7
    assert difference[0, -1] > 3 * difference[-1, 0]
    stages = backbone.offer.attention_points
    assert len(stages) == 2
    seen = []
    with torch.no_grad():
        handles = [backbone.after(stage, lambda x: seen.append(x.shape) or x.clone()) for stage in stages]
        kept = backbone(images)
        for handle in handles:
            handle.remove()
        handle = backbone.after(stages[0], lambda x: x / 2)
        halved = backbone(images)
        handle.remove()
    assert [shape[1] for shape in seen] == [channels for _, channels in backbone.offer.side_points]
    torch.testing.assert_close(kept, backbone(images))
    assert not torch.allclose(halved, kept)


@pytest.mark.parametrize(
    ("name", "features", "stages", "channels"),
    [
        ("samvit_base_patch16", (256, 14), "NHWC", 768),  # features (B, C, h, w) after blocks (B, h, w, C)
        ("volo_d1_224", (384, 14), "NHWC", 384),  # 1 + 14 x 14 tokens, of which the network says nothing
    ],
)
def test_each_modules_layout_is_its_own(name, features, stages, channels):
    torch.manual_seed(0)
    model = build_model(f"timm:{name}", "spg", 3).eval()
    backbone = model.backbone
    images = torch.randn(1, 3, 224, 224)
    changed = images.clone()
    changed[:, :, :32, 192:] += 3
    seen = []
    with torch.no_grad():
        points = backbone.offer.attention_points
        for point in points:
            backbone.after(point, lambda y: seen.append(y) or y.clone())
        first, second = backbone(images), backbone(changed)
    assert first.shape[1:3] == features
    assert [backbone.layouts[point].kind for point in points] == [stages] * 2
    assert [shape.shape[1:] for shape in seen] == [(channels, 14, 14)] * 4
    for one, other in ((first, second), *zip(seen[:2], seen[2:], strict=True)):
        difference = (one - other).abs().mean(1)[0]
        assert difference[:2, -2:].mean() > 2 * difference[-2:, :2].mean()  # at the corner that changed


def test_a_stage_whose_tokens_are_not_in_the_grids_order_is_not_offered():
    assert build_model("timm:hiera_tiny_224", "adl", 3).backbone.offer.attention_points == ("network.blocks.11",)
    with pytest.raises(InputError, match="does not offer two places for side branches"):
        build_model("timm:hiera_tiny_224", "spg", 3)


def test_what_an_output_is_when_its_channels_are_known_or_not():
    def layout(shape, prefix=None, channels=None, channels_last=False):
        found = Layout.of(torch.zeros(shape), prefix, channels, channels_last)
        return found and (found.kind, found.channels, found.prefix)

    assert layout((1, 14, 14, 768), channels=768) == ("NHWC", 768, 0)
    assert layout((1, 768, 14, 14), channels=768, channels_last=True) == ("NCHW", 768, 0)
    assert layout((1, 14, 14, 14), channels=14, channels_last=True) == ("NHWC", 14, 0)
    assert layout((1, 14, 14, 768), channels_last=True) == ("NHWC", 768, 0)
    assert layout((1, 14, 14, 768), channels=96) is None  # no telling what it is
    assert layout((1, 196, 384), channels=96) is None
    assert layout((1, 197, 384)) == ("tokens", 384, 1)
    assert layout((1, 205, 384), prefix=9) == ("tokens", 384, 9)
    assert layout((1, 196, 384), prefix=1) == ("tokens", 384, 0)
    assert layout((1, 197, 384), prefix=0) is None
    assert layout((1, 9, 384)) is None  # 3 x 3, or 2 x 2 after five others


def test_tokens_of_images_that_are_not_square_are_their_real_grid():
    torch.manual_seed(0)
    backbone = build_model("timm:vit_tiny_patch16_224", "cam", 3).eval().backbone
    images = torch.randn(1, 3, 128, 288)  # 8 x 18 tokens, as many as 12 x 12
    changed = images.clone()
    changed[:, :, 32:48, 256:272] += 3  # the token in row 2, column 16
    seen = []
    with torch.no_grad():
        plain = backbone(images)
        backbone.after(backbone.offer.attention_points[0], lambda y: seen.append(y) or y.clone())
        difference = (plain - backbone(changed)).abs().mean(1)[0]
    assert difference.shape == (8, 18) and seen[0].shape[2:] == (8, 18)
    assert divmod(int(difference.argmax()), 18) == (2, 16)
    assert grid_of(392, 224, 448) == (14, 28) and grid_of(196, 224, 224) == (14, 14)
    for count, height, width in ((210, 224, 250), (195, 224, 224), (3, 16, 300)):
        with pytest.raises(InputError, match="expected images whose tokens form a grid of the same aspect ratio"):
            grid_of(count, height, width)


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("test_efficientnet", True),
        ("test_resnet", True),
        ("test_convnext", False),  # normalises the mean features
        ("test_vit", False),  # classifies by its class token
        ("mobilenetv3_small_050", False),  # has another layer before it
    ],
)
def test_a_pretrained_classifier_is_offered_where_it_acts_on_the_mean_features(tmp_path, name, has):
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    words = {"pretrained": True, "pretrained_path": str(tmp_path / "w.pth")}
    model = build_model(f"timm:{name}", "cam", network.num_classes, **words)
    assert (model.backbone.offer.pretrained_classifier is not None) == has
    if not has:
        with pytest.raises(InputError, match="one linear classifier on its mean features"):
            build_model(f"timm:{name}", "cam", network.num_classes, keep_classifier=True, **words)
        return
    kept = build_model(f"timm:{name}", "cam", network.num_classes, keep_classifier=True, **words).eval()
    images = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(kept(images)["logits"], network(images), rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="cannot reuse a classifier"):
        build_model(f"timm:{name}", "cam", 3, keep_classifier=True, **words)
