"""Wrong checkpoints and weight files, for wrong_files.py.

Each table maps the name of a fault to a function that produces it. A trailing REFUSED, ACCEPTED or EITHER says how the
command should end (default: refused).
"""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from scripts.trials.common import ACCEPTED, EITHER, REFUSED, Case
from scripts.trials.workspace import BASE
from scripts.trials.wrong_common import RunsCode, put, zip_bytes

CHECKPOINT = "train_log/mini/last_checkpoint.pth.tar"


def _with(key: str, value: object) -> Callable[[dict], dict]:
    return lambda content: {**content, key: value}


def _config(**changes: object) -> Callable[[dict], dict]:
    return lambda content: {**content, "config": {**content["config"], **changes}}


def _without(key: str, inside: str | None = None) -> Callable[[dict], dict]:
    def change(content: dict) -> dict:
        if inside:
            return {**content, inside: {k: v for k, v in content[inside].items() if k != key}}
        return {k: v for k, v in content.items() if k != key}

    return change


def _state(change: Callable[[str, torch.Tensor], object], count: int = 1) -> Callable[[dict], dict]:
    """Change the first `count` entries of the state dict."""

    def changed(content: dict) -> dict:
        entries = content["state_dict"]
        names = [name for name, value in entries.items() if value.ndim][:count]
        return {**content, "state_dict": {**entries, **{name: change(name, entries[name]) for name in names}}}

    return changed


ENTRIES: tuple[str, ...] = (
    "architecture",
    "epoch",
    "state_dict",
    "optimizer",
    "config",
    "label_level",
    "class_names",
    "file_labels",
)
ENTRIES += ("step", "scaler", "epoch_sums", "epoch_images", "best", "validation", "metrics", "bad_images")
WRONG_TYPES = {
    "architecture": 3,
    "epoch": "x",
    "state_dict": [1],
    "config": [1],
    "label_level": 7,
    "class_names": "abcd",
    "file_labels": {"a": 1},
    "format": 99,
    "step": -1,
    "epoch_sums": [0.0, 0.0],
    "validation": {"last": None},
    "metrics": [1],
}
CHECKPOINTS: dict[str, tuple] = {
    "as it is": (lambda content: content, ACCEPTED),
    **{f"no entry {key}": (_without(key),) for key in ENTRIES},
    **{f"entry {key} is {value!r}": (_with(key, value),) for key, value in WRONG_TYPES.items()},
    "entry optimizer is 3": (_with("optimizer", 3), EITHER),  # maps do not need it
    "of before formats": (lambda c: {key: c[key] for key in ENTRIES[:8]}, ACCEPTED),
    "config empty": (_with("config", {}),),
    **{
        f"config without {key}": (_without(key, "config"),)
        for key in ("crop_size", "wsol_method", "dataset_name", "metadata_root", "batch_size", "large_feature_map")
    },
    "crop_size is text": (_config(crop_size="x"),),
    "crop_size is -1": (_config(crop_size=-1),),
    "crop_size is 10**9": (_config(crop_size=10**9),),
    "batch_size is 0": (_config(batch_size=0),),
    "dataset_name is None": (_config(dataset_name=None),),
    "dataset_name has NUL": (_config(dataset_name="a\0b"),),
    "unknown method": (_config(wsol_method="nonsense"),),
    "unknown architecture": (_config(architecture="nonsense"),),
    "another architecture": (_config(architecture="vgg16"),),
    "another method": (_config(wsol_method="acol"),),
    "a number as cam_agg_level": (_config(cam_agg_level=3),),
    "unknown level": (_with("label_level", "nonsense"),),
    "foreign classes": (_with("class_names", ["a", "b", "c", "d"]),),
    "a class too many": (lambda c: {**c, "class_names": [*c["class_names"], "e"], "file_labels": [*c["file_labels"], 9]},),
    "a class too few": (lambda c: {**c, "class_names": c["class_names"][:3], "file_labels": c["file_labels"][:3]},),
    "more labels than names": (lambda c: {**c, "file_labels": [*c["file_labels"], 4]},),
    "labels are text": (_with("file_labels", ["0", "1", "2", "3"]),),
    "a label twice": (_with("file_labels", [0, 0, 0, 0]),),
    "names are numbers": (_with("class_names", [0, 1, 2, 3]),),
    "weights of another shape": (_state(lambda name, value: value[:1]),),
    "weights are whole numbers": (_state(lambda name, value: value.to(torch.int8), 99), EITHER),
    "weights are complex": (_state(lambda name, value: value.to(torch.complex64), 99),),
    "weights are NaN": (_state(lambda name, value: value * float("nan"), 99), EITHER),
    "weights are text": (_state(lambda name, value: "x"),),
    "weights are sparse": (_state(lambda name, value: value.to_sparse()), EITHER),
    "weights on the meta device": (_state(lambda name, value: value.to("meta"), 99),),
    "an entry of weights missing": (lambda c: {**c, "state_dict": dict(list(c["state_dict"].items())[1:])},),
    "an unknown entry of weights": (lambda c: {**c, "state_dict": {**c["state_dict"], "more": torch.zeros(1)}},),
    "no weights": (_with("state_dict", {}),),
    "weights with numbers as names": (_with("state_dict", {1: torch.zeros(1)}),),
    "a list": (lambda content: [content],),
    "a tensor": (lambda content: torch.zeros(3),),
    "a number": (lambda content: 7,),
    "None": (lambda content: None,),
    "the state dict alone": (lambda content: content["state_dict"],),
    "an object that runs code": (_with("epoch", RunsCode()),),
}
RAW_FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "truncated": lambda good: good[: len(good) // 2],
    "its first bytes": lambda good: good[:100],
    "text": lambda good: b"nonsense\n",
    "NUL bytes": lambda good: bytes(1000),
    "a pickle of code": lambda good: b"cos\nsystem\n(S'touch executed'\ntR.",
    "another zip": lambda good: zip_bytes({"a.txt": b"x"}),
    "the middle zeroed": lambda good: good[:2000] + bytes(2000) + good[4000:],
}
WEIGHTS: dict[str, tuple] = {
    "a list": (lambda content: [1, 2],),
    "empty": (lambda content: {},),
    "numbers as names": (lambda content: {1: torch.zeros(1)},),
    "values are numbers": (lambda content: {"a": 1},),
    "another network": (lambda content: {"features.0.weight": torch.zeros(64, 3, 3, 3)},),
    "one of another shape": (
        lambda content: {**content["state_dict"], "backbone.network.conv1.weight": torch.zeros(1)},
        EITHER,
    ),
    "a state dict in itself": (lambda content: {"state_dict": {"state_dict": {"a": torch.zeros(1)}}},),
    "on the meta device": (lambda content: {k: v.to("meta") for k, v in content["state_dict"].items()},),
    "complex": (lambda content: {k: v.to(torch.complex64) for k, v in content["state_dict"].items()}, EITHER),
    "NaN": (lambda content: {k: v * float("nan") for k, v in content["state_dict"].items()}, EITHER),
}
SAFETENSORS = {
    "header longer than the file": struct.pack("<Q", 1 << 40) + b"{}",
    "header no JSON": struct.pack("<Q", 4) + b"nons",
    "offsets outside": struct.pack("<Q", 59) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,99999]}} ',
    "empty": b"",
    "text": b"nonsense",
    "pickle": b"cos\nsystem\n(S'touch executed'\ntR.",
}


def torch_cases() -> Iterator[Case]:
    """Yield wrong checkpoints for inference.py, and wrong weight files for main.py."""

    def altered(change: Callable, file: str) -> Callable[[Path], None]:
        def setup(folder: Path) -> None:
            content = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
            torch.save(change(content), folder / file)

        return setup

    def raw(change: Callable[[bytes], bytes], file: str) -> Callable[[Path], object]:
        return lambda folder: (folder / file).write_bytes(change((folder / CHECKPOINT).read_bytes()))

    inference = ("--checkpoint", "wrong.pth.tar", "--scoremap_root", "out", "--workers", "0", "--device", "cpu")
    main = (*BASE["main.py"], "--pretrained", "TRUE", "--pretrained_path", "wrong.pth")
    theirs = (*BASE["main.py"], "--wsolevaluation_checkpoint", "wrong.pth")
    for name, (change, *expected) in CHECKPOINTS.items():
        wanted = expected[0] if expected else REFUSED
        yield Case(
            f"checkpoint: {name}",
            "inference.py",
            inference,
            wanted,
            ["wrong.pth.tar", "cam_agg_level"],
            altered(change, "wrong.pth.tar"),
        )
    for name, change in RAW_FILES.items():
        yield Case(
            f"checkpoint: {name}", "inference.py", inference, REFUSED, ["wrong.pth.tar"], raw(change, "wrong.pth.tar")
        )
        yield Case(f"weights: {name}", "main.py", main, REFUSED, ["wrong.pth"], raw(change, "wrong.pth"))
        yield Case(f"wsolevaluation's: {name}", "main.py", theirs, REFUSED, ["wrong.pth"], raw(change, "wrong.pth"))
    for name, (change, *expected) in WEIGHTS.items():
        wanted = expected[0] if expected else REFUSED
        yield Case(f"weights: {name}", "main.py", main, wanted, ["wrong.pth"], altered(change, "wrong.pth"))
        yield Case(f"wsolevaluation's: {name}", "main.py", theirs, REFUSED, ["wrong.pth"], altered(change, "wrong.pth"))
    tensors = (*main[:-1], "wrong.safetensors")
    for name, content in SAFETENSORS.items():
        setup = partial(put, "wrong.safetensors", content)
        yield Case(f"safetensors: {name}", "main.py", tensors, REFUSED, ["wrong.safetensors"], setup)
