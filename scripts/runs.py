"""What the helpers of several runs share: whether a run is finished and was asked for so, its files, Center's row.

In: a run's folder below train_log/. Out: its configuration and results; a damaged file is an InputError that names it.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from munch import Munch

from config import read_config as read_options
from config import training_parser
from wsol.errors import InputError
from wsol.files import read_json
from wsol.options import AUTO
from wsol.plain_values import is_number
from wsol.run_folder import check_kept
from wsol.scoring import Center
from wsol.split_evaluator import SplitEvaluator
from wsol.starting_weights import auto_is_false

# They change how a run is done, not what it gives (threads: beyond rounding).
NOT_COMPARED = ("experiment_name", "override_cache", "workers", "threads", "device")
FIGURES = ("MaxBoxAccV2", "PxAP", "top1_loc", "top1_cls", "MaxBoxAccV2_at_val_threshold")
BY_IOU = ("MaxBoxAcc", "best_threshold")


def read_config(run: Path) -> Munch:
    """Return the configuration of a run."""
    try:
        return read_options(run / "config.yaml")
    except InputError as error:
        raise InputError(f"{error}; expected a run's configuration, which main.py writes") from None


def read_results(run: Path) -> dict:
    """Return a finished run's results.json."""
    path = run / "results.json"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a finished run")
    return read_json(path)


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def _check_figures(where: str, values: object, fits: Callable[[object], bool], expected: str) -> None:
    """Refuse what is neither None nor an object of values that fit, or of such objects."""
    if values is None or fits(values):
        return
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r:.60}; expected {expected}")
    for name, value in values.items():
        _check_figures(f"{where}.{name}", value, fits, expected)


def read_split(run: Path, split: str) -> dict:
    """Return a split's part of a finished run's results.json; what it has of the figures that tables and plots show is
    checked."""
    path = run / "results.json"
    results = read_results(run)
    part = results.get(split) if isinstance(results, dict) else None
    if not isinstance(part, dict) or not part:
        raise InputError(f"{path}: no results of the {split} split; expected a run that has evaluated it")
    for name in FIGURES:
        _check_figures(f"{path}: {split}.{name}", part.get(name), is_number, "a number")
    for name in (*BY_IOU, "intervals"):
        if part.get(name) is not None and not isinstance(part[name], dict):
            raise InputError(f"{path}: {split}.{name} is {part[name]!r:.60}; expected an object")
    for name in BY_IOU:
        _check_figures(f"{path}: {split}.{name}", part.get(name), is_number, "a number")
    for name, value in (part.get("intervals") or {}).items():
        if name in (*FIGURES, *BY_IOU):
            _check_figures(f"{path}: {split}.intervals.{name}", value, _is_interval, "[low, high]")
    return part


def read_figure(run: Path, *keys: str) -> float:
    """Return one number of a finished run's results.json, by its keys from the outside in."""
    found = read_results(run)
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, int | float):
        raise InputError(f"{run / 'results.json'}: {'.'.join(keys)} is {found!r}; expected a number")
    return found


def differing(config: Mapping, other: Mapping, ignored: Iterable[str] = NOT_COMPARED) -> list[str]:
    """Return the options in which two runs' configurations differ."""
    names = [name for name in {**config, **other} if name not in ignored]
    return [name for name in names if config.get(name) != other.get(name)]


def is_finished(run: Path, config: Mapping) -> bool:
    """Tell whether a run has its results; results of other options are refused, not reused, and so is a run set aside."""
    if config["override_cache"]:
        return False
    check_kept(run)
    if not (run / "results.json").is_file():
        return False
    read_results(run)
    saved = {**training_parser("").known_defaults, **read_config(run)}  # an older run lacks options that came after it
    saved.pop("config")
    other = differing(config, saved)
    # FALSE was the default before auto was.
    if other == ["keep_classifier"] and {config[other[0]], saved[other[0]]} == {False, AUTO} and auto_is_false(config):
        return True
    if other:
        said = "; ".join(f"{name} was {saved.get(name)}, now {config.get(name)}" for name in other)
        raise InputError(
            f"{run} is a finished run with other options ({said}); expected another --experiment_name, or "
            "--override_cache TRUE to train anew"
        )
    return True


def center_sets(ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return Center's name in a table to images: one a set of images, which are several where levels leave some out.

    `ids`: level to the images that its run scored.
    """
    sets: dict[tuple[str, ...], list[str]] = {}
    for level, image_ids in ids.items():
        sets.setdefault(tuple(image_ids), []).append(level)
    return {"Center" if len(sets) == 1 else f"Center ({', '.join(same)})": list(each) for each, same in sets.items()}


def center_results(config: Mapping, split: str, image_ids: list[str]) -> dict:
    """Return the Center baseline's metrics on the images that a run scored, with maps of its size."""
    evaluator = SplitEvaluator.of(config, split, image_ids)
    Center(config["crop_size"]).score(evaluator)
    return evaluator.results()
