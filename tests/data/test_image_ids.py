import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol.data.image_ids import Collector, ImageIds, Labels, first_of_each, relabeled

IDS = st.lists(st.text(max_size=2), unique=True, max_size=12)


@given(IDS, st.data())
def test_ids_behave_like_a_list(names, data):
    ids = ImageIds(names)
    assert list(ids) == names and ids == names and len(ids) == len(names) and ids == ImageIds(names)
    assert ids != [*names, "more"] and ids != names[1:] + [""] * bool(names[:1] != [""])
    part = data.draw(st.slices(len(names)))
    assert list(ids[part]) == names[part]
    assert [ids[i] for i in range(-len(names), len(names))] == names * 2
    assert pickle.loads(pickle.dumps(ids[part])) == names[part]
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names))), dtype=bool)
    assert list(ids.take(kept)) == [name for name, keep in zip(names, kept, strict=True) if keep]


def test_an_id_beyond_the_end_is_an_index_error():
    with pytest.raises(IndexError):
        ImageIds(["a"])[1]


@given(IDS, IDS)
def test_positions_among_others_either_way_round(one, other):
    first, second = ImageIds(one), ImageIds(other)
    for _ in range(2):  # the second time from what is kept
        assert first.positions(second).tolist() == [other.index(name) if name in other else -1 for name in one]
        assert second.positions(first).tolist() == [one.index(name) if name in one else -1 for name in other]


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6))
def test_the_first_duplicate(names):
    expected = next((i for i, name in enumerate(names) if name in names[:i]), None)
    assert ImageIds(names).first_duplicate() == expected


@given(IDS, st.lists(IDS, max_size=2), st.integers(1, 4))
def test_ids_that_are_collected_in_blocks_share_what_is_known(names, others, size):
    like = [ImageIds(each) for each in others]
    collector = Collector(like)
    for start in range(0, len(names), size):
        collector.add(ImageIds(names[start : start + size]).array)
    ids, is_known = collector.ids()
    assert list(ids) == names
    assert any(ids is each for each in like) == (names in others)
    assert is_known == any(each[: len(names)] == names for each in others) or set(names) <= set(*others[:1])


LABELS = st.lists(st.integers(0, 4) | st.just(999_999_999), max_size=12)


@given(LABELS, st.dictionaries(st.integers(0, 5), st.integers(0, 9)))
def test_labels_renumbered_and_the_first_of_each(values, number_of):
    array = np.array(values, dtype=np.int32)
    assert relabeled(array, number_of).tolist() == [number_of.get(value, -1) for value in values]
    codes, labels, first = first_of_each(array)
    assert labels.tolist() == list(dict.fromkeys(values))
    assert labels[codes].tolist() == values
    assert first.tolist() == [values.index(label) for label in labels.tolist()]


@given(st.dictionaries(st.text(max_size=2), st.integers(0, 9)), IDS)
def test_labels_of_other_ids(table, names):
    labels = Labels.of(table)
    assert labels.to_dict() == table and labels.classes() == sorted(set(table.values()))
    assert labels.at(ImageIds(names)).tolist() == [table.get(name, -1) for name in names]
