"""How sure a figure is: bootstrap intervals over images, and a paired test of two runs on the same images.

Every image has a weight in each resample, drawn only from its id and the seed, so that neither the order of the images
nor the number of processes matters, and two runs are resampled alike. Sums of counts times weights are all that a
resample needs: the score-map threshold is chosen again from each resample's own sums.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

BLOCK = 256  # images whose counts are multiplied at a time
LEVEL = 95  # percent of the resamples that an interval holds
Pair = Sequence[np.ndarray] | np.ndarray  # of two runs


def image_weights(image_id: str, kind: str, resamples: int, seed: int) -> np.ndarray:
    """Return int64 (resamples,): how often an image counts in each resample.

    `bootstrap`: Poisson of mean 1, the bootstrap of independent images (Chamandy et al., 2012; Hanley & MacGibbon, 2006).
    `swap`: 0 or 1, whether a paired randomization test exchanges the two runs' results of this image.
    """
    digest = hashlib.blake2b(f"{seed}/{kind}/{image_id}".encode(), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    return rng.poisson(1.0, resamples) if kind == "bootstrap" else rng.integers(0, 2, resamples)


class WeightedSums:
    """Sums over images of weight times counts, for every resample: `total` is float64 (resamples, *shape of counts).

    Holds one block of images at a time, regardless of the number of images; exact while a sum stays below 2 ** 53.
    """

    def __init__(self, kind: str, resamples: int, seed: int, shape: tuple[int, ...]):
        self.kind, self.resamples, self.seed, self.shape = kind, resamples, seed, shape
        self._total = np.zeros((resamples, int(np.prod(shape))))
        self._ids: list[str] = []
        self._counts: list[np.ndarray] = []

    def add(self, image_id: str, counts: np.ndarray) -> None:
        """Add one image's counts."""
        self._ids.append(image_id)
        self._counts.append(counts.ravel())
        if len(self._ids) == BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self._ids:
            # float32 holds a block's sum of zeros and ones exactly, and multiplies twice as fast.
            dtype = np.float32 if self._counts[0].dtype == bool else np.float64
            weights = [image_weights(image_id, self.kind, self.resamples, self.seed) for image_id in self._ids]
            self._total += np.array(weights, dtype=dtype).T @ np.array(self._counts, dtype=dtype)
            self._ids, self._counts = [], []

    @property
    def total(self) -> np.ndarray:
        """The sums over all images added so far."""
        self._flush()
        return self._total.reshape(self.resamples, *self.shape)


def interval(figures: np.ndarray) -> list[float] | None:
    """Return [low, high], the middle 95 % of a figure's values (resamples,); NaN, of an empty resample, is left out."""
    figures = figures[np.isfinite(figures)]
    if not len(figures):
        return None
    return [float(value) for value in np.percentile(figures, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])]


def paired_test(difference: float, resampled: np.ndarray, swapped: np.ndarray) -> dict:
    """Return the difference of two runs' figures, its interval, and the two-sided p-value of a randomization test.

    `resampled` and `swapped` (resamples,): the difference in bootstrap resamples, and where each image's shares in both
    figures are exchanged by a coin toss, which changes nothing on average if the runs are equally good.
    """
    resampled = np.round(resampled, 9) + 0.0  # figures differ in their last bits where nothing else differs
    return {"difference": difference, "interval": interval(resampled), "p_value": swap_p_value(difference, swapped)}


def swap_p_value(difference: float, swapped: np.ndarray) -> float:
    """Return the two-sided p-value of a randomization test: the share of (1 + resamples) whose difference is at least the
    observed one. `swapped` (resamples,): as for `paired_test`.

    >>> swap_p_value(2.0, np.array([1.0, -2.0, 3.0]))
    0.75
    """
    at_least = int((np.abs(swapped) >= abs(difference) - 1e-9).sum())
    return (1 + at_least) / (1 + len(swapped))


# What is exchanged is an image's share in each run's figure, not its counts: counts of two runs whose scores are spread
# differently (or whose best thresholds differ) make no sensible figure when mixed, and a test on such mixtures has no power.


def accuracy_differences(
    own: Pair, bootstrap: Pair, images: np.ndarray, exchanged: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the difference of MaxBoxAcc of two runs in percent: observed (n,), resampled (R, n), and swapped (R, n).

    `own`: each run's right images (n IoU thresholds, thresholds); `bootstrap`: those in every resample (R, n, thresholds);
    `images` (R,): the images of a resample. `exchanged` (R, n): over the images of a swap, the first run's right ones less
    the second's, at each run's own best threshold; `count`: all images.
    """
    observed = np.subtract(*(right.max(axis=1) * 100 / count for right in own))
    resampled = np.subtract(*(max_accuracies(right, images)[0] for right in bootstrap))
    return observed, resampled, observed - 2 * exchanged * 100 / count


def precision_difference(own: Pair, bootstrap: Pair, swap: Pair, swapped_images: np.ndarray, count: int) -> dict:
    """Return `paired_test` of the PxAP of two runs, from score histograms (2: background and foreground, bins).

    `own` (2, bins): each run's; `bootstrap` and `swap` (R, 2, bins): those of every resample, and those of the images of
    every swap: `swapped_images` (R,) of `count` images. An image's share in a run's PxAP is PxAP / count and what its
    pixels change to first order, so that the shares of all images add up to PxAP.
    """
    observed = np.subtract(*(average_precision(hist[1], hist[0]) for hist in own))
    resampled = np.subtract(*(average_precision(hist[:, 1], hist[:, 0]) for hist in bootstrap))
    effects = np.subtract(
        *(np.tensordot(hist, average_precision_gradient(*one), axes=2) for one, hist in zip(own, swap, strict=True))
    )
    exchanged = observed * swapped_images / count + effects
    return paired_test(float(observed), resampled, observed - 2 * exchanged)


def max_accuracies(sums: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (percent (R, n), position (R, n)): the best accuracy over score-map thresholds, in every resample.

    `sums` (R, n, thresholds): weighted numbers of right images for n IoU thresholds; `total` (R,): of all images.
    """
    position = sums.argmax(axis=2)
    best = np.take_along_axis(sums, position[..., None], axis=2)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return best * 100 / total[:, None], position


def average_precision(foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return PxAP in percent (...,) of score histograms (..., bins); NaN if there is no foreground pixel.

    PxAP = sum over bins i, from the second highest down, of precision_i (recall_i - recall_{i + 1}), where precision and
    recall count the pixels of bin i and all higher ones (Choe et al., CVPR 2020).

    >>> foreground, background = np.array([1.0, 2.0, 1.0]), np.array([3.0, 1.0, 0.0])  # of the lowest bin first
    >>> float(average_precision(foreground, background))  # 3/4 (3/4 - 1/4) + 4/8 (4/4 - 3/4), in percent
    50.0
    """
    true, false = (hist[..., ::-1].cumsum(axis=-1) for hist in (foreground, background))
    predicted = (true + false)[..., 1:]
    precision = np.divide(true[..., 1:], predicted, out=np.zeros_like(predicted), where=predicted > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall_gain = np.diff(true / true[..., -1:], axis=-1)
    return (precision * recall_gain).sum(axis=-1) * 100


def average_precision_gradient(background: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Return the derivative of PxAP (percent per pixel) by the counts of both histograms (bins,): (2, bins)."""
    true, false = foreground[::-1].cumsum(), background[::-1].cumsum()
    predicted = true + false
    inverse = np.divide(1.0, predicted, out=np.zeros(len(predicted)), where=predicted > 0)
    gained = np.append(0.0, foreground[::-1][1:])  # the highest bin gives no increase of recall
    precision = np.append(0.0, (true * inverse)[1:])
    figure = (precision * gained).sum() / true[-1]

    def below(values: np.ndarray) -> np.ndarray:
        # A pixel changes the precision of its own bin and of all lower ones.
        return values[::-1].cumsum()[::-1]

    by_true = precision + below(gained * false * inverse**2) - figure
    by_false = -below(gained * true * inverse**2)
    return 100 / true[-1] * np.stack([by_false[::-1], by_true[::-1]])
