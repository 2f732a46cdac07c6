"""Weights files: read without running code, each tensor checked; what is wrong is one line that names it."""

import os
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from conftest import TINY, refused_start, run
from wsol import build_model
from wsol.core.safe_load import UnsafeFileError, entries_fault, load_tensors

ARCHITECTURE = TINY[1]


@pytest.fixture(scope="module")
def weights():
    """The state dict of timm's own network."""
    torch.manual_seed(0)
    return build_model(ARCHITECTURE, "cam", 2).backbone.network.state_dict()


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)


def test_tensors_and_plain_values_are_read_and_an_object_is_not(tmp_path):
    torch.save({"a": torch.arange(3), "b": [1, "x", None]}, tmp_path / "plain.pth")
    content = load_tensors(tmp_path / "plain.pth")
    assert content["a"].tolist() == [0, 1, 2] and content["b"] == [1, "x", None]
    torch.save({"a": torch.nn.Linear(1, 1)}, tmp_path / "object.pth")
    with pytest.raises(UnsafeFileError, match=r"it holds an object of torch\.nn\."):
        load_tensors(tmp_path / "object.pth")


def test_a_state_dict_maps_text_to_tensors():
    assert entries_fault({"a": torch.ones(2)}) is None
    assert entries_fault([torch.ones(2)]) == "a list; expected a mapping of names to tensors"
    assert entries_fault({"a": torch.ones(2), 3: torch.ones(2)}) == "the name 3 is a int; expected text"
    assert entries_fault({"a": 1.5}) == "a is a float; expected a tensor"


@pytest.mark.parametrize(
    "name", ["shape", "sparse", "quantized", "complex", "meta", "nested", "text", "none", "number", "nan"]
)
def test_wrong_weights_are_refused_by_entry(workspace, weights, name):
    first = next(key for key in weights if weights[key].ndim == 4)
    value = weights[first]
    made = {
        "shape": torch.zeros(3),
        "sparse": value.to_sparse(),
        "quantized": torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "complex": value.to(torch.complex64),
        "meta": value.to("meta"),
        "nested": torch.nested.nested_tensor([value[0], value[1]]),
        "text": "weights",
        "none": None,
        "nan": value * float("nan"),
    }
    torch.save({0: value} if name == "number" else weights | {first: made[name]}, workspace / "w.pth")
    printed = refused_start(workspace, "w.pth")
    assert printed.startswith("error: w.pth: ")
    assert name == "number" or first in printed


def test_weights_of_other_widths_are_taken_and_other_kinds_are_not(workspace, weights):
    first = next(key for key in weights if weights[key].ndim == 4)
    for dtype in (torch.float64, torch.float16):
        torch.save(
            {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}, "w.pth"
        )
        model = build_model(ARCHITECTURE, "cam", 2, pretrained=True, pretrained_path="w.pth")
        got = model.state_dict()[f"backbone.network.{first}"]
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, weights[first].to(dtype).float())
    save_file({name: value.to(torch.int8).contiguous() for name, value in weights.items()}, workspace / "w.safetensors")
    assert "holds int8; expected float32" in refused_start(workspace, "w.safetensors")
    torch.save(weights | {first: weights[first].double() * 1e300}, "w.pth")
    assert f"{first} holds NaN or infinity" in refused_start(workspace, "w.pth")


def test_damaged_files_and_files_that_would_run_code_are_refused(workspace, weights):
    save_file(weights, workspace / "cut.safetensors")
    data = (workspace / "cut.safetensors").read_bytes()
    (workspace / "cut.safetensors").write_bytes(data[: len(data) // 2])
    (workspace / "header.safetensors").write_bytes(b"\xff" * 8 + data[8:])
    torch.save(build_model(ARCHITECTURE, "cam", 2), workspace / "whole.pth")
    torch.save(weights, workspace / "cut.pth")
    (workspace / "cut.pth").write_bytes((workspace / "cut.pth").read_bytes()[:20000])
    np.save(workspace / "array.npy", np.zeros(3))
    os.rename(workspace / "array.npy", workspace / "array.pth")
    with zipfile.ZipFile(workspace / "packed.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("archive/data/0", bytes(10**7))
    assert os.path.getsize("packed.pth") < 20000
    for name in ("cut.safetensors", "header.safetensors", "whole.pth", "cut.pth", "array.pth", "packed.pth"):
        assert f"{name}: not a weights file that loads without running code" in refused_start(workspace, name)
    assert "an object of wsol.methods.cam.CAM" in refused_start(workspace, "whole.pth")
    assert "is compressed" in refused_start(workspace, "packed.pth")
    os.mkfifo("fifo.pth")
    for name, reason in (("fifo.pth", "expected a"), ("dataset", "expected a"), ("nowhere.pth", "expected a file")):
        assert reason in refused_start(workspace, name)
        words = ("--checkpoint", name, "--scoremap_root", "maps")
        assert f"error: {name}: " in run("inference.py", *words, cwd=workspace, code=2)
