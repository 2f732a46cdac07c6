"""What the maps of every level show of an image without its truth: the signs of each map, and how far the levels agree.

In: an image's score maps, one a level. Out: a vector of signs for each level, and the mean of the maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsol.core.errors import InputError
from wsol.granularity.rights import Rights
from wsol.maps.normalize import normalize_raw_map
from wsol.metrics.boxes import calculate_multiple_iou
from wsol.metrics.map_signs import MAP_SIGNS, map_signs, strong_components
from wsol.metrics.split_evaluator import SplitEvaluator


@dataclass(frozen=True, eq=False)
class Looked:
    """signs: float64 (R, S, L, N, K), at each of R thresholds per seed. evaluators: of each seed, which has counted the mean
    of the levels' maps. mean_rights: the same as rights of one level."""

    signs: np.ndarray
    evaluators: Sequence[SplitEvaluator]
    mean_rights: Rights


def level_sign_names(levels: Sequence[str], own: int) -> tuple[str, ...]:
    """Return the names of the signs of the map of the level at position `own`.

    >>> level_sign_names(["species", "genus", "family"], 1)[-2:]
    ('agreement_species', 'agreement_family')
    """
    return (*MAP_SIGNS, *(f"agreement_{level}" for i, level in enumerate(levels) if i != own))


def mean_map(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return float64 (H, W) in [0, 1]: the mean of score maps, float (H, W) in [0, 1], normalised again.

    m = (1 / L) sum_l s_l; the score map is (m - min m) / (max m - min m), all zeros where m is constant.

    >>> mean_map([np.array([[0.0, 0.5, 1.0]]), np.array([[0.5, 0.5, 1.0]])]).tolist()
    [[0.0, 0.3333333333333333, 1.0]]

    Raises:
        InputError: the maps have different sizes.
    """
    if len({one.shape for one in maps}) > 1:
        sizes = ", ".join(sorted({f"{one.shape[1]} x {one.shape[0]}" for one in maps}))
        raise InputError(f"maps of the sizes {sizes}; expected one size at every level")
    mean = np.mean([np.asarray(one, dtype=np.float64) for one in maps], axis=0)
    return normalize_raw_map(mean, mean.shape[::-1])


def signs_of(maps: Sequence[np.ndarray], threshold: float) -> np.ndarray:
    """Return float64 (L, K): the signs of every level's map, float (H, W) in [0, 1], at one threshold for all.

    They are MAP_SIGNS of `wsol.metrics.map_signs`, then the IoU of the box of the map's largest component with that of each
    other level's map, in the order of the levels.
    """
    looked = [strong_components(one, threshold) for one in maps]
    boxes = np.stack([components.boxes[0] for components in looked])
    agreement = calculate_multiple_iou(boxes, boxes)
    return np.array(
        [
            [*map_signs(one, threshold, components), *np.delete(agreement[i], i).tolist()]
            for i, (one, components) in enumerate(zip(maps, looked, strict=True))
        ]
    )
