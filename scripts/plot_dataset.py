"""Pictures of data sets, as the appendix of Cole et al. has them; they come from the metadata, and samples from the images.

    python scripts/plot_dataset.py iNatLoc500 CUB                            # all that can be drawn
    python scripts/plot_dataset.py CUB --what hierarchy --format pdf
    python scripts/plot_dataset.py OxfordPet --what rejected --rejected rejected.csv    # image,reason[,x0,y0,x1,y1]

Out, in --out: NAME_counts (images per category at every level with imbalance: A7), box_sizes (all data sets together: A6),
NAME_hierarchy (A5), NAME_samples (random images with boxes: A8), NAME_rejected (images with their reason: A9).
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from dataset.known import require_dataset
from wsol.core.arguments import Parser, folder_name
from wsol.core.csv_rows import read_rows
from wsol.core.errors import InputError, command
from wsol.core.files import missing_files
from wsol.data.images import load_image
from wsol.data.levels import SPLITS, labels_by_level, read_class_names, read_hierarchy
from wsol.data.metadata import (
    Box,
    configure_metadata,
    first_names,
    get_bounding_boxes,
    get_image_ids,
    has_boxes,
    is_whole_number,
)
from wsol.data.statistics import imbalance, named_counts, relative_box_areas, splits_of
from wsol.plots.drawing import COLORS, draw_boxes, plain, save_figure, show_photo, wrapped
from wsol.plots.hierarchy_plot import hierarchy_figure

WHAT = ("counts", "boxes", "hierarchy", "samples", "rejected")
COLUMNS, SAMPLES = 6, 24
NAMED = 24  # with no more categories than this, each has its name on the axis
LETTERS = 32  # of a category's name
LINES = ("-", "--", "-.", ":")  # of curves, in addition to their colours
BOX = ("x0", "y0", "x1", "y1")


def count_axes(axes: Axes, counts: Sequence[tuple[str, int]]) -> None:
    """Draw one level's images per category, descending: bars with their names while they fit, else an outline."""
    names, values = [name for name, _ in counts], np.array([count for _, count in counts])
    numbers: Axis
    set_scale: Callable[[str], None]
    set_limit: Callable[[float], object]
    if len(values) <= NAMED:
        places = np.arange(len(values))
        axes.barh(places, values, color=COLORS[0], height=0.8)
        axes.set_yticks(places, [wrapped(name, LETTERS, 1) for name in names], parse_math=False)
        axes.set_ylim(max(len(values), 4) - 0.4, -0.6)  # no bar as thick as a page
        axes.set_xlabel("images", fontsize="x-small")
        numbers, set_scale, set_limit = axes.xaxis, axes.set_xscale, axes.set_xlim
    else:
        axes.fill_between(np.arange(len(values) + 1), np.append(values, values[-1]), step="post", color=COLORS[0])
        axes.set_xlim(0, len(values))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("categories, largest first", fontsize="x-small")
        axes.set_ylabel("images", fontsize="x-small")
        numbers, set_scale, set_limit = axes.yaxis, axes.set_yscale, axes.set_ylim
    ratio = imbalance(values)
    if ratio and ratio > 10:
        set_scale("log")
        set_limit(values.min() / 2)
        numbers.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 100 else (1,)))
        numbers.set_minor_locator(NullLocator())
        numbers.set_major_formatter("{x:g}")
    else:
        set_limit(0)
        numbers.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(labelsize="x-small", which="both")


def counts_figure(name: str, split: str, counts: Mapping[str, Sequence[tuple[str, int]]]) -> Figure:
    """Return images per category (level to names and counts, descending), one panel per level, with its imbalance."""
    columns = min(4, len(counts))
    rows = -(-len(counts) // columns)
    height = max(2.4, 0.16 * max((len(each) for each in counts.values() if len(each) <= NAMED), default=0) + 0.8)
    letters = max((len(category) for each in counts.values() if len(each) <= NAMED for category, _ in each), default=0)
    width = 2.6 + 0.065 * max(12, min(letters, LETTERS))
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    for axes, (level, each) in zip(figure.subplots(rows, columns, squeeze=False).flat, counts.items(), strict=False):
        count_axes(axes, each)
        ratio = imbalance(np.array([count for _, count in each]))
        text = "a category has none" if ratio is None else f"imbalance {ratio:.1f}"
        number = f"{len(each)} {'category' if len(each) == 1 else 'categories'}"
        axes.set_title(wrapped(f"{level}: {number}, {text}", 44), fontsize="small", parse_math=False)
    for axes in figure.axes[len(counts) :]:
        axes.remove()
    figure.suptitle(f"{name} {split}: images per category, largest first", fontsize="medium", parse_math=False)
    return figure


def box_sizes_figure(areas: Mapping[str, np.ndarray]) -> Figure:
    """Return the cumulative distribution of box area by image area, one curve each."""
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(areas.items()):
        number = f"{len(values)} {'box' if len(values) == 1 else 'boxes'}"
        label, shares = f"{wrapped(name, 30)}, {number}", np.arange(1, len(values) + 1) / len(values)
        axes.plot(values, shares, label=label, color=COLORS[i % len(COLORS)], linestyle=LINES[i % len(LINES)])
    axes.set(xlabel="box area / image area", ylabel="share of boxes at most as large", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    plain(axes.legend(fontsize="small").get_texts())
    return figure


def read_boxes(folder: Path) -> dict[str, list[Box]]:
    """Return image id to the boxes of one split; empty where it has none."""
    metadata = configure_metadata(folder)
    return get_bounding_boxes(metadata) if has_boxes(metadata) else {}


def images_figure(root: Path, titles: Mapping[str, str], boxes: Mapping[str, Sequence[Box]], heading: str) -> Figure:
    """Return images (id to title) in a grid with their boxes."""
    if missing := missing_files(root, titles):
        raise InputError(f"{root}: {len(missing)} of {len(titles)} images are missing:" + first_names(missing))
    columns = max(3, min(COLUMNS, len(titles)))  # the heading needs three
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.3 * rows + 0.4), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.axis("off")
    for axes, (image_id, title) in zip(grid, titles.items(), strict=False):
        photo = load_image(root / image_id)
        show_photo(axes, photo)
        axes.set_title(wrapped(title, 30), fontsize="x-small", parse_math=False)
        draw_boxes(axes, boxes.get(image_id, ()), photo.size)
    figure.suptitle(heading, fontsize="medium", parse_math=False)
    return figure


def draw_counts(name: str, options: argparse.Namespace) -> dict[str, Figure]:
    """Return the figure of images per category, of train unless another split is asked for."""
    folder = options.metadata_root / name
    split = _split(folder, options.split, SPLITS)
    if not (counts := named_counts(folder, split)):
        raise InputError(f"{folder / split}: no class labels; expected class_labels.txt for images per category")
    return {f"{name}_counts": counts_figure(name, split, counts)}


def draw_hierarchy(name: str, options: argparse.Namespace) -> dict[str, Figure]:
    """Return the figure of the label hierarchy."""
    return {f"{name}_hierarchy": hierarchy_figure(read_hierarchy(options.metadata_root / name), name)}


def draw_samples(name: str, options: argparse.Namespace) -> dict[str, Figure]:
    """Return the figure of random images of a split that has boxes, with the class at the finest level."""
    folder, root = options.metadata_root / name, options.data_root / name
    split = _split(folder, options.split, ("test", "val", "train"))
    ids = get_image_ids(configure_metadata(folder / split))
    drawn = np.random.default_rng(options.seed).permutation(len(ids))[:SAMPLES]
    chosen = [ids[i] for i in sorted(drawn)]
    level, labels = next(iter(labels_by_level(folder, split).items()), ("", {}))
    names = read_class_names(folder, level) if level else {}
    titles = {key: names.get(labels[key], str(labels[key])) if key in labels else "" for key in chosen}
    heading = f"{name} {split}: {len(chosen)} random images (seed {options.seed}) with their boxes"
    return {f"{name}_samples": images_figure(root, titles, read_boxes(folder / split), heading)}


def read_rejected(path: Path) -> tuple[dict[str, str], dict[str, list[Box]]]:
    """Return (image id to its reasons, image id to its boxes) of a CSV; an image with several has several lines."""
    reasons: dict[str, dict[str, None]] = {}
    boxes: dict[str, list[Box]] = {}
    for number, (image_id, reason, *corners) in read_rows(path, ("image", "reason"), BOX)[1]:
        reasons.setdefault(image_id, {})[reason] = None
        if any(corners):
            if not all(is_whole_number(value.removeprefix("-")) for value in corners):
                raise InputError(
                    f"{path}:{number}: box {','.join(corners)!r}; expected whole numbers {','.join(BOX)}, or none"
                )
            x0, y0, x1, y1 = map(int, corners)
            boxes.setdefault(image_id, []).append((x0, y0, x1, y1))
    if not reasons:
        raise InputError(f"{path}: no image; expected lines of image,reason after the header")
    return {image_id: "; ".join(each) for image_id, each in reasons.items()}, boxes


def draw_rejected(name: str, options: argparse.Namespace) -> dict[str, Figure]:
    """Return the figure of the rejected images of a CSV image,reason[,x0,y0,x1,y1], with their boxes: the file's, or the
    metadata's for images without any in the file."""
    root = options.data_root / name
    titles, boxes = read_rejected(options.rejected)
    for split in SPLITS:
        boxes = read_boxes(options.metadata_root / name / split) | boxes
    shown = dict(list(titles.items())[: 5 * SAMPLES])
    heading = f"{name}: {len(shown)} of {len(titles)} rejected images, with the reason"
    return {f"{name}_rejected": images_figure(root, shown, boxes, heading)}


def draw_box_sizes(names: Sequence[str], options: argparse.Namespace) -> dict[str, Figure]:
    """Return the figure of the box sizes of all data sets that have boxes."""
    areas = {}
    for name in names:
        folder = options.metadata_root / name
        split = _split(folder, options.split, ("test", "val", "train"))
        if len(values := relative_box_areas(folder, split)):
            areas[f"{name} {split}"] = values
    if not areas:
        raise InputError(f"{', '.join(names)}: no boxes; expected a localization.txt with boxes")
    return {"box_sizes": box_sizes_figure(areas)}


def _split(folder: Path, asked: str | None, preferred: Sequence[str]) -> str:
    """Return the split asked for, or the first preferred one that the data set has."""
    there = splits_of(folder)
    if asked and asked not in there:
        raise InputError(f"--split {asked}: {folder} has {', '.join(there)}")
    return asked or next(split for split in preferred if split in there)


DRAW_EACH = {"counts": draw_counts, "hierarchy": draw_hierarchy, "samples": draw_samples, "rejected": draw_rejected}


def write_figures(figures: Mapping[str, Figure], folder: Path, file_format: str) -> None:
    """Write every figure under its name."""
    for name, figure in figures.items():
        path = folder / f"{name}.{file_format}"
        save_figure(figure, path)
        print(f"written: {path}")


@command
def main() -> None:
    """Draw what is asked for; without --what, all that the files allow, and print what is skipped and why."""
    parser = Parser(__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", type=folder_name, help="data sets of --metadata_root")
    parser.add_argument("--what", nargs="+", choices=WHAT, help="default: all that can be drawn")
    parser.add_argument(
        "--split", choices=SPLITS, help="default: counts of train, boxes and samples of test, or what is there"
    )
    parser.add_argument("--rejected", type=Path, metavar="FILE", help="CSV of image,reason[,x0,y0,x1,y1], for one data set")
    parser.add_argument("--seed", type=int, default=0, help="of the random samples; default: 0")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    parser.add_argument("--data_root", type=Path, default=Path("dataset"), help="default: dataset/")
    parser.add_argument("--out", type=Path, default=Path("train_log/plots"), help="default: train_log/plots/")
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="default: png")
    options = parser.parse_args()
    if options.seed < 0:
        raise InputError(f"--seed {options.seed}: expected 0 or more")
    what = options.what or [each for each in WHAT if each != "rejected" or options.rejected]
    if "rejected" in what and not (options.rejected and len(options.names) == 1):
        raise InputError("--what rejected: expected one data set and --rejected FILE")
    for name in options.names:
        require_dataset(options.metadata_root, name)
        splits_of(options.metadata_root / name)
    for each in what:
        for names in [options.names] if each == "boxes" else [[name] for name in options.names]:
            try:
                figures = draw_box_sizes(names, options) if each == "boxes" else DRAW_EACH[each](names[0], options)
            except InputError as error:
                if options.what:
                    raise
                print(f"skipped: {each} of {', '.join(names)}: {error.on_command_line().splitlines()[0]}")
            else:
                write_figures(figures, options.out, options.format)


if __name__ == "__main__":
    main()
