"""How a network expects its images: stated once by its backbone and followed wherever images are read.

In: RGB images as Pillow reads them. Out: float32 tensors (3, size, size).
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as tvf


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

    def to_rgb(self, image: np.ndarray) -> np.ndarray:
        """Return a normalised image, float32 (3, h, w), as the uint8 RGB (h, w, 3) that it was made from.

        >>> image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
        >>> bool((IMAGENET.to_rgb(IMAGENET.normalize(image).numpy()) == np.asarray(image)).all())
        True
        """
        mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (self.mean, self.std))
        return np.rint(255 * (image * std + mean)).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def resize(image: Image.Image, size: int, box: tuple[float, float, float, float] | None = None) -> Image.Image:
    """Return an image, or a box x0, y0, x1, y1 of it, resized to (size, size): bilinearly with antialiasing, regardless of
    its proportions."""
    return image.resize((size, size), Image.Resampling.BILINEAR, box)


IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # for all networks of the two papers
