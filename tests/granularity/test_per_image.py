"""The choice of a level for each image: its parts against loops, found where signs tell the level, and not in noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import THRESHOLDS, draw_rights, made_up_tree
from wsol.core.errors import InputError
from wsol.granularity.choice import bootstrap_weights
from wsol.granularity.fit import best_single, fit_single
from wsol.granularity.per_image import MARGINS, choose_levels, choose_per_image, cross_fitted, fit_rule, make_plan
from wsol.granularity.picked import best_level, level_shares, one_level, oracle_levels, oracle_score, pick, shares_of
from wsol.granularity.rights import Rights
from wsol.granularity.signs import level_sign_names, mean_map, signs_of
from wsol.metrics.boxes import boxes_at, calculate_multiple_iou
from wsol.metrics.map_signs import map_signs, strong_components

IOUS = (30, 50, 70)
NAMES = [("sign",)] * 2


def made_up(rng, images=200, seeds=1, told=1.0):
    """Rights of two levels, of which each image has one that is right and one that is wrong, and signs (S, L, N, 1) that
    tell which, by so many standard deviations of their noise."""
    right = rng.integers(0, 2, (seeds, images))
    good = np.stack([right == 0, right == 1], axis=1) & (rng.random((seeds, 2, images)) < 0.9)
    place = rng.integers(2, 5, (seeds, 2, images, 1, 1))
    near = np.abs(np.arange(THRESHOLDS) - place) <= 2
    packed = np.packbits(np.broadcast_to(good[..., None, None] & near, (seeds, 2, images, 3, THRESHOLDS)), axis=4)
    signs = told * good[..., None] + rng.normal(size=(seeds, 2, images, 1))
    return Rights(packed, THRESHOLDS, np.arange(images) % 4, 4), signs


def choose(rights, signs, seed=0, margin=None, mean=None):
    plan = make_plan(rights, IOUS, seed)
    ids = [f"{i}.jpg" for i in range(len(rights.leaf_of))]
    every = np.broadcast_to(signs, (len(plan.positions), *signs.shape))
    weights = bootstrap_weights(ids, 500, seed)
    return choose_per_image(NAMES, plan, every, rights, mean or one_level(rights, 0), weights, seed, margin)


def slow_shares(rights, level_of, positions):
    """Each image's share in percent, bit by bit."""
    bits = np.unpackbits(rights.packed, axis=4, count=rights.thresholds)
    seeds, _, images, ious, _ = bits.shape
    return np.array(
        [
            100 * np.mean([bits[s, level_of[s, n], n, j, positions[s, j]] for s in range(seeds) for j in range(ious)])
            for n in range(images)
        ]
    )


def test_a_picked_run_has_each_images_share_of_its_level():
    rng = np.random.default_rng(0)
    tree = made_up_tree()
    rights = draw_rights(rng, tree, np.full((3, 8), 0.5), 6, seeds=2)
    level_of, positions = rng.integers(0, 3, (2, 48)), rng.integers(0, THRESHOLDS, (2, 3))
    np.testing.assert_allclose(shares_of(pick(rights, level_of), positions), slow_shares(rights, level_of, positions))
    for level in range(3):
        fixed = np.full((2, 48), level)
        np.testing.assert_allclose(shares_of(one_level(rights, level), positions), slow_shares(rights, fixed, positions))


def test_the_best_level_is_that_of_a_cut():
    tree = made_up_tree()
    rights = draw_rights(np.random.default_rng(1), tree, np.tile([[0.4], [0.6], [0.5]], (1, 8)), 6, seeds=2)
    level, positions, scores = best_level(rights)
    singles = fit_single(tree, rights.leaf_sums(), 48)
    assert level == best_single(singles).cut.default == 1
    np.testing.assert_array_equal(positions, singles[1].positions)
    np.testing.assert_allclose(scores, [one.score for one in singles])


@given(
    st.lists(st.lists(st.integers(0, 10), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.1, 0.25, np.inf]),
)
def test_an_image_leaves_the_single_level_only_for_the_margin(expected, single, margin):
    expected = np.array(expected).T / 10
    found = choose_levels(expected[None], single, margin)[0]
    for image, level in enumerate(found):
        best = max(range(3), key=lambda each: (expected[each, image], -each))
        leaves = expected[best, image] - expected[single, image] > margin
        assert level == (best if leaves else single)


def test_expectations_of_held_out_images_do_not_know_their_truth():
    rights, signs = made_up(np.random.default_rng(2), 60)
    shares, folds = level_shares(rights, np.full((1, 3), 3)), np.arange(60) % 5
    before = cross_fitted(NAMES, signs, shares, folds)
    shares[:, :, folds == 2] = 1 - shares[:, :, folds == 2]
    after = cross_fitted(NAMES, signs, shares, folds)
    np.testing.assert_array_equal(before[:, :, folds == 2], after[:, :, folds == 2])
    assert (before[:, :, folds != 2] != after[:, :, folds != 2]).all()


@pytest.mark.parametrize("seeds", [1, 2])
def test_signs_that_tell_the_level_are_found_and_the_promise_holds(seeds):
    rng = np.random.default_rng(3)
    rights, signs = made_up(rng, 300, seeds, told=3.0)
    choice = choose(rights, signs)
    assert choice.chosen and choice.per_image.interval[0] > 10
    fresh, seen = made_up(rng, 2000, seeds, told=3.0)
    levels = choice.levels(seen)
    gains = shares_of(pick(fresh, levels), choice.positions) - shares_of(
        one_level(fresh, choice.single), choice.single_positions
    )
    low, high = choice.per_image.interval
    assert low < gains.mean() < high
    assert (levels == oracle_levels(fresh, choice.positions)).mean() > 0.8


def test_in_noise_the_single_level_stays():
    """The gate may let a choice pass in 2.5 % of the draws: 4 or more of 30 have a probability of 0.6 %."""
    found = 0
    for seed in range(30):
        rights, signs = made_up(np.random.default_rng(100 + seed), 120, told=0.0)
        choice = choose(rights, signs, seed)
        found += choice.chosen
        if not choice.chosen:
            assert (choice.levels(signs) == choice.single).all()
            np.testing.assert_array_equal(choice.positions, choice.single_positions)
    assert found < 4


def test_the_promise_is_of_rules_that_never_saw_the_image():
    """Fold by fold, with shares bit by bit; what is held out may change without a change of the rule."""
    rights, signs = made_up(np.random.default_rng(11), 100, 2)
    found = choose(rights, signs, seed=5).per_image.gain
    folds, rng, gains = make_plan(rights, IOUS, 5).folds, np.random.default_rng([5, 1]), np.zeros(100)
    for fold in range(5):
        out = folds == fold
        seen = rights.take(~out)
        single, positions, _ = best_level(seen)
        rule, _, _ = fit_rule(NAMES, signs[:, :, ~out], seen, positions[:, 1], MARGINS, 5, rng)
        assert rule.single == single
        for n in np.flatnonzero(out):
            levels = rule.levels(signs[:, :, [n]])
            one = rights.take(np.array([n]))
            gains[n] = slow_shares(one, levels, rule.positions)[0] - slow_shares(one, np.full((2, 1), single), positions)[0]
    assert found == pytest.approx(gains.mean()) and found != 0


def test_a_rule_that_moves_no_image_promises_nothing(monkeypatch):
    """Rules of the folds may have gained, while that of all images has an infinite margin."""
    monkeypatch.setattr("wsol.granularity.per_image.bootstrap_interval", lambda gains, weights: (1.0, 2.0))
    choice = choose(*made_up(np.random.default_rng(12), told=0.0))
    assert choice.per_image.sure and not np.isfinite(choice.rule.margin) and not choice.chosen


def test_no_choice_is_above_the_oracle():
    rights, _ = made_up(np.random.default_rng(4), 50, 2)
    positions = best_level(rights)[1]
    bound = oracle_score(rights, positions)
    levels = oracle_levels(rights, positions)
    assert shares_of(pick(rights, levels), positions).mean() == pytest.approx(bound)
    bits = np.unpackbits(rights.packed, axis=4, count=THRESHOLDS)
    each = [[bits[s, :, :, j, positions[s, j]] for j in range(3)] for s in range(2)]
    assert bound == pytest.approx(100 * np.mean([np.mean(own, axis=0).max(axis=0) for own in each]))
    for single in range(2):
        assert shares_of(one_level(rights, single), positions).mean() <= bound


def test_the_mean_of_the_maps_is_compared_too():
    """Maps whose mean is always right gain over the single level what that lacks on images it was not chosen on."""
    rights, signs = made_up(np.random.default_rng(5), told=0.0)
    mean = Rights(np.full_like(rights.packed[:, :1], 255), THRESHOLDS, rights.leaf_of, rights.leaves)
    choice = choose(rights, signs, mean=mean)
    assert choice.mean.score == 100 and choice.mean.sure
    bits = np.unpackbits(rights.packed, axis=4, count=THRESHOLDS)[0]
    folds, lacking = make_plan(rights, IOUS, 0).folds, []
    for fold in range(5):
        sums = bits[:, folds != fold].sum(axis=1)
        level = int(sums.max(axis=2).sum(axis=1).argmax())
        held_out = bits[level][folds == fold]
        lacking += [100 - 100 * held_out[:, range(3), sums[level].argmax(axis=1)].mean(axis=1)]
    assert choice.mean.gain == pytest.approx(np.concatenate(lacking).mean())
    assert not choice.chosen


def test_a_given_margin_is_kept_whether_its_gain_is_sure_or_not():
    rights, signs = made_up(np.random.default_rng(6), told=0.0)
    choice = choose(rights, signs, margin=0.0)
    assert choice.chosen and choice.rule.margin == 0 and not choice.tried and not choice.per_image.sure
    assert len(np.unique(choice.levels(signs))) == 2


def test_the_same_seed_gives_the_same_choice_and_another_other_folds():
    rights, signs = made_up(np.random.default_rng(7), told=1.0)
    one, two, other = (choose(rights, signs, seed) for seed in (0, 0, 1))
    assert one.per_image == two.per_image or one.per_image.__dict__ == two.per_image.__dict__
    assert one.per_image.gain != other.per_image.gain


def test_few_images_are_refused():
    rights, _ = made_up(np.random.default_rng(8), 39)
    with pytest.raises(InputError, match="39 images of val; expected 40 or more"):
        make_plan(rights, IOUS, 0)


def random_maps(rng, count, shape=(20, 30)):
    """Score maps with a few blobs each."""
    maps = []
    for _ in range(count):
        own = rng.random(shape) * 0.2
        for _ in range(2):
            y, x = rng.integers(0, shape[0] - 6), rng.integers(0, shape[1] - 8)
            own[y : y + 6, x : x + 8] += rng.random()
        maps.append((own - own.min()) / (own.max() - own.min()))
    return maps


def test_the_signs_of_a_level_are_its_maps_and_its_agreement_with_the_others():
    maps = random_maps(np.random.default_rng(9), 3)
    found = signs_of(maps, 0.4)
    boxes = [boxes_at(one, 0.4, False) for one in maps]
    for i, one in enumerate(maps):
        others = [float(calculate_multiple_iou(boxes[i], boxes[j])[0, 0]) for j in range(3) if j != i]
        np.testing.assert_allclose(found[i], [*map_signs(one, 0.4, strong_components(one, 0.4)), *others])
        assert len(level_sign_names(["a", "b", "c"], i)) == found.shape[1]


def test_the_mean_map_spans_0_to_1_and_needs_one_size():
    maps = random_maps(np.random.default_rng(10), 3)
    found = mean_map(maps)
    mean = sum(maps) / 3
    np.testing.assert_allclose(found, (mean - mean.min()) / (mean.max() - mean.min()), atol=1e-12)
    assert (mean_map([np.zeros((3, 4)), np.zeros((3, 4))]) == 0).all()
    with pytest.raises(InputError, match="maps of the sizes 4 x 3, 5 x 3"):
        mean_map([np.zeros((3, 4)), np.zeros((3, 5))])
