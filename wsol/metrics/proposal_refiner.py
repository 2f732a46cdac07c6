"""Proposals as a refiner: the map snaps to the region that fits it best, of those that a file has for the image.

In: proposals of a split's images (wsol/data/proposals.py), a score map. Out: the map with that region lifted
(`wsol.maps.refine.lift`).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from wsol.core.errors import OptionError, OptionName
from wsol.data.proposals import Proposals
from wsol.maps.refine import lift
from wsol.metrics.proposal_fit import best_proposal, box_edges


@dataclass(frozen=True)
class SnapToProposals:
    """A refiner: r = (m + [best region]) / 2, the best by the soft IoU of wsol/metrics/proposal_fit.py.

    An image without proposals keeps its map.
    """

    proposals: Proposals

    def __call__(self, image: np.ndarray, score_map: np.ndarray, image_id: str) -> np.ndarray:
        """Return float64 (H, W) in [0, 1]; the image itself is not looked at.

        Raises:
            InputError: a malformed segmentation.
        """
        size = self.proposals.sizes[image_id]
        best = best_proposal(score_map, self.proposals.found[image_id], size)
        if best is None:
            return score_map
        mask = best[0].mask(size)
        if mask is None:
            region = np.zeros(score_map.shape, dtype=bool)
            ((x0, y0, x1, y1),) = box_edges(np.array([best[0].box], dtype=np.float64), size, score_map.shape).tolist()
            region[y0:y1, x0:x1] = True
        else:
            region = cv2.resize(mask.astype(np.uint8), score_map.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
        return lift(score_map, region)


def snap_to_proposals(proposals: Proposals | None) -> SnapToProposals:
    """Return the refiner.

    Raises:
        OptionError: no proposals are given.
    """
    if proposals is None:
        raise OptionError("refine", "proposals", "expected ", OptionName("proposals"), " FILE with it")
    return SnapToProposals(proposals)
