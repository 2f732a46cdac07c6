"""What a checkpoint knows about itself, in words, and what it lacks to draw boxes on photos.

In: a checkpoint. Out: lines of text.
"""

import os

from wsol.core.errors import shortened
from wsol.data.level_set import MEAN
from wsol.runs.box_rules import BoxRule
from wsol.runs.predictor import Predictor, restore

SHOWN = 12  # names of classes
COMPLETE = "python main.py --config {folder}/config.yaml --pretrained_path {path} --epochs 0 --experiment_name NEW"


def describe(path: str | os.PathLike) -> list[str]:
    """Return what a checkpoint holds, one fact a line.

    Raises:
        InputError: it is not a checkpoint.
    """
    predictor = restore(path)
    config, names = predictor.config, predictor.class_names
    classes = f"{len(names)} classes: {_some(names)}" if predictor.classifies else "tells no classes apart"
    lines = [
        f"checkpoint of {config.wsol_method} on {config.architecture}, after {predictor.epoch} epochs, by version "
        f"{predictor.version or 'unknown'}",
        f"trained on {config.dataset_name} at level {predictor.level!r}: {classes}",
    ]
    if predictor.together:
        others = ", ".join(f"{one.level} ({len(one.class_names)} classes)" for one in predictor.together)
        lines.append(f"  learned at once with others, each of which can be mapped at (map_level): {others}")
    lines += [f"  above it {level!r}: {_some(classes['names'])}" for level, classes in predictor.hierarchy.items()]
    of = predictor.preprocessing
    lines.append(
        f"input: RGB, {config.crop_size} x {config.crop_size} pixels, whole photo resized; (value / 255 - mean) / std with "
        f"mean {_numbers(of.mean)}, std {_numbers(of.std)}"
    )
    lines.append(f"score maps: {config.crop_size} x {config.crop_size}, of {_maps(predictor)}")
    for way, rule in predictor.box_rules.items():
        lines += _rule(way, rule)
    if predictor.thresholds:
        chosen = ", ".join(f"{threshold:.3g} at IoU {iou}" for iou, threshold in predictor.thresholds.items())
        lines.append(f"score-map thresholds of the evaluation, chosen on val: {chosen}")
    lines += lacking(predictor)
    lines.append("configuration:")
    return [*lines, *(f"  {name}: {shortened(str(value))}" for name, value in sorted(config.items()))]


def lacking(predictor: Predictor) -> list[str]:
    """Return what a checkpoint lacks, and how to give it."""
    if predictor.version is None:
        return [
            "lacks the hierarchy and how boxes are drawn (it is of an older version, or of a run that is not finished): "
            + COMPLETE.format(folder=predictor.path.parent, path=predictor.path)
        ]
    if not predictor.box_rules and not predictor.detects:
        return ["lacks a threshold for boxes (val had no boxes, or --calibrate F): give one with --threshold"]
    return [
        f"lacks a calibration for {way} classes: val had {rule.images} images with boxes, too few"
        for way, rule in predictor.box_rules.items()
        if rule.calibration is None
    ]


def _rule(way: str, rule: BoxRule) -> list[str]:
    lines = [
        f"boxes for {way} classes: largest component at score-map threshold {rule.threshold:.2f}, chosen on {rule.images} "
        f"images of val by {rule.source} boxes, of which {rule.accuracy:.1f} % reach an IoU of 50 %"
    ]
    if rule.calibration and rule.cross_fitted:
        figures = rule.cross_fitted
        lines.append(
            f"  calibration from {len(rule.calibration.signs)} signs, cross-fitted: expected calibration error of the "
            f"expected IoU {figures['expected_iou_ece']:.3f}, of reaching 50 % {figures['reaches_50_ece']:.3f} (Brier score "
            f"{figures['reaches_50_brier']:.3f}, of a constant {figures['reaches_50_brier_of_constant']:.3f})"
        )
        lines += [f"  {note}" for note in constants_of(rule)]
    return lines


def constants_of(rule: BoxRule) -> list[str]:
    """Return a note for each belief of a rule that does not depend on the photo."""
    beliefs = rule.calibration.constants if rule.calibration else ()
    return [f"{name} is the same for every box: on val, nothing that can be seen foretold it" for name in beliefs]


def _maps(predictor: Predictor) -> str:
    if predictor.detects:
        return "none: it gives boxes"
    if predictor.map_level == MEAN:
        return "each class, the mean of its ancestors' maps at all levels"
    level = predictor.cam_agg_level
    return f"classes of level {level!r} (CAM-Agg)" if level else "each class" if predictor.classifies else "the object"


def _some(names: list[str]) -> str:
    rest = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
