"""The device to compute on, mixed precision, and moving batches to the device."""

import re

import torch

from wsol.core.errors import OptionError
from wsol.core.launch import launched
from wsol.core.machine import AUTO
from wsol.data.batches import Batch
from wsol.networks import ranks

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str, amp: str = "off", tf32: bool = False) -> torch.device:
    """Return the torch device of a name (auto, cpu, cuda, cuda:N); of several processes, each has a GPU of its own.

    Raises:
        InputError: there is no such device, it cannot be that of several processes, or it does not support `amp` (off, bf16,
            fp16, auto) or `tf32`.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    if ranks.size() > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise OptionError("device", name[:40], "expected auto, cuda or cpu with several processes, each on its own GPU")
        local = launched()
        if count and local.local_rank >= count:
            problem = f"{local.local_size} processes on this machine; expected at most one for each of its {count} GPUs"
            raise OptionError("device", name, problem)
        name = f"cuda:{local.local_rank}"
    known = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", name)  # neither torch nor int() accepts numbers of any length
    if not known or (name != "cpu" and int(known[1] or 0) >= count):
        raise OptionError("device", name[:40], f"expected cpu or one of the {count} GPUs found here")
    device = torch.device(name)
    if amp == "fp16" and device.type == "cpu":
        raise OptionError("amp", "fp16", "a CPU has no fp16 arithmetic worth using; expected bf16 or off, or a GPU")
    if tf32 and device.type == "cpu":
        raise OptionError("tf32", "TRUE", "a CPU has no TF32 arithmetic; expected FALSE, or a GPU")
    return device


def use_tf32(allowed: bool) -> None:
    """Let GPUs compute float32 convolutions and matrix products in TF32 (10 bits of mantissa), or not.

    torch allows it for convolutions unless told otherwise.
    """
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def reduced_amp(device: torch.device) -> str:
    """Return the mixed precision to try on a device: bf16, or fp16 on a GPU without bf16."""
    return "fp16" if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False) else "bf16"


def autocast(device: torch.device, amp: str) -> torch.autocast:
    """Return the context in which a network runs under `amp` (off, bf16, fp16)."""
    return torch.autocast(device.type, dtype=AMP_DTYPES.get(amp), enabled=amp != "off")


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on the device, images channels last; the copies are not waited for."""
    # Encoded by a frozen network, they may be tokens.
    layout = torch.channels_last if batch.images.ndim == 4 else torch.contiguous_format
    return batch._replace(
        images=batch.images.to(device, non_blocking=True, memory_format=layout),
        labels=batch.labels.to(device, non_blocking=True),
        boxes=None if batch.boxes is None else [boxes.to(device, non_blocking=True) for boxes in batch.boxes],
        masks=None if batch.masks is None else batch.masks.to(device, non_blocking=True),
    )
