"""The Center baseline's map."""

import cv2
import numpy as np

from wsol.maps.center import center_map


def test_center_map_is_symmetric_normalised_and_scales():
    small = center_map(64, 64)
    assert small.min() == 0 and small.max() == 1
    np.testing.assert_allclose(small, small[::-1, ::-1])
    np.testing.assert_allclose(cv2.resize(center_map(224, 224), (64, 64)), small, atol=0.02)
    assert not center_map(1, 1).any()
