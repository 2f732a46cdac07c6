"""How often the paired test and its interval see a difference when there is none, on simulated pairs of runs.

    python scripts/simulate_paired_test.py                       # 1,000 pairs of each kind: minutes
    python scripts/simulate_paired_test.py --pairs 100 --images 200

Both runs of a pair are equally good by construction: each image is hard or easy for both, the rest is chance. Objects cover
3 to 70 % of their image, and one image in seven is much harder. Where the runs' scores are "spread differently", the second
run's are stretched, which changes neither MaxBoxAcc nor PxAP. Out: a table of the share of pairs with p below 0.05, with an
interval that leaves out 0, and where the two disagree; 5, 5 and close to 0 % are right.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy.special import betainc, expit

from wsol.core.errors import InputError, command
from wsol.core.processes import map_chunks
from wsol.core.progress import progress
from wsol.metrics.weighted_sums import WeightedSums, accuracy_differences, paired_test, precision_difference
from wsol.runs.run_tables import markdown_table

BINS = 102  # of the score histograms: as many as --cam_curve_interval 0.01 has
PIXELS = 224 * 224
IOUS = np.array([0.3, 0.5, 0.7])


def score_histograms(rng: np.random.Generator, images: int, stretched: bool) -> np.ndarray:
    """Return float64 (images, 2 runs, 2: background and foreground, bins)."""
    area = np.exp(rng.uniform(np.log(0.03), np.log(0.7), images))
    easy = 0.8 * rng.normal(size=images) - 1.6 * (rng.random(images) < 0.15)
    filled = BINS // 2 - 1  # half of the bins, so that there is room to stretch
    edges = np.linspace(0, 1, filled + 1)
    counts = np.zeros((images, 2, 2, BINS))
    for run in range(2):
        quality, size = easy + rng.normal(0, 0.6, images), rng.normal(0, 0.4, images)
        means = (
            expit(-1.2 - 0.3 * quality + 0.5 * size + 0.3 * np.log(area / 0.3)),
            expit(0.3 + 0.6 * quality + 0.5 * size),
        )
        for kind, (mean, pixels) in enumerate(zip(means, (PIXELS * (1 - area), PIXELS * area), strict=True)):
            shares = np.diff(betainc(3 * mean[:, None], 3 * (1 - mean[:, None]), edges), axis=1)
            bins = slice(0, 2 * filled, 2) if stretched and run else slice(0, filled)
            counts[:, run, kind, bins] = np.round(shares * pixels[:, None])
    return counts


def right_boxes(rng: np.random.Generator, images: int, stretched: bool) -> np.ndarray:
    """Return bool (images, 2 runs, IoU thresholds, score-map thresholds): an IoU rises to a peak and falls again."""
    thresholds = np.arange(0, 1, 0.01)
    easy = rng.normal(0.8, 1.2, images)
    right = []
    for run in range(2):
        peak = expit(easy + rng.normal(0, 0.5, images))
        place = rng.normal(0.25, 0.1, images).clip(0.02, 0.6) + (0.2 if stretched and run else 0)
        width = rng.uniform(0.1, 0.4, images)
        iou = peak[:, None] * np.exp(-(((thresholds - place[:, None]) / width[:, None]) ** 2))
        right.append(iou[:, None] >= IOUS[:, None])
    return np.stack(right, axis=1)


def weighted_sums(kind: str, pair: int, resamples: int, counts: np.ndarray) -> np.ndarray:
    """Return the sums (resamples, ...) of counts (images, ...), as the evaluation makes them."""
    sums = WeightedSums(kind, resamples, 0, counts.shape[1:])
    for i, one in enumerate(counts):
        sums.add(f"{pair}/{i}", one)
    return sums.total


def swapped_images(pair: int, resamples: int, images: int) -> np.ndarray:
    """Return (resamples,): how many images are swapped."""
    return weighted_sums("swap", pair, resamples, np.ones((images, 1), dtype=bool))[:, 0]


def precision_test(counts: np.ndarray, pair: int, resamples: int) -> dict:
    """Return the paired test of PxAP from the histograms of a pair of runs."""
    bootstrap, swap = (np.moveaxis(weighted_sums(kind, pair, resamples, counts), 1, 0) for kind in ("bootstrap", "swap"))
    swapped = swapped_images(pair, resamples, len(counts))
    return precision_difference(counts.sum(axis=0), bootstrap, swap, swapped, len(counts))


def accuracy_test(right: np.ndarray, pair: int, resamples: int) -> dict:
    """Return the paired test of MaxBoxAccV2 from the right boxes of a pair of runs."""
    own = right.sum(axis=0)
    best = np.take_along_axis(right, own.argmax(axis=2)[None, ..., None], axis=3)[..., 0].astype(np.int64)
    bootstrap = np.moveaxis(weighted_sums("bootstrap", pair, resamples, right), 1, 0)
    images = weighted_sums("bootstrap", pair, resamples, np.ones((len(right), 1), dtype=bool))[:, 0]
    exchanged = weighted_sums("swap", pair, resamples, best[:, 0] - best[:, 1])
    differences = accuracy_differences(own, bootstrap, images, exchanged, len(right))
    observed, resampled, swapped = (values.mean(axis=-1) for values in differences)
    return paired_test(float(observed), resampled, swapped)


FIGURES: dict[str, tuple[Callable, Callable]] = {
    "PxAP": (score_histograms, precision_test),
    "MaxBoxAccV2": (right_boxes, accuracy_test),
}


def rejections(figure: str, stretched: bool, images: int, resamples: int, seed: int, pairs: range) -> list[tuple]:
    """Return per pair whether p is below 0.05, and whether the interval leaves out 0."""
    draw, test = FIGURES[figure]
    found = []
    for pair in pairs:
        result = test(draw(np.random.default_rng([seed, pair]), images, stretched), pair, resamples)
        low, high = result["interval"]
        found.append((result["p_value"] < 0.05, not low <= 0 <= high))
    return found


def summary(found: list[tuple]) -> dict[str, float]:
    """Return the shares, in percent, of pairs that the test rejects, that the interval rejects, and where they disagree."""
    by_test, by_interval = np.array(found).T
    shares = {"p < 0.05": by_test, "interval without 0": by_interval, "disagree": by_test != by_interval}
    return {name: 100 * float(values.mean()) for name, values in shares.items()}


@command
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of runs of each kind; default: 1000")
    parser.add_argument("--images", type=int, nargs="+", default=[200], help="images of a run; default: 200")
    parser.add_argument("--resamples", type=int, default=1000, help="default: 1000, as the evaluation's")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--workers", type=int, default=0, help="processes; they change no digit; default: 0, this one")
    options = parser.parse_args()
    for name in ("pairs", "resamples"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: expected 1 or more")
    if wrong := [images for images in options.images if images < 2]:
        raise InputError(f"--images {wrong[0]}: expected 2 or more")
    if min(options.seed, options.workers) < 0:
        raise InputError("--seed, --workers: expected 0 or more")
    rows = []
    for figure in FIGURES:
        for stretched in (False, True):
            for images in options.images:
                work = partial(rejections, figure, stretched, images, options.resamples, options.seed)
                found = progress(map_chunks(work, range(options.pairs), options.workers), figure, options.pairs)
                row = {"figure": figure, "scores": "spread differently" if stretched else "spread alike"}
                rows.append(row | {"images": images, "pairs": options.pairs} | summary(list(found)))
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
