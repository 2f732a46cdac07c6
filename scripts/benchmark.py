"""Ratios of this project's fast paths against their plain versions, in one process:

    python scripts/benchmark.py evaluation

Prints a Markdown table of medians over repeats; docs/benchmarks.md has one. Times are of one core.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

from wsol.boxes import Candidates, best_ious, boxes_above, map_ious
from wsol.histogram import count_scores

SIDE = 224
THRESHOLDS = np.arange(0, 1, 0.001)
TRUTH = np.array([[30, 40, 150, 180]])


def cam_like(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a score map like CAM's: a few smooth bumps on a grid of side x side, upsampled bicubically."""
    coarse = cv2.GaussianBlur(rng.random((side, side)), (0, 0), side / 10)
    return normalized(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def rough(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a grid of independent values, upsampled bicubically: many more maxima than a CAM has."""
    return normalized(cv2.resize(rng.random((side, side)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def normalized(score_map: np.ndarray) -> np.ndarray:
    """Return a map scaled to [0, 1]."""
    return (score_map - score_map.min()) / (score_map.max() - score_map.min())


def every_threshold(score_map: np.ndarray, multi_contour: bool) -> np.ndarray:
    """Return the best IoU at each of the thresholds, each thresholded by itself: what the collapse to levels saves."""
    quantized = (score_map * 255).astype(np.uint8)
    top = int(quantized.max())
    boxes = [boxes_above(quantized, int(threshold * top), multi_contour) for threshold in THRESHOLDS]
    starts = np.cumsum([0, *map(len, boxes)])
    return best_ious(Candidates(np.concatenate(boxes), starts, np.arange(len(THRESHOLDS))), TRUTH)


def milliseconds(repeats: int, function: Callable[..., object], *arguments: object) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*arguments)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def evaluation(repeats: int) -> None:
    """Time boxes by kind of map, and PxAP."""
    rng = np.random.default_rng(0)
    kinds = {
        "CAM-like, 14 x 14 upsampled": [cam_like(rng, 14) for _ in range(5)],
        "CAM-like, 28 x 28 upsampled": [cam_like(rng, 28) for _ in range(5)],
        "independent values, 28 x 28 upsampled": [rough(rng, 28) for _ in range(3)],
        "noise": [rng.random((SIDE, SIDE))],
    }
    map_ious(kinds["noise"][0], THRESHOLDS, TRUTH, True)  # compiles, or loads what was compiled
    print(f"maps of {SIDE} x {SIDE}, {len(THRESHOLDS)} thresholds, one core of {os.cpu_count()}, milliseconds a map\n")
    print("| what | map | plain | fast | ratio |\n| --- | --- | --- | --- | --- |")
    for multi_contour, name in ((True, "all contours (MaxBoxAccV2)"), (False, "largest contour (MaxBoxAcc)")):
        for kind, maps in kinds.items():
            slow_repeats = 1 if kind == "noise" else max(1, repeats // 5)
            for score_map in maps:
                fast_ious = map_ious(score_map, THRESHOLDS, TRUTH, multi_contour)
                if not np.array_equal(every_threshold(score_map, multi_contour), fast_ious):
                    raise RuntimeError(f"{name}, {kind}: the fast version differs from the plain one")
            plain = statistics.median(milliseconds(slow_repeats, every_threshold, m, multi_contour) for m in maps)
            options = (THRESHOLDS, TRUTH, multi_contour)
            fast = statistics.median(milliseconds(repeats, map_ious, m, *options) for m in maps)
            print(f"| {name} | {kind} | {plain:.1f} | {fast:.2f} | {plain / fast:.0f} |", flush=True)
    score_map, mask = kinds["CAM-like, 28 x 28 upsampled"][0], (rng.random((SIDE, SIDE)) > 0.7).astype(np.uint8)
    edges = np.append(THRESHOLDS, [1.0, 2.0, 3.0])
    counts = np.zeros((2, len(edges) - 1), dtype=np.int64)

    def two_histograms() -> list[np.ndarray]:
        return [np.histogram(score_map[mask == kind], bins=edges)[0] for kind in (0, 1)]

    count_scores(score_map, mask, edges, counts)
    if not np.array_equal(counts, two_histograms()):
        raise RuntimeError("scores of pixels: the fast version differs from the plain one")
    plain = milliseconds(repeats, two_histograms)
    fast = milliseconds(repeats, count_scores, score_map, mask, edges, counts)
    print(f"| scores of pixels (PxAP) | CAM-like, 28 x 28 upsampled | {plain:.1f} | {fast:.2f} | {plain / fast:.0f} |")


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["evaluation"])
    parser.add_argument("--repeats", type=int, default=15, help="default: 15")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    evaluation(options.repeats)


if __name__ == "__main__":
    main()
