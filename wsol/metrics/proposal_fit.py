"""How well proposals fit a score map: the soft IoU between a region and the map.

    fit(P) = sum_p min(m(p), [p in P]) / sum_p max(m(p), [p in P]) = S(P) / (|P| + S - S(P))

m is the score map, in [0, 1], |P| the region's pixels, S(P) the map's sum over them and S over all pixels. For a map of
zeros and ones it is the IoU. It has no threshold to choose: the region that fits best has the pixels with m > f / (1 + f),
where f is its own fit.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from wsol.data.proposals import Proposal


def box_edges(boxes: np.ndarray, size: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Return int64 (n, 4): the map's pixels x0 <= x < x1, y0 <= y < y1 that boxes cover, at least one of each.

    Boxes (n, 4) are x0, y0, x1, y1 in pixels of an image of `size` (w, h); the map has the `shape` (H, W).
    """
    height, width = shape
    scale = np.array([width / size[0], height / size[1]] * 2)
    edges = np.rint(boxes * scale).astype(np.int64)
    low = np.minimum(edges[:, :2], [width - 1, height - 1])
    return np.concatenate([low, np.clip(edges[:, 2:], low + 1, [width, height])], axis=1)


def box_fits(score_map: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float64 (n,): the fit of boxes (n, 4), x0, y0, x1, y1 in pixels of an image of `size` (w, h).

    `score_map`: float (H, W) in [0, 1], a view of the whole image. A box covers the map's pixels of `box_edges`.
    """
    height, width = score_map.shape
    x0, y0, x1, y1 = box_edges(boxes, size, score_map.shape).T
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = score_map.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return inside / ((x1 - x0) * (y1 - y0) + sums[-1, -1] - inside)


def mask_fit(score_map: np.ndarray, mask: np.ndarray) -> float:
    """Return the fit of a region, bool (h, w) of the image's size, which is resized to the map by nearest neighbour.

    A region so small that no pixel is left fits 0.
    """
    region = cv2.resize(mask.astype(np.uint8), score_map.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    inside = float(score_map[region].sum())
    return inside / (region.sum() + float(score_map.sum()) - inside) if region.any() else 0.0


def best_proposal(
    score_map: np.ndarray, proposals: Sequence[Proposal], size: tuple[int, int]
) -> tuple[Proposal, float] | None:
    """Return (the proposal that fits a score map best, the first on ties; its fit), None without proposals.

    `size`: (w, h) of the image. A segmented proposal is judged by its pixels, not by its box.

    Raises:
        InputError: a malformed segmentation.
    """
    if not proposals:
        return None
    fits = box_fits(score_map, np.array([proposal.box for proposal in proposals], dtype=np.float64), size)
    for number, proposal in enumerate(proposals):
        mask = proposal.mask(size)
        if mask is not None:
            fits[number] = mask_fit(score_map, mask)
    best = int(fits.argmax())
    return proposals[best], float(fits[best])
