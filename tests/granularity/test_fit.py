"""Cut and thresholds in turns: against brute force over all cuts and thresholds, and never below the best single level."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from made_up import differing_chance, draw_rights, every_cut, fewest_splits, level_trees, made_up_tree
from wsol.granularity.cut import best_cut
from wsol.granularity.fit import best_single, climb, fit, fit_single, values_at

PENALTIES = (0.0, 3.0, 11.0, np.inf)


@st.composite
def counted(draw):
    """A small tree, and counts int (1, L, C, 2 IoU thresholds, 3 score-map thresholds) of images that are right."""
    tree = draw(level_trees())
    shape = (1, len(tree.levels), len(tree.leaves), 2, 3)
    return tree, draw(npst.arrays(np.int32, shape, elements=st.integers(0, 5)))


def objective(tree, counts, images, level_of, positions, penalty):
    """Of a cut and thresholds, the slow way."""
    right = sum(
        int(counts[0, level_of[leaf], leaf, iou, positions[iou]]) for leaf in range(len(tree.leaves)) for iou in range(2)
    )
    splits = fewest_splits(tree, level_of)
    return 100 * right / (images * 2) - (penalty * splits if splits else 0)


@settings(deadline=None, max_examples=60)
@given(counted(), st.sampled_from(PENALTIES))
def test_fitted_is_between_the_best_single_level_and_brute_force(case, penalty):
    tree, counts = case
    images = 5 * len(tree.leaves)
    found = fit(tree, counts, images, penalty)
    slow = max(
        objective(tree, counts, images, level_of, positions, penalty)
        for level_of in every_cut(tree)
        for positions in product(range(3), repeat=2)
    )
    best = best_single(fit_single(tree, counts, images))
    assert found.score >= best.score - 1e-9
    assert best.score - 1e-9 <= found.objective <= slow + 1e-9
    positions = found.positions[0]
    assert found.objective == pytest.approx(objective(tree, counts, images, found.cut.level_of, positions, penalty))


@settings(deadline=None, max_examples=60)
@given(counted(), st.sampled_from(PENALTIES[:3]))
def test_each_turn_is_better_and_neither_cut_nor_thresholds_can_raise_the_last(case, penalty):
    tree, counts = case
    images = 5 * len(tree.leaves)
    for start in fit_single(tree, counts, images):
        turns = climb(tree, counts, images, start, penalty)
        objectives = [turn.objective for turn in turns]
        assert all(after > before for before, after in pairwise(objectives))
        last = turns[-1]
        cut, fixed = last.cut.level_of, last.positions[0]
        others = [objective(tree, counts, images, cut, each, penalty) for each in product(range(3), repeat=2)]
        others += [objective(tree, counts, images, each, fixed, penalty) for each in every_cut(tree)]
        assert max(others) == pytest.approx(last.objective)


@settings(deadline=None, max_examples=60)
@given(counted())
def test_with_one_threshold_the_cut_is_the_best_of_all(case):
    tree, counts = case
    counts = counts[..., :1]
    images = 5 * len(tree.leaves)
    slow = max(objective(tree, counts, images, level_of, (0, 0), 3.0) for level_of in every_cut(tree))
    assert fit(tree, counts, images, 3.0).objective == pytest.approx(slow)


def test_sums_are_those_of_the_unpacked_bits():
    rng = np.random.default_rng(0)
    tree = made_up_tree()
    rights = draw_rights(rng, tree, differing_chance(tree), 71, seeds=2)
    rights = rights.take(rng.permutation(len(rights.leaf_of)))
    bits = np.unpackbits(rights.packed, axis=4, count=rights.thresholds)
    for leaf in range(rights.leaves):
        np.testing.assert_array_equal(rights.leaf_sums()[:, :, leaf], bits[:, :, rights.leaf_of == leaf].sum(axis=2))


def test_shares_add_up_to_the_score():
    tree = made_up_tree()
    rights = draw_rights(np.random.default_rng(1), tree, differing_chance(tree), 20, seeds=2)
    counts, images = rights.leaf_sums(), len(rights.leaf_of)
    found = fit(tree, counts, images, 0.1)
    assert rights.shares(found.cut.level_of[rights.leaf_of], found.positions).mean() == pytest.approx(found.score)
    values = values_at(counts, found.positions)
    assert best_cut(tree, values, 0).level_of.shape == (len(tree.leaves),)
    np.testing.assert_array_equal(values, sum(counts[s, :, :, j, found.positions[s, j]] for s in (0, 1) for j in range(3)))
