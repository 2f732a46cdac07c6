"""A choice as a record: JSON that says what was chosen, from which runs, and when test was evaluated for it; and as text.

In: a choice and its material. Out: `granularity.json`, written whole. Test is evaluated once for a choice; another choice
afterwards is refused, or marked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wsol.core.errors import InputError
from wsol.core.files import read_json, write_json
from wsol.core.plain_values import shown
from wsol.granularity.choice import Choice
from wsol.granularity.cut import Cut
from wsol.granularity.fit import Fitted
from wsol.granularity.material import Material, RunSet
from wsol.granularity.tree import LevelTree
from wsol.metrics.difference import Difference

NAME = "granularity.json"
FORMAT = 1
CHOSEN = ("dataset", "levels", "seeds", "cut", "val_thresholds", "single_level", "val")  # what makes a choice the same
WRITTEN = r"cut\.(png|pdf)|coarsening\.csv|(val|test)_(images_seed\d+\.npz|maps_seed\d+\.csv)"  # names of files beside it
MOST_NAMED = 6  # places that a line of text names


def finite(value: float) -> float | None:
    """Return a number for JSON, None for one that is infinite."""
    return float(value) if np.isfinite(value) else None


def cut_entries(tree: LevelTree, level_of: np.ndarray) -> list[dict[str, Any]]:
    """Return a cut as plain values: each node's level, class and finest classes, coarsest first."""
    return [
        {
            "level": tree.levels[node[0]],
            "class": tree.names[node[0]][node[1]],
            "finest_classes": [tree.leaves[leaf] for leaf in tree.members(node)],
        }
        for node in tree.nodes(level_of)
    ]


def thresholds_of(material: Material, seeds: Sequence[int], positions: np.ndarray) -> dict[str, dict[str, float]]:
    """Return seed to IoU threshold to score-map threshold, as text, from positions (S, J)."""
    return {
        str(seed): {f"{iou:g}": material.thresholds[p] for iou, p in zip(material.ious, row.tolist(), strict=True)}
        for seed, row in zip(seeds, positions, strict=True)
    }


def as_record(runs: RunSet, tree: LevelTree, material: Material, choice: Choice) -> dict[str, Any]:
    """Return a choice as plain values for JSON; percent throughout, an infinite penalty is None."""
    levels = tree.levels
    fitted, single = choice.fitted, choice.single
    return {
        "format": FORMAT,
        "dataset": runs.dataset,
        "levels": list(levels),
        "seeds": list(runs.seeds),
        "runs": {str(seed): {level: str(runs.runs[seed, level].folder) for level in levels} for seed in runs.seeds},
        "images": len(material.image_ids),
        "single_level": levels[single.cut.default],
        "is_single_level": fitted.cut.splits == 0,
        "rule": rule_text(tree, fitted.cut),
        "cut": cut_entries(tree, fitted.cut.level_of),
        "val_thresholds": thresholds_of(material, runs.seeds, fitted.positions),
        "val": {
            "MaxBoxAccV2": fitted.score,
            "of_single_levels": {level: one.score for level, one in zip(levels, choice.singles, strict=True)},
        },
        "expected_gain": choice.expected_gain,
        "candidate": {
            "rule": rule_text(tree, choice.candidate.cut),
            "splits": choice.candidate.cut.splits,
            "MaxBoxAccV2": choice.candidate.score,
            "gain_on_val": choice.candidate.score - single.score,
            "held_out_gain": choice.gain,
            "interval": list(choice.interval),
            "sure": choice.sure,
        },
        "penalty": finite(choice.penalty),
        "cross_validation": [{**asdict(one), "penalty": finite(one.penalty)} for one in choice.tried],
        "test": None,
    }


def rule_text(tree: LevelTree, cut: Cut) -> str:
    """Return a cut in words.

    >>> tree = LevelTree(("species", "family"), ("crow", "jay", "owl"), np.array([[0, 1, 2], [0, 0, 1]]),
    ...                  (("crow", "jay", "owl"), ("corvids", "owls")))
    >>> rule_text(tree, Cut(np.array([1, 1, 0]), 0, (((1, 0), 1),)))
    'species, but family for corvids'
    """
    others = [
        f"{tree.levels[level]} for {tree.names[node[0]][node[1]]}"
        for node, level in sorted(cut.exceptions, key=lambda one: (-one[0][0], one[0][1]))
    ]
    more = [f"{len(others) - MOST_NAMED} more"] if len(others) > MOST_NAMED else []
    return ", but ".join([tree.levels[cut.default], *([", ".join(others[:MOST_NAMED] + more)] if others else [])])


def signed(gain: float, interval: Sequence[float]) -> str:
    """Return a gain with its interval, as text.

    >>> signed(0.5, (-0.25, 1.25))
    '+0.50 [-0.25, +1.25]'
    """
    low, high = (each + 0.0 for each in interval)
    return f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]"


def as_text(record: Mapping[str, Any]) -> str:
    """Return a record in lines to read."""
    seeds = ", ".join(map(str, record["seeds"]))
    lines = [
        f"{record['dataset']}, val: {record['images']} images; seed {seeds}; MaxBoxAccV2 in percent",
        "single levels: " + ", ".join(f"{level} {score:.2f}" for level, score in record["val"]["of_single_levels"].items()),
    ]
    candidate = record["candidate"]
    penalty = "infinite" if record["penalty"] is None else f"{record['penalty']:.3g} percent per split"
    lines += [
        f"penalty: {penalty}",
        f"cut at this penalty: {candidate['rule']}: {candidate['MaxBoxAccV2']:.2f} on val, the images it was chosen on",
        f"gain over the best single level on images not used: {signed(candidate['held_out_gain'], candidate['interval'])}",
    ]
    if record["is_single_level"]:
        lines.append(f"chosen: {record['single_level']} everywhere: no cut is surely better; expected gain 0")
    else:
        unsure = "" if candidate["sure"] else ", which is not surely above 0"
        lines.append(f"chosen: {record['rule']}; expected gain {record['expected_gain']:+.2f}{unsure}")
    if test := record["test"]:
        lines += [*(f"test: {line}" for line in test["marks"]), *difference_lines("test", test, record["single_level"])]
    return "\n".join(lines)


def difference_lines(title: str, found: Mapping[str, Any], single_level: str) -> list[str]:
    """Return the lines of the comparisons with a single level, of an entry that has both."""
    lines = []
    for name, said in (("at_val_threshold", "at val's thresholds"), ("at_best", "at the best thresholds")):
        one = found[name]
        lines.append(
            f"{title}, {said}: {one['composed']:.2f}, {single_level} {one['single']:.2f}: "
            f"{signed(one['difference'], one['interval'])}, p = {one['p_value']:.2g}"
        )
    return lines


def test_entry(differences: Mapping[str, Difference], images: int, time: str, marks: Sequence[str]) -> dict[str, Any]:
    """Return what the record says of the evaluation on test."""
    return {"evaluated": time, "images": images, "marks": list(marks), **difference_entries(differences)}


def difference_entries(differences: Mapping[str, Difference]) -> dict[str, Any]:
    """Return comparisons as plain values."""
    return {name: {**asdict(one), "interval": list(one.interval)} for name, one in differences.items()}


def read_record(path: Path, chosen: Sequence[str] = CHOSEN) -> dict[str, Any] | None:
    """Return an earlier record, None if there is none; `chosen`: entries that it must have.

    Raises:
        InputError: it is damaged.
    """
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT or not all(name in found for name in (*chosen, "test")):
        raise InputError(f"{path}: {shown(found)}; expected the record of a choice, which choose_granularity.py writes")
    return found


def is_same_choice(one: Mapping[str, Any], other: Mapping[str, Any], chosen: Sequence[str] = CHOSEN) -> bool:
    """Return whether two records have the same entries `chosen`: the choice, and the runs' levels, seeds, figures on val."""
    return all(one[name] == other[name] for name in chosen)


def replace_record(path: Path, record: Mapping[str, Any], written: str, keep_test: bool) -> None:
    """Write a record; where one was, first remove the files that were written beside it, which may be another choice's.

    The files of the new record are to be written afterwards: a command that is killed in between leaves a record that says
    that test was evaluated, never results of test without one. written: a pattern that matches the names of those files.
    keep_test: leave the files of test, whose figures the new record has from the old one.

    Raises:
        InputError: a file cannot be removed or written.
    """
    if path.is_file():
        for old in sorted(path.parent.iterdir()):
            if re.fullmatch(written, old.name) and not (keep_test and old.name.startswith("test_")):
                try:
                    old.unlink()
                except OSError as error:
                    raise InputError(f"{old}: cannot be removed ({error.strerror})") from None
    write_json(path, record, durable=True)


def fitted_nodes(tree: LevelTree, fitted: Fitted) -> dict[str, list[tuple[int, int]]]:
    """Return level to the nodes of a cut at it, finest level first, without levels that it does not use."""
    nodes = tree.nodes(fitted.cut.level_of)
    found = {level: [node for node in nodes if node[0] == i] for i, level in enumerate(tree.levels)}
    return {level: own for level, own in found.items() if own}
