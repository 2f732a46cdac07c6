import matplotlib
import numpy as np
from PIL import Image

from wsol.maps.overlay import overlay


def test_colors_are_those_of_matplotlib_over_the_resized_photo():
    rng = np.random.default_rng(0)
    score_map = rng.random((6, 8))
    photo = Image.fromarray(np.full((3, 4, 3), 100, dtype=np.uint8))
    picture = overlay(photo, score_map, share=0.25)
    expected = 0.75 * 100 + 0.25 * 255 * matplotlib.colormaps["inferno"](score_map)[..., :3]
    assert picture.dtype == np.uint8 and picture.shape == (6, 8, 3)
    assert np.abs(picture - expected).max() < 2  # the tables are rounded differently


def test_without_a_share_the_photo_is_left():
    pixels = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
    assert np.array_equal(overlay(Image.fromarray(pixels), np.zeros((5, 7)), share=0), pixels)
