"""The helper of tiny_animals.sh: which learning rate val prefers, and the table and figure of the finished runs.

    python scripts/tiny_animals.py choose train_log/tiny_animals/rates/LEVEL RATE ...    # prints the best RATE
    python scripts/tiny_animals.py report train_log/tiny_animals LEVEL ...               # seeds/LEVEL/*/results.json

Out: train_log/tiny_animals/table.{md,csv} and figure.png; mean and population standard deviation over the seeds, Center
beside them.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import yaml
from munch import Munch

from wsol.errors import InputError, command
from wsol.files import whole_file, write_text
from wsol.metadata import read_id_list
from wsol.scoring import Center
from wsol.split_evaluator import SplitEvaluator
from wsol.tables import markdown_table, write_table

IOUS = ("30", "50", "70")
VARIED = ("label_level", "lr", "seed", "experiment_name", "workers", "device")  # what the runs of a study may differ in


def read_results(folder: Path) -> dict:
    """Return a finished run's results.json."""
    path = folder / "results.json"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a finished run")
    return json.loads(path.read_text(encoding="utf-8"))


def choose(folder: Path, rates: list[str]) -> str:
    """Return the learning rate whose run has the highest val MaxBoxAccV2, the first of them on ties."""
    return max(rates, key=lambda rate: read_results(folder / rate)["val"]["MaxBoxAccV2"])


def read_seeds(folder: Path) -> list[Path]:
    """Return the finished runs of one level, by seed."""
    if not (runs := sorted(path.parent for path in folder.glob("*/results.json"))):
        raise InputError(f"{folder}: no finished run; expected <seed>/results.json")
    return runs


def read_config(run: Path) -> Munch:
    """Return the configuration of a run."""
    return Munch(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))


def check_alike(runs: Sequence[Path]) -> None:
    """Refuse runs that differ in anything but level, learning rate and seed."""
    first = read_config(runs[0])
    for run in runs[1:]:
        other = read_config(run)
        if differing := [name for name in first | other if name not in VARIED and first.get(name) != other.get(name)]:
            raise InputError(f"{run}: was run with another --{differing[0]} than {runs[0]}; expected runs of one study")


def figures(results: dict) -> dict[str, float]:
    """Return the percentages of one run's test split that the table shows."""
    test = results["test"]
    at_val = {"at val's threshold": test["MaxBoxAccV2_at_val_threshold"], "top-1": test["top1_cls"]}
    return {"MaxBoxAccV2": test["MaxBoxAccV2"], **{f"IoU {iou}": test["MaxBoxAcc"][iou] for iou in IOUS}, **at_val}


def center_figures(run: Path) -> dict[str, float]:
    """Return Center's percentages on the images that a run scored, with maps of its size."""
    config = read_config(run)
    evaluator = SplitEvaluator.of(config, "test", read_id_list(run / "test_image_ids.txt"))
    Center(config.crop_size).score(evaluator)
    results = evaluator.results()
    return {"MaxBoxAccV2": results["MaxBoxAccV2"], **{f"IoU {iou}": results["MaxBoxAcc"][iou] for iou in IOUS}}


def plot(values: dict[str, np.ndarray], top1: dict[str, np.ndarray], center: float, title: str, path: Path) -> None:
    """Plot every seed's MaxBoxAccV2 and the mean at each level, Center's as a dashed line, and top-1 classification."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, table, name in ((left, values, "MaxBoxAccV2"), (right, top1, "top-1 classification")):
        axes.errorbar(list(table), [v.mean() for v in table.values()], [v.std() for v in table.values()], capsize=4)
        for level, points in table.items():
            axes.plot([level] * len(points), points, ".", color="C1")
        axes.set(xlabel="label level trained on, finest first", ylabel=f"{name}, percent")
        axes.grid(alpha=0.3)
    left.axhline(center, color="grey", linestyle="--", label="Center")
    left.legend()
    figure.suptitle(f"{title} test: each seed, mean and standard deviation", fontsize="medium")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def report(folder: Path, levels: list[str]) -> None:
    """Write and print the table and the figure."""
    runs = {level: read_seeds(folder / "seeds" / level) for level in levels}
    check_alike([run for paths in runs.values() for run in paths])
    tables = {level: [figures(read_results(run)) for run in paths] for level, paths in runs.items()}
    arrays = {level: {name: np.array([row[name] for row in rows]) for name in rows[0]} for level, rows in tables.items()}
    center = center_figures(runs[levels[0]][0])
    rows = []
    for level, columns in arrays.items():
        run = runs[level][0]
        row = {"level": level, "classes": read_results(run)["num_classes"], "seeds": len(runs[level])}
        row["lr"] = f"{read_config(run).lr:g}"
        rows.append(row | {name: f"{v.mean():.1f} ± {v.std():.1f}" for name, v in columns.items()})
    rows.append(dict.fromkeys(rows[0]) | {"level": "Center"} | {name: f"{value:.1f}" for name, value in center.items()})
    text = markdown_table(rows)
    print(text)
    write_text(folder / "table.md", text + "\n")
    flat = [
        {"level": level, "run": run.name, **row}
        for level in levels
        for run, row in zip(runs[level], tables[level], strict=True)
    ]
    write_table(folder / "table.csv", [*flat, dict.fromkeys(flat[0]) | {"level": "Center"} | center])
    pairs = [{level: columns[name] for level, columns in arrays.items()} for name in ("MaxBoxAccV2", "top-1")]
    plot(*pairs, center["MaxBoxAccV2"], read_config(runs[levels[0]][0]).dataset_name, folder / "figure.png")


@command
def main() -> None:
    """Choose or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("choose", "report"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", metavar="NAME", help="learning rates, or levels")
    options = parser.parse_args()
    if options.action == "choose":
        print(choose(options.folder, options.names))
    else:
        report(options.folder, options.names)


if __name__ == "__main__":
    main()
