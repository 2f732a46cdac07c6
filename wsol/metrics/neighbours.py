"""What a pixel does when it joins a component, by which of its eight neighbours have: the tables of component_tree.py.

Its compiled code, cached on disk, holds copies of them: a change here takes effect only when that file changes too.
"""

import numpy as np

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
EVERY = np.ones(256, np.bool_)


def _half_squares() -> np.ndarray:
    """Return int8 (256,): twice the area that a pixel adds to its component, by its code.

    Of the squares between the centres of four pixels, a component has those with all four, and half of those with three.
    """
    upper = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.int8)
    in_square = np.stack([upper[:, [i, i + 1, (i + 2) % 8]].sum(axis=1) for i in (0, 2, 4, 6)])
    return (in_square >= 2).sum(axis=0).astype(np.int8)


HALF_SQUARES = _half_squares()
