"""Selective Search: class-agnostic box proposals from an image alone (Uijlings et al., IJCV 2013), by OpenCV's `ximgproc`.

In: an image. Out: boxes in its pixels. `ximgproc` is only in opencv-contrib-python-headless.
"""

from types import ModuleType

import cv2
import numpy as np

from wsol.core.errors import OptionError

LONGEST = 256  # pixels of the longer side at which regions are searched; a map is coarser by far
PACKAGE = "opencv-contrib-python-headless"


def require_selective_search() -> ModuleType:
    """Return OpenCV's module `ximgproc.segmentation`.

    Raises:
        OptionError: this OpenCV was built without it; the message says how to get it.
    """
    try:
        return cv2.ximgproc.segmentation  # type: ignore[attr-defined]  # absent where the error below says so
    except AttributeError:
        raise OptionError(
            "proposals",
            "selective_search",
            f"this OpenCV has no ximgproc; it comes with {PACKAGE}, which replaces opencv-python-headless, since both write "
            f"the same cv2: pip uninstall opencv-python-headless, then pip install {PACKAGE}, best in an environment of its "
            "own",
        ) from None


def selective_search(image: np.ndarray) -> np.ndarray:
    """Return int64 (n, 4): the boxes (x0, y0, x1, y1) that the fast strategy proposes, without duplicates, sorted.

    `image`: uint8 (H, W, 3), RGB. Edges as in localization.txt: x1 = x0 + width, at most W.

    Raises:
        OptionError: see `require_selective_search`.
    """
    search = require_selective_search().createSelectiveSearchSegmentation()
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    search.setBaseImage(np.ascontiguousarray(small[:, :, ::-1]))
    search.switchToSelectiveSearchFast()
    found = np.array(search.process(), dtype=np.float64).reshape(-1, 4)
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    corners *= np.array([width / size[0], height / size[1]] * 2)
    return np.unique(corners.astype(np.int64), axis=0)  # its own order is random
