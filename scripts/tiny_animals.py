"""The helper of tiny_animals.sh: which learning rate val prefers, and the table and figure of the finished runs.

    python scripts/tiny_animals.py finished EXPERIMENT [main.py options]     # "finished", or nothing
    python scripts/tiny_animals.py choose train_log/tiny_animals/rates/LEVEL RATE ...     # prints the best RATE
    python scripts/tiny_animals.py report train_log/tiny_animals --levels LEVEL ... --rates RATE ... --seeds SEED ...

In: rates/LEVEL/RATE and seeds/LEVEL/SEED. Out: train_log/tiny_animals/table.{md,csv} and figure.png; mean ± sample
standard deviation over the seeds, Center next to them.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from matplotlib.figure import Figure

from config import LOG_ROOT, get_config
from scripts.runs import NOT_COMPARED, differing, is_finished, read_config
from wsol.core.arguments import Parser, number
from wsol.core.errors import InputError, command
from wsol.core.files import write_text
from wsol.data.metadata import read_id_list
from wsol.metrics.spread import DEVIATION, heading, mean_and_deviation, sample_deviation
from wsol.plots.drawing import COLORS, MARKERS, name_ticks, plain, save_figure, slot_width, wrapped
from wsol.runs.center_baseline import center_results, center_sets
from wsol.runs.results import SplitResults, read_run
from wsol.runs.run_tables import markdown_table, write_table

IOUS = (30, 50, 70)
VARIED = (*NOT_COMPARED, "label_level", "lr", "seed", "eval_test")  # what the runs of a study may differ in
CENTER_LINES = ("--", ":", "-.")


def rate(text: str) -> str:
    """Return a learning rate as written, which is its folder's name; raise if it is not a number."""
    number(text)
    return text


def choose(folder: Path, rates: Sequence[str]) -> str:
    """Return the learning rate whose run has the highest val MaxBoxAccV2, the first of them on ties."""
    return max(rates, key=lambda rate: read_run(folder / rate).split("val").value("MaxBoxAccV2"))


def check_runs(folder: Path, levels: Sequence[str], rates: Sequence[str], seeds: Sequence[int]) -> None:
    """Raise InputError if a run is not what its folder says, a level was trained with another rate than val prefers, or
    runs differ in anything else."""
    planned: dict[Path, dict] = {}
    for level in levels:
        best = choose(folder / "rates" / level, rates)
        for rate in rates:
            planned[folder / "rates" / level / rate] = {"label_level": level, "lr": float(rate), "seed": 0}
        for seed in seeds:
            planned[folder / "seeds" / level / str(seed)] = {"label_level": level, "lr": float(best), "seed": seed}
    first, *_ = planned
    for run, expected in planned.items():
        config = read_config(run)
        for name, value in expected.items():
            if config.get(name) != value:
                raise InputError(f"{run}: was run with --{name} {config.get(name)}; expected {value}")
        if other := differing(read_config(first), config, VARIED):
            raise InputError(f"{run}: was run with another --{other[0]} than {first}; expected runs of one study")


def box_figures(results: SplitResults) -> dict[str, float]:
    """Return the box accuracies, in percent, that the table shows."""
    by_iou = {f"IoU {iou:g}": results.value("MaxBoxAcc", iou) for iou in IOUS}
    return {"MaxBoxAccV2": results.value("MaxBoxAccV2"), **by_iou}


def figures(run: Path) -> dict[str, float]:
    """Return the percentages of one run's test split that the table shows."""
    results = read_run(run).split("test")
    at_val = results.value("MaxBoxAccV2", at_val=True)
    return {**box_figures(results), "at val's threshold": at_val, "top-1": results.value("top1_cls")}


def center_figures(runs: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Return Center's name to its percentages on the images of each level's run: one of all levels, or one per set of
    images if levels leave some out."""
    config = read_config(next(iter(runs.values())))
    ids = {level: read_id_list(run / "test_image_ids.txt") for level, run in runs.items()}
    return {name: box_figures(center_results(config, "test", each)) for name, each in center_sets(ids).items()}


def plot(
    values: Mapping[str, Sequence[float]],
    top1: Mapping[str, Sequence[float]],
    centers: Mapping[str, float],
    title: str,
    path: Path,
) -> None:
    """Plot every seed's MaxBoxAccV2 and the mean at each level, Center's as a dashed line, and top-1 classification."""
    names = [wrapped(level, 16) for level in values]
    figure = Figure(figsize=(2 * max(4.5, len(names) * slot_width(names) + 0.8), 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, table, name in ((left, values, "MaxBoxAccV2"), (right, top1, "top-1 classification")):
        places = range(len(table))
        deviations = [sample_deviation(points) or 0.0 for points in table.values()]
        axes.errorbar(places, [fmean(points) for points in table.values()], deviations, capsize=4, color=COLORS[0])
        for place, points in zip(places, table.values(), strict=True):
            axes.plot([place] * len(points), points, MARKERS[2], color=COLORS[1], markersize=4)
        name_ticks(axes, names)
        axes.set(xlabel="label level trained on, finest first", ylabel=f"{name}, percent", xlim=(-0.4, len(table) - 0.6))
        axes.grid(alpha=0.3)
    for i, (name, center) in enumerate(centers.items()):
        left.axhline(center, color="0.3", linestyle=CENTER_LINES[i % len(CENTER_LINES)], label=name)
    plain(left.legend(fontsize="small").get_texts())
    said = f"each seed; {DEVIATION}" if any(len(points) > 1 for points in values.values()) else "one seed"
    figure.suptitle(f"{title} test: {said}", fontsize="medium", parse_math=False)
    save_figure(figure, path, dpi=130)


def report(folder: Path, levels: Sequence[str], rates: Sequence[str], seeds: Sequence[int]) -> None:
    """Write and print the table and the figure."""
    check_runs(folder, levels, rates, seeds)
    runs = {level: [folder / "seeds" / level / str(seed) for seed in seeds] for level in levels}
    tables = {level: [figures(run) for run in paths] for level, paths in runs.items()}
    by_level = {level: {name: [row[name] for row in rows] for name in rows[0]} for level, rows in tables.items()}
    centers = center_figures({level: paths[0] for level, paths in runs.items()})
    rows = []
    for level, columns in by_level.items():
        run = runs[level][0]
        row = {"level": level, "classes": read_run(run).num_classes, "seeds": len(runs[level])}
        row["lr"] = f"{read_config(run).lr:g}"
        rows.append(row | {name: mean_and_deviation(v) for name, v in columns.items()})
    for name, center in centers.items():
        rows.append(dict.fromkeys(rows[0]) | {"level": name} | {key: f"{value:.1f}" for key, value in center.items()})
    text = f"Test, percent. {heading([len(seeds)])}\n\n{markdown_table(rows)}"
    print(text)
    write_text(folder / "table.md", text + "\n")
    flat = [
        {"level": level, "run": run.name, **row}
        for level in levels
        for run, row in zip(runs[level], tables[level], strict=True)
    ]
    blank = dict.fromkeys(flat[0])
    write_table(folder / "table.csv", [*flat, *(blank | {"level": name} | center for name, center in centers.items())])
    boxes, top1 = ({level: columns[name] for level, columns in by_level.items()} for name in ("MaxBoxAccV2", "top-1"))
    dashed = {name: center["MaxBoxAccV2"] for name, center in centers.items()}
    plot(boxes, top1, dashed, read_config(runs[levels[0]][0]).dataset_name, folder / "figure.png")


@command
def main() -> None:
    """Check, choose or report."""
    parser = Parser(__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    asker = actions.add_parser("finished", help="whether a run is finished")
    asker.add_argument("experiment")
    asker.add_argument("options", nargs=argparse.REMAINDER)
    chooser = actions.add_parser("choose", help="the best learning rate")
    chooser.add_argument("folder", type=Path)
    chooser.add_argument("rates", nargs="+")
    reporter = actions.add_parser("report", help="the table and the figure")
    reporter.add_argument("folder", type=Path)
    reporter.add_argument("--levels", nargs="+", required=True)
    reporter.add_argument("--rates", nargs="+", required=True, type=rate)
    reporter.add_argument("--seeds", nargs="+", required=True, type=int)
    options = parser.parse_args()
    if options.action == "finished":
        finished = is_finished(Path(LOG_ROOT) / options.experiment, get_config(options.options)[0])
        print("finished" if finished else "")
    elif options.action == "choose":
        print(choose(options.folder, options.rates))
    else:
        report(options.folder, options.levels, options.rates, options.seeds)


if __name__ == "__main__":
    main()
