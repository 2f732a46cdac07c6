"""Images and labels to batches: the names that a program that trains or maps imports, wsolevaluation's where it has them.

In: metadata files and a folder of images. Out: `Batch`es (wsol/data/batches.py), and the tables of wsol/data/metadata.py.
"""

from wsol.data.batches import Batch, EpochShuffle, LabeledImages, make_loader
from wsol.data.images import load_image, require_images
from wsol.data.levels import load_level
from wsol.data.metadata import (
    configure_metadata,
    get_bounding_boxes,
    get_class_labels,
    get_image_ids,
    get_image_sizes,
    get_mask_paths,
)

__all__ = [
    "Batch",
    "EpochShuffle",
    "LabeledImages",
    "configure_metadata",
    "get_bounding_boxes",
    "get_class_labels",
    "get_image_ids",
    "get_image_sizes",
    "get_mask_paths",
    "load_image",
    "load_level",
    "make_loader",
    "require_images",
]
