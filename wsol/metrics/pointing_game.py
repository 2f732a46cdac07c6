"""The pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016)."""

import numpy as np


def pointing_game(score_map: np.ndarray, true_boxes: np.ndarray) -> float:
    """Return 1 if the first maximum of a score map, float (H, W), is in a true box, int (m, 4) in the map's pixels, else 0.

    >>> pointing_game(np.eye(3)[:, ::-1], np.array([[2, 0, 2, 1]]))
    1.0
    """
    y, x = np.unravel_index(int(np.argmax(score_map)), score_map.shape)
    x0, y0, x1, y1 = np.asarray(true_boxes).T
    return float(((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)).any())
