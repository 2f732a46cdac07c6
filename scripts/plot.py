"""The figures of the label granularity paper from finished runs: PNG and PDF, as wide as one column.

    python scripts/plot.py train_log/tiny_animals --figure all --output train_log/plots

In: folders with runs anywhere below them. Out: figure<N>.png and .pdf in --output, with the data set's name if there are
several, and a page for each method of A10. docs/figures.md says what each shows.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split
from matplotlib.figure import Figure

from wsol.core.arguments import Parser
from wsol.core.errors import InputError, OptionError, command
from wsol.core.files import check_writable, refuse_inside
from wsol.networks.device import resolve_device
from wsol.plots.center_line import center_value
from wsol.plots.drawing import save_figure
from wsol.plots.run_examples import CHOICES, example_page
from wsol.plots.shown_runs import ShownRuns, shown_runs
from wsol.plots.sweep_figures import OF_ONE, datasets_figure, levels_figure
from wsol.sweeps.collection import collect

FIGURES = ("3", "4", "5", "A1", "A2", "A3", "A4", "A10")
DPI = 200
Named = tuple[str, Figure]  # a file's name without extension, and the figure


def draw_of_one(figure: str, shown: ShownRuns) -> dict[str, Figure]:
    """Return a figure of one data set by its file's name."""
    drawing = levels_figure(shown, center_value(shown)) if figure == "3" else OF_ONE[figure](shown)
    return {f"figure{figure}": drawing.figure()}


def draw_examples(count: int, choose: str, seed: int, device: str, shown: ShownRuns) -> dict[str, Figure]:
    """Return the pages of A10, one for each line of Fig. 3, by their files' names; print which images they show."""
    figures = {}
    for name in sorted({run.name for run in shown.on_all_images.runs}):
        page, image_ids = example_page(shown.on_all_images, name, count, choose, seed, resolve_device(device))
        figures[f"figureA10-{file_name(name)}"] = page
        print(f"A10, {shown.dataset}, {name}: {', '.join(image_ids)}")
    return figures


def file_name(name: str) -> str:
    """Return a name as part of a file's name.

    >>> file_name("CAM, epochs 10")
    'CAM-epochs-10'
    """
    return "-".join(re.findall(r"[\w.]+", name))


def drawings(by_dataset: Mapping[str, ShownRuns], draw: Callable[[ShownRuns], dict[str, Figure]]) -> Iterator[Named]:
    """Yield the figures of every data set, with its name if there are several."""
    for dataset, shown in by_dataset.items():
        for name, figure in draw(shown).items():
            yield (f"{name}-{file_name(dataset)}" if len(by_dataset) > 1 else name), figure


def draw_datasets(by_dataset: Mapping[str, ShownRuns]) -> Iterator[Named]:
    """Yield Fig. A1."""
    centers = {name: center_value(shown) for name, shown in by_dataset.items()} if len(by_dataset) > 1 else {}
    yield "figureA1", datasets_figure(by_dataset, centers).figure()


@command
def main() -> None:
    """Draw the figures asked for; with `all`, those that the runs allow, and say what is missing for the others."""
    parser = Parser(__doc__)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", type=Path, help="folders of runs or sweeps")
    parser.add_argument("--figure", choices=(*FIGURES, "all"), default="all", help="default: all")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the figures")
    parser.add_argument("--examples", type=int, default=8, help="images on a page of A10; default: 8")
    parser.add_argument(
        "--choose",
        choices=CHOICES,
        default="seed",
        help="images of A10: at random (seed), or with the largest gain in IoU over the finest level; default: seed",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random images; default: 0")
    parser.add_argument("--device", default="auto", help="that makes the maps of A10: auto, cpu, cuda, cuda:N")
    options = parser.parse_args()
    for name, least in (("examples", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise OptionError(name, getattr(options, name), f"expected {least} or more")
    resolve_device(options.device)
    entries = collect(options.folders)
    if not entries:
        raise InputError(f"{', '.join(map(str, options.folders))}: no finished runs; expected folders of runs or sweeps")
    refuse_inside({"output": options.output / "figure"}, [entry.folder for entry in entries])
    check_writable(options.output / "figure3.png")
    by_dataset = shown_runs(entries)
    examples = partial(draw_examples, options.examples, options.choose, options.seed, options.device)
    written = 0
    for figure in FIGURES if options.figure == "all" else (options.figure,):
        draw = examples if figure == "A10" else partial(draw_of_one, figure)
        try:
            for name, drawn in draw_datasets(by_dataset) if figure == "A1" else drawings(by_dataset, draw):
                for extension in ("png", "pdf"):
                    save_figure(drawn, path := options.output / f"{name}.{extension}", DPI)
                    print(f"written: {path}")
                written += 1
        except InputError as error:
            if options.figure != "all":
                raise
            print(f"skipped: figure {figure}: {error.on_command_line()}", file=sys.stderr)
    if not written:
        raise InputError("no figure could be drawn; expected runs as the lines above say")


if __name__ == "__main__":
    main()
