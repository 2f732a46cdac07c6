"""The benchmark of steps: its kinds of operations, its operations per second, and that it runs."""

import pytest
import torch

from conftest import run
from scripts import benchmark_steps
from scripts.benchmark_steps import Case, kind_of, map_step, matrix_rate, train_step, versions
from wsol.runs.training import blank_batch

CPU = torch.device("cpu")
CASE = Case("timm:test_efficientnet", "cam", False, 64, 2, CPU, False, 0, 8, False, "ilsvrc")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::convolution_backward", "other convolutions"),
        ("aten::native_batch_norm", "normalisation"),
        ("aten::addmm", "matrix products"),
        ("aten::_fused_sgd_", "optimiser"),
        ("aten::copy_", "copies and conversions"),
        ("aten::add_", "the rest"),
    ],
)
def test_operations_have_kinds(name, kind):
    assert kind_of(name) == kind


def test_every_version_takes_a_step_and_maps():
    assert [one.name for one in versions(CASE, can_compile=True)] == ["plain loop", "default", "--amp bf16"]
    batch = blank_batch(2, 64)._replace(boxes=None, masks=None)
    for version in versions(CASE, can_compile=False):
        train_step(CASE, version)(batch)
        map_step(CASE, version)(batch)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["train", "infer"])
def test_the_benchmark_of_steps_runs_with_and_without_loading(what, tmp_path):
    small = "--architecture timm:test_efficientnet --crop_size 64 --batch_size 4 --images 8 --repeats 1 --workers 0"
    printed = run("scripts/benchmark.py", what, *small.split(), cwd=tmp_path)
    assert printed.count("\n| plain loop | ") == printed.count("\n| --amp bf16 | ") == 2  # by itself, and with loaders
    assert not list(tmp_path.iterdir())


def test_a_method_without_labels_is_refused(tmp_path):
    said = run("scripts/benchmark.py", "train", "--wsol_method", "fsl_seg", cwd=tmp_path, code=2)
    assert "--wsol_method fsl_seg: expected one that is trained on labels" in said


def test_the_two_matrix_products_are_the_same(monkeypatch):
    """The convolution of matrix_rate does the operations that are counted: those of the product."""
    left, right = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
    image = left.T.reshape(1, 64, 2, 32)
    convolved = torch.nn.functional.conv2d(image, right.T[:, :, None, None])
    torch.testing.assert_close(convolved.reshape(64, 64).T, left @ right, rtol=1e-4, atol=1e-4)
    monkeypatch.setitem(benchmark_steps.SIDES, "cpu", 64)
    assert 0 < matrix_rate(CPU, "off", False, 1) < 1e15
