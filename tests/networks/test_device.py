"""The device to compute on, and batches on their way to it."""

import pytest
import torch

from samples import noise
from wsol.core.errors import InputError, OptionError
from wsol.data.batches import Batch
from wsol.networks.device import autocast, reduced_amp, resolve_device, to_device, use_tf32

CPU = torch.device("cpu")


def test_a_batch_on_a_device_has_its_values_with_the_channels_last():
    moved = to_device(Batch(noise(), torch.tensor([2, 0, 1]), ["a", "b", "c"], []), CPU)
    assert torch.equal(moved.images, noise()) and moved.labels.tolist() == [2, 0, 1]
    assert (moved.image_ids, moved.boxes, moved.masks) == (["a", "b", "c"], None, None)
    assert moved.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["CPU", "cpu:0", "cuda:99", "cuda:" + "9" * 5000, "mps", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(OptionError, match="expected cpu or one of the"):
        resolve_device(name)


def test_a_cpu_computes_in_bf16_and_not_in_fp16():
    assert resolve_device("cpu", "bf16") == CPU
    with pytest.raises(OptionError, match=r"^amp fp16: "):
        resolve_device("cpu", "fp16")
    layer, x = torch.nn.Linear(3, 2), torch.ones(1, 3)
    for amp, dtype in (("bf16", torch.bfloat16), ("off", torch.float32)):
        with autocast(CPU, amp):
            assert layer(x).dtype == dtype


def test_tf32_is_for_gpus_and_only_if_asked():
    assert resolve_device("cpu", tf32=False) == CPU
    with pytest.raises(OptionError, match=r"^tf32 TRUE: a CPU has no TF32"):
        resolve_device("cpu", tf32=True)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        for allowed in (True, False):
            use_tf32(allowed)
            assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (allowed, allowed)
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_a_cpu_tries_bf16():
    assert reduced_amp(CPU) == "bf16"


def test_devices_that_do_not_exist_are_refused():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="device cuda:99: expected cpu or one of"):
        resolve_device("cuda:99")
    with pytest.raises(InputError, match="amp fp16"):
        resolve_device("cpu", "fp16")


@pytest.mark.parametrize("name", ["cuda:9999999999999999999999", "cuda:" + "9" * 5000, "cuda:200", "cuda:x", "tpu", ""])
def test_no_name_of_a_device_is_a_traceback(name):
    with pytest.raises(InputError, match=r"^device"):
        resolve_device(name)
