"""`protocol.json` of a sweep: what was chosen on val, from what, and when test was opened for which runs.

In: finished candidates; an intent to open test. Out: the record, written whole before and after every step. It guards
against accidents, not against malice (docs/sweeps.md says which manipulations it cannot notice).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.files import file_hash, read_json, write_json
from wsol.core.options import Option
from wsol.core.plain_values import is_number, is_whole, shown
from wsol.runs.open_test import TEST, chosen_checkpoint
from wsol.runs.results import read_run
from wsol.runs.run_record import now
from wsol.sweeps.spec import same_spelling
from wsol.sweeps.states import NOT_COMPARED, has_results

NAME = "protocol.json"
FORMAT = 1
LATER_SEED = "seed added after test was opened"
LATER_RUN = "added after test was opened"
REUSED = "test opened again for another choice"
BUDGET = ("fullsup_images", "fullsup_boxes", "fullsup_masks")  # what of train-fullsup a choice has used
FIXED = ("options", "cases")  # parts of a spec that decide what a run with a given name is


@dataclass(frozen=True)
class Candidate:
    """A finished candidate: its run, the options among which the choice is made, and its figure on val in percent."""

    run: str
    options: Mapping[str, Any]
    value: float


class Protocol:
    """The record of a sweep in its folder; every change is written at once."""

    def __init__(self, sweep: Path, content: dict[str, Any]):
        self.sweep, self.content = sweep, content

    @property
    def levels_alike(self) -> Mapping[str, Mapping[str, str]]:
        """Data set to {level: the finer level with the same classes, which was trained in its place}."""
        return self.content["levels_alike"]

    @property
    def test_runs(self) -> dict[str, dict[str, Any]]:
        """What is recorded of the runs for which test was opened, or is to be."""
        return (self.content["test"] or {}).get("runs", {})

    def role(self, run: str) -> str:
        """Return "reported", "choosing", or "" for a run that the record does not know."""
        if run in self.content["reported"]:
            return "reported"
        candidates = (one["candidates"] for one in self.content["choices"].values())
        return "choosing" if any(run in each for each in candidates) else ""

    def marks(self, run: str) -> tuple[str, ...]:
        """Return why a run's test figures are to be read with care."""
        return tuple(self.test_runs.get(run, {}).get("marks", ()))

    def write(self) -> None:
        """Write the record."""
        write_json(self.sweep / NAME, self.content, durable=True)

    def choose(
        self, point: str, candidates: Sequence[Candidate], figure: str, budget: Mapping[str, int], allow_reuse: bool
    ) -> Candidate:
        """Return a point's best candidate, the first on ties, and record it with the budget of full supervision.

        Raises:
            InputError: test was opened for another choice, and `allow_reuse` is not set.
        """
        best = max(candidates, key=lambda one: one.value)
        opened = {one["chosen"] for one in self.test_runs.values() if one["point"] == point}
        if opened and as_text(best.options) not in opened and not allow_reuse:
            raise InputError(
                f"{self.sweep / NAME}: test was opened for {point} with {min(opened)}, and now {as_text(best.options)} is "
                "best on val; expected the choice to stay, or --allow_test_reuse, which marks the new figures"
            )
        values = {one.run: one.value for one in candidates}
        entry = {"options": dict(best.options), "run": best.run, "figure": figure, "candidates": values, **budget}
        known = self.content["choices"].get(point)
        if known is None or any(known.get(name) != value for name, value in entry.items()):
            self.content["choices"][point] = {**entry, "time": now()}
            self.write()
        return best

    def report(self, runs: Mapping[str, str], undecided: Collection[str]) -> None:
        """Record which runs are reported: run to its point. Of points that are `undecided` now, the earlier runs stay."""
        kept = {run: point for run, point in self.content["reported"].items() if point in undecided}
        if self.content["reported"] != {**kept, **runs}:
            self.content["reported"] = {**kept, **runs}
            self.write()

    def intend(self, seeds: Mapping[str, int], chosen: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Record the intent to open test for runs that it was not opened for; return those still to be evaluated.

        seeds: run to its seed. chosen: point to its chosen options.

        Raises:
            InputError: a recorded run has another checkpoint by now.
        """
        added: dict[str, dict[str, Any]] = {}
        for run, seed in seeds.items():
            checkpoint = file_hash(chosen_checkpoint(self.sweep / run))
            if known := self.test_runs.get(run):
                if known["sha256"] != checkpoint:
                    raise InputError(
                        f"{self.sweep / run}: its checkpoint is not the one for which test was opened on "
                        f"{known['intended']}; expected that one"
                    )
                continue
            point = self.content["reported"][run]
            added[run] = {
                "point": point,
                "chosen": as_text(chosen[point]),
                "seed": seed,
                "sha256": checkpoint,
                "intended": now(),
                "opened": None,
                "marks": self._new_marks(point, as_text(chosen[point]), seed),
            }
        if added:
            if self.content["test"] is None:
                self.content["test"] = {"seeds": sorted({one["seed"] for one in added.values()}), "runs": {}}
            self.content["test"]["runs"] |= added
            self.write()
        return [run for run in seeds if self.test_runs[run]["opened"] is None]

    def check_results(self) -> None:
        """Check that no run for which test was opened has lost its results; training it again would replace its checkpoint.

        Raises:
            InputError: one has; the message names it.
        """
        for run in self.test_runs:
            if (self.sweep / run).is_dir() and not has_results(self.sweep / run):
                raise InputError(
                    f"{self.sweep / run}: test was opened for it, but its results are gone; expected them to be put back, "
                    "or the folder to be removed, to train it again"
                )

    def _new_marks(self, point: str, chosen: str, seed: int) -> list[str]:
        """Return the marks of a run for which test is to be opened."""
        if self.content["test"] is None:
            return []
        before = {one["chosen"] for one in self.test_runs.values() if one["point"] == point}
        if before and chosen not in before:
            return [REUSED]
        return [LATER_RUN if seed in self.content["test"]["seeds"] else LATER_SEED]

    def opened(self, run: str) -> None:
        """Record that a run has been evaluated on test."""
        self.test_runs[run]["opened"] = now()
        self.write()


def as_text(options: Mapping[str, Any]) -> str:
    """Return chosen options as text.

    >>> as_text({"lr": 0.001, "adl_threshold": 0.9}), as_text({})
    ('lr 0.001, adl_threshold 0.9', 'no options')
    """
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "no options"


def read_protocol(sweep: Path) -> Protocol | None:
    """Return the record of the sweep in a folder; None if there is none.

    Raises:
        InputError: it is damaged.
    """
    path = sweep / NAME
    if not path.is_file():
        return None
    content = read_json(path)
    parts = {"name": str, "spec": dict, "levels_alike": dict, "choices": dict, "reported": dict}
    valid = isinstance(content, dict) and all(isinstance(content.get(name), kind) for name, kind in parts.items())
    if not valid or content.get("format") != FORMAT or "test" not in content or not _is_test(content["test"]):
        raise InputError(f"{path}: {shown(content)}; expected the record of a sweep, which sweep.py writes")
    for point, entry in content["choices"].items():
        if not _is_choice(entry):
            raise InputError(f"{path}: choices.{point} is {shown(entry)}; expected what was chosen, from which candidates")
    if not _are_texts(content["reported"]):
        raise InputError(f"{path}: reported is {shown(content['reported'])}; expected runs mapped to their points")
    for dataset, alike in content["levels_alike"].items():
        if not _are_texts(alike):
            raise InputError(f"{path}: levels_alike.{dataset} is {shown(alike)}; expected levels mapped to levels")
    return Protocol(sweep, content)


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _is_choice(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(candidates := entry.get("candidates"), dict):
        return False
    counts = (entry.get(name) for name in BUDGET)
    return (
        all(map(is_number, candidates.values()))
        and isinstance(entry.get("options", {}), dict)
        and all(count is None or is_whole(count) for count in counts)
    )


def _is_test(test: object) -> bool:
    if test is None:
        return True
    if not (isinstance(test, dict) and isinstance(test.get("seeds"), list) and isinstance(test.get("runs"), dict)):
        return False
    return all(isinstance(one, dict) and _is_opening(one) for one in test["runs"].values())


def _is_opening(run: Mapping[str, object]) -> bool:
    """Return whether a value is what is recorded of a run for which test was opened, or is to be."""
    texts = ("point", "chosen", "sha256", "intended")
    marks = run.get("marks")
    return (
        all(isinstance(run.get(name), str) for name in texts)
        and is_whole(run.get("seed"))
        and "opened" in run
        and isinstance(marks, list)
        and all(isinstance(mark, str) for mark in marks)
    )


def open_protocol(
    sweep: Path,
    name: str,
    tree: Mapping[str, Any],
    levels_alike: Mapping[str, Mapping[str, str]],
    options: Mapping[str, Option],
    is_new: bool,
) -> Protocol:
    """Return the record of a sweep with the spec's text of now; a new one, not written yet, if there is none.

    tree: the spec as plain text. options: the table of main.py, which says what the texts mean. `is_new`: there is no run of
    the sweep yet.

    Raises:
        InputError: it is the record of another experiment.
    """
    found = read_protocol(sweep)
    if found is None:
        content = {
            "format": FORMAT,
            "name": name,
            "spec": dict(tree),
            "created": now(),
            "levels_alike": levels_alike,
            "choices": {},
            "reported": {},
            "test": None,
        }
        return Protocol(sweep, content)
    if found.content["name"] != name:
        raise InputError(f"{sweep / NAME}: the record of {shown(found.content['name'])}; expected that of {name}")
    for part in FIXED:
        before, after = (_decisive(same_spelling(one.get(part), options)) for one in (found.content["spec"], tree))
        if not is_new and before != after:
            change = _change(before, after, "" if part == "options" else part)
            raise InputError(
                f"{sweep / NAME}: the sweep began with other {part} ({change}); expected the same, or another name for the "
                "sweep"
            )
    found.content |= {"spec": dict(tree), "levels_alike": levels_alike}
    return found


def _decisive(part: object) -> object:
    """Return a part of a spec without the options that do not change what a run gives."""
    return (
        {name: value for name, value in part.items() if name not in NOT_COMPARED} if isinstance(part, dict) else part or {}
    )


def _change(before: object, after: object, place: str) -> str:
    """Return in words where two parts of a spec first differ; `place` is where they stand."""
    if isinstance(before, dict) and isinstance(after, dict):
        key = next(key for key in {**before, **after} if before.get(key) != after.get(key))
        return _change(before.get(key, "absent"), after.get(key, "absent"), f"{place}.{key}".lstrip("."))
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        index = next(i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)
        return _change(before[index], after[index], f"{place}[{index}]")
    return f"{place} was {shown(before)}, now {shown(after)}"


def check_recorded(sweep: Path, runs: Iterable[str], protocol: Protocol | None) -> None:
    """Check that no run below a sweep has results of test without a record of their opening.

    Raises:
        InputError: one has; the message names it.
    """
    recorded = protocol.test_runs if protocol else {}
    for run in runs:
        if run not in recorded and has_results(sweep / run) and TEST in read_run(sweep / run).splits:
            raise InputError(
                f"{sweep / run}: has results of test, but {sweep / NAME} does not say when test was opened for it; expected "
                "that file to be put back, or the run's folder to be removed"
            )
