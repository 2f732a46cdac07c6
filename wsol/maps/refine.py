"""Refiners: what changes a score map after its normalisation, by the image.

In: an image, its score map. Out: a score map of the same size. Nothing here imports torch. A name of the registry's
`refiners` stands for a function that makes a refiner; it is called with the image proposals that the user gives, or None.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wsol.core import registry
from wsol.core.errors import InputError
from wsol.data.proposals import Proposals, read_split_proposals

# An image, uint8 RGB (H, W, 3) as the network sees it before normalisation, its score map, float (H, W) in [0, 1], and its
# id, to a score map of that size.
Refiner = Callable[[np.ndarray, np.ndarray, str], np.ndarray]


def make_refiner(name: str, proposals: Proposals | None = None) -> Refiner:
    """Return the refiner of this name.

    Raises:
        InputError: there is no such refiner, or it needs proposals and there are none.
    """
    return registry.find("refiners", name)(proposals)


def refiner_of_split(
    name: str,
    proposals: str | os.PathLike | None,
    folder: Path,
    image_ids: Sequence[str],
    coco_images: str | os.PathLike | None = None,
) -> Refiner:
    """Return the refiner of this name for images of a split, whose metadata are in `folder`; `proposals`: a file of them, as
    `read_split_proposals` takes it, None for a refiner without.

    Raises:
        InputError: as of `make_refiner`; the file cannot be read, or has none of the images.
    """
    return make_refiner(name, read_split_proposals(proposals, folder, image_ids, coco_images) if proposals else None)


def refine(refiner: Refiner, image: np.ndarray, score_map: np.ndarray, image_id: str) -> np.ndarray:
    """Return a refined score map, float64 (H, W) in [0, 1].

    Raises:
        InputError: the refiner returned a different shape, or values outside [0, 1].
    """
    refined = np.asarray(refiner(image, score_map, image_id), dtype=np.float64)
    if refined.shape != score_map.shape or not (refined.min() >= 0 and refined.max() <= 1):
        raise InputError(
            f"{image_id}: the refiner returned a map of shape {refined.shape} with values from {refined.min()} to "
            f"{refined.max()}; expected {score_map.shape}, within [0, 1]"
        )
    return refined


def lift(score_map: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return float64 (H, W) in [0, 1]: a score map m that prefers a region R, bool (H, W), r(p) = (m(p) + [p in R]) / 2.

    The region is what is above 0.5. Thresholds t still choose: above 0.5 the part of the region with m > 2t - 1, below 0.5
    the region and what is outside it with m > 2t.

    >>> lift(np.array([[0.0, 0.5, 1.0]]), np.array([[False, True, True]])).tolist()
    [[0.0, 0.75, 1.0]]
    """
    return (score_map + region) / 2
