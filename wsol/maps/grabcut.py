"""GrabCut as a refiner: the map says where the object probably is, the image's colours and edges say where it ends.

Rother et al., "GrabCut: Interactive Foreground Extraction using Iterated Graph Cuts", SIGGRAPH 2004; OpenCV's.

In: an image and its score map. Out: the map with the segment of GrabCut lifted (`wsol.maps.refine.lift`).
"""

import cv2
import numpy as np

from wsol.data.proposals import Proposals
from wsol.maps.refine import Refiner, lift

SURE, PROBABLE, NEVER = 0.8, 0.4, 0.05  # of a score map: surely object at or above, probably object, surely background below
ITERATIONS = 3  # of estimating colours and cutting
SEED = 0  # of OpenCV's random numbers, with which the colours' first clusters are drawn


def grabcut(_proposals: Proposals | None = None) -> Refiner:
    """Return the refiner."""
    return refine_by_grabcut


def refine_by_grabcut(image: np.ndarray, score_map: np.ndarray, image_id: str) -> np.ndarray:
    """Return float64 (H, W) in [0, 1]: (m + [segment]) / 2, or the map itself where there is nothing to go by.

    Pixels of at least SURE are object and those below NEVER background whatever the colours; between them, those of at least
    PROBABLE begin as object and the others as background. The same image and map give the same result in any thread.
    """
    marks = np.full(score_map.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    marks[score_map >= PROBABLE] = cv2.GC_PR_FGD
    marks[score_map >= SURE] = cv2.GC_FGD
    marks[score_map < NEVER] = cv2.GC_BGD
    inside = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    if inside.all() or not inside.any():
        return score_map
    cv2.setRNGSeed(SEED)  # of this thread
    colours = np.zeros((1, 65)), np.zeros((1, 65))  # which GrabCut fills
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    cv2.grabCut(bgr, marks, (0, 0, 0, 0), *colours, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    segment = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    return lift(score_map, segment) if segment.any() else score_map
