"""Runs side by side: a table of their figures over seeds, and a page of their maps on the same images.

    python scripts/compare_runs.py cam=train_log/cam_0,train_log/cam_1 has=train_log/has_0,train_log/has_1 --page maps.jpg

In: names, each with the folders of its seeds. Out: a Markdown table on standard output, mean ± sample standard deviation
over the seeds (--intervals: 95 % interval of the mean); with --against NAME each name's MaxBoxAccV2 less that name's, on the
same images; the page shows each name's first folder, whose score maps of the split must have been saved.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

from scripts.examples import draw_examples, spaced
from wsol.core.arguments import Parser
from wsol.core.errors import InputError, OptionError, command
from wsol.core.files import refuse_inside
from wsol.core.flat_yaml import read_dumped
from wsol.data.metadata import read_id_list
from wsol.maps.score_maps import MAPS_OF_A_RUN, find_score_maps
from wsol.metrics.difference import Measured, check_comparable
from wsol.metrics.images_file import images_name, read_images
from wsol.metrics.seeds_test import RESAMPLES, SEED, holm
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.metrics.spread import DEVIATION, INTERVAL, heading, mean_and_deviation, mean_and_interval
from wsol.runs.results import read_run
from wsol.runs.run_folder import CONFIG
from wsol.runs.run_tables import markdown_table

OF_THE_DATA = ("data_root", "metadata_root", "dataset_name")  # a page shows the images


def figures_of(folder: Path, split: str) -> dict[str, float]:
    """Return a run's figures of a split, in percent; only those that its data set has."""
    results = read_run(folder).split(split)
    rows = {"MaxBoxAccV2": results.find("MaxBoxAccV2")}
    rows |= {f"at IoU {iou}": row for iou, row in results.by_iou().items()}
    rows |= {"PxAP": results.find("PxAP"), "at val's threshold": results.find("MaxBoxAccV2", at_val=True)}
    rows |= {"top-1": results.find("top1_cls")}
    return {name: row.value for name, row in rows.items() if row}


def table(figures: Mapping[str, Sequence[Mapping[str, float]]], intervals: bool) -> str:
    """Return a line that explains the cells, and the table: one row per name, one column per figure that any run has."""
    columns = list(dict.fromkeys(column for runs in figures.values() for one in runs for column in one))
    cell = mean_and_interval if intervals else mean_and_deviation
    rows = []
    for name, runs in figures.items():
        values = {column: [one[column] for one in runs if column in one] for column in columns}
        rows.append({"": name, "runs": len(runs)} | {column: cell(v) if v else None for column, v in values.items()})
    said = heading([len(runs) for runs in figures.values()], INTERVAL if intervals else DEVIATION)
    return f"{said}\n\n{markdown_table(rows)}"


def evaluators_of(folders: Sequence[Path], split: str) -> list[SplitEvaluator]:
    """Return what every run of a name gave on the images of a split."""
    return [read_images(folder / images_name(split)).evaluator() for folder in folders]


def differences(runs: Mapping[str, Sequence[Path]], reference: str, split: str) -> str:
    """Return a line that explains the cells, and a table of how much better each name's MaxBoxAccV2 is than the reference's.

    Raises:
        InputError: a run has no MaxBoxAccV2, or was scored otherwise or on other images than another one.
    """
    evaluators = {name: evaluators_of(folders, split) for name, folders in runs.items()}
    check_comparable([one for each in evaluators.values() for one in each])
    measured = {name: Measured(each, RESAMPLES, SEED) for name, each in evaluators.items()}
    theirs = measured.pop(reference)
    found = {name: ours.less(theirs) for name, ours in measured.items()}
    corrected = holm([one.p_value for one in found.values()])
    rows = [
        {
            "": name,
            "MaxBoxAccV2": f"{one.composed:.1f}",
            f"less {reference}": f"{one.difference:+.2f} [{one.interval[0]:+.2f}, {one.interval[1]:+.2f}]",
            "p": f"{one.p_value:.2g}",
            "p, Holm": f"{p_value:.2g}",
        }
        for (name, one), p_value in zip(found.items(), corrected, strict=True)
    ]
    said = (
        f"{split}, means over seeds, against {reference} ({theirs.figure:.1f}). [low, high]: 95 % bootstrap interval over "
        "images. p: paired randomization test that swaps all seeds' results of an image; then Holm's correction."
    )
    return f"{said}\n\n{markdown_table(rows)}"


def read_config(run: Path) -> Mapping[str, Any]:
    """Return a run's options, with those that the page needs.

    Raises:
        InputError: config.yaml cannot be read, or is not one that main.py wrote.
    """
    expected = "expected a run's configuration, which main.py writes"
    try:
        config = read_dumped(run / CONFIG)
    except InputError as error:
        raise InputError(f"{error}; {expected}") from None
    if wrong := [name for name in OF_THE_DATA if not isinstance(config.get(name), str)]:
        raise InputError(f"{run / CONFIG}: {wrong[0]} is {config.get(wrong[0])!r}; {expected}")
    return config


def draw_page(page: Path, split: str, runs: Mapping[str, Path], count: int) -> None:
    """Draw `count` of the images that the first run scored, with the maps of every run."""
    folder = next(iter(runs.values()))
    config = read_config(folder)
    data = [Path(config[root]) / config["dataset_name"] for root in ("data_root", "metadata_root")]
    refuse_inside({"page": page}, [*data, *(run / MAPS_OF_A_RUN for run in runs.values())])
    image_ids = spaced(read_id_list(folder / f"{split}_image_ids.txt"), count)
    if unsaved := [run for run in runs.values() if find_score_maps(run / MAPS_OF_A_RUN, image_ids).missing]:
        raise InputError(f"{unsaved[0]}: its score maps of {split} were not saved (--save_scoremaps)")
    draw_examples(config, split, image_ids, runs, page)


@command
def main() -> None:
    """Print the table, draw the page."""
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER[,FOLDER...]")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--intervals", action="store_true", help="mean [low, high], the 95 %% interval of Student's t")
    parser.add_argument("--against", metavar="NAME", help="compare every other name with this one, on the same images")
    parser.add_argument("--page", type=Path, help="file (.png or .jpg) for the page of maps", metavar="FILE")
    parser.add_argument("--images", type=int, default=10, help="images on the page (default: 10)")
    options = parser.parse_args()
    if options.images < 1:
        raise InputError(f"--images {options.images}: expected 1 or more")
    if wrong := [text for text in options.runs if "=" not in text]:
        raise InputError(f"{wrong[0]}: expected NAME=FOLDER, or several folders separated by commas")
    runs = {name: [Path(f) for f in folders.split(",")] for name, folders in (text.split("=", 1) for text in options.runs)}
    if len(runs) < len(options.runs):
        names = [text.split("=", 1)[0] for text in options.runs]
        raise InputError(
            f"{max(names, key=names.count)}: duplicate name; expected unique names, with folders separated by commas"
        )
    if options.page and options.page.suffix not in (".png", ".jpg"):
        raise InputError(f"--page {options.page}: expected a name ending in .png or .jpg")
    if options.against is not None and (options.against not in runs or len(runs) < 2):
        expected = ", ".join(runs) if len(runs) > 1 else "two names or more to compare"
        raise OptionError("against", options.against, f"expected one of {expected}")
    figures = {name: [figures_of(folder, options.split) for folder in folders] for name, folders in runs.items()}
    said = [f"{options.split}, percent. {table(figures, options.intervals)}"]
    if options.against is not None:
        said.append(differences(runs, options.against, options.split))
    if options.page:
        draw_page(options.page, options.split, {name: folders[0] for name, folders in runs.items()}, options.images)
        said.append(f"written: {options.page}")
    print("\n\n".join(said))


if __name__ == "__main__":
    main()
