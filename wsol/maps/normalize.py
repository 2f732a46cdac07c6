"""Raw maps, of any range and size, to score maps: resized bicubically, then min-max normalised."""

import cv2
import numpy as np


def normalize_raw_map(raw_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float64 (h, w) in [0, 1]: a 2-D raw map of any float, resized to `size` (w, h), then normalised.

    s = (raw - min raw) / (max raw - min raw) over the resized map, whose range bicubic resizing may have widened. A map that
    is constant or not finite gives all zeros.

    >>> normalize_raw_map(np.array([[-2.0, 0.0], [1.0, 2.0]]), (2, 2)).tolist()
    [[0.0, 0.5], [0.75, 1.0]]
    """
    score_map = cv2.resize(raw_map.astype(np.float64), size, interpolation=cv2.INTER_CUBIC)
    low = score_map.min()
    spread = score_map.max() - low
    if not np.isfinite(spread) or spread == 0:
        return np.zeros(size[::-1])
    return (score_map - low) / spread
