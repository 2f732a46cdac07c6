"""CutMix (Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers ...", ICCV 2019).

Changes input and loss: in training, a box of every image is replaced by that of another image, which gets the same share of
the loss. Everything else is CAM.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from wsol.methods.cam import CAM
from wsol.methods.draws import Draws, DrawSource
from wsol.methods.method import Outputs
from wsol.networks.backbone import Backbone
from wsol.networks.shares import all_images, gather_rows, rows


class CutMixDraw(NamedTuple):
    """The draws of one batch.

    partners: each image's partner, int64 (B,): its part of a permutation of the batch of all ranks.
    ratio: the mixing ratio lambda in [0, 1], a float64 scalar.
    x, y: uniform numbers in [0, 1) that place the box, float64 scalars.
    """

    partners: torch.Tensor
    ratio: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor


def symmetric_beta(beta: float, uniform: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return Beta(beta, beta) variates from two tensors of uniform numbers in [0, 1), float64.

    Bailey's polar method (Mathematics of Computation 62, 1994) gives Student's t with n = 2 beta degrees of freedom,
    t^2 / n = (u^(-1/beta) - 1) cos^2(2 pi a); then (1 + t / sqrt(n + t^2)) / 2 has the Beta distribution. There is no
    rejection, so no loop that waits for the device, and no underflow at small beta.
    """
    cosine = torch.cos(2 * math.pi * angle)
    squared = (torch.pow(uniform, -1 / beta) - 1) * cosine**2  # t^2 / degrees of freedom
    return 0.5 + 0.5 * torch.sign(cosine) / torch.sqrt(1 + 1 / squared)


def draw_cutmix(batch: int, beta: float, prob: float, rng: np.random.Generator) -> CutMixDraw:
    """Return the draw of a batch of `batch` images; with probability 1 - `prob` the ratio is 1, which mixes nothing."""
    mixed, *uniform, x, y = torch.from_numpy(rng.random(5))
    ratio = torch.where(mixed < prob, symmetric_beta(beta, *uniform), 1)
    return CutMixDraw(torch.from_numpy(rng.permutation(batch)), ratio, x, y)


def cut_span(size: int, ratio: torch.Tensor, position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the start and end of the box along a side of `size` pixels; the end is exclusive.

    The box has int(size * sqrt(1 - ratio)) pixels. Half of it, by integer division, is on each side of the centre
    int(position * size); what extends beyond the image is cut off.

    >>> [int(end) for end in cut_span(10, torch.tensor(0.75), torch.tensor(0.5))]
    [3, 7]
    """
    half = (size * torch.sqrt(1 - ratio)).long() // 2
    centre = (position * size).long()
    return (centre - half).clamp(min=0), (centre + half).clamp(max=size)


def mix(images: torch.Tensor, draw: CutMixDraw) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (B, C, H, W) with their partners' pixels inside the box, and the share of pixels outside it.

    The partners may be images of other ranks.
    """
    height, width = images.shape[2:]
    (left, right), (top, bottom) = cut_span(width, draw.ratio, draw.x), cut_span(height, draw.ratio, draw.y)
    column = torch.arange(width, device=images.device)
    row = torch.arange(height, device=images.device)[:, None]
    inside = (column >= left) & (column < right) & (row >= top) & (row < bottom)
    ratio = 1 - ((right - left) * (bottom - top)).double() / (height * width)
    return torch.where(inside, gather_rows(images)[draw.partners], images), ratio


class CutMix(CAM):
    """CAM on mixed images, with mixed losses."""

    def __init__(self, backbone: Backbone, num_classes: int, *, cutmix_beta: float = 1.0, cutmix_prob: float = 1.0):
        super().__init__(backbone, num_classes)
        self.beta, self.prob = cutmix_beta, cutmix_prob

    def draw(self, source: DrawSource, size: tuple[int, int]) -> Draws:
        """Return a batch's `CutMixDraw`, by name; several ranks draw that of the whole batch, and each takes its rows."""
        if not self.beta:
            return {}
        own = len(source.positions)
        draw = draw_cutmix(all_images(own), self.beta, self.prob, source.of_step())
        return draw._replace(partners=draw.partners[rows(own)])._asdict()

    def step(self, images: torch.Tensor, labels: torch.Tensor, draws: Draws) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of the mixed images."""
        if not self.beta:
            return super().step(images, labels, draws)
        draw = CutMixDraw(**draws)
        images, ratio = mix(images, draw)
        outputs = self(images, labels)
        own, other = self.loss(outputs, labels), self.loss(outputs, gather_rows(labels)[draw.partners])
        return outputs, (ratio * own + (1 - ratio) * other).to(own.dtype)
