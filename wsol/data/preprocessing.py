"""How a network expects its images: stated once by its backbone and followed wherever images are read.

In: RGB images as Pillow reads them. Out: float32 tensors (3, size, size).
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from wsol.data.crops import Crop


@dataclass(frozen=True)
class Preprocessing:
    """Mean and standard deviation of each channel, for values in [0, 1].

    Normalised values are (value - mean) / std.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalize(self, image: Image.Image) -> torch.Tensor:
        """Return an RGB image of any size (w, h) as float32 (3, h, w)."""
        return tvf.normalize(tvf.to_tensor(image), list(self.mean), list(self.std))

    def evaluation(self, image: Image.Image, size: int) -> torch.Tensor:
        """Return float32 (3, size, size): the whole image, resized to a square."""
        return self.normalize(resize(image, size))

    def training(self, image: Image.Image, crop: Crop) -> torch.Tensor:
        """Return float32 (3, crop_size, crop_size): the image resized to a square, and a crop of it."""
        return self.normalize(crop.cut(resize(image, crop.resize_size)))

    def to_rgb(self, image: np.ndarray) -> np.ndarray:
        """Return a normalised image, float32 (3, h, w), as the uint8 RGB (h, w, 3) that it was made from.

        >>> image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
        >>> bool((IMAGENET.to_rgb(IMAGENET.normalize(image).numpy()) == np.asarray(image)).all())
        True
        """
        mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (self.mean, self.std))
        return np.rint(255 * (image * std + mean)).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def resize(image: Image.Image, size: int) -> Image.Image:
    """Return an image resized to (size, size), bilinearly with antialiasing, regardless of its proportions."""
    return tvf.resize(image, [size, size], interpolation=InterpolationMode.BILINEAR, antialias=True)


IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # for all networks of the two papers
