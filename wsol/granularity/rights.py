"""What the maps of every level gave on a split's images, and its sums over the images of each finest class.

In: packed right/wrong bits, as `<split>_images.npz` has them. Out: counts per leaf, from which a cut is fitted, and each
image's share in MaxBoxAccV2 at given score-map thresholds.
"""

from dataclasses import dataclass

import numpy as np

BLOCK = 64  # images unpacked at a time


@dataclass(frozen=True, eq=False)
class Rights:
    """Whether each image's box is right, with the maps of several seeds at several levels.

    packed: uint8 (S seeds, L levels, N images, J IoU thresholds, bytes), bits over score-map thresholds, the first highest.
    thresholds: T, their number. leaf_of: int64 (N,), each image's finest class. leaves: C, the number of those.
    """

    packed: np.ndarray
    thresholds: int
    leaf_of: np.ndarray
    leaves: int

    def take(self, images: np.ndarray) -> "Rights":
        """Return some of the images; `images`: bool (N,) or positions."""
        return Rights(self.packed[:, :, images], self.thresholds, self.leaf_of[images], self.leaves)

    def sums(self, cells: np.ndarray, count: int) -> np.ndarray:
        """Return int32 (S, L, count, J, T): how many images of every cell are right; `cells`: int (N,), below `count`."""
        seeds, levels, images, ious, _ = self.packed.shape
        found = np.zeros((seeds, levels, count, ious, self.thresholds), dtype=np.int32)
        order = np.argsort(cells, kind="stable")
        starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
        ends = np.append(starts[1:], images)
        for seed in range(seeds):
            for level in range(levels):
                for start, end in zip(starts, ends, strict=True):
                    total = found[seed, level, cells[order[start]]]
                    for block in range(start, end, BLOCK):
                        some = self.packed[seed, level, order[block : min(end, block + BLOCK)]]
                        bits = np.unpackbits(some, axis=2, count=self.thresholds)
                        total += bits.sum(axis=0, dtype=np.uint8)  # BLOCK fits
        return found

    def leaf_sums(self) -> np.ndarray:
        """Return int32 (S, L, C, J, T): how many images of every finest class are right."""
        return self.sums(self.leaf_of, self.leaves)

    def shares(self, level_of: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return float64 (N,): each image's accuracy in percent, a mean over seeds and IoU thresholds.

        level_of: int (N,), the level whose map an image is given. positions: int (S, J), of the score-map thresholds. The
        mean over images is MaxBoxAccV2 at these thresholds.
        """
        images = np.arange(len(level_of))
        seeds, _, _, ious, _ = self.packed.shape
        right = np.zeros(len(images), dtype=np.int64)
        for seed in range(seeds):
            for iou in range(ious):
                position = int(positions[seed, iou])
                right += self.packed[seed, level_of, images, iou, position >> 3] >> (7 - (position & 7)) & 1
        return right * (100 / (seeds * ious))
