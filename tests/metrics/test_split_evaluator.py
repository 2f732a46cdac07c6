"""What a split's evaluator has counted: merged in any order, saved and loaded, it is that of one pass."""

import copy

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol.core.errors import InputError
from wsol.data.truth import SplitTruth
from wsol.metrics.bootstrap import Resampled, compare, intervals
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import SplitEvaluator

COUNT = 24


@pytest.fixture(scope="module")
def scored_maps(toy_root):
    """A fresh evaluator of Toy's val split (boxes and masks), and what 24 images give: random maps of two sizes, ranks, and
    three images that could not be read."""
    rng = np.random.default_rng(0)
    truth = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val")
    fresh = SplitEvaluator(truth, 0.01, [30, 50], True)
    sides = rng.choice([32, 40], COUNT)
    maps = [cv2.resize(rng.random((4, 4)), (side, side), interpolation=cv2.INTER_LINEAR) for side in sides.tolist()]
    scored = [fresh.score(score_map, image_id) for score_map, image_id in zip(maps, fresh.image_ids, strict=False)]
    scored = [one._replace(rank=int(rng.integers(0, 8))) for one in scored]
    for i in (0, 7, 23):
        scored[i] = Scored(scored[i].image_id, skipped=True)
    return fresh, scored


def everything(evaluator):
    """All that an evaluator says of what it has counted, in an order of its own."""
    results = evaluator.results({"30": 0.2, "50": 0.5})
    per_image = {name: evaluator.boxes.correct_at(50, 30)[name] for name in sorted(evaluator.scored_ids)}
    histograms = {one.image_id: one.masks.tolist() for one in evaluator.images if not one.skipped}
    return {
        "results": results,
        "intervals": intervals(Resampled(evaluator, 20, 0), results),
        "compare": compare(*[Resampled(evaluator, 20, 0)] * 2),
        "boxes": {name: bits.tolist() for name, bits in sorted(evaluator.boxes.correct)},
        "masks": dict(sorted(histograms.items())),
        "per_image": per_image,
        "skipped": sorted(evaluator.skipped_ids),
        "ranks": dict(sorted(evaluator.ranks.items())),
        "sizes": dict(sorted(evaluator.map_sizes.items())),
    }


def counted(fresh, scored):
    one = copy.deepcopy(fresh)
    for each in scored:
        one.add(each)
    one.counts = {"skipped_images": len(one.skipped_ids), "missing_maps": len(scored)}
    return one


@settings(deadline=None, max_examples=25)
@given(shards=st.lists(st.integers(0, 3), min_size=COUNT, max_size=COUNT), order=st.permutations(range(4)))
def test_merge_of_any_partition_in_any_order_equals_one_pass(scored_maps, shards, order):
    fresh, scored = scored_maps
    parts = [counted(fresh, [one for one, shard in zip(scored, shards, strict=True) if shard == i]) for i in range(4)]
    first, *others = (parts[i] for i in order)
    for other in others:
        first.merge(other)
    expected = everything(counted(fresh, scored))
    assert everything(first) == expected
    assert expected["results"]["counts"]["images"] == COUNT - 3
    assert expected["results"]["counts"]["skipped_images"] == 3


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, COUNT - 1), unique=True, min_size=1))
def test_a_state_that_is_saved_and_loaded_is_the_same(scored_maps, chosen):
    fresh, scored = scored_maps
    if all(scored[i].skipped for i in chosen):
        return
    one, other = counted(fresh, [scored[i] for i in chosen]), copy.deepcopy(fresh)
    other.load_state_dict(one.state_dict())
    assert everything(other) == everything(one)
    assert other.scored_ids == one.scored_ids
    assert other.results() == one.results()


def test_a_state_is_plain_values_and_arrays_that_share_nothing(scored_maps):
    fresh, scored = scored_maps
    one = counted(fresh, scored)
    before = everything(one)
    state = one.state_dict()
    arrays = []

    def check(value):
        assert isinstance(value, dict | list | str | int | float | np.ndarray | None)
        if isinstance(value, np.ndarray):
            assert value.dtype.kind in "biuf"
            arrays.append(value)
        for each in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(each)

    check(state)
    assert sum(array.nbytes for array in arrays) < COUNT * (2 * 13 + 2 * 102 * 2 + 40)  # bits, histograms, the rest
    for array in arrays:
        array[...] = 0
    assert everything(one) == before


def test_an_empty_state_is_loaded(scored_maps):
    fresh, _ = scored_maps
    other = copy.deepcopy(fresh)
    other.load_state_dict(fresh.state_dict())
    assert other.images == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "counts of format 2; expected format 1"),
        ({"images": None}, "without settings, images or counts"),
        ({"settings": {"split": "test"}}, "counts for split 'test'; expected 'val'"),
        ({"settings": {"iou_threshold_list": [50]}}, r"counts for iou_threshold_list \[50\]; expected \[30, 50\]"),
        ({"settings": {"truth": ["boxes"]}}, "counts for truth"),
        ({"images": {"rank": None}}, "rank: expected one row of numbers for each of 24 images"),
        ({"images": {"size": np.zeros((24, 3), int)}}, "size: expected one row"),
        ({"images": {"boxes": np.zeros((24, 2, 12), np.uint8)}}, "do not match this split and these options"),
        ({"images": {"masks": None}}, "do not match this split and these options"),
        ({"images": {"more": None}}, "columns .* masks, more, .*; expected activation_ratio"),
        ({"images": {"image_id": [f"x{i}" for i in range(24)]}}, "counts of 24 images that are not to be scored:\n  x0"),
        ({"images": {"image_id": ["x"] * 24}}, "image_id: 23 of 24 ids are duplicates; expected unique ids"),
    ],
)
def test_a_state_of_another_evaluator_is_refused(scored_maps, change, message):
    fresh, scored = scored_maps
    state = counted(fresh, scored).state_dict()
    for name, value in change.items():
        state[name] = {**state[name], **value} if isinstance(value, dict) else value
    with pytest.raises(InputError, match=message):
        copy.deepcopy(fresh).load_state_dict(state)


def test_counts_are_neither_loaded_nor_merged_twice(scored_maps):
    fresh, scored = scored_maps
    one = counted(fresh, scored)
    with pytest.raises(InputError, match="has counted images already"):
        one.load_state_dict(one.state_dict())
    with pytest.raises(InputError, match=r"both evaluators have counted .* \(24 images\)"):
        one.merge(copy.deepcopy(one))


def test_other_settings_are_not_merged(scored_maps, toy_root):
    where = (toy_root / "metadata", toy_root / "dataset", "Toy")
    for name, options in {
        "split": ("test", 0.01, [30, 50], True),
        "cam_curve_interval": ("val", 0.1, [30, 50], True),
        "iou_threshold_list": ("val", 0.01, [50, 30], True),
        "box_rule": ("val", 0.01, [30, 50], False),
    }.items():
        split, *rest = options
        with pytest.raises(InputError, match=f"a different {name} cannot be merged"):
            scored_maps[0].merge(SplitEvaluator(SplitTruth.read(*where, split), *rest))


def test_classification_is_not_measured_where_only_some_ranks_are_known(scored_maps):
    fresh, scored = scored_maps
    some = counted(fresh, [one if i % 2 else one._replace(rank=None) for i, one in enumerate(scored)])
    assert not some.has_ranks and "top1_cls" not in some.results() and counted(fresh, scored).has_ranks
