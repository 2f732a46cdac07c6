"""Refining score maps that are saved already, for which the images are read again.

In: a folder of images, a refiner. Out: a function of a map and its image's id, for whoever reads maps. Imports no torch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.data.images import load_image
from wsol.maps.refine import Refiner, refine


@dataclass(frozen=True)
class RefineSaved:
    """Refines a map by its image, `<image_root>/<image id>`, resized to the map as it is for the network."""

    image_root: Path
    refiner: Refiner
    max_megapixels: float = MAX_MEGAPIXELS

    def __call__(self, score_map: np.ndarray, image_id: str) -> np.ndarray:
        """Return the refined map, float64 (H, W) in [0, 1].

        Raises:
            InputError: the image cannot be read, or the refiner returns no score map.
        """
        image = load_image(self.image_root / image_id, self.max_megapixels)
        resized = image.resize(score_map.shape[::-1], Image.Resampling.BILINEAR)
        return refine(self.refiner, np.asarray(resized), score_map, image_id)
