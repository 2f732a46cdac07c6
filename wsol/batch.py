"""A batch of images with what is known of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """Images of one step.

    images: float32 (B, 3, crop, crop).
    labels: int64 (B,).
    image_ids: their ids.
    bad: messages of images that could not be read, which are not among the others.
    positions: of the images in the data set.
    boxes: per image float64 (m, 4), x0, y0, x1, y1 in pixels of `images`, where boxes are trained on.
    masks: uint8 (B, crop, crop), where masks are trained on.
    """

    images: torch.Tensor
    labels: torch.Tensor
    image_ids: list[str]
    bad: list[str]
    positions: Sequence[int] = ()
    boxes: list[torch.Tensor] | None = None
    masks: torch.Tensor | None = None
