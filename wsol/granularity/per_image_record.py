"""The choice of a level for each image as a record, as text and as tables; and its comparison with a single level on test.

In: a choice, what the maps showed. Out: `per_image.json`, plain values, written whole; the level of every image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from wsol.core.csv_rows import csv_text
from wsol.granularity.choice import bootstrap_weights
from wsol.granularity.composed import difference_of_shares, per_image_evaluator
from wsol.granularity.material import Material, RunSet
from wsol.granularity.per_image import PerImageChoice, Promise
from wsol.granularity.picked import one_level, oracle_score, pick, shares_of
from wsol.granularity.record import FORMAT, difference_entries, difference_lines, finite, signed, thresholds_of
from wsol.granularity.signs import Looked
from wsol.metrics.calibration import Calibration
from wsol.metrics.difference import Difference, Measured

NAME = "per_image.json"
CHOSEN = (  # what makes a choice the same
    "dataset",
    "levels",
    "seeds",
    "single_level",
    "is_single_level",
    "margin",
    "expected_shares",
    "sign_thresholds",
    "val_thresholds",
    "val",
)
WRITTEN = r"(val|test)_(levels_seed\d+\.csv|per_image_seed\d+\.npz|mean_seed\d+\.npz|per_image_maps_seed\d+\.csv)"
WAYS = {"per_image": "a level for each image", "mean": "mean of the levels' maps"}


def _promise(promise: Promise) -> dict[str, Any]:
    return {
        "MaxBoxAccV2": promise.score,
        "held_out_gain": promise.gain,
        "interval": list(promise.interval),
        "sure": promise.sure,
    }


def _function(calibration: Calibration) -> dict[str, Any]:
    """Return the function of a level as plain values; of a calibration's two curves only the expected share is used."""
    content = calibration.to_dict()
    del content["reaches_50"]
    return {**content, "expected_share": content.pop("expected_iou")}


def as_record(runs: RunSet, material: Material, choice: PerImageChoice) -> dict[str, Any]:
    """Return a choice as plain values for JSON; percent throughout, but margins and expected shares are in [0, 1], and an
    infinite margin is None."""
    levels, seeds, rule = list(runs.levels), list(runs.seeds), choice.rule
    thresholds = {"single": choice.single_positions, "per_image": rule.positions, "mean": choice.mean_positions}
    single = levels[choice.single]
    return {
        "format": FORMAT,
        "dataset": runs.dataset,
        "levels": levels,
        "seeds": seeds,
        "runs": {str(seed): {level: str(runs.runs[seed, level].folder) for level in levels} for seed in seeds},
        "images": len(material.image_ids),
        "single_level": single,
        "is_single_level": not choice.chosen,
        "rule": f"a level for each image, else {single}" if choice.chosen else f"{single} everywhere",
        "margin": finite(rule.margin),
        "expected_shares": {level: _function(one) for level, one in zip(levels, rule.calibrations, strict=True)},
        "sign_thresholds": {
            str(seed): material.thresholds[p] for seed, p in zip(seeds, rule.sign_positions.tolist(), strict=True)
        },
        "val_thresholds": {way: thresholds_of(material, seeds, positions) for way, positions in thresholds.items()},
        "val": {"of_single_levels": dict(zip(levels, choice.singles, strict=True)), "oracle": choice.oracle},
        "expected_gain": choice.per_image.gain if choice.chosen else 0.0,
        "per_image": _promise(choice.per_image),
        "mean": _promise(choice.mean),
        "cross_validation": [{**asdict(one), "margin": finite(one.margin)} for one in choice.tried],
        "test": None,
    }


def as_text(record: Mapping[str, Any]) -> str:
    """Return a record in lines to read."""
    seeds, single = ", ".join(map(str, record["seeds"])), record["single_level"]
    lines = [
        f"{record['dataset']}, val: {record['images']} images; seed {seeds}; MaxBoxAccV2 in percent",
        "single levels: " + ", ".join(f"{level} {score:.2f}" for level, score in record["val"]["of_single_levels"].items()),
        f"oracle, the truth chooses each image's level: {record['val']['oracle']:.2f}",
    ]
    for way, said in WAYS.items():
        one = record[way]
        lines.append(
            f"{said}: {one['MaxBoxAccV2']:.2f}; gain over the best single level on images not used: "
            f"{signed(one['held_out_gain'], one['interval'])}"
        )
    margin = "none, no image leaves it" if record["margin"] is None else f"{record['margin']:g} of an image's share"
    lines.append(f"margin over {single}: {margin}")
    if record["is_single_level"]:
        lines.append(f"chosen: {single} everywhere: a level for each image is not surely better; expected gain 0")
    else:
        unsure = "" if record["per_image"]["sure"] else ", which is not surely above 0"
        lines.append(f"chosen: {record['rule']}; expected gain {record['expected_gain']:+.2f}{unsure}")
    if test := record["test"]:
        lines += [f"test: {line}" for line in test["marks"]]
        for way, said in WAYS.items():
            other = ", which was not chosen" if way == "per_image" and record["is_single_level"] else ""
            lines += difference_lines(f"test, {said}{other}", test[way], single)
        lines.append(f"test, oracle at val's thresholds: {test['oracle']:.2f}")
    return "\n".join(lines)


def levels_text(runs: RunSet, image_ids: Sequence[str], levels: np.ndarray, expected: np.ndarray) -> str:
    """Return a table of images as CSV: the level chosen, int (N,), and every level's expected share, float (L, N)."""
    header = ("image", "level", *(f"expected_{level}" for level in runs.levels))
    names = (runs.levels[level] for level in levels.tolist())
    rows = zip(image_ids, names, *np.round(expected, 6).tolist(), strict=True)
    return csv_text([header, *rows])


def compare_per_image(
    runs: RunSet, material: Material, looked: Looked, choice: PerImageChoice, resamples: int, seed: int
) -> dict[str, Any]:
    """Return the comparison with the best single level on a split, of the rule, whether it was chosen or not, and of the
    mean of the levels' maps; and the oracle's MaxBoxAccV2 at the single level's thresholds.

    looked: what the split's maps showed, signs at `choice.rule.sign_positions` as its last row. resamples: of bootstrap and
    test. seed: of both.
    """
    ids, rights = material.image_ids, material.rights
    weights = bootstrap_weights(ids, resamples, seed)
    level_of = choice.rule.levels(looked.signs[-1])
    fixed = np.full_like(level_of, choice.single)

    def of_levels(chosen: np.ndarray) -> list:
        return [per_image_evaluator(material, s, runs.levels, own) for s, own in zip(runs.seeds, chosen, strict=True)]

    single = Measured(of_levels(fixed), resamples, seed)
    base = shares_of(one_level(rights, choice.single), choice.single_positions)
    ways = {
        "per_image": (shares_of(pick(rights, level_of), choice.rule.positions), of_levels(level_of)),
        "mean": (shares_of(looked.mean_rights, choice.mean_positions), looked.evaluators),
    }
    found: dict[str, Any] = {}
    for way, (shares, evaluators) in ways.items():
        differences: dict[str, Difference] = {
            "at_val_threshold": difference_of_shares(ids, shares, base, weights, resamples, seed),
            "at_best": Measured(evaluators, resamples, seed).less(single),
        }
        found[way] = difference_entries(differences)
    return {**found, "oracle": oracle_score(rights, choice.single_positions)}
