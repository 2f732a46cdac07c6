"""Ratios of this project's fast paths against their plain versions, in one process:

python scripts/benchmark.py evaluation
python scripts/benchmark.py methods
python scripts/benchmark.py load
python scripts/benchmark.py train --architecture resnet50 --crop_size 224 --batch_size 4
python scripts/benchmark.py infer
python scripts/benchmark.py metadata
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wsol.core.machine import keep_freed_memory, resolve_threads, use_threads  # before torch

# isort: split
import cv2
import numpy as np

from scripts.benchmark_images import SIZES
from scripts.benchmark_loading import loading
from scripts.benchmark_metadata import metadata
from scripts.benchmark_methods import methods
from scripts.benchmark_steps import Case, steps
from wsol.core import registry
from wsol.core.arguments import Parser, whole
from wsol.core.errors import InputError, command
from wsol.core.options import AUTO, boolean
from wsol.maps.score_maps import check_score_map
from wsol.metrics.boxes import Candidates, best_ious, boxes_above, levels_of, map_ious, quantize
from wsol.metrics.histogram import count_scores
from wsol.networks.compiled import require_compiler
from wsol.networks.device import resolve_device

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
    quantized = quantize(score_map)
    boxes = [boxes_above(quantized, level, multi_contour) for level in levels_of(quantized, THRESHOLDS).tolist()]
    starts = np.cumsum([0, *map(len, boxes)])
    return best_ious(Candidates(np.concatenate(boxes), starts, np.arange(len(THRESHOLDS))), TRUTH)


def each_once(function: Callable[[np.ndarray], object], maps: Sequence[np.ndarray]) -> tuple[list, float]:
    """Return what a function gives for each map, and the median of its milliseconds of processor time.

    No map is timed twice in a row: a processor remembers the branches of the last map, unlike in a run over a data set.
    """
    results, times = [], []
    for score_map in maps:
        check_score_map(score_map, "map")  # as an evaluator does: the map is in the processor's cache then
        start = time.process_time()  # does not count the other programs of a shared machine
        results.append(function(score_map))
        times.append((time.process_time() - start) * 1000)
    return results, statistics.median(times)


def compare(what: str, kind: str, maps: Sequence[np.ndarray], plain: Callable, fast: Callable) -> None:
    """Print a row of the table, after a check that both versions agree; the plain version gets only two maps of noise."""
    fast(maps[0])  # compiles, or loads what was compiled
    expected, slow_time = each_once(plain, maps[:2] if kind == "noise" else maps)
    got, fast_time = each_once(fast, maps)
    if not all(np.array_equal(a, b) for a, b in zip(expected, got, strict=False)):
        raise RuntimeError(f"{what}, {kind}: the fast version differs from the plain one")
    print(f"| {what} | {kind} | {slow_time:.1f} | {fast_time:.2f} | {slow_time / fast_time:.0f} |", flush=True)


def evaluation(num_maps: int) -> None:
    """Time boxes by kind of map, and PxAP."""
    rng = np.random.default_rng(0)
    kinds = {
        "CAM-like, 14 x 14 upsampled": [cam_like(rng, 14) for _ in range(num_maps)],
        "CAM-like, 28 x 28 upsampled": [cam_like(rng, 28) for _ in range(num_maps)],
        "independent values, 28 x 28 upsampled": [rough(rng, 28) for _ in range(num_maps)],
        "noise": [rng.random((SIDE, SIDE)) for _ in range(num_maps)],
    }
    print(f"maps of {SIDE} x {SIDE}, {len(THRESHOLDS)} thresholds, one core of {os.cpu_count()}, milliseconds per map\n")
    print("| what | map | plain | fast | ratio |\n| --- | --- | --- | --- | --- |")
    for multi_contour, name in ((True, "all contours (MaxBoxAccV2)"), (False, "largest contour (MaxBoxAcc)")):
        plain = partial(every_threshold, multi_contour=multi_contour)
        fast = partial(map_ious, thresholds=THRESHOLDS, true_boxes=TRUTH, multi_contour=multi_contour)
        for kind, maps in kinds.items():
            compare(name, kind, maps, plain, fast)
    mask = (rng.random((SIDE, SIDE)) > 0.7).astype(np.uint8)
    edges = np.append(THRESHOLDS, [1.0, 2.0, 3.0])

    def two_histograms(score_map: np.ndarray) -> np.ndarray:
        return np.stack([np.histogram(score_map[mask == kind], bins=edges)[0] for kind in (0, 1)])

    def one_pass(score_map: np.ndarray) -> np.ndarray:
        counts = np.zeros((2, len(edges) - 1), dtype=np.int64)
        count_scores(score_map, mask, edges, counts)
        return counts

    kind = "CAM-like, 28 x 28 upsampled"
    compare("scores of pixels (PxAP)", kind, kinds[kind], two_histograms, one_pass)


def add_step_options(parser: Parser) -> None:
    """Add the options of train and infer."""
    group = parser.add_argument_group("train and infer")
    group.add_argument("--architecture", default="timm:tf_efficientnet_lite0", help="default: %(default)s")
    group.add_argument("--wsol_method", default="cam", help="a method that is trained on labels; default: %(default)s")
    group.add_argument("--large_feature_map", type=boolean, default=True, help="default: TRUE")
    group.add_argument("--crop_size", type=whole, default=128, help="default: %(default)s")
    group.add_argument("--batch_size", type=whole, default=16, help="default: %(default)s")
    group.add_argument("--device", default=AUTO, help="auto, cpu, cuda or cuda:N; default: auto")
    group.add_argument("--threads", default=AUTO, help="threads that compute; default: as main.py")
    group.add_argument("--compile", type=boolean, default=False, help="train: also compiled; default: FALSE")
    group.add_argument("--workers", type=whole, default=1, help="processes that load; default: %(default)s")
    group.add_argument("--loading", type=boolean, default=True, help="also with loaders; default: TRUE")
    group.add_argument("--kind", choices=list(SIZES), default="ilsvrc", help="their size; default: %(default)s")


def case_of(options: argparse.Namespace) -> Case:
    """Return what to measure; torch's threads are set.

    Raises:
        InputError: there is no such device or method, or no compiler for --compile.
    """
    keep_freed_memory()
    use_threads(resolve_threads(options.threads if options.threads == AUTO else whole(options.threads)))
    device = resolve_device(options.device)
    if not registry.method_entry(options.wsol_method).classifies:
        raise InputError(f"--wsol_method {options.wsol_method}: expected one that is trained on labels")
    if options.compile:
        require_compiler(device)
    names = {field.name for field in fields(Case)} - {"device"}
    return Case(device=device, **{name: getattr(options, name) for name in names})


@command
def main() -> None:
    """Run one benchmark."""
    parser = Parser(__doc__)
    parser.add_argument("what", choices=["evaluation", "methods", "load", "train", "infer", "metadata"])
    parser.add_argument("--maps", type=int, default=30, help="evaluation: maps of each kind, each timed once; default: 30")
    parser.add_argument("--images", type=int, default=64, help="load, train, infer: JPEGs of each kind; default: 64")
    repeats = "methods: default 15; load, train and infer: default 7; metadata: default 3"
    parser.add_argument("--repeats", type=int, help=repeats)
    add_step_options(parser)
    options = parser.parse_args()
    for name in ("maps", "images", "repeats", "crop_size", "batch_size"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more")
    cv2.setNumThreads(1)
    if options.what == "evaluation":
        evaluation(options.maps)
    elif options.what == "methods":
        methods(options.repeats or 15)
    elif options.what == "load":
        loading(options.images, options.repeats or 7)
    elif options.what == "metadata":
        metadata(options.repeats or 3)
    else:
        steps(case_of(options), options.repeats or 7, options.what == "train")


if __name__ == "__main__":
    main()
