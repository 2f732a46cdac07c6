"""`<split>_images.npz` of a run: what each image gave, so that runs are compared and scored again without their maps.

In: an evaluator that has scored a split. Out: one compressed file, written whole; read without running code, and checked.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from wsol.core.errors import InputError, OptionName, shortened
from wsol.core.files import check_input, whole_file
from wsol.core.plain_values import is_number, shown
from wsol.data.truth import BoxTruth, MaskTruth, SplitTruth
from wsol.metrics.scored import Scored, from_columns, to_columns
from wsol.metrics.split_evaluator import DETECTIONS, MIN_INTERVAL, PSEUDO_BOXES, SplitEvaluator

FORMAT = 1
SETTINGS = ("cam_curve_interval", "iou_threshold_list")  # of an evaluator, which a file has to state
MOST_BYTES = 4 << 30  # that a file may declare; a few kilobytes can declare much more
# What makes evaluation.py score with a file's settings.
SETTING_OPTIONS = {
    "cam_curve_interval": ("cam_curve_interval", "{}"),
    "iou_threshold_list": ("iou_threshold_list", "{}"),
    "multi_contour": ("multi_contour_eval", "TRUE"),
    "largest_contour": ("multi_contour_eval", "FALSE"),
}


@dataclass(frozen=True)
class ImagesFile:
    """What a file holds: `settings`, those of its evaluator; `analysis_threshold`, the score-map threshold of area_ratio and
    num_components, None where none was known when the maps were made; and the images, by id, in the order scored."""

    path: Path
    settings: Mapping[str, Any]
    analysis_threshold: float | None
    images: Mapping[str, Scored]

    def check(self, evaluator: SplitEvaluator) -> None:
        """Raise InputError if the images were scored with other settings than an evaluator's."""
        for name, expected in evaluator.settings.items():
            if (found := self.settings.get(name)) != expected:
                said, wanted = (" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in (found, expected))
                message = f"{self.path}: scored with {name} {shortened(said)}; expected {wanted}"
                option, value = SETTING_OPTIONS.get(said if name == "box_rule" else name, ("", ""))
                if not option:
                    raise InputError(message)
                raise InputError(f"{message} (", OptionName(option), f" {value.format(said)} gives the former)")
        try:
            for one in self.images.values():
                evaluator.check_shapes(one)
        except InputError as error:
            raise InputError(f"{self.path}: ", *error.parts) from None

    def evaluator(self) -> SplitEvaluator:
        """Return an evaluator that has counted the file's images; it knows no true boxes and masks, so it scores no maps.

        Raises:
            InputError: the settings or the images are not those of an evaluator.
        """
        try:
            name, split, kinds, rule = (self.settings[key] for key in ("dataset_name", "split", "truth", "box_rule"))
            pseudo = next((kind.removeprefix(PSEUDO_BOXES) for kind in kinds if str(kind).startswith(PSEUDO_BOXES)), None)
            boxes = BoxTruth({}, {}) if pseudo or "boxes" in kinds else None
            masks = MaskTruth(Path(), {}, {}, {}) if "masks" in kinds else None
            scoring = (*(self.settings[key] for key in SETTINGS), rule == "multi_contour", rule == DETECTIONS)
            truth = SplitTruth(name, split, [*self.images], [*self.images], boxes, masks, pseudo)
            evaluator = SplitEvaluator(truth, *scoring)
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.path}: not the settings of an evaluator ({error})") from None
        self.check(evaluator)
        for one in self.images.values():
            evaluator.add(one)
        return evaluator


def images_name(split: str) -> str:
    """Return the file's name in a run's folder."""
    return f"{split}_images.npz"


def write_images(path: str | os.PathLike, evaluator: SplitEvaluator, analysis_threshold: float | None) -> None:
    """Write what every image gave that an evaluator has counted."""
    header = {"format": FORMAT, "settings": evaluator.settings, "analysis_threshold": analysis_threshold}
    columns = {name: np.array(column) for name, column in to_columns(evaluator.images).items() if column is not None}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **columns)  # type: ignore[arg-type]  # its stub takes allow_pickle for one of them


def read_interval(path: str | os.PathLike) -> float:
    """Return the interval of score-map thresholds with which a file's images were scored; see `read_images`."""
    return _read(path, ())[0]["settings"]["cam_curve_interval"]


def read_images(path: str | os.PathLike) -> ImagesFile:
    """Return what `write_images` wrote.

    Raises:
        InputError: the file is damaged, not of this kind or format, or declares more than MOST_BYTES.
    """
    header, arrays = _read(path, Scored._fields)
    try:
        ids = arrays["image_id"]
        columns = {**dict.fromkeys(Scored._fields), **arrays, "image_id": ids.tolist() if ids.ndim == 1 else ids}
        images = {one.image_id: one for one in from_columns(columns)}
        known = {one.rank is not None for one in images.values() if not one.skipped}
        if len(known) > 1:
            raise InputError("rank: known for only some of the images; expected all or none")
    except (InputError, KeyError, AttributeError, SystemError) as error:  # the last: letters that Unicode does not have
        raise InputError(f"{path}: not a readable file of images ({error})") from None
    return ImagesFile(Path(path), header["settings"], header.get("analysis_threshold"), images)


def _read(path: str | os.PathLike, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return (header, arrays): of the named arrays, those in the file."""
    check_input(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            kinds = {entry.compress_type for entry in members.values()}
            if not kinds <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:  # which unpack no more than is read
                raise ValueError("a compression that NumPy does not write")
            if sum(entry.file_size for entry in members.values()) > MOST_BYTES:
                raise ValueError(f"it declares more than {MOST_BYTES} bytes")
            header = json.loads(str(_read_array(archive, members["header"])))
            arrays = {name: _read_array(archive, members[name]) for name in names if name in members}
    except KeyError:
        raise InputError(f"{path}: no header; expected a run's <split>_images.npz") from None
    except Exception as error:  # noqa: BLE001 (a damaged file makes NumPy and zipfile raise a dozen kinds)
        reason = "pickled objects" if "pickle" in str(error) else shortened(str(error), 300)  # no advice to load them
        raise InputError(f"{path}: not a readable file of images ({reason})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else header
        raise InputError(f"{path}: format {shown(found)}; expected {FORMAT}, of a run's <split>_images.npz")
    settings, threshold = header.get("settings"), header.get("analysis_threshold")
    interval, ious = (settings.get(name) if isinstance(settings, dict) else None for name in SETTINGS)
    are_ious = isinstance(ious, list) and all(is_number(iou) and 0 < iou <= 100 for iou in ious)
    valid = is_number(interval) and MIN_INTERVAL <= interval <= 1 and are_ious
    if not valid or not is_number(threshold or 0):
        raise InputError(f"{path}: no valid settings; expected a run's <split>_images.npz")
    return header, arrays


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Return an array; its header may not declare more bytes than its entry has."""
    with archive.open(entry) as stream:
        version = npy_format.read_magic(stream)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if int(np.prod(shape, dtype=object)) * max(dtype.itemsize, 1) > entry.file_size:  # text of no letters has no bytes
            raise ValueError(f"{entry.filename}: shape {shape}, more than there is")
    with archive.open(entry) as stream:
        return npy_format.read_array(stream, allow_pickle=False)
