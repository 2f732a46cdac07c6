"""The best IoU at every level of a score map from its critical pixels alone, compiled by numba.

The boxes that thresholding gives at all levels together are one structure, the component tree (Salembier et al., 1998):
as the level falls, foreground components appear, grow and merge; as it rises, so do the holes. Let pixels join one at a
time, from the highest. A pixel's neighbours that joined before it, its upper neighbours, tell what it does: with none it
begins a component, with several groups of them it may merge components, with one group it belongs to their component. A
component's leftmost pixels hold one that is above both its neighbours in its column, else it would not be the highest of
them; so only such peaks of columns, and of rows, extend a rectangle. These critical pixels are a few in a hundred of a
smooth map, and most of white noise. Each finds its component by a path of upper neighbours, which never leaves it.

A union-find keeps every component's rectangle; it is compared with the true boxes only when it changes, and its IoU holds
for the levels until it changes again. `wsol/metrics/boxes.py` is the plain version of the same rule, and the tests' oracle.
"""

import numpy as np

from wsol.core.jit import compiled

NO_COMPONENT = -1
OUTSIDE = 0  # the component of the background that touches the image's edge, which is no hole
KEY_BITS = 23  # of a score below its quantised level: keys up to 255 << 23 are int32
DIRECTIONS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # (dy, dx), clockwise from above


def _groups(upper: set[tuple[int, int]], diagonals: bool) -> list[set[tuple[int, int]]]:
    """Return the directions of upper neighbours that are joined around a pixel without it, one set a group."""
    rest, groups = set(upper), []
    while rest:
        group, grown = set(), {rest.pop()}
        while grown:
            group |= grown
            grown = {b for b in rest for a in grown if (b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 <= 1 + diagonals}
            rest -= grown
        neighbours = {(dy, dx) for dy, dx in group if diagonals or not dy * dx}
        if neighbours:
            groups.append(neighbours)
    return groups


def _middle(group: set[tuple[int, int]]) -> int:
    """Return the direction nearest to the middle of a group: about the steepest way up, so that paths are short."""
    up, left = sum(dy for dy, _ in group), sum(dx for _, dx in group)
    return DIRECTIONS.index(max(sorted(group), key=lambda d: (d[0] * up + d[1] * left) / (d[0] ** 2 + d[1] ** 2) ** 0.5))


def _ways_up(holes: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a pixel does by its code, the bits of DIRECTIONS in which its neighbour has the greater key.

    (critical bool (256,), num_groups int8 (256,), ways int8 (256, 4): a direction into each group). For holes, which grow
    upward over 4-connected pixels, the upper neighbours are those of the lesser keys.
    """
    critical, num_groups = np.zeros(256, np.bool_), np.zeros(256, np.int8)
    ways = np.zeros((256, 4), np.int8)
    for code in range(256):
        upper = {d for bit, d in enumerate(DIRECTIONS) if (code >> bit & 1) != holes}
        groups = _groups(upper, diagonals=not holes)
        num_groups[code] = len(groups)
        ways[code, : len(groups)] = [_middle(group) for group in groups]
        peak = upper.isdisjoint({(0, -1), (0, 1)}) or upper.isdisjoint({(-1, 0), (1, 0)})
        critical[code] = peak or len(groups) > 1
    return critical, num_groups, ways


CRITICAL_ABOVE, NUM_GROUPS_ABOVE, WAYS_ABOVE = _ways_up(holes=False)
CRITICAL_BELOW, NUM_GROUPS_BELOW, WAYS_BELOW = _ways_up(holes=True)
CRITICAL = CRITICAL_ABOVE + 2 * CRITICAL_BELOW.astype(np.uint8)
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
def _critical_pixels(codes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return int32 (n,): the places of the pixels that are critical for the foreground, for holes or for both."""
    stride = width + 2
    pixels = np.empty(height * width + 1, np.int32)  # one more, since a place is written before it is known to count
    n = 0
    for y in range(height):
        first = (y + 1) * stride + 1
        row = codes[first : first + width]
        for x in range(width):
            pixels[n] = first + x
            n += CRITICAL[row[x]] != 0
    return pixels[:n]


@compiled
def _joining_order(
    critical: np.ndarray, keys: np.ndarray, codes: np.ndarray, steps: int, holes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return (ends, order): the critical pixels that join at step k are order[ends[2 k] : ends[2 k + 2]].

    Holes gain the pixels of q = k at step k, the foreground those of q = steps - k; the rest never joins. Those before
    ends[2 k + 1] begin a component.
    """
    kind = 2 if holes else 1
    num_groups = NUM_GROUPS_BELOW if holes else NUM_GROUPS_ABOVE
    places = np.empty(len(critical), np.int32)
    ends = np.zeros(2 * steps + 2, np.int64)
    for i in range(len(critical)):
        code, q = codes[critical[i]], keys[critical[i]] >> KEY_BITS
        step = (q if holes else steps - q) if CRITICAL[code] & kind else steps
        places[i] = min(2 * step + (num_groups[code] != 0), 2 * steps)
        ends[places[i] + 1] += 1
    ends = np.cumsum(ends)
    order = np.empty(len(critical), np.int32)
    filled = ends.copy()
    for i in range(len(critical)):
        order[filled[places[i]]] = critical[i]
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
    ends, order = _joining_order(critical, keys, codes, steps, holes)
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
            x, y = _place(pixel, stride)
            label[pixel] = num_components
            box[num_components] = (x, y, x, y)
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
    critical = _critical_pixels(codes, height, width)
    top = keys.max() >> KEY_BITS
    of_holes = _sweep(critical, keys, codes, score_map.shape, top, True, truth)  # step k is level k
    of_foreground = _sweep(critical, keys, codes, score_map.shape, top, False, truth)  # step 0 is the highest level
    return np.maximum(of_holes, of_foreground[::-1])
