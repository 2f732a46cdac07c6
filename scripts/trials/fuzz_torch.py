"""Seeds and mutations of PyTorch files, for fuzz.py: checkpoints, weights, safetensors."""

import io
import pickletools
import struct
import warnings
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import torch

from scripts.trials.fuzz_formats import zip_members
from scripts.trials.fuzz_mutations import BYTES, INTEGERS, ODD, Mutation, change_tree, insert
from scripts.trials.wrong_common import RunsCode
from wsol.data.truth import BoxTruth, SplitTruth
from wsol.metrics.calibration import Calibration, Logistic
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.runs.box_rules import BoxRule
from wsol.runs.train_state import TrainState, to_tensors

CONFIG = {
    **{"dataset_name": "Mini", "data_root": "dataset", "metadata_root": "metadata", "architecture": "resnet18"},
    **{"wsol_method": "cam", "batch_size": 4, "crop_size": 32, "large_feature_map": True, "multi_contour_eval": True},
    **{"cam_agg_level": None, "coarsening": None, "mask_root": "dataset", "amp": "off", "max_megapixels": 100.0},
    **{"bootstrap": 20, "seed": 0, "cam_curve_interval": 0.1, "iou_threshold_list": [30, 50, 70]},
}


def evaluator(scored: bool) -> SplitEvaluator:
    """Return an evaluator of two images with boxes, which it has scored or not."""
    truth = SplitTruth("Mini", "val", ["a", "b"], ["a", "b"], BoxTruth({"a": [], "b": []}, {}), None)
    made = SplitEvaluator(truth, 0.1, [30, 50, 70], True)
    for image_id in truth.image_ids if scored else ():
        made.add(Scored(image_id, np.zeros((3, 2), np.uint8), size=(20, 20), rank=0))
    return made


def train_state() -> TrainState:
    """Return the state of a training of one parameter."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2, 3))], 0.1, momentum=0.9)
    return TrainState(optimizer, torch.amp.GradScaler("cpu", enabled=False), torch.zeros(2, dtype=torch.float64))


def checkpoint() -> dict[str, Any]:
    """Return the content of a checkpoint with two tensors."""
    counts = to_tensors(evaluator(scored=True).state_dict())
    return {
        **{"format": 2, "architecture": "resnet18", "epoch": 1, "config": dict(CONFIG), "label_level": "species"},
        "state_dict": {"conv1.weight": torch.ones(2, 3), "bn1.num_batches_tracked": torch.tensor(3)},
        "optimizer": train_state().optimizer.state_dict(),
        **{"class_names": ["ant", "bee"], "file_labels": [0, 1], "score_map_thresholds": {"50": 0.5}},
        **{"ancestors": {"order": [0, 0]}, "step": 0, "scaler": {}, "epoch_sums": torch.zeros(2, dtype=torch.float64)},
        **{"epoch_images": 4, "best": 50.0, "metrics": [{"epoch": 1}], "bad_images": ["x"]},
        "validation": {"last": {"epoch": 1, "results": {"top1_cls": 50.0}, "counts": counts}},
        **{"version": "0.1.0", "hierarchy": {"order": {"names": ["insect"], "labels": [0, -1]}}},
        "box_rules": {"given": BoxRule(0.2, 75.0, 40, "true", calibration(), {"accuracy": 70.0}).to_dict()},
    }


def calibration() -> Calibration:
    """Return the calibration of one sign."""
    curve = Logistic(0.5, (1.0,))
    return Calibration(("fill",), (0.0,), (1.0,), (0.5,), (0.1,), curve, curve)


def weights() -> dict[str, Any]:
    """Return the content of a file of weights."""
    return {"state_dict": {"module.conv1.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}}


def saved(content: object, legacy: bool = False) -> bytes:
    """Return the bytes of a file of torch.save; `legacy`: of the format before zip archives."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _tensors() -> tuple[Any, ...]:
    one = torch.ones(2, 3)
    with warnings.catch_warnings():  # some of these kinds are prototypes
        warnings.simplefilter("ignore")
        return (
            *(one.to_sparse(), one.to("meta"), one.to(torch.complex64), one * float("nan"), one[:1], torch.tensor(1.0)),
            *(one.expand(10**6, 2, 3), torch.zeros(0), one.to(torch.float8_e4m3fn), one.bool(), one.to(torch.bfloat16)),
            *(torch.quantize_per_tensor(one, 0.1, 0, torch.qint8), torch.nn.Parameter(one), torch.Size([1]), torch.float32),
            *(RunsCode(), {1: one}, {None: 1}, (1, 2), {1, 2}, 1j, bytearray(3)),
        )


def torch_tree(data: bytes, rng: Random) -> bytes:
    """Change values of a PyTorch file: others, of other types, odd tensors, and code."""
    try:
        content = torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # noqa: BLE001 (whatever it is: an earlier mutation has broken the file)
        return rng.choice(BYTES)(data, rng)
    content = change_tree(content, rng, (*ODD, *_tensors(), *_tensors()))
    try:
        return saved(content, legacy=rng.random() < 0.3)
    except Exception:  # noqa: BLE001 (torch cannot save the object)
        return data


def pickle_numbers(data: bytes, rng: Random) -> bytes:
    """Replace a number in a pickle, such as the number of a storage's elements or a side of a tensor."""
    numbers = ("BININT", "BININT1", "BININT2", "LONG1")
    found = [(place, code.name) for code, _, place in _opcodes(data) if code.name in numbers]
    if not found:
        return rng.choice(BYTES)(data, rng)
    place, name = rng.choice(found)
    length = {"BININT": 5, "BININT1": 2, "BININT2": 3}.get(name) or 2 + data[place + 1]
    value = rng.choice(INTEGERS)
    new = b"J" + struct.pack("<i", value) if abs(value) < 2**31 else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
    return data[:place] + new + data[place + length :]


GLOBALS = (
    *(b"torch\nFloatStorage", b"torch\nDoubleStorage", b"torch\nUntypedStorage", b"torch\nQInt8Storage", b"torch\nTensor"),
    *(b"posix\nsystem", b"builtins\neval", b"builtins\nbytearray", b"torch._utils\n_rebuild_tensor_v2", b"torch\nSize"),
    *(b"torch._utils\n_rebuild_sparse_tensor", b"torch._utils\n_rebuild_qtensor", b"collections\nCounter", b"torch\ndevice"),
    *(b"torch._utils\n_rebuild_parameter", b"torch._utils\n_rebuild_meta_tensor_no_storage", b"_codecs\nencode"),
    *(b"torch._tensor\n_rebuild_from_type_v2", b"torch._utils\n_rebuild_wrapper_subclass", b"torch\ncomplex128"),
)


def pickle_globals(data: bytes, rng: Random) -> bytes:
    """Replace the name of a function or class in a pickle."""
    found = [place for code, _, place in _opcodes(data) if code.name == "GLOBAL"]
    if not found:
        return insert(data, rng)
    place = rng.choice(found)
    end = data.index(b"\n", data.index(b"\n", place) + 1)
    return data[: place + 1] + rng.choice(GLOBALS) + data[end:]


def _opcodes(data: bytes) -> list[tuple[pickletools.OpcodeInfo, Any, int]]:
    """Return the opcodes of a pickle up to where it is damaged."""
    found = []
    with suppress(Exception):  # many kinds
        for code, argument, place in pickletools.genops(data):
            found.append((code, argument, place or 0))
    return found


PICKLE: tuple[Mutation, ...] = (pickle_numbers,) * 6 + (pickle_globals,) * 3 + BYTES
TORCH: tuple[Mutation, ...] = (torch_tree,) * 8 + (zip_members(PICKLE),) * 12 + PICKLE
