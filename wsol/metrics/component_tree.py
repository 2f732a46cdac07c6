"""The best IoU, or the largest contour's box, at every level of a score map in one pass, compiled by numba.

The boxes that thresholding gives at all levels together are one structure, the component tree (Salembier et al., 1998):
as the level falls, foreground components appear, grow and merge; as it rises, so do the holes. Let pixels join one at a
time, from the highest. A pixel's neighbours that joined before it, its upper neighbours, tell what it does: with none it
begins a component, with several groups of them it may merge components, with one group it belongs to their component. A
component's leftmost pixels hold one that is above both its neighbours in its column, else it would not be the highest of
them; so only such peaks of columns, and of rows, extend a rectangle. These critical pixels are a few in a hundred of a
smooth map, and most of white noise. Each finds its component by a path of upper neighbours, which never leaves it.

A union-find keeps every component's rectangle; it is compared with the true boxes only when it changes, and its IoU holds
for the levels until it changes again.

The largest contour is that of a component outside all holes: the contour of a hole, or of what is inside, encloses no more
than the one around it, and OpenCV lists it later. So of a map whose holes are filled (`hole_filling.py`) the foreground
alone is enough. What a component's contour encloses is then a count over squares of four pixels (`HALF_SQUARES`), to which
nearly every pixel adds, not only the critical ones. Of equal areas, OpenCV lists first the one whose first pixel, row by
row, is last.

`wsol/metrics/boxes.py` is the plain version of the same rules, and the tests' oracle.
"""

import numpy as np

from wsol.core.jit import compiled
from wsol.metrics.neighbours import (
    CRITICAL,
    CRITICAL_ABOVE,
    CRITICAL_BELOW,
    DIRECTIONS,
    EVERY,
    HALF_SQUARES,
    NUM_GROUPS_ABOVE,
    NUM_GROUPS_BELOW,
    WAYS_ABOVE,
    WAYS_BELOW,
)

NO_COMPONENT = -1
OUTSIDE = 0  # the component of the background that touches the image's edge, which is no hole
KEY_BITS = 23  # of a score below its quantised level: keys up to 255 << 23 are int32
LOG2 = np.array([0] + [n.bit_length() - 1 for n in range(1, 256)], np.int8)  # of a number of steps, rounded down
SPANS = 8  # lengths of 1, 2, 4 up to 128 steps


@compiled
def _bordered_keys(score_map: np.ndarray) -> np.ndarray:
    """Return int32 ((H + 2) * (W + 2),): the keys of a map's pixels, row by row, with one cell of -1 around them.

    A key's part above KEY_BITS is the quantised score q. The part below it tells more scores apart: pixels of one q then
    seldom tie, so that a smooth map has few critical pixels.
    """
    height, width = score_map.shape
    keys = np.full((height + 2, width + 2), -1, np.int32)
    for y in range(height):
        scores, row = score_map[y], keys[y + 1, 1:]
        for x in range(width):
            row[x] = np.int32(scores[x] * 255.0 * 2.0**KEY_BITS)  # the last factor is exact
    return keys.ravel()


@compiled
def _codes(keys: np.ndarray, stride: int) -> np.ndarray:
    """Return uint8, the shape of `keys`: the bits of DIRECTIONS in which a pixel's neighbour has the greater key.

    Of equal keys, that of the later pixel counts as greater: an order in which no two pixels are equal.
    """
    codes = np.zeros(len(keys), np.uint8)
    inner = codes[stride + 1 :]
    above, row, below = keys, keys[stride:], keys[2 * stride :]
    for i in range(len(keys) - 2 * stride - 2):  # one loop over all rows, in a form that compiles to vector instructions
        key = row[i + 1]
        code = np.uint8(above[i + 1] > key)
        code |= np.uint8(above[i + 2] > key) << 1
        code |= np.uint8(row[i + 2] >= key) << 2
        code |= np.uint8(below[i + 2] >= key) << 3
        code |= np.uint8(below[i + 1] >= key) << 4
        code |= np.uint8(below[i] >= key) << 5
        code |= np.uint8(row[i] > key) << 6
        code |= np.uint8(above[i] > key) << 7
        inner[i] = code
    return codes


@compiled
def _pixels(codes: np.ndarray, height: int, width: int, wanted: np.ndarray) -> np.ndarray:
    """Return int32 (n,): the places of the pixels whose codes are `wanted` (256,)."""
    stride = width + 2
    pixels = np.empty(height * width + 1, np.int32)  # one more, since a place is written before it is known to count
    n = 0
    for y in range(height):
        first = (y + 1) * stride + 1
        row = codes[first : first + width]
        for x in range(width):
            pixels[n] = first + x
            n += wanted[row[x]] != 0
    return pixels[:n]


@compiled
def _joining_order(
    pixels: np.ndarray, keys: np.ndarray, codes: np.ndarray, steps: int, holes: bool, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (ends, order): the pixels of `wanted` codes that join at step k are order[ends[2 k] : ends[2 k + 2]].

    Holes gain the pixels of q = k at step k, the foreground those of q = steps - k; the rest never joins. Those before
    ends[2 k + 1] begin a component.
    """
    num_groups = NUM_GROUPS_BELOW if holes else NUM_GROUPS_ABOVE
    places = np.empty(len(pixels), np.int32)
    ends = np.zeros(2 * steps + 2, np.int64)
    for i in range(len(pixels)):
        code, q = codes[pixels[i]], keys[pixels[i]] >> KEY_BITS
        step = (q if holes else steps - q) if wanted[code] else steps
        places[i] = min(2 * step + (num_groups[code] != 0), 2 * steps)
        ends[places[i] + 1] += 1
    ends = np.cumsum(ends)
    order = np.empty(len(pixels), np.int32)
    filled = ends.copy()
    for i in range(len(pixels)):
        order[filled[places[i]]] = pixels[i]
        filled[places[i]] += 1
    return ends, order


@compiled
def _empty_labels(height: int, width: int, holes: bool) -> np.ndarray:
    """Return int32 ((H + 2) * (W + 2),), the labels of pixels, none known yet; for holes the border is OUTSIDE."""
    label = np.full((height + 2, width + 2), NO_COMPONENT, np.int32)
    if holes:
        label[0] = label[-1] = OUTSIDE
        label[:, 0] = label[:, -1] = OUTSIDE
    return label.ravel()


@compiled
def _component(pixel: int, codes: np.ndarray, ascent: np.ndarray, label: np.ndarray) -> int:
    """Return the component that was begun where the path of upper neighbours from a pixel ends; label the path."""
    end = pixel
    while label[end] == NO_COMPONENT:
        end += ascent[codes[end]]
    component = label[end]
    while pixel != end:
        label[pixel] = component
        pixel += ascent[codes[pixel]]
    return component


@compiled
def _find(parent: np.ndarray, component: int) -> int:
    """Return the component that one has become by merging; everything on the way is attached to it."""
    root = component
    while parent[root] != root:
        root = parent[root]
    while parent[component] != root:
        parent[component], component = root, parent[component]
    return root


@compiled
def _best_iou(box: np.ndarray, root: int, margin: int, height: int, width: int, truth: np.ndarray) -> float:
    """Return the best IoU of a component's rectangle, widened by a margin, with the true boxes (m, 4).

    OpenCV's rectangle (x, y, w, h) gives the box (x, y, x + w, y + h), inside the map, of which both ends count.
    """
    x0, y0 = box[root, 0] - margin, box[root, 1] - margin
    x1, y1 = min(box[root, 2] + margin + 1, width - 1), min(box[root, 3] + margin + 1, height - 1)
    best = 0.0
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    for i in range(truth.shape[0]):
        w = min(x1, truth[i, 2]) - max(x0, truth[i, 0]) + 1
        h = min(y1, truth[i, 3]) - max(y0, truth[i, 1]) + 1
        if w > 0 and h > 0:
            true_area = (truth[i, 2] - truth[i, 0] + 1) * (truth[i, 3] - truth[i, 1] + 1)
            best = max(best, w * h / (area + true_area - w * h))
    return best


@compiled
def _include(box: np.ndarray, root: int, x0: int, y0: int, x1: int, y1: int) -> bool:
    """Grow a component's rectangle, int32 (components, 4); return whether it has changed."""
    if x0 >= box[root, 0] and y0 >= box[root, 1] and x1 <= box[root, 2] and y1 <= box[root, 3]:
        return False
    box[root, 0] = min(box[root, 0], x0)
    box[root, 1] = min(box[root, 1], y0)
    box[root, 2] = max(box[root, 2], x1)
    box[root, 3] = max(box[root, 3], y1)
    return True


@compiled
def _place(pixel: int, stride: int) -> tuple[int, int]:
    """Return the (x, y) of a pixel in the map from its place in an array with a border."""
    y = pixel // stride
    return pixel - y * stride - 1, y - 1


@compiled
def _begin(component: int, pixel: int, stride: int, label: np.ndarray, box: np.ndarray) -> None:
    """Let a component begin at a pixel: its label, and its rectangle of one pixel."""
    x, y = _place(pixel, stride)
    label[pixel] = component
    box[component] = (x, y, x, y)


@compiled
def _hold(held: np.ndarray, iou: float, first: int, end: int) -> None:
    """Count an IoU at the steps from the first to the one before the end: two spans of `held` cover them.

    `held` float64 (SPANS, steps): the best IoU of all the 2 ** i steps from step k on is held[i, k] or more.
    """
    i = LOG2[end - first]
    held[i, first] = max(held[i, first], iou)
    held[i, end - (1 << i)] = max(held[i, end - (1 << i)], iou)


@compiled
def _best_held(held: np.ndarray) -> np.ndarray:
    """Return float64 (steps,): the best IoU counted at every step."""
    for i in range(SPANS - 1, 0, -1):
        half = 1 << (i - 1)
        for k in range(held.shape[1] - 2 * half + 1):
            held[i - 1, k] = max(held[i - 1, k], held[i, k])
            held[i - 1, k + half] = max(held[i - 1, k + half], held[i, k])
    return held[0]


@compiled
def _sweep(
    critical: np.ndarray,
    keys: np.ndarray,
    codes: np.ndarray,
    shape: tuple[int, int],
    steps: int,
    holes: bool,
    truth: np.ndarray,
) -> np.ndarray:
    """Join the critical pixels step by step; return float64 (steps,), the best IoU of the components of each step.

    Foreground is 8-connected. `holes`: the components are 4-connected background, those that touch the image's edge are
    left out, and a rectangle spans the foreground around it.
    """
    height, width = shape
    stride, margin = width + 2, 1 if holes else 0
    num_groups, ways = (NUM_GROUPS_BELOW, WAYS_BELOW) if holes else (NUM_GROUPS_ABOVE, WAYS_ABOVE)
    ahead = np.array([dy * stride + dx for dy, dx in DIRECTIONS])
    ascent = ahead[ways[:, 0]]
    ends, order = _joining_order(critical, keys, codes, steps, holes, CRITICAL_BELOW if holes else CRITICAL_ABOVE)
    label = _empty_labels(height, width, holes)
    held = np.zeros((SPANS, steps))

    # By component, in the order in which they begin; OUTSIDE is the first.
    num_components = 1
    parent = np.arange(len(order) + 1)
    box = np.empty((len(order) + 1, 4), np.int32)
    box[OUTSIDE] = (0, 0, width - 1, height - 1)
    iou = np.empty(len(order) + 1, np.float64)
    since = np.empty(len(order) + 1, np.int32)  # the last step at which it changed
    changed = np.empty(len(order) + 1, np.int32)

    for k in range(steps):
        num_changed = 0
        for pixel in order[ends[2 * k] : ends[2 * k + 1]]:
            _begin(num_components, pixel, stride, label, box)
            since[num_components] = k
            changed[num_changed] = num_components
            num_components += 1
            num_changed += 1
        for pixel in order[ends[2 * k + 1] : ends[2 * k + 2]]:
            code = codes[pixel]
            root = _find(parent, _component(pixel, codes, ascent, label))
            x, y = _place(pixel, stride)
            grown = _include(box, root, x, y, x, y)
            for i in range(1, num_groups[code]):
                other = _find(parent, _component(pixel + ahead[ways[code, i]], codes, ascent, label))
                if other == root:
                    continue
                root, gone = min(root, other), max(root, other)  # OUTSIDE, the least, stays
                parent[gone] = root
                if since[gone] != k:
                    _hold(held, iou[gone], since[gone], k)
                _include(box, root, box[gone, 0], box[gone, 1], box[gone, 2], box[gone, 3])
                grown = True
            if grown and root != OUTSIDE and since[root] != k:
                _hold(held, iou[root], since[root], k)
                since[root] = k
                changed[num_changed] = root
                num_changed += 1
        for root in changed[:num_changed]:
            if parent[root] == root:
                iou[root] = _best_iou(box, root, margin, height, width, truth)
    for root in range(1, num_components):
        if parent[root] == root:
            _hold(held, iou[root], since[root], steps)
    return _best_held(held)


@compiled
def best_iou_by_level(score_map: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return float64 (max q,): at every level, the best IoU of any box of the pixels with q > level with a true box.

    `score_map` float64 (H, W) in [0, 1], quantised as q = uint8(255 s); `truth` int64 (m, 4). Boxes are those of all
    outer and hole contours. A map whose q are all zero has no level.
    """
    height, width = score_map.shape
    keys = _bordered_keys(score_map)
    codes = _codes(keys, width + 2)
    critical = _pixels(codes, height, width, CRITICAL)
    top = keys.max() >> KEY_BITS
    of_holes = _sweep(critical, keys, codes, score_map.shape, top, True, truth)  # step k is level k
    of_foreground = _sweep(critical, keys, codes, score_map.shape, top, False, truth)  # step 0 is the highest level
    return np.maximum(of_holes, of_foreground[::-1])


@compiled
def _largest(present: np.ndarray, parent: np.ndarray, half_squares: np.ndarray, first: np.ndarray) -> tuple[int, int]:
    """Return (the largest of the components `present`, of equal ones that whose first pixel is last; how many are left).

    Those that have merged into another are dropped from `present`, in place.
    """
    best, num_present = present[0], 0  # the oldest component of all stays when it merges
    for root in present:
        if parent[root] != root:
            continue
        present[num_present] = root
        num_present += 1
        if (half_squares[root], first[root]) > (half_squares[best], first[best]):
            best = root
    return best, num_present


@compiled
def _sweep_largest(codes: np.ndarray, ends: np.ndarray, order: np.ndarray, shape: tuple[int, int], steps: int) -> np.ndarray:
    """Join all pixels step by step; return int32 (steps, 4), the rectangle of the largest component of each step."""
    stride = shape[1] + 2
    ahead = np.array([dy * stride + dx for dy, dx in DIRECTIONS])
    ascent = ahead[WAYS_ABOVE[:, 0]]
    label = _empty_labels(shape[0], shape[1], False)
    rectangles = np.empty((steps, 4), np.int32)

    # By component, in the order in which they begin.
    num_components = (ends[1::2] - ends[:-1:2]).sum()
    parent, present = np.arange(num_components), np.empty(num_components, np.int64)
    box = np.empty((num_components, 4), np.int32)
    half_squares = np.zeros(num_components, np.int64)  # twice the area
    first = np.empty(num_components, np.int64)  # pixel, row by row

    num_components = num_present = 0
    for k in range(steps):
        for pixel in order[ends[2 * k] : ends[2 * k + 1]]:
            _begin(num_components, pixel, stride, label, box)
            first[num_components] = pixel
            present[num_present] = num_components
            num_components += 1
            num_present += 1
        for pixel in order[ends[2 * k + 1] : ends[2 * k + 2]]:
            code = codes[pixel]
            root = _find(parent, _component(pixel, codes, ascent, label))
            half_squares[root] += HALF_SQUARES[code]
            first[root] = min(first[root], pixel)
            if not CRITICAL_ABOVE[code]:
                continue
            x, y = _place(pixel, stride)
            _include(box, root, x, y, x, y)
            for i in range(1, NUM_GROUPS_ABOVE[code]):
                other = _find(parent, _component(pixel + ahead[WAYS_ABOVE[code, i]], codes, ascent, label))
                if other == root:
                    continue
                root, gone = min(root, other), max(root, other)
                parent[gone] = root
                _include(box, root, box[gone, 0], box[gone, 1], box[gone, 2], box[gone, 3])
                half_squares[root] += half_squares[gone]
                first[root] = min(first[root], first[gone])
        best, num_present = _largest(present[:num_present], parent, half_squares, first)
        rectangles[k] = box[best]
    return rectangles


@compiled
def largest_boxes_by_level(filled: np.ndarray) -> np.ndarray:
    """Return int64 (max q, 4): at every level, the box of the largest contour of the pixels with q > level.

    `filled` uint8 (H, W): a quantised map q without holes at any level. A map whose q are all zero has no level.
    """
    height, width = filled.shape
    bordered = np.full((height + 2, width + 2), -1, np.int32)
    for y in range(height):
        for x in range(width):
            bordered[y + 1, x + 1] = np.int32(filled[y, x]) << KEY_BITS
    keys, steps = bordered.ravel(), np.int64(filled.max())
    codes = _codes(keys, width + 2)
    ends, order = _joining_order(_pixels(codes, height, width, EVERY), keys, codes, steps, False, EVERY)
    boxes = _sweep_largest(codes, ends, order, filled.shape, steps)[::-1].astype(np.int64)
    boxes[:, 2] = np.minimum(boxes[:, 2] + 1, width - 1)
    boxes[:, 3] = np.minimum(boxes[:, 3] + 1, height - 1)
    return boxes
