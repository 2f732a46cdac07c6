"""Runs side by side: a table of their figures over seeds, and a page of their maps on the same images.

    python scripts/compare_runs.py cam=train_log/cam_0,train_log/cam_1 has=train_log/has_0,train_log/has_1 --page maps.jpg

In: names, each with the folders of its seeds. Out: a Markdown table on standard output; the page shows each name's first
folder, whose score maps of the split must have been saved.
"""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.examples import draw_examples, spread
from scripts.runs import read_config
from wsol.arguments import Parser
from wsol.errors import InputError, command
from wsol.files import read_json
from wsol.metadata import read_id_list
from wsol.score_maps import find_score_maps

# Student's t at 97.5 %, by the number of seeds.
T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


def figures_of(folder: Path, split: str) -> dict[str, float]:
    """Return a run's figures of a split, in percent."""
    try:
        results = read_json(folder / "results.json")[split]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: no finished run with results of the {split} split ({error})") from None
    accuracies = {f"at IoU {iou}": value for iou, value in (results["MaxBoxAcc"] or {}).items()}
    deployable = results.get("MaxBoxAccV2_at_val_threshold")
    both = {"MaxBoxAccV2": results["MaxBoxAccV2"], **accuracies, "PxAP": results["PxAP"], "at val's threshold": deployable}
    return {name: value for name, value in {**both, "top-1": results["top1_cls"]}.items() if value is not None}


def mean_and_interval(values: list[float]) -> str:
    """Return the mean, and half of its 95 % interval (Student's t over seeds) where there are two to ten values."""
    mean = f"{statistics.mean(values):.1f}"
    if len(values) not in T:
        return mean
    return f"{mean} ± {T[len(values)] * statistics.stdev(values) / len(values) ** 0.5:.1f}"


@command
def main() -> None:
    """Print the table, draw the page."""
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER[,FOLDER...]")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--page", type=Path, help="file (.png or .jpg) for the page of maps", metavar="FILE")
    parser.add_argument("--images", type=int, default=10, help="images on the page (default: 10)")
    options = parser.parse_args()
    if options.images < 1:
        raise InputError(f"--images {options.images}: expected 1 or more")
    if wrong := [text for text in options.runs if "=" not in text]:
        raise InputError(f"{wrong[0]}: expected NAME=FOLDER, or several folders with commas between")
    runs = {name: [Path(f) for f in folders.split(",")] for name, folders in (text.split("=", 1) for text in options.runs)}
    figures = {name: [figures_of(folder, options.split) for folder in folders] for name, folders in runs.items()}
    columns = list(next(iter(figures.values()))[0])
    print("| | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1))
    for name, seeds in figures.items():
        cells = [mean_and_interval([one[column] for one in seeds if column in one]) for column in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if options.page:
        if options.page.suffix not in (".png", ".jpg"):
            raise InputError(f"--page {options.page}: expected a name ending in .png or .jpg")
        first = {name: folders[0] for name, folders in runs.items()}
        folder = next(iter(first.values()))
        config = read_config(folder)
        image_ids = spread(read_id_list(folder / f"{options.split}_image_ids.txt"), options.images)
        if missing := [run for run in first.values() if find_score_maps(run / "scoremaps", image_ids).missing]:
            raise InputError(f"{missing[0]}: its score maps of {options.split} were not saved (--save_scoremaps)")
        draw_examples(config, options.split, image_ids, first, options.page)
        print(f"\nwritten: {options.page}")


if __name__ == "__main__":
    main()
