"""Metadata of ILSVRC's size: seconds and peak memory of writing its levels and of reading one as a run does.

Called by scripts/benchmark.py. The metadata are made up, apart from the tree (metadata/hierarchies): as many lines, with ids
as long as the real ones. Each measurement is a process of its own.
"""

import contextlib
import importlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wsol.core.files import write_text
from wsol.data.levels import load_level

NAME = "ILSVRC"
CHECKOUT = Path(__file__).resolve().parent.parent
CLASSES, TRAIN, VAL, TEST = 1000, 1_281_167, 10_000, 50_000  # classes, and images of each split
COARSEST = "c17"


def _split_lines(folder: Path, ids: list[str], labels: np.ndarray) -> None:
    write_text(folder / "image_ids.txt", "".join(f"{image_id}\n" for image_id in ids))
    lines = (f"{image_id},{label}\n" for image_id, label in zip(ids, labels.tolist(), strict=True))
    write_text(folder / "class_labels.txt", "".join(lines))


def _boxes(ids: list[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield lines of one to three boxes per image, inside 500 x 375 pixels."""
    for image_id, count in zip(ids, rng.integers(1, 4, len(ids)).tolist(), strict=True):
        for x0, y0, width, height in rng.integers((0, 0, 1, 1), (300, 200, 200, 175), (count, 4)).tolist():
            yield f"{image_id},{x0},{y0},{x0 + width},{y0 + height}\n"


def make_metadata(root: Path) -> None:
    """Write made-up metadata of ILSVRC's size, with labels at the finest level alone."""
    from timm.data import ImageNetInfo

    rng = np.random.default_rng(0)
    synsets = ImageNetInfo("imagenet-1k").label_names()
    labels = np.sort(np.arange(TRAIN) % CLASSES)
    ids = [f"train/{synsets[label]}/{synsets[label]}_{n % 50_000}.JPEG" for n, label in enumerate(labels.tolist())]
    _split_lines(root / NAME / "train", ids, labels)
    for split, count in (("val", VAL), ("test", TEST)):
        folder = root / NAME / split
        labels = rng.permutation(np.arange(count) % CLASSES)
        ids = [f"val/ILSVRC2012_{split}_{number:08d}.JPEG" for number in range(1, count + 1)]
        _split_lines(folder, ids, labels)
        write_text(folder / "image_sizes.txt", "".join(f"{image_id},500,375\n" for image_id in ids))
        write_text(folder / "localization.txt", "".join(_boxes(ids, rng)))


def add_levels(root: str) -> None:
    """Write the 18 coarser levels, by the command."""
    sys.argv = ["add_levels.py", NAME, "--metadata_root", root]
    importlib.import_module("dataset.add_levels").main()


def read_level(root: str, level: str) -> None:
    """Read all splits at a level."""
    load_level(root, NAME, level)


def read_as_a_run(root: str, level: str) -> None:
    """Read all splits at a level and the boxes of val and test, as main.py does; images are not looked for."""
    from wsol.runs import run_data

    config = {
        "metadata_root": root,
        "mask_root": root,
        "data_root": root,
        "dataset_name": NAME,
        "label_level": level,
        "proxy_training_set": False,
        "num_val_sample_per_class": 0,
        "num_train_sample_per_class": 0,
        "seed": 0,
        "coarsening": None,
        "cam_agg_level": None,
        "wsol_method": "cam",
        "eval_test": True,
        "on_bad_image": "skip",
        "eval_checkpoint_type": "best",
    }
    run_data.read_run_data(config)


def _memory(field: str) -> float:
    """Return a field of this process's memory, in MB: VmRSS now, VmHWM at most (Linux)."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


def measure(function: str, arguments: Sequence[str], modules: Sequence[str]) -> None:
    """Print seconds, seconds of all cores, MB before and MB at most of a function here; the modules are imported before."""
    for name in modules:
        importlib.import_module(name)
    before, start, spent = _memory("VmRSS"), time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        globals()[function](*arguments)
    print(json.dumps((time.perf_counter() - start, time.process_time() - spent, before, _memory("VmHWM"))))


def _in_a_process(*arguments: object) -> list[float]:
    """Return what `measure` prints in a process that has imported nothing else."""
    code = "import json, sys; from scripts.benchmark_metadata import measure; measure(*json.loads(sys.argv[1]))"
    words = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True)  # noqa: S603 (this file's own code)
    return json.loads(done.stdout)


def metadata(repeats: int) -> None:
    """Print a Markdown table of medians over `repeats` processes."""
    with tempfile.TemporaryDirectory() as root:
        make_metadata(Path(root))
        print(f"{TRAIN:,} training lines, {CLASSES:,} classes, 18 coarser levels\n")
        print("| what | seconds | seconds of all cores | MB before | MB at most |\n" + "| --- " * 5 + "|", flush=True)
        main = ["wsol.runs.run_data"]  # with torch
        for what, function, arguments, modules in (
            ("write the levels: dataset/add_levels.py", "add_levels", [root], []),
            ("read the finest level", "read_level", [root, "synset"], []),
            ("read level c0", "read_level", [root, "c0"], []),
            (f"read level {COARSEST}", "read_level", [root, COARSEST], []),
            ("as main.py: the finest level, boxes", "read_as_a_run", [root, "synset"], main),
            (f"as main.py: level {COARSEST}, boxes", "read_as_a_run", [root, COARSEST], main),
        ):
            figures = [_in_a_process(function, arguments, modules) for _ in range(repeats)]
            seconds, spent, before, most = np.median(figures, axis=0)
            print(f"| {what} | {seconds:.1f} | {spent:.1f} | {before:.0f} | {most:.0f} |", flush=True)
