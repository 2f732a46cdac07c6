"""Checkpoints: one file with everything that a model and its training need.

They are written whole, read without running code, and checked entry by entry.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

import torch

from wsol.core.errors import InputError, OptionName
from wsol.core.files import check_input, whole_file
from wsol.core.plain_values import are_thresholds, is_number, is_whole, shown
from wsol.core.safe_load import UnsafeFileError, entries_fault, load_tensors, misfit, tensor_fault
from wsol.data.images import PREPROCESSINGS
from wsol.data.level_set import MEAN, TrainedLevel
from wsol.maps.class_maps import WAYS
from wsol.runs.box_rules import BoxRule

if TYPE_CHECKING:
    from wsol.methods.method import Method

# What every reader needs from a checkpoint's configuration; the other options have defaults.
CONFIG = {
    **dict.fromkeys(("dataset_name", "data_root", "metadata_root", "architecture", "wsol_method"), str),
    **dict.fromkeys(("batch_size", "crop_size"), int),
    **dict.fromkeys(("large_feature_map", "multi_contour_eval"), bool),
}
# The other options that a restored model looks at, checked if they are there: older runs lack some.
OTHER_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("cam_agg_level", "coarsening"),
        (lambda value: value is None or (isinstance(value, str) and bool(value)), "text, or none"),
    ),
    "preprocessing": (lambda value: value in (None, *PREPROCESSINGS), f"{' or '.join(PREPROCESSINGS)}"),
    "freeze_backbone": (lambda value: isinstance(value, bool), "true or false"),
    "train_last_blocks": (lambda value: value is None or is_whole(value, 1), "a whole number, 1 or more, or none"),
    "mask_root": (lambda value: isinstance(value, str), "text"),
    "amp": (lambda value: value in ("off", "bf16", "fp16"), "off, bf16 or fp16"),
    "max_megapixels": (lambda value: is_number(value) and value > 0, "a number above 0"),
    "bootstrap": (lambda value: is_whole(value) and value <= 10_000, "a whole number up to 10000"),
    "seed": (is_whole, "a whole number, 0 or more"),
    "cam_curve_interval": (lambda value: is_number(value) and 1e-5 <= value <= 1, "a number from 1e-05 to 1"),
    "level_weights": (
        lambda value: value is None or (isinstance(value, list) and all(is_number(one) and one > 0 for one in value)),
        "numbers above 0, or none",
    ),
    "map_level": (lambda value: value is None or (isinstance(value, str) and bool(value)), "the name of a level, or none"),
    "iou_threshold_list": (lambda value: _are(value, int) and all(0 < iou <= 100 for iou in value), "percentages"),
}

# Of counts: the kinds of numbers that NumPy has too.
COUNTS: tuple[torch.dtype, ...] = (
    torch.bool,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.int8,
    torch.int16,
    torch.int32,
)
COUNTS += (torch.int64, torch.float16, torch.float32, torch.float64)

T = TypeVar("T")


def _are(values: object, kind: type[T], fewest: int = 1) -> TypeGuard[list[T]]:
    return isinstance(values, list) and len(values) >= fewest and all(type(value) is kind for value in values)


def _is_config(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_validation(value: object) -> bool:
    """Return whether a value is the content of a `Validation` (wsol/runs/train_state.py)."""
    if not isinstance(value, dict) or set(value) != {"epoch", "results", "counts"}:
        return False
    parts = value["results"], value["counts"]
    return is_whole(value["epoch"]) and all(isinstance(part, dict) and _has_dense_tensors(part) for part in parts)


def _has_dense_tensors(value: object) -> bool:
    """Return whether all tensors in nested dicts and lists can become arrays."""
    if isinstance(value, dict | list):
        return all(map(_has_dense_tensors, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, torch.Tensor) or (tensor_fault(value) is None and value.dtype in COUNTS)


def _are_validations(value: object) -> bool:
    return isinstance(value, dict) and set(value) <= {"last", "best"} and all(map(_is_validation, value.values()))


def _are_ancestors(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and all(
        isinstance(level, str) and _are(labels, int) and min(labels) >= -1 and max(labels) < 2**31
        for level, labels in value.items()
    )


def _are_box_rules(value: object) -> bool:
    if not (isinstance(value, dict) and set(value) <= set(WAYS)):
        return False
    try:
        return all(BoxRule.from_dict(rule) for rule in value.values())
    except ValueError:
        return False


def _is_hierarchy(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    for level, classes in value.items():
        if not (isinstance(level, str) and level and isinstance(classes, dict) and set(classes) == {"names", "labels"}):
            return False
        names, labels = classes["names"], classes["labels"]
        if not (_are(names, str, fewest=0) and _are(labels, int) and -1 <= min(labels) <= max(labels) < len(names)):
            return False
    return True


def _are_trained_levels(value: object) -> bool:
    """Return whether a value is a list of what `TrainedLevel.to_dict` returns, of two levels or more."""
    if not (isinstance(value, list) and len(value) > 1 and all(isinstance(one, dict) for one in value)):
        return False
    if any(set(one) != set(TrainedLevel.__dataclass_fields__) for one in value):
        return False
    levels = [one["level"] for one in value]
    if not (_are(levels, str) and all(levels) and len(set(levels)) == len(levels) and MEAN not in levels):
        return False
    return all(_are(value[0]["class_names"], str) and _is_trained_level(one, len(value[0]["class_names"])) for one in value)


def _is_trained_level(one: Mapping, of_first: int) -> bool:
    names, labels, places = one["class_names"], one["file_labels"], one["of_first"]
    if not (_are(names, str) and _are(labels, int) and min(labels) >= 0 and len(set(labels)) == len(labels) == len(names)):
        return False
    if places is None:
        return True
    return _are(places, int) and len(places) == of_first and -1 <= min(places) <= max(places) < len(names)


def _are_sums(value: object) -> bool:
    if not isinstance(value, torch.Tensor) or tensor_fault(value):
        return False
    return (value.shape, value.dtype) == ((2,), torch.float64)


class Entry(NamedTuple):
    """One entry of a checkpoint.

    check: whether a value is valid.
    expected: what a valid value is, for messages.
    since: the first format with this entry.
    optional: whether it may be absent.
    """

    check: Callable[[object], bool]
    expected: str
    since: int = 1
    optional: bool = False


FORMAT = 2  # of new checkpoints; format 1 was not stated, and of a training's state it had only epoch and optimiser
ENTRIES = {
    "format": Entry(lambda value: is_whole(value, 1), "a whole number, 1 or more", since=2),
    "architecture": Entry(lambda value: isinstance(value, str), "a name"),
    "epoch": Entry(is_whole, "a whole number, 0 or more"),
    "state_dict": Entry(lambda value: entries_fault(value) is None, "a mapping of names to tensors"),
    "optimizer": Entry(lambda value: isinstance(value, dict), "a dict"),
    "config": Entry(_is_config, "a mapping of options to their values"),
    "label_level": Entry(lambda value: isinstance(value, str) and bool(value), "the name of a level"),
    "class_names": Entry(lambda value: _are(value, str), "a list of names, one or more"),
    "file_labels": Entry(lambda value: _are(value, int) and min(value) >= 0, "a list of whole numbers, 0 or more"),
    "score_map_thresholds": Entry(
        lambda value: value is None or are_thresholds(value),
        "IoU thresholds mapped to numbers in [0, 1)",
        optional=True,
    ),
    "ancestors": Entry(
        _are_ancestors,
        "CAM-Agg's level mapped to each class's label there (-1: none), or none",
        optional=True,
    ),
    # wsol/runs/calibrate.py adds these to a finished run's.
    "box_rules": Entry(_are_box_rules, "the box rules of given and predicted classes", optional=True),
    "trained_levels": Entry(
        _are_trained_levels,
        "two or more levels with their classes, and which of them hold those of the first",
        optional=True,
    ),
    "hierarchy": Entry(_is_hierarchy, "level to names and labels, which are positions among them or -1", optional=True),
    "version": Entry(lambda value: isinstance(value, str), "text", optional=True),
    # wsol/runs/train_state.py describes these.
    "step": Entry(is_whole, "a whole number, 0 or more", since=2),
    "scaler": Entry(lambda value: isinstance(value, dict), "a dict", since=2),
    "epoch_sums": Entry(_are_sums, "a tensor of two float64", since=2),
    "epoch_images": Entry(is_whole, "a whole number, 0 or more", since=2),
    "best": Entry(lambda value: value is None or is_number(value), "a number, or none", since=2),
    "validation": Entry(_are_validations, "epoch, results and counts of last, and of best if there is one", since=2),
    "metrics": Entry(lambda value: _are(value, dict, fewest=0), "a list of dicts", since=2),
    "bad_images": Entry(lambda value: _are(value, str, fewest=0), "a list of messages", since=2),
}
WEIGHTS_ALONE = (OptionName("wsolevaluation_checkpoint"), " FILE ", OptionName("epochs"), " 0")
KEYS = tuple(name for name, entry in ENTRIES.items() if entry.since == 1 and not entry.optional)


def write_checkpoint(path: str | os.PathLike, content: dict) -> None:
    """Write a checkpoint, so that it would survive a loss of power once it is there.

    `content` has all of ENTRIES except `format`, as tensors and plain values.

    Raises:
        InputError: an entry is not what ENTRIES says, or the file cannot be written, as on a full disk; an older checkpoint
            of this name stays.
    """
    content = {**content, "format": FORMAT}
    check_entries(content, str(path))
    with whole_file(path, durable=True) as temporary:
        try:
            with open(temporary, "wb") as file:
                torch.save(content, file)
        except RuntimeError as error:  # torch's writer raises it for a full disk, and for whatever interrupts it
            if error.__context__ is not None and not isinstance(error.__context__, OSError):
                raise error.__context__ from None  # Ctrl-C, or the death of a process that loads images
            raise InputError(f"{path}: cannot be written ({_first_line(error)}); is the disk full?") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_checkpoint(path: str | os.PathLike) -> dict:
    """Return a checkpoint's dict with its tensors on the CPU; every entry is checked.

    Raises:
        InputError: there is no such file, it is not a checkpoint, or an entry is not what ENTRIES says.
    """
    check_input(path)
    try:
        checkpoint = load_tensors(path)
    except UnsafeFileError as error:
        raise InputError(f"{path}: not a checkpoint that loads without running code ({error})") from None
    if not isinstance(checkpoint, dict):
        raise InputError(f"{path}: not a checkpoint of main.py; expected the entries {', '.join(KEYS)}")
    check_entries(checkpoint, str(path))
    return checkpoint


def check_entries(checkpoint: Mapping, path: str) -> None:
    """Raise InputError if an entry of a checkpoint is missing or invalid in its format; `path` names it in messages."""
    written = checkpoint.get("format", 1)
    if is_whole(written, FORMAT + 1):
        raise InputError(f"{path}: has format {shown(written)}, of a newer version; expected {FORMAT} or less")
    needed = [name for name, entry in ENTRIES.items() if not entry.optional and ("format" in checkpoint or entry.since == 1)]
    if missing := [name for name in needed if name not in checkpoint]:
        hint = () if "config" in checkpoint else (" (of weights alone, main.py makes one: ", *WEIGHTS_ALONE, ")")
        raise InputError(f"{path}: not a checkpoint of main.py; it lacks the entries {', '.join(missing)}", *hint)
    if fault := entries_fault(checkpoint["state_dict"]):
        raise InputError(f"{path}: state_dict: {fault}")
    for name, entry in ENTRIES.items():
        if name in checkpoint and not entry.check(checkpoint[name]):
            raise InputError(f"{path}: {name} is {shown(checkpoint[name])}; expected {entry.expected}")
    names, labels = checkpoint["class_names"], checkpoint["file_labels"]
    if len(names) != len(labels) or len(set(labels)) < len(labels):
        raise InputError(
            f"{path}: {len(names)} class_names and {len(labels)} file_labels, {len(set(labels))} of them different; "
            "expected one unique label per name"
        )
    for level, ancestors in (checkpoint.get("ancestors") or {}).items():
        if len(ancestors) != len(names):
            raise InputError(
                f"{path}: {len(ancestors)} ancestors at level {level!r} for {len(names)} classes; expected one per class"
            )
    for level, classes in checkpoint.get("hierarchy", {}).items():
        if len(classes["labels"]) != len(names):
            raise InputError(
                f"{path}: hierarchy: {len(classes['labels'])} labels at level {level!r} for {len(names)} classes; expected "
                "one per class"
            )
    trained = [(one["level"], one["class_names"], one["file_labels"]) for one in checkpoint.get("trained_levels", ())]
    if trained and (checkpoint["label_level"], names, labels) not in trained:
        raise InputError(f"{path}: label_level, class_names and file_labels are not those of one of its trained_levels")
    config = checkpoint["config"]
    for name, kind in CONFIG.items():
        if type(config.get(name)) is not kind or (kind is int and config[name] < 1):
            wanted = {str: "text", int: "a whole number, 1 or more", bool: "true or false"}[kind]
            raise InputError(f"{path}: config: {name} is {shown(config.get(name))}; expected {wanted}")
    if trained and len(config.get("level_weights") or trained) != len(trained):
        raise InputError(f"{path}: config: {len(config['level_weights'])} level_weights for {len(trained)} trained_levels")
    for name, (check, expected) in OTHER_OPTIONS.items():
        if name in config and not check(config[name]):
            raise InputError(f"{path}: config: {name} is {shown(config[name])}; expected {expected}")
    if set(config["dataset_name"]) & set("/\0") or config["dataset_name"] in ("", ".", ".."):
        raise InputError(f"{path}: config: dataset_name is {shown(config['dataset_name'])}; expected a name, not a path")
    if any("\0" in str(config.get(name, "")) for name in ("data_root", "metadata_root", "mask_root", "coarsening")):
        raise InputError(f"{path}: config: a path with a NUL character")
    if config["architecture"] != checkpoint["architecture"]:
        raise InputError(
            f"{path}: architecture is {shown(checkpoint['architecture'])}; expected {shown(config['architecture'])}, as in "
            "its config"
        )


def fill(model: "Method", state_dict: Mapping[str, torch.Tensor], path: str | os.PathLike, finite: bool = False) -> None:
    """Fill a model with all entries of a checkpoint's state dict.

    Raises:
        InputError: entries are missing, unknown to the model, or have the wrong shape or dtype; with `finite` also NaN or
            infinity, from which no training recovers.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in state_dict]
    unknown = [name for name in state_dict if name not in own]
    if missing or unknown:
        raise InputError(
            f"{path}: does not match its own architecture and method: {len(missing)} of {len(own)} entries are missing "
            f"(first: {(missing or ['none'])[0]}), {len(unknown)} are unknown (first: {(unknown or ['none'])[0]})"
        )
    for name, value in own.items():
        if fault := misfit(state_dict[name], value, finite):
            raise InputError(f"{path}: {name} {fault}")
    model.load_state_dict(state_dict)


def restore_model(checkpoint: Mapping, path: str | os.PathLike, finite: bool = False) -> "Method":
    """Return the model that a checkpoint holds, filled; `finite` as in `fill`.

    Raises:
        InputError: its configuration does not describe a network, or the entries do not match the network.
    """
    from wsol.methods.build import build_from_config

    sizes = [len(one["class_names"]) for one in checkpoint.get("trained_levels", ())]
    try:
        model = build_from_config(checkpoint["config"], sum(sizes) or len(checkpoint["class_names"]), level_sizes=sizes)
    except InputError as error:
        raise InputError(f"{path}: config: {error}") from None
    fill(model, checkpoint["state_dict"], path, finite)
    return model
