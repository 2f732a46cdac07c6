"""Images held out of a split: how many of every class, and the same for the same seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsol.core.errors import OptionError
from wsol.data.held_out import hold_out
from wsol.data.levels import LevelSplit


def split_of(sizes):
    """A split of so many images of every class, in mixed order, and their finest classes."""
    labels = {f"{label}/{number}.jpg": label for label, size in enumerate(sizes) for number in range(size)}
    ids = sorted(labels, key=lambda image_id: image_id[::-1])
    return LevelSplit(ids, np.array([labels[image_id] % 2 for image_id in ids])), labels


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.floats(0.05, 0.95), st.integers(0, 99))
def test_a_share_of_every_class_is_held_out_and_never_all_of_it(sizes, share, seed):
    split, labels = split_of(sizes)
    expected = {label: min(int(share * size + 0.5), size - 1) for label, size in enumerate(sizes)}
    assume(any(expected.values()))
    train, held = hold_out(split, labels, share, seed)
    assert sorted(train.image_ids + held.image_ids) == sorted(split.image_ids)
    assert Counter(labels[image_id] for image_id in held.image_ids) == Counter(expected)
    assert {labels[image_id] for image_id in train.image_ids} == set(range(len(sizes)))
    for part in (train, held):
        assert part.image_ids == [image_id for image_id in split.image_ids if image_id in set(part.image_ids)]
        assert part.labels.tolist() == [labels[image_id] % 2 for image_id in part.image_ids] and part.subset


def test_the_seed_decides_which():
    split, labels = split_of([20, 20])
    first, again, other = (hold_out(split, labels, 0.5, seed)[1].image_ids for seed in (0, 0, 1))
    assert first == again != other


def test_a_share_of_zero_trains_on_all():
    split, labels = split_of([3, 2])
    assert hold_out(split, labels, 0.0, 0) == (split, None)


def test_nothing_to_hold_out_is_refused():
    split, labels = split_of([1, 1, 2])
    with pytest.raises(OptionError, match=r"fsl_val_share 0.2: with at most 2 images per class none is left to validate"):
        hold_out(split, labels, 0.2, 0)
