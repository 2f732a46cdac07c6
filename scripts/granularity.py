"""The helper of sweep_granularity.sh: which levels are still to run, and the table, plot and examples of finished ones.

    python scripts/granularity.py plan   [main.py options]    # "level<tab>experiment" lines of what is not finished
    python scripts/granularity.py report [main.py options]    # reads results.json of every level

In: main.py's options, whose --experiment_name names the sweep. Out: train_log/<sweep>/granularity.{md,csv,png} and
examples.png.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from munch import Munch

from config import LOG_ROOT, get_config, training_parser
from dataset import toy
from dataset.known import require_dataset
from scripts.examples import draw_examples, spaced
from scripts.runs import has_results, is_finished
from wsol.core.errors import InputError, command
from wsol.core.files import write_text
from wsol.data.levels import LevelData, load_level
from wsol.data.metadata import read_id_list
from wsol.plots.drawing import COLORS, MARKERS, name_ticks, save_figure, slot_width, wrapped
from wsol.runs.center_baseline import center_results, center_sets
from wsol.runs.results import Row, SplitResults, read_run
from wsol.runs.run_folder import RESULTS
from wsol.runs.run_tables import markdown_table, write_table

EXAMPLES = 6
WIDEST = 18.0  # inches that two panels may be wide, side by side
Measured = tuple[float | None, Sequence[float] | None]  # a figure in percent, and its interval [low, high]
UNNAMED = training_parser("").known_defaults["experiment_name"]


def sweep_folder(config: Munch) -> Path:
    """Return train_log/<experiment_name>, or train_log/<dataset>_granularity if no name was given."""
    unnamed = config.experiment_name == UNNAMED
    return Path(LOG_ROOT) / (f"{config.dataset_name}_granularity" if unnamed else config.experiment_name)


def trainable_levels(config: Munch, splits: Sequence[str]) -> dict[str, LevelData]:
    """Return the data set at every level with two classes or more, finest first."""
    require_dataset(config.metadata_root, config.dataset_name)
    options = (config.proxy_training_set, config.num_val_sample_per_class, config.num_train_sample_per_class)
    drawn = {"seed": config.seed, "train_sample_level": config.train_sample_level}
    finest = load_level(config.metadata_root, config.dataset_name, None, splits, *options, **drawn)
    levels = {
        level: load_level(config.metadata_root, config.dataset_name, level, splits, *options, **drawn)
        for level in finest.levels
    }
    for level in [level for level, data in levels.items() if len(data.class_names) < 2]:
        print(f"{level}: a single class, left out", file=sys.stderr)
        del levels[level]
    if not levels:
        raise InputError(f"{config.dataset_name}: no level has two classes or more")
    return levels


def plan(config: Munch, folder: Path, levels: dict[str, LevelData]) -> None:
    """Print "level<tab>experiment" for every level that is not finished."""
    for level in levels:
        if is_finished(folder / level, {**config, "label_level": level}):
            print(f"{level}: finished before, skipped", file=sys.stderr)
        else:
            print(level, (folder / level).relative_to(LOG_ROOT), sep="\t")


def scored_ids(folder: Path, levels: dict[str, LevelData], split: str) -> dict[str, list[str]]:
    """Return the images that each level's run scored: the images of its level that could be read."""
    return {level: read_id_list(folder / level / f"{split}_image_ids.txt") for level in levels}


def measured(row: Row | None) -> Measured:
    """Return a figure in percent and its interval; None if the data set has none."""
    if row is None:
        return None, None
    return row.value, None if row.low is None or row.high is None else [row.low, row.high]


def figures_of(results: SplitResults) -> dict[str, Measured]:
    """Return a split's figures by name, in percent, each with its interval; None if the data set has none."""
    by_iou = {f"MaxBoxAcc{iou}": measured(row) for iou, row in results.by_iou().items()}
    others = {name: measured(results.find(name)) for name in ("PxAP", "top1_loc", "top1_cls")}
    return {"MaxBoxAccV2": measured(results.find("MaxBoxAccV2")), **by_iou, **others}


def table_rows(levels: Mapping[str, LevelData], figures: Mapping[str, Mapping[str, Measured]]) -> list[dict]:
    """Return one row per level, finest first, then Center's (one for each set of images, where levels leave some out)."""
    rows = []
    for name, values in figures.items():
        data = levels.get(name)
        sizes = {"classes": data and len(data.class_names), "train images": data and len(data.splits["train"].image_ids)}
        rows.append({"level": name, **sizes, **{key: value for key, (value, _) in values.items()}})
    return rows


def plot_panel(
    axes: Axes, names: Sequence[str], figures: Mapping[str, Mapping[str, Measured]], levels: Sequence[str]
) -> None:
    """Plot figures against the level with their intervals; Center's are hollow, at separate places, without a line."""
    places = {name: i for i, name in enumerate(figures)}
    for i, name in enumerate(names):
        color = COLORS[i % len(COLORS)]
        draw = partial(axes.errorbar, color=color, marker=MARKERS[i % len(MARKERS)], markersize=5, capsize=2)
        shift = (i - (len(names) - 1) / 2) * 0.06  # so that intervals do not hide each other
        for is_level in (True, False):
            points = [
                (places[row] + shift, *values[name])
                for row, values in figures.items()
                if (row in levels) == is_level and values.get(name, (None,))[0] is not None
            ]
            if not points:
                continue
            x, y, found = zip(*points, strict=True)
            errors = [[abs(value - (ends or [value] * 2)[k]) for value, ends in zip(y, found, strict=True)] for k in (0, 1)]
            if is_level:
                draw(x, y, errors, label=name, linewidth=1.5, elinewidth=0.8)
            else:
                draw(x, y, errors, linestyle="none", elinewidth=0.8, markerfacecolor="white")
                axes.axhline(y[0], color=color, linestyle=":", linewidth=0.7, zorder=0)
    if len(levels) < len(figures):
        axes.axvline(len(levels) - 0.5, color="0.6", linewidth=0.8)
    axes.set(ylim=(0, 102), xlim=(-0.5, len(places) - 0.5), xlabel="label level trained on, finest first")
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize="x-small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.07))


def plot(levels: Mapping[str, LevelData], figures: Mapping[str, Mapping[str, Measured]], title: str, path: Path) -> None:
    """Plot localization on the left, Center next to the levels, and classification on the right."""
    named = [
        name for name in next(iter(figures.values())) if any(v.get(name, (None,))[0] is not None for v in figures.values())
    ]
    localization = [name for name in named if name != "top1_cls"]
    panels = {"localization": (localization, list(figures)), "classification": (["top1_cls"], list(levels))}
    panels = {name: panel for name, panel in panels.items() if panel[0]}
    ticks = {row: wrapped(row, 16) for row in figures}
    for level, data in levels.items():
        ticks[level] += f"\n{len(data.class_names)} classes\n{len(data.splits['train'].image_ids)} images"
    widths = [max(4.0, len(rows) * slot_width(ticks.values()) + 0.8) for _, rows in panels.values()]
    if sum(widths) > WIDEST:  # one panel under the other
        figure = Figure(figsize=(max(widths), 4.5 * len(panels)), layout="constrained")
        grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    else:
        figure = Figure(figsize=(sum(widths), 5), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for axes, (kind, (names, rows)) in zip(grid, panels.items(), strict=True):
        plot_panel(axes, names, {row: figures[row] for row in rows}, list(levels))
        name_ticks(axes, [ticks[row] for row in rows])
        axes.set_title(kind, fontsize="medium")
        axes.set_ylabel("percent")
    note = "bars: 95 % intervals over images; images: those of training"
    if len(figures) > len(levels):
        note += "; hollow, dotted: Center, which looks at no image"
    figure.suptitle(title, fontsize="medium", parse_math=False)
    figure.supxlabel(note, fontsize="x-small")
    save_figure(figure, path, dpi=130)


def notes_of(levels: Mapping[str, LevelData], has_truth: bool) -> list[str]:
    """Return notes for readers of the table."""
    notes = []
    if len({len(data.splits["train"].image_ids) for data in levels.values()}) > 1:
        notes.append(
            "The levels were trained on different numbers of images: granularity and the amount of data are confounded."
        )
    if not has_truth:
        notes.append("No boxes and no masks: localization cannot be measured, nor Center; only classification.")
    return notes


def report(config: Munch, folder: Path, levels: dict[str, LevelData]) -> None:
    """Print and write the table, the plot and the page of examples."""
    missing = [level for level in levels if not has_results(folder / level)]
    if missing:
        raise InputError(f"{folder}: no {RESULTS} yet of the levels {', '.join(missing)}")
    split = "test" if config.eval_test else "val"
    results = {level: read_run(folder / level).split(split) for level in levels}
    ids = scored_ids(folder, levels, split)
    has_truth = any(one.has_localization for one in results.values())
    if has_truth:
        results |= {name: center_results(config, split, each) for name, each in center_sets(ids).items()}
    figures = {name: figures_of(one) for name, one in results.items()}
    rows = table_rows(levels, figures)
    title = f"{config.dataset_name} {split}, {config.architecture} {config.wsol_method}"
    text = "\n\n".join([title, markdown_table(rows), *notes_of(levels, has_truth)])
    print(f"\n{text}\n")
    write_text(folder / "granularity.md", f"{text}\n")
    write_table(folder / "granularity.csv", rows)
    plot(levels, figures, title, folder / "granularity.png")
    written = ["granularity.md", "granularity.csv", "granularity.png"]
    if config.save_scoremaps in (split, "both"):
        shared = set.intersection(*map(set, ids.values()))
        common = [image_id for image_id in next(iter(ids.values())) if image_id in shared]
        runs = {level: folder / level for level in levels}
        draw_examples(config, split, spaced(common, EXAMPLES), runs, folder / "examples.png")
        written.append("examples.png")
    print(f"written to {folder}: {', '.join(written)}")


@command
def main() -> None:
    """Plan or report one sweep."""
    actions = {"plan": plan, "report": report}
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{__doc__}\nThe options are those of main.py, except --label_level and --coarsening: python main.py --help")
        return
    if len(sys.argv) < 2 or sys.argv[1] not in actions:
        raise InputError(f"expected one of {', '.join(actions)}, then main.py options")
    argv = sys.argv[2:]
    if given := {word.split("=")[0] for word in argv} & {"--label_level", "--coarsening"}:
        raise InputError(f"{given.pop()}: a sweep runs every level; use main.py for one")
    config, _ = get_config(argv)
    splits = ("train", "val", "test") if config.eval_test else ("train", "val")
    is_toy = config.dataset_name == toy.NAME
    with toy.prepared(config.data_root, config.metadata_root) if is_toy else nullcontext():  # undone if refused
        actions[sys.argv[1]](config, sweep_folder(config), trainable_levels(config, splits))


if __name__ == "__main__":
    main()
