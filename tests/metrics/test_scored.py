"""What images gave, as columns."""

from hypothesis import given
from hypothesis import strategies as st

from wsol.metrics.scored import Scored, from_columns, to_columns

images = st.builds(
    Scored,
    image_id=st.text(st.characters(exclude_categories=["Cs"])),
    boxes=st.none(),
    masks=st.none(),
    size=st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    rank=st.none() | st.integers(0, 99999),
    skipped=st.booleans(),
    area_ratio=st.none() | st.floats(0, 1e9),
    activation_ratio=st.none() | st.floats(0, 1e9),
    num_components=st.none() | st.integers(0, 9999),
)


@given(st.lists(images, unique_by=lambda one: one.image_id))
def test_columns_hold_every_field(some):
    columns = to_columns(some)
    assert list(columns) == list(Scored._fields)
    assert from_columns(columns) == some
