"""The best IoU at every level of a score map in one pass over its sorted pixels, compiled by numba.

The boxes that thresholding gives at all levels together are one structure, the component tree (Salembier et al., 1998):
as the level falls, foreground components appear, grow and merge; as it rises, so do the holes. A union-find keeps every
component's rectangle; it is compared with the true boxes only when it changes, and its IoU holds for the levels until it
changes again. `wsol/boxes.py` is the plain version of the same rule, and the tests' oracle.
"""

import numpy as np
from numba import njit

NOT_JOINED = -1
OUTSIDE = 0  # the component of the background that touches the image's edge, which is no hole


@njit(cache=True)
def _find(parent: np.ndarray, component: int) -> int:
    """Return the component that one has become by merging; everything on the way is attached to it."""
    root = component
    while parent[root] != root:
        root = parent[root]
    while parent[component] != root:
        parent[component], component = root, parent[component]
    return root


@njit(cache=True)
def _best_iou(x0: int, y0: int, x1: int, y1: int, truth: np.ndarray) -> float:
    """Return the best IoU of one box with the true boxes (m, 4); both ends count."""
    best = 0.0
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    for i in range(truth.shape[0]):
        w = min(x1, truth[i, 2]) - max(x0, truth[i, 0]) + 1
        h = min(y1, truth[i, 3]) - max(y0, truth[i, 1]) + 1
        if w > 0 and h > 0:
            true_area = (truth[i, 2] - truth[i, 0] + 1) * (truth[i, 3] - truth[i, 1] + 1)
            best = max(best, w * h / (area + true_area - w * h))
    return best


@njit(cache=True)
def _include(box: np.ndarray, root: int, x0: int, y0: int, x1: int, y1: int) -> None:
    """Grow a component's rectangle."""
    box[root, 0] = min(box[root, 0], x0)
    box[root, 1] = min(box[root, 1], y0)
    box[root, 2] = max(box[root, 2], x1)
    box[root, 3] = max(box[root, 3], y1)


@njit(cache=True)
def _joining_order(step: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (ends, ys, xs): the pixels of step k, row by row, are those from ends[k] to ends[k + 1]."""
    height, width = step.shape
    ends = np.zeros(steps + 2, np.int64)
    for y in range(height):
        for x in range(width):
            ends[min(step[y, x], steps) + 1] += 1
    ends = np.cumsum(ends)
    ys, xs = np.empty(ends[steps], np.int32), np.empty(ends[steps], np.int32)
    filled = ends.copy()
    for y in range(height):
        for x in range(width):
            k = step[y, x]
            if k < steps:
                ys[filled[k]] = y
                xs[filled[k]] = x
                filled[k] += 1
    return ends, ys, xs


@njit(cache=True)
def _empty_labels(height: int, width: int, holes: bool) -> np.ndarray:
    """Return the labels of a map's pixels, none joined yet, with one cell of border around them: a flat int32 array.

    For holes the border is the background outside; for the foreground it never joins.
    """
    stride = width + 2
    label = np.full((height + 2) * stride, NOT_JOINED, np.int32)
    if holes:
        label[:stride] = OUTSIDE
        label[-stride:] = OUTSIDE
        label[::stride] = OUTSIDE
        label[stride - 1 :: stride] = OUTSIDE
    return label


@njit(cache=True)
def _sweep(step: np.ndarray, steps: int, holes: bool, truth: np.ndarray, best: np.ndarray) -> None:
    """Add pixels in the order of their step and raise `best` (steps,) to the best IoU of the components of each step.

    `step` int16 (H, W): when a pixel joins; those of `steps` or more never do. Foreground is 8-connected. `holes`: the
    components are 4-connected background, those that touch the image's edge are left out, and a rectangle spans the
    foreground around it.
    """
    height, width = step.shape
    ends, ys, xs = _joining_order(step, steps)
    stride = width + 2
    label = _empty_labels(height, width, holes)  # the component a pixel joined or began
    if holes:
        neighbours = np.array([-stride, -1, 1, stride])
    else:
        neighbours = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    margin = 1 if holes else 0

    # By component, in the order in which they begin; OUTSIDE, the first, is the background at the image's edge.
    num_components = 1
    parent = np.empty(len(ys) + 1, np.int32)
    parent[OUTSIDE] = OUTSIDE
    box = np.empty((len(ys) + 1, 4), np.int32)
    iou = np.empty(len(ys) + 1, np.float64)
    since = np.empty(len(ys) + 1, np.int32)  # the step since when the IoU holds
    seen = np.empty(len(ys) + 1, np.int32)  # the last step at which it changed
    changed = np.empty(len(ys), np.int32)

    for k in range(steps):
        num_changed = 0
        for i in range(ends[k], ends[k + 1]):
            y, x = ys[i], xs[i]
            pixel = (y + 1) * stride + x + 1
            root = last = -1
            for offset in neighbours:
                joined = label[pixel + offset]
                if joined in (NOT_JOINED, last):
                    continue
                last = joined
                other = _find(parent, joined)
                if other == root:
                    continue
                if other != OUTSIDE and seen[other] != k:  # it changes now: what it was held until the step before
                    for before in range(since[other], k):
                        best[before] = max(best[before], iou[other])
                    seen[other] = k
                    changed[num_changed] = other
                    num_changed += 1
                if root < 0:
                    root = other
                elif other == OUTSIDE:
                    parent[root] = OUTSIDE
                    root = OUTSIDE
                else:
                    parent[other] = root
                    if root != OUTSIDE:
                        _include(box, root, box[other, 0], box[other, 1], box[other, 2], box[other, 3])
            if root < 0:
                root = num_components
                num_components += 1
                parent[root] = root
                box[root] = (x, y, x, y)
                seen[root] = k
                changed[num_changed] = root
                num_changed += 1
            elif root != OUTSIDE:
                _include(box, root, x, y, x, y)
            label[pixel] = root
        for i in range(num_changed):
            root = changed[i]
            if parent[root] == root:
                # OpenCV's rectangle (x, y, w, h) gives the box (x, y, x + w, y + h), inside the map.
                x1, y1 = min(box[root, 2] + margin + 1, width - 1), min(box[root, 3] + margin + 1, height - 1)
                iou[root] = _best_iou(box[root, 0] - margin, box[root, 1] - margin, x1, y1, truth)
                since[root] = k
                best[k] = max(best[k], iou[root])
    for root in range(1, num_components):
        if parent[root] == root:
            for k in range(since[root], steps):
                best[k] = max(best[k], iou[root])


@njit(cache=True)
def best_iou_by_level(score_map: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return float64 (max q,): at every level, the best IoU of any box of the pixels with q > level with a true box.

    `score_map` float64 (H, W) in [0, 1], quantised as q = uint8(255 s); `truth` int64 (m, 4). Boxes are those of all
    outer and hole contours. A map whose q are all zero has no level.
    """
    height, width = score_map.shape
    step = np.empty((height, width), np.int16)
    top = 0
    for y in range(height):
        for x in range(width):
            step[y, x] = np.uint8(score_map[y, x] * 255)
            top = max(top, step[y, x])
    best = np.zeros(top)
    _sweep(step, top, True, truth, best)  # level k: the background is q <= k
    for y in range(height):
        for x in range(width):
            step[y, x] = top - step[y, x]
    downward = best[::-1].copy()
    _sweep(step, top, False, truth, downward)  # step k: the foreground is q >= top - k
    return downward[::-1].copy()
