"""A trained model as one ONNX file: photos to logits and raw maps, with all that it takes to draw boxes.

In: a `Predictor`. Out: the file, checked against the model with onnxruntime, and an `ExportReport`. docs/onnx.md has the
inputs, the outputs and the measured deviations. torch's exporter and onnxruntime are loaded only here (the extra onnx).
"""

import contextlib
import copy
import importlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from wsol.core.errors import InputError, OptionError, reason, shortened
from wsol.core.files import whole_file
from wsol.core.version import version
from wsol.data.preprocessing import Preprocessing
from wsol.maps.class_maps import GIVEN, PREDICTED, UNKNOWN
from wsol.maps.extractors import ExtractedMaps
from wsol.maps.mapper import Mapper
from wsol.runs.export_check import LOGITS_TOLERANCE, MAPS_TOLERANCE, CheckImages, Deviations, check_images, compare
from wsol.runs.predictor import Predictor

OPSET = 18  # the lowest that torch's exporter writes, which most runtimes read
OPSETS = range(OPSET, 24)
FORMAT = 1  # of the metadata
METADATA = "wsol"  # its key
MOST_BYTES = 1536 * 2**20  # of weights: torch stores more in files of their own, as protobuf's end at 2 GiB
NOISY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "onnx")  # loggers


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how far it is from the model.

    path, size, opset: the file, its bytes, its version of ONNX's operators.
    side, map_size: of the images and, (h, w), of the raw maps, in pixels.
    random_images, photos: how many of each it was checked on, at every one of `wsol.runs.export_check.BATCH_SIZES`.
    deviations: the largest ones, all within their tolerance.
    """

    path: Path
    size: int
    opset: int
    side: int
    map_size: tuple[int, int]
    random_images: int
    photos: int
    deviations: Deviations

    def __str__(self) -> str:
        """Return two lines for a command to print."""
        height, width = self.map_size
        return (
            f"{self.path}: {self.size / 1e6:.1f} MB, opset {self.opset}, images {self.side} x {self.side}, maps {height} x "
            f"{width}\nchecked with onnxruntime on {self.random_images} random images and {self.photos} photos: "
            f"{self.deviations}"
        )


class ExportedMaps(nn.Module):
    """A mapper as it is exported: from 8-bit images and labels to logits, the maps' classes, and their raw maps."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mapper: Mapper, preprocessing: Preprocessing):
        super().__init__()
        self.mapper = mapper
        self.uses_labels = getattr(mapper, "forward_uses_labels", True)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(preprocessing, name))[:, None, None])

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits (B, num_classes), unless there are none, int64 (B,) the class of each map, and raw maps (B, h, w).

        images: uint8 RGB (B, 3, side, side). labels: int64 (B,), UNKNOWN for the predicted class.
        """
        normalized = (images.float() / 255 - self.mean) / self.std
        outputs = self.mapper(normalized)
        if "logits" not in outputs:
            classes = torch.zeros_like(labels)
            return classes, self.mapper.raw_maps(outputs, classes)
        logits = outputs["logits"]
        classes = torch.where(labels == UNKNOWN, logits.argmax(dim=1), labels)
        if self.uses_labels:  # the exporter merges what both passes share
            outputs = self.mapper(normalized, classes)
        return logits, classes, self.mapper.raw_maps(outputs, classes)


def export_onnx(
    predictor: Predictor,
    path: str | os.PathLike,
    opset: int = OPSET,
    photos: Sequence[str | os.PathLike] | None = None,
) -> ExportReport:
    """Write a predictor as an ONNX file, compare it with the model, and return how far apart they are.

    `photos`: image files to compare them on, besides random images; None: a few of val, if the run's data set is there.

    Raises:
        InputError: the extra onnx is not installed, the model gives boxes or needs gradients or cannot be exported, or the
            file deviates from the model by more than the tolerance. There is no file then.
    """
    _require_installed()
    _require_exportable(predictor, opset)
    images = check_images(predictor, predictor.config["crop_size"], photos)
    mapper = copy.deepcopy(predictor.mapper)  # what is exported is float32 on the CPU, and tracing may leave its marks
    mapper.to("cpu", torch.float32, memory_format=torch.contiguous_format)
    mapper.eval()
    with whole_file(path) as temporary:
        map_size = _write(predictor, mapper, temporary, opset)
        deviations = _check(temporary, predictor, mapper, images)
        if problem := deviations.exceeded():
            raise InputError(f"{path}: not written, since onnxruntime deviates from the model: {problem}")
        size = temporary.stat().st_size
    side, counts = images.random.shape[2], (len(images.random), len(images.photos))
    return ExportReport(Path(path), size, opset, side, map_size, *counts, deviations)


def box_threshold(predictor: Predictor) -> float | None:
    """Return the score-map threshold for the boxes of predicted classes, or else of given ones; None: val has no boxes."""
    for way in (PREDICTED, GIVEN):
        if way in predictor.box_rules:
            return predictor.box_rules[way].threshold
    return (predictor.thresholds or {}).get("50")


def about(predictor: Predictor, map_size: tuple[int, int]) -> dict[str, Any]:
    """Return the metadata of an exported predictor, plain values; docs/onnx.md lists them."""
    config, preprocessing, ancestors = predictor.config, predictor.preprocessing, predictor.ancestors
    return {
        "format": FORMAT,
        "version": version(),
        "architecture": config["architecture"],
        "method": config["wsol_method"],
        "dataset": config["dataset_name"],
        "epoch": predictor.epoch,
        "level": predictor.level,
        "class_names": predictor.class_names if predictor.classifies else [],
        "file_labels": predictor.file_labels if predictor.classifies else [],
        "hierarchy": {level: dict(classes) for level, classes in predictor.hierarchy.items()},
        "cam_agg": None if ancestors is None else {"level": predictor.cam_agg_level, "labels": ancestors.tolist()},
        "input": {
            "side": config["crop_size"],
            "channels": "RGB",
            "resize": "bilinear with antialiasing, regardless of proportions",
            "mean": preprocessing.mean,
            "std": preprocessing.std,
        },
        "map_size": map_size,
        "box_threshold": box_threshold(predictor),
        "score_map_thresholds": None if predictor.thresholds is None else dict(predictor.thresholds),
        "box_rules": {way: rule.to_dict() for way, rule in predictor.box_rules.items()},
        "tolerance": {"logits": LOGITS_TOLERANCE, "raw_maps": MAPS_TOLERANCE},
        **({"map_level": predictor.map_level or predictor.level} if predictor.together else {}),
    }


def _require_installed() -> None:
    """Raise InputError if a package of the extra onnx is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"{name} is not installed; expected it, from: pip install -e '.[onnx]' in the checkout"
            ) from None


def _require_exportable(predictor: Predictor, opset: int) -> None:
    """Raise InputError for what is not exported to ONNX."""
    if opset not in OPSETS:
        raise InputError(f"opset {opset}: expected {OPSETS.start} to {OPSETS.stop - 1}")
    if predictor.detects:
        name = predictor.config["wsol_method"]
        raise OptionError("wsol_method", name, "gives boxes, not maps; only models with maps are exported to ONNX")
    if isinstance(predictor.mapper, ExtractedMaps):
        raise OptionError(
            "extractor",
            "",
            "the extractors of torchcam need gradients, which ONNX does not have; expected the method's own maps",
        )
    if predictor.refiner is not None:
        raise InputError(f"{predictor.path}: a refiner is no part of an ONNX file; expected a predictor without one")


def _write(predictor: Predictor, mapper: Mapper, path: Path, opset: int) -> tuple[int, int]:
    """Write the file, and return the size (h, w) of the maps.

    Raises:
        InputError: the weights are too many for one file, or the model cannot be exported.
    """
    model = ExportedMaps(mapper, predictor.preprocessing).eval()
    size = sum(value.nbytes for value in model.state_dict().values())
    if size > MOST_BYTES:
        limit = f"expected at most {MOST_BYTES / 2**30:.1f} GiB, which one ONNX file holds"
        raise InputError(f"{predictor.path}: {size / 2**30:.1f} GiB of weights; {limit}")
    side = predictor.config["crop_size"]
    images, labels = torch.zeros(2, 3, side, side, dtype=torch.uint8), torch.tensor([UNKNOWN, 0])
    with torch.no_grad(), _quiet():
        *_, raw_maps = model(images, labels)
        program = _trace(model, (images, labels), opset, predictor.classifies, predictor.path)
        map_size = (raw_maps.shape[1], raw_maps.shape[2])
        program.model.metadata_props[METADATA] = json.dumps(about(predictor, map_size), allow_nan=False)
        program.save(path, external_data=False)
    return map_size


def _trace(model: ExportedMaps, example: tuple[torch.Tensor, ...], opset: int, classifies: bool, source: Path) -> Any:  # noqa: ANN401 (torch's ONNXProgram)
    """Return the model as torch's ONNXProgram, for batches of any size.

    Raises:
        InputError: it cannot be exported.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    batch = torch.export.Dim("batch")
    try:
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            opset_version=opset,
            input_names=["images", "labels"],
            output_names=[*(["logits"] if classifies else []), "label", "raw_maps"],
            dynamic_shapes=({0: batch}, {0: batch}),
            external_data=False,
            verbose=False,
        )
    except Exception as error:  # noqa: BLE001 (whatever torch's exporter meets in a network)
        raise InputError(f"{source}: torch cannot export it to ONNX: {shortened(reason(error), 400)}") from None
    if program is None or program.model.opset_imports[""] != opset:
        raise InputError(f"opset {opset}: torch cannot write {source} at this opset; expected another, such as {OPSET}")
    ClearMetadataAndDocStringPass()(program.model)  # lines of this machine's source files
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch's exporter prints, logs and warns of, which no user can act on, to itself."""
    levels = {name: logging.getLogger(name).level for name in NOISY}
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _check(path: Path, predictor: Predictor, mapper: Mapper, images: CheckImages) -> Deviations:
    """Return how far the file, in onnxruntime on the CPU, is from the model.

    Raises:
        InputError: onnxruntime cannot read or run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (onnxruntime raises a dozen kinds)
        raise InputError(f"{predictor.path}: onnxruntime cannot read what torch exported: {reason(error)}") from None
    names = [each.name for each in session.get_outputs()]

    def run(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"images": images, "labels": labels}), strict=True))

    every = np.concatenate(images)
    return compare(run, mapper, predictor.preprocessing, every, len(predictor.class_names), box_threshold(predictor))
