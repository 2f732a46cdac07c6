"""A score map over its photo, as a picture to look at.

In: a photo and its score map. Out: uint8 RGB of the map's size.
"""

import cv2
import numpy as np
from PIL import Image

SHARE = 0.55  # of the map's colours; the rest is the photo


def score_colors(score_map: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3): the colours of a score map, float (H, W) in [0, 1], in matplotlib's inferno."""
    colors = cv2.applyColorMap(np.rint(255 * score_map).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)


def overlay(photo: Image.Image, score_map: np.ndarray, share: float = SHARE) -> np.ndarray:
    """Return uint8 (H, W, 3): the photo, resized to its score map, float (H, W) in [0, 1], under the map's colours.

    Each pixel is (1 - share) * photo + share * color(score) (`score_colors`): brightness rises with the score.
    """
    height, width = score_map.shape
    pixels = np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    return cv2.addWeighted(pixels, 1 - share, score_colors(score_map), share, 0)
