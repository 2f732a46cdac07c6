"""True masks or boxes of training images, moved with each image through its training crop.

In: the truth of a split, an image's id and size, a crop. Out: a mask or boxes in pixels of the crop.
"""

from dataclasses import dataclass

import numpy as np

from wsol.core.errors import InputError
from wsol.data.crops import Crop, crop_boxes, crop_mask, fill_boxes
from wsol.data.masks import get_mask
from wsol.data.truth import SplitTruth

LEAST_SIDE = 1.0  # of a box in pixels of the crop; what is less is cut off


@dataclass(frozen=True)
class BoxTargets:
    """The true boxes of images."""

    truth: SplitTruth

    def crop(self, image_id: str, size: tuple[int, int], crop: Crop) -> np.ndarray:
        """Return float64 (m, 4), m 0 or more: the boxes of an image of any size that reach into a crop, in its pixels."""
        if self.truth.boxes is None:
            raise InputError(f"{self.truth.dataset_name} {self.truth.split} has no true boxes")
        boxes = crop_boxes(self.truth.boxes.boxes[image_id], self.truth.boxes.sizes[image_id], crop)
        return boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= LEAST_SIDE]


@dataclass(frozen=True)
class MaskTargets:
    """The true masks of images, or their filled boxes where the split has no masks."""

    truth: SplitTruth

    def crop(self, image_id: str, size: tuple[int, int], crop: Crop) -> np.ndarray:
        """Return uint8 (crop_size, crop_size): 1 foreground, 255 ignored, 0 elsewhere, of an image of size (w, h)."""
        masks = self.truth.masks
        if masks is None:
            return fill_boxes(BoxTargets(self.truth).crop(image_id, size, crop), crop.crop_size)
        files = masks.root, masks.paths[image_id], masks.ignored[image_id]
        return crop_mask(get_mask(*files, size, masks.sizes.get(image_id), masks.max_megapixels), crop)


Targets = BoxTargets | MaskTargets
