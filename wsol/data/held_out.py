"""A split divided by class: some images of every class are held out, the rest are trained on.

In: the images of a split and their classes. Out: both parts, drawn from a seed.
"""

from collections.abc import Mapping

import numpy as np

from wsol.core.errors import OptionError
from wsol.data.levels import SPLITS, LevelSplit


def hold_out(split: LevelSplit, labels: Mapping[str, int], share: float, seed: int) -> tuple[LevelSplit, LevelSplit | None]:
    """Return (images to train on, images held out, None for a share of 0), each in the order of the split.

    Of a class with n images, round(share * n) are held out (halves up), but never all of them. `labels`: image id to class.

    Raises:
        OptionError: the share is above 0 and yet no class has an image to hold out.
    """
    if not share:
        return split, None
    rng = np.random.default_rng([seed, len(SPLITS)])  # not the stream of any split's own draw
    groups: dict[int, list[int]] = {}
    for position, image_id in enumerate(split.image_ids):
        groups.setdefault(labels[image_id], []).append(position)
    held = np.zeros(len(split.image_ids), dtype=bool)
    for label in sorted(groups):
        count = min(int(share * len(groups[label]) + 0.5), len(groups[label]) - 1)
        held[rng.permutation(groups[label])[:count]] = True
    if not held.any():
        most = max(map(len, groups.values()))
        raise OptionError(
            "fsl_val_share",
            share,
            f"with at most {most} images per class none is left to validate; expected more, or 0, which validates on none",
        )
    return _part(split, ~held), _part(split, held)


def _part(split: LevelSplit, kept: np.ndarray) -> LevelSplit:
    image_ids = [image_id for image_id, keep in zip(split.image_ids, kept, strict=True) if keep]
    return LevelSplit(image_ids, split.labels[kept], subset=True)
