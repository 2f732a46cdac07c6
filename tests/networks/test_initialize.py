"""Initial weights, and pretrained ones on top of them."""

import pytest
import torch
import torchvision

from wsol import build_model


def is_xavier(weight):
    fan_out, fan_in = (weight.shape[axis] * weight[0, 0].numel() for axis in (0, 1))
    limit = (6 / (fan_in + fan_out)) ** 0.5
    return weight.abs().max() <= limit and weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.05)


def is_kaiming(weight):
    fan_out = weight.shape[0] * weight[0, 0].numel()
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
    torch.manual_seed(0)
    network = torchvision.models.vgg16(weights=None, init_weights=False)
    kept = {name: value for name, value in network.state_dict().items() if name.startswith("features.")}  # 59 of 553 MB
    torch.save(kept, tmp_path / "vgg16.pth")
    model = build_model("vgg16", method, 3, pretrained=True, pretrained_path=str(tmp_path / "vgg16.pth"))
    for i in (0, 17, 28):  # SPG's fourth and fifth block too
        assert torch.equal(model.backbone.features[i].weight, network.features[i].weight)
    new = [layer for layer in model.backbone.extra if isinstance(layer, torch.nn.Conv2d)]
    assert len(new) == extra and all((is_kaiming if method == "cam" else is_xavier)(layer.weight) for layer in new)
