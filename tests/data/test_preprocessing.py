"""An image as a network expects it: resized, cropped, normalised."""

import numpy as np
from PIL import Image

from wsol.data.crops import draw_crop
from wsol.data.preprocessing import IMAGENET, resize


def test_evaluation_resizes_the_whole_image_and_normalises():
    image = Image.new("RGB", (50, 30), (255, 0, 128))
    tensor = IMAGENET.normalize(resize(image, 16))
    assert tensor.shape == (3, 16, 16)
    expected = (np.array([1, 0, 128 / 255]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(tensor[:, 5, 5], expected, rtol=1e-5)


def test_training_crops_are_windows_of_the_resized_image_half_of_them_flipped():
    array = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    image = resize(Image.fromarray(array), 8)  # its own size: crops are exact windows
    windows = {}
    for top in range(5):
        for left in range(5):
            window = Image.fromarray(array[top : top + 4, left : left + 4].copy())
            windows[IMAGENET.normalize(window).numpy().tobytes()] = (top, left, False)
            flipped = Image.fromarray(array[top : top + 4, left : left + 4][:, ::-1].copy())
            windows[IMAGENET.normalize(flipped).numpy().tobytes()] = (top, left, True)
    crops = (draw_crop(8, 4, np.random.default_rng(s)).cut(image) for s in range(600))
    seen = [windows[IMAGENET.normalize(crop).numpy().tobytes()] for crop in crops]
    assert {(top, left) for top, left, _ in seen} == {(t, c) for t in range(5) for c in range(5)}
    assert 240 < sum(flip for *_, flip in seen) < 360


def test_an_image_survives_preprocessing_and_back():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    np.testing.assert_array_equal(IMAGENET.to_rgb(IMAGENET.normalize(image).numpy()), np.asarray(image))
