"""Holes of a map filled at all its levels at once: a map in, the filled map out; compiled by numba."""

import numpy as np

from wsol.core.jit import compiled

NONE = -1


@compiled
def fill_holes(quantized: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W): the map whose pixels above any level are those of a uint8 map and those of their holes.

    A hole is background from which no path of 4-connected background leads out of the map. So a pixel's filled level is
    the least, over all paths that lead out, of the highest level on the path. Like water that rises outside, this visits
    the pixels from the lowest level up (the priority-flood of Barnes et al., 2014), with one stack of pixels per level.

    >>> fill_holes(np.array([[5, 6, 7, 8], [4, 1, 2, 9], [3, 6, 6, 9]], dtype=np.uint8)).tolist()
    [[5, 6, 7, 8], [4, 4, 4, 9], [3, 6, 6, 9]]
    """
    height, width = quantized.shape
    stride = width + 2
    bordered = np.zeros((height + 2, stride), np.uint8)  # a border of one cell, so that all pixels have four neighbours
    bordered[1:-1, 1:-1] = quantized
    outer = np.ones((height + 2, stride), np.bool_)
    outer[2:-2, 2:-2] = False
    levels, reached = bordered.ravel(), outer.ravel()
    top = np.full(256, NONE, np.int32)  # of the stack of each level
    below = np.empty(len(levels), np.int32)  # each pixel's next in its stack
    for y in range(1, height + 1):
        for x in range(1, width + 1, 1 if y in (1, height) else max(width - 1, 1)):  # of the inner rows, both ends
            pixel = y * stride + x
            below[pixel], top[levels[pixel]] = top[levels[pixel]], pixel
    for level in range(256):
        pixel = top[level]
        while pixel != NONE:
            rest = below[pixel]
            for neighbour in (pixel - stride, pixel - 1, pixel + 1, pixel + stride):
                if reached[neighbour]:
                    continue
                reached[neighbour] = True
                if levels[neighbour] <= level:
                    levels[neighbour] = level
                    below[neighbour], rest = rest, neighbour
                else:
                    below[neighbour], top[levels[neighbour]] = top[levels[neighbour]], neighbour
            pixel = rest
    return bordered[1:-1, 1:-1].copy()
