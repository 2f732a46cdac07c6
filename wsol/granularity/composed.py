"""The run that a cut composes from the runs of every level: each image's result is that of its level's run.

In: material of a split, a cut, and score-map thresholds of val. Out: evaluators, and the paired comparison with a single
level. No map is scored again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsol.granularity.choice import bootstrap_interval, bootstrap_weights
from wsol.granularity.fit import Fitted
from wsol.granularity.material import Material, RunSet
from wsol.maps.score_maps import MAPS_OF_A_RUN, find_score_maps
from wsol.metrics.difference import Difference, Measured
from wsol.metrics.images_file import ImagesFile
from wsol.metrics.seeds_test import seeds_p_value
from wsol.metrics.split_evaluator import SplitEvaluator


def composed_evaluator(material: Material, seed: int, levels: Sequence[str], level_of: np.ndarray) -> SplitEvaluator:
    """Return an evaluator that has counted what a cut gives with a seed's runs.

    levels: the names of the levels. level_of: int (C,), each finest class's level. The score-map thresholds that go with
    the figures of such an evaluator are its own best ones; those of val are not in it.
    """
    return per_image_evaluator(material, seed, levels, level_of[material.rights.leaf_of])


def per_image_evaluator(material: Material, seed: int, levels: Sequence[str], of_image: np.ndarray) -> SplitEvaluator:
    """Return the evaluator of a seed's run that takes each image's results from a level, `of_image`: int (N,)."""
    files = [material.files[seed, level] for level in levels]
    images = {image_id: files[level].images[image_id] for image_id, level in zip(material.image_ids, of_image, strict=True)}
    return ImagesFile(files[0].path, files[0].settings, None, images).evaluator()


def folders_of_maps(
    material: Material, runs: RunSet, seed: int, levels: Sequence[str], level_of: np.ndarray
) -> dict[str, Path] | None:
    """Return image id to the folder of maps that serves it in a seed's composed run; None if a map was not saved.

    Arguments as for `composed_evaluator`.
    """
    return folders_per_image(material, runs, seed, levels, level_of[material.rights.leaf_of])


def folders_per_image(
    material: Material, runs: RunSet, seed: int, levels: Sequence[str], of_image: np.ndarray
) -> dict[str, Path] | None:
    """Return the same where each image has a level, `of_image`: int (N,)."""
    found: dict[str, Path] = {}
    for position, level in enumerate(levels):
        root = runs.runs[seed, level].folder / MAPS_OF_A_RUN
        own = [image_id for image_id, each in zip(material.image_ids, of_image, strict=True) if each == position]
        if own and (not root.is_dir() or find_score_maps(root, own).missing):
            return None
        found |= dict.fromkeys(own, root)
    return {image_id: found[image_id] for image_id in material.image_ids}


def difference_of_shares(
    ids: Sequence[str], ours: np.ndarray, theirs: np.ndarray, weights: np.ndarray, resamples: int, seed: int
) -> Difference:
    """Return the comparison of two runs at fixed thresholds, given each image's share in both, float64 (N,) in percent."""
    first, second = (dict(zip(ids, (each / len(ids)).tolist(), strict=True)) for each in (ours, theirs))
    gains = ours - theirs
    p_value = seeds_p_value(first, second, resamples, seed)
    return Difference(
        float(ours.mean()), float(theirs.mean()), float(gains.mean()), bootstrap_interval(gains, weights), p_value
    )


def compare_on(
    material: Material,
    seeds: Sequence[int],
    levels: Sequence[str],
    composed: Fitted,
    single: Fitted,
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    """Return both comparisons of a composed run with a single level on a split, `at_val_threshold` and `at_best`.

    composed, single: as fitted on val, with its thresholds. resamples: of the bootstrap and of the test. seed: of both.
    """
    ids, both = material.image_ids, (composed, single)
    weights = bootstrap_weights(ids, resamples, seed)
    ours, theirs = (material.rights.shares(one.cut.level_of[material.rights.leaf_of], one.positions) for one in both)
    first, second = ([composed_evaluator(material, each, levels, one.cut.level_of) for each in seeds] for one in both)
    return {
        "at_val_threshold": difference_of_shares(ids, ours, theirs, weights, resamples, seed),
        "at_best": Measured(first, resamples, seed).less(Measured(second, resamples, seed)),
    }
