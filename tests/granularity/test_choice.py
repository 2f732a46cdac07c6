"""The chooser finds the cut where two subtrees want different levels, and promises nothing where all levels are alike."""

import numpy as np
import pytest
from scipy.stats import binomtest

from made_up import differing_chance, draw_rights, made_up_tree
from scripts.simulate_choice import permuted
from wsol.granularity.choice import (
    MULTIPLES,
    bootstrap_weights,
    choose,
    choose_penalty,
    draw_folds,
    held_out_gains,
    penalty_unit,
)
from wsol.granularity.fit import best_single, fit, fit_single
from wsol.granularity.record import rule_text


def weights_of(rights, resamples=300):
    return bootstrap_weights([f"{i}.jpg" for i in range(len(rights.leaf_of))], resamples, 0)


@pytest.mark.parametrize("seeds", [1, 2])
def test_two_subtrees_that_want_different_levels_get_them(seeds):
    tree = made_up_tree(families=3)
    rights = draw_rights(np.random.default_rng(0), tree, differing_chance(tree), 40, seeds)
    found = choose(tree, rights, weights_of(rights))
    assert found.sure and found.fitted.cut.splits
    # species everywhere but in the first family, which is two genera; or, as cheaply said, genera with the others as splits
    np.testing.assert_array_equal(found.fitted.cut.level_of, np.where(tree.classes[2] == 0, 1, 0))
    assert rule_text(tree, found.fitted.cut) == "species, but genus for family0"
    assert 0 < found.interval[0] < found.gain < found.interval[1] and found.expected_gain == found.gain
    assert found.fitted.score > found.single.score
    # The truth: 0.2 better for a third of the images; what thresholds cost is the same for both.
    assert found.interval[0] < 100 * 0.2 / 3 < found.interval[1]


def test_the_same_seed_gives_the_same_choice_in_any_order_of_seeds_of_runs():
    tree = made_up_tree()
    rights = draw_rights(np.random.default_rng(2), tree, differing_chance(tree), 20)
    one, other = (choose(tree, rights, weights_of(rights), seed=4) for _ in range(2))
    assert one.gain == other.gain and one.interval == other.interval and one.penalty == other.penalty


def test_where_all_levels_are_the_same_the_finest_is_chosen_and_nothing_promised():
    tree = made_up_tree()
    rights = draw_rights(np.random.default_rng(3), tree, np.full((3, 8), 0.6), 20)
    rights.packed[:] = rights.packed[:, :1]
    found = choose(tree, rights, weights_of(rights))
    assert found.fitted.cut.splits == 0 and found.fitted.cut.default == 0
    assert (found.gain, found.interval, found.expected_gain, found.sure) == (0, (0, 0), 0, False)


def test_a_given_penalty_keeps_its_cut():
    tree = made_up_tree()
    rights = draw_rights(np.random.default_rng(3), tree, np.full((3, 8), 0.6), 20)
    found = choose(tree, rights, weights_of(rights), penalty=0.0)
    assert found.fitted is found.candidate and found.fitted.cut.splits and not found.sure and not found.tried


def test_held_out_gains_are_those_of_fits_without_the_fold():
    """The slow way: fit on the other folds' images themselves, count on the fold's."""
    tree = made_up_tree()
    rights = draw_rights(np.random.default_rng(5), tree, differing_chance(tree), 15)
    folds = draw_folds(rights.leaf_of, 3, np.random.default_rng(6))
    penalties = [0.0, 0.5, np.inf]
    gains = held_out_gains(tree, rights, folds, penalties)
    bits = np.unpackbits(rights.packed, axis=4, count=rights.thresholds)[0]
    for fold in range(3):
        seen = rights.take(folds != fold)
        counts, images = seen.leaf_sums(), len(seen.leaf_of)
        base = best_single(fit_single(tree, counts, images))
        for i, penalty in enumerate(penalties):
            found = fit(tree, counts, images, penalty)
            for image in np.flatnonzero(folds == fold):
                both = [
                    100
                    * np.mean(
                        [bits[one.cut.level_of[rights.leaf_of[image]], image, j, one.positions[0, j]] for j in range(3)]
                    )
                    for one in (found, base)
                ]
                assert gains[i, image] == pytest.approx(both[0] - both[1])
    assert not gains[-1].any()


def test_folds_are_even_in_every_class():
    leaf_of = np.random.default_rng(0).integers(0, 7, 400)
    folds = draw_folds(leaf_of, 5, np.random.default_rng(1))
    counts = np.array([np.bincount(folds[leaf_of == leaf], minlength=5) for leaf in range(7)])
    assert (np.ptp(counts, axis=1) <= 1).all() and set(np.bincount(folds)) == {80}


def test_the_rule_of_one_standard_error_takes_no_split_for_a_gain_within_it():
    gains = np.zeros((len(MULTIPLES), 100))
    gains[1] = np.tile([10.0, -9.0], 50)  # 0.5, with a standard error of 0.95
    assert choose_penalty(gains) == len(MULTIPLES) - 1
    gains[1] += 1
    assert choose_penalty(gains) == 1


def test_the_unit_of_the_penalty_is_what_chance_does_at_a_leaf():
    """With n images of each of C leaves, the number of right ones changes by about sqrt(n), of nC images."""
    assert penalty_unit(25 * 59, 59) == pytest.approx(100 * 5 / (25 * 59))


@pytest.mark.slow
def test_in_noise_it_seldom_finds_a_cut():
    """200 draws; each image's results are permuted among the levels, so that there is nothing to be found."""
    tree = made_up_tree()
    draws, cuts, promised = 200, 0, []
    for number in range(draws):
        rng = np.random.default_rng([number, 7])
        rights = permuted(draw_rights(rng, tree, differing_chance(tree), 20), rng)
        found = choose(tree, rights, weights_of(rights), seed=number, repeats=1)
        cuts += bool(found.fitted.cut.splits)
        promised.append(found.expected_gain)
    low, _ = binomtest(cuts, draws).proportion_ci()
    assert low <= 0.05, cuts
    assert np.mean(promised) < 0.5
