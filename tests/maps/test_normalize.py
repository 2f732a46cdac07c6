"""Raw maps to score maps."""

import cv2
import numpy as np
import pytest

from wsol.maps.normalize import normalize_raw_map


def test_a_raw_map_is_resized_bicubically_then_normalised():
    raw = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    resized = cv2.resize(raw.astype(np.float64), (224, 112), interpolation=cv2.INTER_CUBIC)
    expected = (resized - resized.min()) / (resized.max() - resized.min())
    got = normalize_raw_map(raw, (224, 112))
    assert (got.dtype, got.shape) == (np.float64, (112, 224))
    np.testing.assert_array_equal(got, expected)
    assert (got.min(), got.max()) == (0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_value_gives_all_zeros(value):
    raw = np.eye(3)
    raw[1, 1] = value
    assert not normalize_raw_map(raw, (9, 9)).any()


def test_a_constant_map_gives_all_zeros():
    assert not normalize_raw_map(np.full((3, 3), 0.3), (3, 3)).any()
