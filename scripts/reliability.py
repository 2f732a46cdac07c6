"""How well the beliefs of inference.py's boxes come true, on a split with true boxes:

    python scripts/reliability.py test/detections.json --dataset_name NAME --split test
    python scripts/reliability.py test/detections.json --val val/detections.json --dataset_name NAME --figure a.svg

In: detections.json of a split's photos (inference.py --images metadata/NAME/test/image_ids.txt --image_root dataset/NAME).
Out: expected calibration error with its 95 % interval, and Brier score, of the expected IoU and of the probability of an
IoU of 50 % or more. With --val, the boxes of val by the same checkpoint, beside a constant (val's mean) and the class's
confidence alone (a logistic regression on val). The first box of a photo counts.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

import argparse

import numpy as np

from dataset.known import require_dataset
from wsol.core.arguments import Parser, folder_name, path
from wsol.core.errors import InputError, command
from wsol.core.files import check_writable
from wsol.core.plain_values import is_number
from wsol.data.coco import name_of, read_results
from wsol.data.metadata import configure_metadata
from wsol.data.truth import BoxTruth
from wsol.metrics.calibration import REACHED, fit_calibration
from wsol.metrics.detections import check_entry
from wsol.metrics.evaluators import BoxEvaluator
from wsol.metrics.map_signs import LEAST_PROBABILITY
from wsol.metrics.reliability import Reliability, reliability
from wsol.plots.drawing import save_figure
from wsol.plots.reliability_plot import reliability_figure
from wsol.runs.run_tables import markdown_table

BELIEFS = {"expected_iou": "IoU", "reaches_50": "share with an IoU of 50 %"}


def read_beliefs(file: Path, evaluator: BoxEvaluator) -> dict[str, np.ndarray]:
    """Return, of every photo with true boxes and a first box with beliefs: these, the confidence, and the IoU that it had.

    Raises:
        InputError: not a detections.json of inference.py, or no such photo.
    """
    results, names = read_results(file)
    rows, seen = [], set()
    for number, one in enumerate(results, 1):
        check_entry(file, number, one)
        image_id = name_of(one["image_id"], names, f"{file}: entry {number}")
        if image_id in seen or image_id not in evaluator.original_bboxes:
            continue
        seen.add(image_id)
        values = [one.get(name) for name in (*BELIEFS, "confidence")]
        if not all(map(is_number, values)):
            raise InputError(f"{file}: entry {number}: expected_iou, reaches_50 or confidence is not a number")
        x, y, width, height = one["bbox"]
        rows.append([*values, evaluator.box_iou((x, y, x + width, y + height), image_id)])
    if not rows:
        raise InputError(f"{file}: no box of an image with true boxes; expected image ids as file names")
    return dict(zip((*BELIEFS, "confidence", "iou"), np.array(rows, dtype=np.float64).T, strict=True))


def compare(test: dict[str, np.ndarray], val: dict[str, np.ndarray] | None) -> dict[str, dict[str, Reliability]]:
    """Return by quantity, and way of predicting it, how well it came true."""

    def log_odds(found: dict[str, np.ndarray]) -> np.ndarray:
        sure = found["confidence"].clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return np.log(sure / (1 - sure))[:, None]

    found = {}
    alone = fit_calibration(("log_odds",), log_odds(val), val["iou"]).predict(log_odds(test)) if val else ()
    for place, (name, quantity) in enumerate(BELIEFS.items()):
        had = test["iou"] if name == "expected_iou" else test["iou"] >= REACHED
        ways = {"calibrated": reliability(test[name], had)}
        if val:
            mean = (val["iou"] if name == "expected_iou" else val["iou"] >= REACHED).mean()
            ways["constant"] = reliability(np.full(len(had), mean), had)
            ways["class confidence, calibrated"] = reliability(alone[place], had)
            if name == "reaches_50":
                ways["class confidence as it is"] = reliability(test["confidence"], had)
        found[quantity] = ways
    return found


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = Parser(__doc__)
    parser.add_argument("boxes", type=path, metavar="DETECTIONS", help="detections.json of the split's photos")
    parser.add_argument(
        "--val", type=path, metavar="DETECTIONS", help="detections.json of val's photos, by the same checkpoint"
    )
    parser.add_argument("--dataset_name", type=folder_name, required=True, help="a data set in <metadata_root>")
    parser.add_argument("--split", type=folder_name, default="test", help="the split of DETECTIONS (default: test)")
    parser.add_argument("--metadata_root", default="metadata/", help="folder of the metadata (default: metadata/)")
    parser.add_argument("--figure", type=path, metavar="FILE", help="write a reliability diagram: .svg, .pdf or .png")
    return parser.parse_args(argv)


@command
def main() -> None:
    """Print the table."""
    options = parse()
    if options.figure:
        check_writable(options.figure)
    require_dataset(options.metadata_root, options.dataset_name)

    def read(file: Path, split: str) -> dict[str, np.ndarray]:
        truth = BoxTruth.read(configure_metadata(Path(options.metadata_root) / options.dataset_name / split))
        return read_beliefs(file, BoxEvaluator(truth, options.dataset_name, split, [0.0], [50]))

    test = read(options.boxes, options.split)
    found = compare(test, read(options.val, "val") if options.val else None)
    rows = [
        {
            "of": quantity,
            "predicted by": way,
            "calibration error": f"{one.ece:.3f} [{one.ece_low:.3f}, {one.ece_high:.3f}]",
            "Brier score": f"{one.brier:.4f}",
        }
        for quantity, ways in found.items()
        for way, one in ways.items()
    ]
    print(f"{options.dataset_name} {options.split}, {len(test['iou'])} photos, mean IoU {test['iou'].mean():.3f}\n")
    print(markdown_table(rows))
    if options.figure:
        save_figure(reliability_figure(found), options.figure)


if __name__ == "__main__":
    main()
