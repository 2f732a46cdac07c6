"""The composed run against its images one by one, and its comparison with a single level against the slow way."""

import numpy as np
import pytest

from made_up import differing_chance, draw_rights, made_up_tree, write_data_set, write_runs
from wsol.granularity.choice import bootstrap_weights, choose
from wsol.granularity.composed import compare_on, composed_evaluator
from wsol.granularity.fit import fit_single
from wsol.granularity.material import read_material, read_run_set
from wsol.metrics.bootstrap import Resampled, compare
from wsol.metrics.weighted_sums import image_weights


@pytest.fixture
def made(tmp_path):
    tree = made_up_tree(families=3)
    ids = write_data_set(tmp_path / "metadata", tree, 25)
    rights = {
        split: draw_rights(np.random.default_rng(seed), tree, differing_chance(tree), 25, seeds=2)
        for seed, split in enumerate(("val", "test"))
    }
    runs = read_run_set(write_runs(tmp_path / "runs", tree, rights, ids))
    val, test = (read_material(runs, tree, split) for split in ("val", "test"))
    choice = choose(tree, val.rights, bootstrap_weights(val.image_ids, 300, 0))
    assert choice.fitted.cut.splits
    return tree, runs, test, choice


def test_each_image_has_the_result_of_its_levels_run(made):
    tree, runs, test, choice = made
    level_of = choice.fitted.cut.level_of
    for seed in runs.seeds:
        evaluator = composed_evaluator(test, seed, tree.levels, level_of)
        for one, leaf in zip(evaluator.images, test.rights.leaf_of, strict=True):
            own = test.files[seed, tree.levels[level_of[leaf]]].images[one.image_id]
            np.testing.assert_array_equal(one.boxes, own.boxes)
        assert evaluator.scored_ids == list(test.image_ids)


def test_at_vals_thresholds_the_comparison_is_of_fixed_shares(made):
    tree, runs, test, choice = made
    found = compare_on(test, runs.seeds, tree.levels, choice.fitted, choice.single, 400, 0)["at_val_threshold"]
    gains, figures = [], []
    for one in (choice.fitted, choice.single):
        shares = []
        for image, leaf in enumerate(test.rights.leaf_of):
            bits = np.unpackbits(test.rights.packed[:, one.cut.level_of[leaf], image], axis=2, count=10)
            shares.append(100 * np.mean([bits[s, j, one.positions[s, j]] for s in range(2) for j in range(3)]))
        figures.append(np.mean(shares))
        gains.append(np.array(shares))
    assert (found.composed, found.single) == pytest.approx(tuple(figures))
    difference = gains[0] - gains[1]
    weights = np.array([image_weights(i, "bootstrap", 400, 0) for i in test.image_ids]).T
    means = [np.average(difference, weights=row) for row in weights]
    assert found.interval == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    assert found.difference == pytest.approx(difference.mean()) and found.interval[0] > 0 and found.p_value == 1 / 401


def test_at_the_best_thresholds_one_seed_is_the_comparison_of_two_runs(made):
    """Of one seed it is what `compare` of two runs gives, as in evaluation.py --compare."""
    tree, runs, test, choice = made
    found = compare_on(test, runs.seeds[:1], tree.levels, choice.fitted, choice.single, 400, 3)["at_best"]
    both = [composed_evaluator(test, 0, tree.levels, one.cut.level_of) for one in (choice.fitted, choice.single)]
    slow = compare(*(Resampled(evaluator, 400, 3) for evaluator in both))["MaxBoxAccV2"]
    assert found.difference == pytest.approx(slow["difference"])
    assert found.interval == pytest.approx(tuple(slow["interval"]))
    assert found.p_value == slow["p_value"]
    assert found.composed == pytest.approx(both[0].results()["MaxBoxAccV2"])


def test_a_single_level_differs_from_itself_by_nothing(made):
    tree, runs, test, _ = made
    single = fit_single(tree, test.rights.leaf_sums(), len(test.image_ids))[0]
    for found in compare_on(test, runs.seeds, tree.levels, single, single, 200, 0).values():
        assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)
