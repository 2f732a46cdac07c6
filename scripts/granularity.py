"""The helper of sweep_granularity.sh: which levels are still to run, and the table, plot and examples of finished ones.

    python scripts/granularity.py plan   [main.py options]    # "level<tab>experiment" lines of what is not finished
    python scripts/granularity.py report [main.py options]    # reads results.json of every level

In: main.py's options, whose --experiment_name names the sweep. Out: train_log/<sweep>/granularity.{md,csv,png} and
examples.png.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from munch import Munch

from config import LOG_ROOT, get_config, training_parser
from dataset import toy
from dataset.known import require_dataset
from scripts.examples import draw_examples, spread
from scripts.runs import center_results, center_sets, is_finished, read_results
from wsol.errors import InputError, command
from wsol.files import whole_file, write_text
from wsol.levels import LevelData, load_level
from wsol.metadata import read_id_list
from wsol.tables import markdown_table, write_table

EXAMPLES = 6
UNNAMED = training_parser("").known_defaults["experiment_name"]


def sweep_folder(config: Munch) -> Path:
    """Return train_log/<experiment_name>, or train_log/<dataset>_granularity where no name was given."""
    unnamed = config.experiment_name == UNNAMED
    return Path(LOG_ROOT) / (f"{config.dataset_name}_granularity" if unnamed else config.experiment_name)


def trainable_levels(config: Munch, splits: Sequence[str]) -> dict[str, LevelData]:
    """Return the data set at every level with two classes or more, finest first."""
    if config.dataset_name == toy.NAME:
        toy.prepare(config.data_root, config.metadata_root)
    require_dataset(config.metadata_root, config.dataset_name)
    options = (config.proxy_training_set, config.num_val_sample_per_class, config.num_train_sample_per_class, config.seed)
    finest = load_level(config.metadata_root, config.dataset_name, None, splits, *options)
    levels = {
        level: load_level(config.metadata_root, config.dataset_name, level, splits, *options) for level in finest.levels
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
    """Return the images that each level's run scored: those of its level that could be read."""
    return {level: read_id_list(folder / level / f"{split}_image_ids.txt") for level in levels}


def table_rows(
    config: Munch, split: str, levels: dict[str, LevelData], results: dict[str, dict], ids: dict[str, list[str]]
) -> list[dict]:
    """Return one row a level, finest first, then Center's (one for each set of images, where levels leave some out)."""

    def row(name: str, num_classes: int | None, figures: dict) -> dict:
        accuracies = {f"MaxBoxAcc{iou}": value for iou, value in (figures["MaxBoxAcc"] or {}).items()}
        both = {"MaxBoxAccV2": figures["MaxBoxAccV2"], **accuracies, "PxAP": figures["PxAP"]}
        return {"level": name, "classes": num_classes, **both, **{k: figures.get(k) for k in ("top1_loc", "top1_cls")}}

    rows = [row(level, len(data.class_names), results[level][split]) for level, data in levels.items()]
    return rows + [row(name, None, center_results(config, split, each)) for name, each in center_sets(ids).items()]


def plot(rows: list[dict], title: str, path: Path) -> None:
    """Plot the metrics against the level, Center's as dashed lines, top-1 classification on the same percent axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    levels = [row for row in rows if row["classes"] is not None]
    center = rows[len(levels)]
    for name in (name for name in rows[0] if name not in ("level", "classes") and rows[0][name] is not None):
        color = f"C{len(axes.lines) // 2}"
        style = ":" if name.startswith("top1") else "-"
        axes.plot(
            [row["level"] for row in levels], [row[name] for row in levels], style, marker="o", color=color, label=name
        )
        axes.axhline(center[name] if center[name] is not None else np.nan, color=color, linestyle="--", linewidth=0.8)
    axes.set_title(f"{title}\n(dashed: Center)", parse_math=False)
    for label in axes.get_xticklabels():  # the levels
        label.set_parse_math(False)
    axes.set(xlabel="label level trained on, finest first", ylabel="percent")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def report(config: Munch, folder: Path, levels: dict[str, LevelData]) -> None:
    """Print and write the table, the plot and the page of examples."""
    missing = [level for level in levels if not (folder / level / "results.json").is_file()]
    if missing:
        raise InputError(f"{folder}: no results.json yet of the levels {', '.join(missing)}")
    results = {level: read_results(folder / level) for level in levels}
    split = "test" if config.eval_test else "val"
    ids = scored_ids(folder, levels, split)
    rows = table_rows(config, split, levels, results, ids)
    title = f"{config.dataset_name} {split}, {config.architecture} {config.wsol_method}"
    text = markdown_table(rows)
    print(f"\n{title}\n\n{text}\n")
    write_text(folder / "granularity.md", f"{title}\n\n{text}\n")
    write_table(folder / "granularity.csv", rows)
    plot(rows, title, folder / "granularity.png")
    written = ["granularity.md", "granularity.csv", "granularity.png"]
    if config.save_scoremaps in (split, "both"):
        shared = set.intersection(*map(set, ids.values()))
        common = [image_id for image_id in next(iter(ids.values())) if image_id in shared]
        runs = {level: folder / level for level in levels}
        draw_examples(config, split, spread(common, EXAMPLES), runs, folder / "examples.png")
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
    actions[sys.argv[1]](config, sweep_folder(config), trainable_levels(config, splits))


if __name__ == "__main__":
    main()
