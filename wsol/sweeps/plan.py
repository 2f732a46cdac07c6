"""From a spec to runs: the points of the grid, the candidates of each, and what is reported of a chosen one.

In: a `Spec` and the metadata of its data sets. Out: `PlannedRun`s, named by what varies; nothing is run or written here.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from wsol.core import registry
from wsol.core.errors import InputError
from wsol.core.options import Option
from wsol.data.image_ids import first_of_each
from wsol.data.level_set import MEAN, SEPARATOR, level_names
from wsol.data.levels import load_level, load_levels, read_levels
from wsol.data.metadata import dataset_folder
from wsol.runs.run_folder import RESULTS
from wsol.sweeps.spec import ALL, CHOSEN, FINEST, Block, Range, Spec, matches

BARE = ("dataset_name", "architecture", "wsol_method", "label_level")  # options whose values stand by themselves in a name
NO_TRAINING = {"epochs": 0, "pretrained": True}  # for maps of another level from a trained run
DIGITS = 6  # significant digits of drawn numbers


@dataclass(frozen=True)
class Point:
    """One combination of what the spec varies: its options, and its data set's finest level (None: levels do not vary)."""

    name: str
    values: Mapping[str, Any]
    options: Mapping[str, Any]
    finest: str | None
    levels: tuple[str, ...]


@dataclass(frozen=True)
class PlannedRun:
    """A run of main.py: its `name` in the sweep's folder, its `options`, the `point` that it belongs to, and the run that it
    `needs` finished, if any. `chosen`: for a candidate, the options among which the choice is made."""

    name: str
    options: Mapping[str, Any]
    point: str
    needs: str | None = None
    chosen: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """The points of a spec, and per data set the levels that are not trained, since another has the same classes."""

    spec: Spec
    points: tuple[Point, ...]
    levels_alike: Mapping[str, Mapping[str, str]]
    folder: Path  # below which the runs' folders are

    def candidates(self, point: Point) -> list[PlannedRun]:
        """Return the runs from which a point's configuration is chosen; none if the spec chooses nothing."""
        choose = self.spec.choose
        if choose is None:
            return []
        runs = []
        for label, drawn in self._drawn(point):
            own = _own(point.options["wsol_method"], choose.options)
            options = {**point.options, **drawn, **own, "seed": choose.seed}
            name = "-".join([point.name, label, *map(_word, own, own.values()), f"seed{choose.seed}"])
            runs.append(PlannedRun(_joined(name), options, point.name, chosen=drawn))
        return runs

    def _drawn(self, point: Point) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (part of the name, options) of every candidate."""
        choose, method = self.spec.choose, point.options["wsol_method"]
        if choose is None:
            yield "", {}
        elif choose.grid:
            grid = _own(method, choose.grid)
            for values in product(*grid.values()):
                yield "-".join(map(_word, grid, values)), dict(zip(grid, values, strict=True))
        else:
            ranges = _own(method, choose.ranges)
            for index in range(choose.draws if ranges else 1):
                drawn: dict[str, Any] = {}
                for option, one in ranges.items():
                    drawn[option] = draw(one, drawn, [choose.draw_seed, index, zlib.crc32(option.encode())])
                yield f"draw{index:02}", drawn  # whatever the number of draws, so that more of them rename none

    def reported(self, point: Point, chosen: Mapping[str, Any]) -> list[PlannedRun]:
        """Return the runs that are reported of a point, given the options that were chosen for it."""
        label = next(label for label, drawn in self._drawn(point) if drawn == chosen)
        winner = next((run.name for run in self.candidates(point) if run.chosen == chosen), None)
        runs: dict[str, PlannedRun] = {}
        for block in self.spec.report:
            if not matches(point.values, block.where, point.finest):
                continue
            for run in self._of_block(point, block, label, chosen, winner):
                check_names([runs.setdefault(run.name, run), run])
        return list(runs.values())

    def _of_block(
        self, point: Point, block: Block, label: str, chosen: Mapping[str, Any], winner: str | None
    ) -> Iterator[PlannedRun]:
        own = _own(point.options["wsol_method"], block.options)
        named = {option: value for option, value in own.items() if value != CHOSEN}
        for values in product(*block.vary.values()):
            varied = dict(zip(block.vary, values, strict=True))
            for seed in block.seeds:
                options = {**point.options, **chosen, **own, **varied, "seed": seed}
                needs = None
                if options.get("thresholds_from") == CHOSEN:
                    needs, options["thresholds_from"] = winner, str(self.folder / str(winner) / RESULTS)
                words = [*map(_word, varied, values), label, *map(_word, named, named.values()), f"seed{seed}"]
                run = PlannedRun(_joined("-".join([point.name, *words])), options, point.name, needs)
                yield run
                for level in self._agg_levels(point, block):
                    kind = options.get("eval_checkpoint_type", "last")  # the model that the run itself reports
                    checkpoint = str(self.folder / run.name / f"{kind}_checkpoint.pth.tar")
                    mapped = {**options, **NO_TRAINING, "pretrained_path": checkpoint, "cam_agg_level": level}
                    yield PlannedRun(f"{run.name}-{_word('cam_agg_level', level)}", mapped, point.name, run.name)

    def _agg_levels(self, point: Point, block: Block) -> Sequence[str]:
        reported = point.options.get("map_level")
        if block.cam_agg_levels and reported == MEAN:
            raise InputError(f"{self.spec.path}: cam_agg_levels: not with map_level {MEAN}, whose maps are of all levels")
        if block.cam_agg_levels != (ALL,):
            return block.cam_agg_levels
        trained = level_names(point.options.get("label_level"), point.levels) or point.levels
        return point.levels[point.levels.index(reported or trained[0]) + 1 :]


def make_plan(spec: Spec, options: Mapping[str, Option], log_root: Path) -> Plan:
    """Return the plan of a spec. `options` is main.py's table; a run's folder is `log_root`/sweep/run.

    Raises:
        InputError: a data set is not there, has no such level, or two runs would share a name.
    """
    defaults = {name: option.initial for name, option in options.items()}
    known: dict[tuple, tuple[tuple[str, ...], dict[str, str]]] = {}
    needs_levels = "label_level" in spec.vary or any(block.cam_agg_levels for block in spec.report)
    points: list[Point] = []
    alike: dict[str, dict[str, str]] = {}
    for values in _grid(spec.vary):
        base = {**defaults, **spec.options, **values}
        levels: tuple[str, ...] = ()
        same: dict[str, str] = {}
        if needs_levels:
            key = tuple(base[name] for name in ("metadata_root", "dataset_name", "proxy_training_set"))
            if key not in known:
                known[key] = levels_and_twins(*key)
            levels, same = known[key]
        level = values.get("label_level")
        for name in _named(level, base) if level not in (None, ALL) else ():
            if name not in levels:
                load_level(base["metadata_root"], base["dataset_name"], name, ("train",))  # says which levels there are
                raise InputError(
                    f"{spec.path}: {name}: a single class of {base['dataset_name']}; expected a level with two or more"
                )
        if level != ALL and level in same and same[level] in spec.vary["label_level"]:
            alike.setdefault(base["dataset_name"], {})[level] = same[level]
            continue
        if level == ALL:
            alike |= {base["dataset_name"]: same} if same else {}
        for one in [each for each in levels if each not in same] if level == ALL else [level]:
            point = {**values, **({"label_level": one} if one else {})}
            points.append(_point(spec, point, defaults, levels))
    _check_levels(spec, {level for levels, _ in known.values() for level in levels})
    plan = Plan(spec, tuple(points), alike, log_root / spec.name)
    _check_names(plan)
    return plan


def _named(level: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the levels that a value of label_level names: one, or several that a run learns at once."""
    return level_names(level, read_levels(dataset_folder(options["metadata_root"], options["dataset_name"])))


def _check_levels(spec: Spec, known: set[str]) -> None:
    """Raise InputError for a level that the spec names and no data set has: a part of the spec would be about nothing."""
    wheres = [*(block.where for block in spec.report), *(case.where for case in spec.cases)]
    named = [level for where in wheres for level in where.get("label_level", ()) if level != FINEST]
    named += [level for block in spec.report for level in block.cam_agg_levels if block.cam_agg_levels != (ALL,)]
    if unknown := [level for level in named if level not in known and not set(level.split(SEPARATOR)) <= known]:
        raise InputError(
            f"{spec.path}: no data set has a level {unknown[0]} with two classes or more; expected one of "
            f"{', '.join(sorted(known))}"
        )


def _grid(vary: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*vary.values()):
        yield dict(zip(vary, values, strict=True))


def _point(spec: Spec, values: Mapping[str, Any], defaults: Mapping[str, Any], levels: tuple[str, ...]) -> Point:
    finest = levels[0] if levels else None
    options = dict(spec.options)
    for case in spec.cases:
        if matches(values, case.where, finest):
            options |= case.options
    options |= values
    options.setdefault("wsol_method", defaults["wsol_method"])
    return Point("-".join(map(_word, values, values.values())), values, options, finest, levels)


def _check_names(plan: Plan) -> None:
    points = [point.name for point in plan.points]
    if twice := [name for name in points if points.count(name) > 1]:
        raise InputError(f"{plan.spec.path}: two points of the grid would be named {twice[0]!r}")
    check_names([run for point in plan.points for run in plan.candidates(point)])


def check_names(runs: Iterable[PlannedRun]) -> None:
    """Raise InputError if two runs with other options have the same name."""
    known: dict[str, PlannedRun] = {}
    for run in runs:
        if run.options != known.setdefault(run.name, run).options:
            raise InputError(f"two other runs would be named {run.name}; expected values that differ in names")


def levels_and_twins(metadata_root: str, dataset_name: str, proxy: bool) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return (the levels with two classes or more, finest first; level to the finer one with the same classes).

    Two levels have the same classes if they divide the images alike, whatever the classes are called.
    """
    levels, twins = [], {}
    seen: list[tuple[str, list[Sequence[str]], np.ndarray]] = []
    for data in load_levels(metadata_root, dataset_name, ("train", "val"), proxy):
        if len(data.class_names) < 2:
            continue
        levels.append(data.level)
        ids = [split.image_ids for split in data.splits.values()]
        codes, _, first = first_of_each(np.concatenate([split.labels for split in data.splits.values()]).astype(np.int32))
        key = first[codes].astype(np.int32)  # each image by the first of its class
        twin = next((level for level, others, known in seen if np.array_equal(known, key) and others == ids), None)
        if twin is None:
            seen.append((data.level, ids, key))
        else:
            twins[data.level] = twin
    if not levels:
        raise InputError(f"{dataset_name}: no level has two classes or more")
    return tuple(levels), twins


def draw(one: Range, drawn: Mapping[str, Any], seed: Sequence[int]) -> Any:  # noqa: ANN401 (each option has its own type)
    """Return a value drawn from a range, rounded to DIGITS significant digits; `drawn` are the options drawn before.

    A seed per option and draw, so that another option in the search changes nothing.
    """
    rng = np.random.default_rng(list(seed))
    if one.kind == "choice":
        return one.values[int(rng.integers(len(one.values)))]
    low, high = (float(drawn[end]) if isinstance(end, str) else end for end in one.values)
    if low > high or (one.kind == "log_uniform" and low <= 0):
        raise InputError(f"choose.random: {one.kind} in [{low:g}, {high:g}] was drawn; expected ends that fit every draw")
    if one.kind == "whole":
        return int(rng.integers(int(low), int(high) + 1))
    if one.kind == "log_uniform":
        value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    elif one.kind == "size_prior":
        value = 1 / (high - rng.uniform(0, high - low)) - 0.5
    else:
        value = float(rng.uniform(low, high))
    return float(f"{value:.{DIGITS}g}")


def belongs(method: str, option: str) -> bool:
    """Return whether an option matters to a method: it is its own, or no method's.

    >>> belongs("cam", "lr"), belongs("has", "has_drop_rate"), belongs("cam", "has_drop_rate")
    (True, True, False)
    """
    entry = registry.method_entry(method)
    own = {one.name for one in (*entry.options, *entry.run_options)}
    return option in own or option not in registry.method_options()


def _own(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {option: value for option, value in options.items() if belongs(method, option)}


def _word(option: str, value: object) -> str:
    """Return the part of a run's name for the value of an option.

    >>> _word("label_level", "genus"), _word("lr", 1e-05), _word("pretrained", True), _word("coarsening", "cuts/c2.csv")
    ('genus', 'lr1e-05', 'pretrainedTRUE', 'coarsening_c2')
    >>> _word("label_level", "species,genus")
    'species+genus'
    """
    if isinstance(value, bool):
        return f"{option}{str(value).upper()}"
    if not isinstance(value, str):
        return f"{option}{value}"
    value = value.replace(SEPARATOR, "+") if option == "label_level" else value
    text = re.sub(r"[^\w.+-]", "_", Path(value).stem if "/" in value else value)
    return text if option in BARE else f"{option}_{text}"


def _joined(name: str) -> str:
    """Return a name without the gaps of empty parts."""
    return "-".join(part for part in name.split("-") if part)


def to_words(options: Mapping[str, Any]) -> list[str]:
    """Return options as the words of a command line; None stands for a default and is left out.

    >>> to_words({"lr": 0.1, "pretrained": False, "iou_threshold_list": [30, 50], "coarsening": None})
    ['--lr', '0.1', '--pretrained', 'FALSE', '--iou_threshold_list', '30', '50']
    """
    words: list[str] = []
    for option, value in options.items():
        if value is None:
            continue
        texts = [str(one) for one in value] if isinstance(value, list) else [str(value)]
        words += [f"--{option}", *(text.upper() if isinstance(value, bool) else text for text in texts)]
    return words
