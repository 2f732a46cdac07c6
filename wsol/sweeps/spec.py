"""A sweep's specification: what every run has, what varies, what is chosen on val, what is reported.

In: a YAML file (docs/sweeps.md) and the table of main.py's options. Out: a checked `Spec`; a mistake gives file, line and
what was expected.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsol.core.arguments import folder_name, number, whole
from wsol.core.errors import did_you_mean, shortened
from wsol.core.nested_yaml import Section, Tree, read_nested_yaml
from wsol.core.options import Option
from wsol.data.metadata import is_whole_number

ALL, FINEST = "all", "finest"  # of label_level: every level with two classes or more, and the finest of them
CHOSEN = "chosen"  # of thresholds_from: the run that was chosen
FIGURES = ("MaxBoxAccV2", "MaxBoxAcc", "PxAP", "top1_loc", "top1_cls")
SET_BY_SWEEP = ("config", "experiment_name", "override_cache", "resume", "eval_test", "threads")
DISTRIBUTIONS = ("uniform", "log_uniform", "whole", "size_prior", "choice")
MOST_DRAWS = 10_000

Values = Mapping[str, Sequence[Any]]  # option to the values that it takes


@dataclass(frozen=True)
class Range:
    """What a random search draws an option from.

    kind: `uniform` or `log_uniform` in [low, high], `whole` numbers from low to high, `size_prior` for 1/u - 1/2 with a
    uniform u in (low, high] (CutMix's beta in wsolevaluation), or a `choice` of values. An end may be the name of an option
    drawn before, such as the high threshold that a low one must not exceed.
    """

    kind: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Choice:
    """What is chosen on val (train-fullsup), for every point of `vary`.

    grid, or ranges with a number of draws and their seed: the candidates. figure: the one of val that decides. seed: of the
    candidates' runs. options: of these runs only.
    """

    grid: Values = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    draws: int = 0
    draw_seed: int = 0
    figure: str = "MaxBoxAccV2"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """What is reported of the chosen configurations: with these seeds, of the points `where`, each combined with `vary` and
    `options`; and CAM-Agg's maps at these levels, from the same runs."""

    seeds: tuple[int, ...] = (0,)
    where: Values = field(default_factory=dict)
    vary: Values = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    cam_agg_levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """Options of the points `where` alone."""

    where: Values
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Where:
    """Where runs run: `jobs` at once on this machine, each with `threads`, on `gpus` GPUs in turn (0: as main.py decides),
    failed ones tried `retries` times again; or as jobs of a cluster, with submitit's parameters. Each trains with
    `processes`, which torchrun starts."""

    jobs: int = 1
    threads: int = 1
    retries: int = 1
    gpus: int = 0
    processes: int = 1
    submitit: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Spec:
    """A sweep; docs/sweeps.md explains the parts. `tree` is the file as plain text, its options as they were read."""

    path: Path
    name: str
    options: Mapping[str, Any]
    cases: tuple[Case, ...]
    vary: Values
    choose: Choice | None
    report: tuple[Block, ...]
    run: Where
    tree: Mapping[str, Tree]


class _Reader:
    """Reads the parts of a spec; `options` is the table of main.py."""

    def __init__(self, options: Mapping[str, Option]):
        self.options = options

    def name(self, section: Section, key: str) -> None:
        """Check that an entry is an option which a spec may set."""
        if key in SET_BY_SWEEP:
            section.fail(key, "the sweep sets it; expected another option of main.py")
        if key not in self.options:
            section.fail(key, f"no option of main.py{did_you_mean(key, self.options)}")

    def value(self, section: Section, key: str) -> Any:  # noqa: ANN401 (each option has its own type)
        """Return the value of an option that a run has."""
        self.name(section, key)
        option = self.options[key]
        return self._parse(section, key, section.words(key) if option.several else section.text(key))

    def values(self, section: Section, key: str) -> tuple[Any, ...]:
        """Return the values that an option takes in turn."""
        self.name(section, key)
        if self.options[key].several:
            section.fail(key, "takes several values in one run, so it cannot vary; expected another option")
        found = tuple(self._parse(section, key, word) for word in section.words(key))
        if len(set(found)) < len(found):
            section.fail(key, f"{max(found, key=found.count)} is there twice; expected it once")
        if key == "label_level" and ALL in found and len(found) > 1:
            section.fail(key, f"{ALL} and others; expected {ALL} alone, or the levels")
        return found

    def _parse(self, section: Section, key: str, text: str | list[str]) -> Any:  # noqa: ANN401 (as above)
        if key == "thresholds_from" and text == CHOSEN:
            return CHOSEN
        try:
            value = self.options[key].parse(text)
            self.options[key].check(value)
        except ValueError as error:  # InputError is one too
            section.fail(key, f"{shortened(repr(text))} is invalid ({error})")
        return value

    def mapping(self, section: Section) -> dict[str, Any]:
        """Return a section of options, one value each."""
        return {key: self.value(section, key) for key in section}

    def grid(self, section: Section) -> dict[str, tuple[Any, ...]]:
        """Return a section of options, each with the values that it takes."""
        return {key: self.values(section, key) for key in section}

    def range(self, section: Section, key: str) -> Range:
        """Return what an option is drawn from."""
        self.name(section, key)
        inner = section.section(key)
        inner.known(DISTRIBUTIONS, "distribution")
        if len(inner.entries) != 1:
            section.fail(key, f"expected one of {', '.join(DISTRIBUTIONS)}, such as 'uniform: [0, 1]'")
        (kind,) = inner
        words = inner.words(kind)
        if kind == "choice":
            return Range(kind, tuple(self._of(inner, key, word) for word in words))
        if len(words) != 2:
            inner.fail(kind, "expected [low, high]")
        ends = tuple(word if word in self.options else self._number(inner, kind, word) for word in words)
        low, high = ends
        if isinstance(low, float) and isinstance(high, float) and low >= high:
            inner.fail(kind, f"[{low:g}, {high:g}]; expected the lower end first")
        if kind == "log_uniform" and isinstance(low, float) and low <= 0:
            inner.fail(kind, "expected a lower end above 0")
        if kind == "size_prior" and isinstance(low, float) and low < 0:
            inner.fail(kind, "expected a lower end of 0 or more")
        if kind == "whole" and any(isinstance(end, float) and not (end.is_integer() and abs(end) < 2**53) for end in ends):
            inner.fail(kind, "expected whole numbers")
        return Range(kind, ends)

    def _of(self, section: Section, option: str, word: str) -> Any:  # noqa: ANN401 (as above)
        try:
            return self.options[option].parse(word)
        except ValueError as error:
            section.fail(next(iter(section)), f"{word!r} is invalid ({error})")

    def _number(self, section: Section, key: str, word: str) -> float:
        try:
            return float(number(word))
        except Exception as error:  # noqa: BLE001 (argparse's own error of a type is no ValueError)
            section.fail(key, f"{error}; expected [low, high], numbers or names of options")

    def choice(self, section: Section) -> Choice:
        """Return what is chosen on val."""
        section.known(("grid", "random", "figure", "seed", "options"))
        if ("grid" in section) == ("random" in section):
            section.fail(None, "expected either grid or random")
        figure = section.text("figure") if "figure" in section else "MaxBoxAccV2"
        if figure not in FIGURES:
            section.fail("figure", f"{figure!r}; expected one of {', '.join(FIGURES)}")
        seed = self._seed(section, "seed") if "seed" in section else 0
        options = self.mapping(section.section("options"))
        if "grid" in section:
            grid = self.grid(section.section("grid"))
            if not grid:
                section.fail("grid", "empty; expected an option and its values")
            return Choice(grid=grid, figure=figure, seed=seed, options=options)
        random = section.section("random")
        random.known(("draws", "seed", "ranges"))
        if "draws" not in random or "ranges" not in random:
            section.fail("random", "expected draws and ranges")
        draws = _count(random, "draws", 1, MOST_DRAWS)
        ranges = random.section("ranges")
        found = {key: self.range(ranges, key) for key in ranges}
        for key, drawn in found.items():
            for end in drawn.values:
                if drawn.kind == "choice" or not isinstance(end, str):
                    continue
                if end not in list(found)[: list(found).index(key)]:
                    ranges.fail(key, f"{end} is not drawn before it; expected a number, or an option drawn earlier")
                if found[end].kind == "choice" and not all(isinstance(one, int | float) for one in found[end].values):
                    ranges.fail(key, f"{end} is no number; expected a number, or an option drawn as one")
        draw_seed = _count(random, "seed", 0, 2**63 - 1) if "seed" in random else 0
        return Choice(ranges=found, draws=draws, draw_seed=draw_seed, figure=figure, seed=seed, options=options)

    def _seed(self, section: Section, key: str) -> int:
        return int(section.value(key, lambda text: self.options["seed"].parse(text)))  # type: ignore[call-overload]

    def block(self, section: Section, varied: Mapping[str, Sequence[Any]]) -> Block:
        """Return a block of what is reported."""
        section.known(("seeds", "where", "vary", "options", "cam_agg_levels"))
        seeds: tuple[int, ...] = (0,)
        if "seeds" in section:
            named = Section(section.path, section.name, section.line, {"seed": section.entries["seeds"]})
            seeds = self.values(named, "seed")
        vary = self.grid(section.section("vary"))
        if known := [key for key in vary if key in varied or key == "seed"]:
            section.fail("vary", f"{known[0]} varies already; expected another option")
        levels = tuple(section.words("cam_agg_levels")) if "cam_agg_levels" in section else ()
        options = self.mapping(section.section("options"))
        return Block(seeds, self.where(section, varied), vary, options, levels)

    def where(self, section: Section, varied: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
        """Return which points a part is about."""
        inner = section.section("where")
        found = self.grid(inner)
        for key, values in found.items():
            if key not in varied:
                inner.fail(key, f"does not vary; expected one of {', '.join(varied) or 'nothing'}")
            others = [one for one in values if one not in varied[key]]
            if others and not (key == "label_level" and (ALL in varied[key] or others == [FINEST])):
                inner.fail(key, f"{others[0]} is not among its values")
        return found


def _count(section: Section, key: str, low: int, high: int) -> int:
    value = int(section.value(key, whole))  # type: ignore[call-overload]
    if not low <= value <= high:
        section.fail(key, f"{value}; expected {low} to {high}")
    return value


def _run(section: Section) -> Where:
    limits = {"jobs": (1, 1000), "threads": (1, 1000), "retries": (0, 100), "gpus": (0, 1000), "processes": (1, 1000)}
    section.known((*limits, "submitit"))
    counts = {key: _count(section, key, *limits[key]) for key in limits if key in section}
    submitit: dict[str, Any] | None = None
    if "submitit" in section:
        inner = section.section("submitit")
        submitit = {}
        for key, value in inner.tree().items():
            if not isinstance(value, str):
                inner.fail(key, "expected one value")
            submitit[key] = int(value) if is_whole_number(value) else value
        if submitit.get("cluster") not in ("slurm", "local", "debug"):
            section.fail("submitit", "expected 'cluster: slurm', or local, among its entries")
    where = Where(**counts, submitit=submitit)
    if 0 < where.gpus < where.processes:
        section.fail("processes", f"{where.processes}; expected at most one for each of the {where.gpus} gpus")
    return where


def read_spec(path: str | os.PathLike, options: Mapping[str, Option], overrides: Mapping[str, Any] | None = None) -> Spec:
    """Return the spec in a file.

    `options` is the table of main.py's options by name. `overrides`: options of every run that replace the spec's.

    Raises:
        InputError: the file cannot be read, or an entry is unknown, missing or invalid.
    """
    root = read_nested_yaml(path)
    root.known(("name", "options", "cases", "vary", "choose", "report", "run"))
    reader = _Reader(options)
    name = root.value("name", folder_name) if "name" in root else Path(path).stem
    fixed = {**reader.mapping(root.section("options")), **(overrides or {})}
    vary = reader.grid(root.section("vary"))
    choose = reader.choice(root.section("choose")) if "choose" in root else None
    cases = []
    for section in root.sections("cases"):
        section.known(("where", "options"))
        cases.append(Case(reader.where(section, vary), reader.mapping(section.section("options"))))
    blocks = [reader.block(section, vary) for section in root.sections("report")] or [Block()]
    chosen = {*choose.grid, *choose.ranges} if choose else set()
    for what, names in (("vary", vary), ("options", fixed)):
        if both := chosen & set(names):
            root.fail("choose", f"{min(both)} is in {what} too; expected it in one of them")
    if both := set(vary) & set(fixed):
        root.fail("vary", f"{min(both)} is in options too; expected it in one of them")
    if "seed" in vary or "seed" in chosen:
        root.fail("vary" if "seed" in vary else "choose", "seed: expected seeds in the blocks of report")
    if "wsol_method" in chosen:
        root.fail("choose", "wsol_method: its other options would be left out; expected it in vary")
    parts = {
        "report": [name for block in blocks for name in (*block.options, *block.vary)],
        "cases": [name for case in cases for name in case.options],
        "choose": list(choose.options) if choose else [],
    }
    for what, set_there in parts.items():
        if twice := set(set_there) & {*chosen, *vary, "seed"}:
            root.fail(what, f"{min(twice)} is chosen, varies or is the seed; expected another option in this part")
    if "seed" in fixed:
        root.fail("options", "seed: expected seeds in the blocks of report, and seed in choose")
    tree = root.tree()
    tree["options"] = {name: " ".join(map(str, one)) if isinstance(one, list) else str(one) for name, one in fixed.items()}
    run = _run(root.section("run"))
    return Spec(Path(path), str(name), fixed, tuple(cases), vary, choose, tuple(blocks), run, tree)


def same_spelling(part: object, options: Mapping[str, Option]) -> object:
    """Return a part of a spec's tree in which each value of an option has one spelling, however it was written.

    `options` is the table of main.py. What is no value of its option, such as `finest`, stays as it is.
    """
    if isinstance(part, list):
        return [same_spelling(one, options) for one in part]
    if not isinstance(part, Mapping):
        return part
    return {
        key: _spelled(value, options[key]) if key in options else same_spelling(value, options)
        for key, value in part.items()
    }


def _spelled(text: object, option: Option) -> str:
    """Return the values of an option, given as a text or a list of texts, in the spelling of Python."""
    texts = text if isinstance(text, list) else [text]
    words = [word for one in texts for word in (str(one).split() if option.several else [str(one)])]
    return ", ".join(str(_value(option, word)) for word in words)


def _value(option: Option, word: str) -> object:
    try:
        return option.value_of(word)
    except argparse.ArgumentTypeError:
        return word


def matches(point: Mapping[str, Any], where: Values, finest: str | None) -> bool:
    """Return whether a point of `vary` is among those that `where` names; `finest` is its data set's finest level.

    >>> matches({"wsol_method": "cam", "label_level": "genus"}, {"label_level": ("finest",)}, "species")
    False
    """
    return all(
        point[key] in values or (key == "label_level" and FINEST in values and point[key] == finest)
        for key, values in where.items()
    )
