"""Segmentations to masks: run lengths against an encoder written here, polygons, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol.data.segmentations import mask_of


def runs_of(mask):
    """The run lengths of a mask, one pixel after the other."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def compressed(runs):
    """The run lengths as text, one number after the other."""
    text = ""
    for i, run in enumerate(runs):
        value, more = run - (runs[i - 2] if i > 2 else 0), True
        while more:
            low, value = value % 32, value // 32
            more = not (value == 0 and low < 16) and not (value == -1 and low >= 16)
            text += chr(48 + low + 32 * more)
    return text


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.booleans()))
def test_run_lengths_as_numbers_and_as_text_give_the_mask_they_were_made_from(mask):
    size, runs = mask.shape[::-1], runs_of(mask)
    for counts in (runs, compressed(runs)):
        np.testing.assert_array_equal(mask_of({"size": list(mask.shape), "counts": counts}, size), mask)


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.booleans()))
def test_what_pycocotools_writes_is_read(mask):
    of_coco = pytest.importorskip("pycocotools.mask")
    written = of_coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = written["counts"].decode()
    np.testing.assert_array_equal(mask_of({"size": list(mask.shape), "counts": counts}, mask.shape[::-1]), mask)


def test_polygons_are_filled_and_joined():
    mask = mask_of([[1, 1, 3, 1, 3, 2, 1, 2], [5, 0, 5.2, 0, 5, 3]], (6, 4))
    expected = np.zeros((4, 6), dtype=bool)
    expected[1:3, 1:4] = expected[:, 5] = True
    np.testing.assert_array_equal(mask, expected)


def test_an_image_too_large_to_decode_has_no_mask():
    with pytest.raises(ValueError, match="at most 100 megapixels"):
        mask_of([[0, 0, 1, 0, 1, 1]], (10**6, 10**6))


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ("text", "polygons, or an object"),
        ([[1, 1, 2, 2]], "three or more points"),
        ([[1, 1, 2, 2, float("nan"), 1]], "three or more points"),
        ([[1, 1, 2, 2, 1e9, 1]], "three or more points"),
        ([3], "three or more points"),
        ({"size": [6, 4], "counts": [24]}, r"\[4, 6\]"),
        ({"counts": [24]}, r"\[4, 6\]"),
        ({"size": [4, 6], "counts": [23]}, "sum to 24"),
        ({"size": [4, 6], "counts": [-1, 25]}, "sum to 24"),
        ({"size": [4, 6], "counts": None}, "sum to 24"),
        ({"size": [4, 6], "counts": "~"}, "text that COCO's tools write"),
        ({"size": [4, 6], "counts": "P" * 99}, "text that COCO's tools write"),
        ({"size": [4, 6], "counts": "P"}, "end within a number"),
    ],
)
def test_anything_else_is_refused_with_the_reason(segmentation, reason):
    with pytest.raises(ValueError, match=reason):
        mask_of(segmentation, (6, 4))
