"""Chooses label levels for parts of a hierarchy, on val: a cut, from finished runs of one data set at several levels.

    python scripts/choose_granularity.py train_log/species train_log/genus train_log/family --output train_log/chosen
    python scripts/choose_granularity.py RUN... --output train_log/chosen --evaluate test
    python scripts/choose_granularity.py RUN... --output train_log/per_image --per_image

Runs of several seeds are taken together: one cut for all, thresholds for each. Where no cut is surely better than the best
single level, that level is chosen, and the command says so. Out, in --output: granularity.json (with --evaluate, also the
comparison on test), cut.png and cut.pdf, and coarsening.csv for main.py --coarsening where a cut is chosen; composed
results as <split>_images_seed<N>.npz and, where the runs saved their maps, <split>_maps_seed<N>.csv for evaluation.py
--scoremap_root. With --per_image each image has a level of its own instead of each class: per_image.json, and tables
<split>_levels_seed<N>.csv; maps that the runs did not save are made from their checkpoints. docs/granularity.md explains
the choice.
"""

import argparse
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

from wsol.core.arguments import Parser, path
from wsol.core.errors import InputError, command
from wsol.core.files import write_text
from wsol.data.levels import read_hierarchy, read_levels
from wsol.granularity import per_image_record
from wsol.granularity import record as cut_record
from wsol.granularity.choice import FOLDS, RESAMPLES, Choice, bootstrap_weights, choose
from wsol.granularity.composed import (
    compare_on,
    composed_evaluator,
    folders_of_maps,
    folders_per_image,
    per_image_evaluator,
)
from wsol.granularity.material import Material, RunSet, read_level_tree, read_material, read_run_set
from wsol.granularity.opened import check_opened, marks_for
from wsol.granularity.per_image import PerImageChoice, choose_per_image, expected_shares, make_plan
from wsol.granularity.record import as_record, as_text, fitted_nodes, is_same_choice, read_record, replace_record, test_entry
from wsol.granularity.signs import Looked, level_sign_names
from wsol.granularity.tree import LevelTree
from wsol.granularity.vector import coarsening_vector, node_of_class, vector_text
from wsol.maps.map_index import write_map_index
from wsol.metrics.images_file import write_images
from wsol.plots.drawing import save_figure
from wsol.plots.hierarchy_plot import hierarchy_figure
from wsol.runs.run_record import now

VAL, TEST = "val", "test"
LEAST_IMAGES = 4  # half of them are two: of one, no fold can be held out and another one fitted to


def write_composed(runs: RunSet, tree: LevelTree, material: Material, choice: Choice, folder: Path) -> None:
    """Write what the composed run of every seed gave on a split, and where its maps are if they were saved."""
    level_of = choice.fitted.cut.level_of
    for seed in runs.seeds:
        evaluator = composed_evaluator(material, seed, tree.levels, level_of)
        write_images(folder / f"{material.split}_images_seed{seed}.npz", evaluator, None)
        if folders := folders_of_maps(material, runs, seed, tree.levels, level_of):
            write_map_index(folder / f"{material.split}_maps_seed{seed}.csv", folders)


def write_cut(runs: RunSet, tree: LevelTree, choice: Choice, folder: Path) -> None:
    """Write the figure of the cut, and its vector if it is no single level; warn if the hierarchy has no such nodes."""
    known, fitted = read_levels(runs.folder), choice.fitted
    try:
        hierarchy = read_hierarchy(runs.folder)
        nodes = {
            level: [node_of_class(hierarchy, tree, node, known.index(level)) for node in own]
            for level, own in fitted_nodes(tree, fitted).items()
        }
        vector = coarsening_vector(hierarchy, tree, fitted.cut.level_of, known)
    except InputError as error:
        warnings.warn(f"no figure and no vector of the cut: {error}", stacklevel=2)
        return
    figure = hierarchy_figure(hierarchy, f"{runs.dataset}, label levels chosen on val", nodes)
    for name in ("cut.png", "cut.pdf"):
        save_figure(figure, folder / name)
    if fitted.cut.splits:
        write_text(folder / "coarsening.csv", vector_text(vector))


def read_test(runs: RunSet, tree: LevelTree, options: argparse.Namespace) -> Material:
    """Return what the runs gave on test, if it may be looked at."""
    check_opened(runs)
    material = read_material(runs, tree, TEST)
    settings = material.files[runs.seeds[0], tree.levels[0]].settings
    if settings["cam_curve_interval"] != options.interval:
        raise InputError(f"test was scored with cam_curve_interval {settings['cam_curve_interval']:g}, val with another one")
    return material


def admit(record: dict[str, Any], kind: ModuleType, options: argparse.Namespace) -> list[str]:
    """Return the marks of a choice's test figures, and put into its record those that the folder's record has of the same
    choice; `kind`: the module of such records.

    Raises:
        InputError: test was evaluated for another choice in this folder, and that is not to be reused.
    """
    other = per_image_record if kind is cut_record else cut_record
    earlier = read_record(options.output / kind.NAME, kind.CHOSEN)
    also = read_record(options.output / other.NAME, other.CHOSEN) if options.evaluate else None
    marks = marks_for(record, earlier, options.allow_test_reuse, kind.CHOSEN, also)
    if earlier and is_same_choice(record, earlier, kind.CHOSEN):
        record[TEST] = earlier[TEST]
    return marks


def write_per_image(runs: RunSet, material: Material, looked: Looked, choice: PerImageChoice, folder: Path) -> None:
    """Write each image's level on a split, what the composed run of every seed and the mean of the levels' maps gave, and
    where the composed run's maps are if they were saved."""
    levels, expected = choice.levels(looked.signs[-1]), expected_shares(choice.rule.calibrations, looked.signs[-1])
    split = material.split
    for i, seed in enumerate(runs.seeds):
        table = per_image_record.levels_text(runs, material.image_ids, levels[i], expected[i])
        write_text(folder / f"{split}_levels_seed{seed}.csv", table)
        composed = per_image_evaluator(material, seed, runs.levels, levels[i])
        write_images(folder / f"{split}_per_image_seed{seed}.npz", composed, None)
        write_images(folder / f"{split}_mean_seed{seed}.npz", looked.evaluators[i], None)
        if folders := folders_per_image(material, runs, seed, runs.levels, levels[i]):
            write_map_index(folder / f"{split}_per_image_maps_seed{seed}.csv", folders)


def per_image(runs: RunSet, tree: LevelTree, material: Material, options: argparse.Namespace) -> dict[str, Any]:
    """Choose a level for each image, write it, evaluate it if asked to, and return its record."""
    from wsol.granularity.run_maps import look  # torch takes seconds, which a cut does not need

    if options.evaluate:
        check_opened(runs)
    plan = make_plan(material.rights, material.ious, options.seed, options.folds)
    looked = look(runs, material, plan.positions, options.data_root)
    names = [level_sign_names(runs.levels, i) for i in range(len(runs.levels))]
    weights = bootstrap_weights(material.image_ids, options.resamples, options.seed)
    found = (names, plan, looked.signs, material.rights, looked.mean_rights, weights)
    choice = choose_per_image(*found, options.seed, options.margin)
    record = per_image_record.as_record(runs, material, choice)
    if not options.output:
        return record
    marks, parts = admit(record, per_image_record, options), [(material, looked)]
    if options.evaluate:
        test = read_test(runs, tree, options)
        seen = look(runs, test, choice.rule.sign_positions[None], options.data_root)
        compared = per_image_record.compare_per_image(runs, test, seen, choice, options.resamples, options.seed)
        record[TEST] = {"evaluated": now(), "images": len(test.image_ids), "marks": marks, **compared}
        parts.append((test, seen))
    path = options.output / per_image_record.NAME
    replace_record(path, record, per_image_record.WRITTEN, record[TEST] is not None and not options.evaluate)
    for part, signs in parts:
        write_per_image(runs, part, signs, choice, options.output)
    return record


def check_options(options: argparse.Namespace) -> None:
    """Raise InputError for a value out of range."""
    for name, low in (("seed", 0), ("folds", 2), ("resamples", 100)):
        if getattr(options, name) < low:
            raise InputError(f"--{name} {getattr(options, name)}: expected {low} or more")
    if options.penalty is not None and options.penalty < 0:
        raise InputError(f"--penalty {options.penalty}: expected 0 or more")
    if options.margin is not None and not 0 <= options.margin < 1:
        raise InputError(f"--margin {options.margin}: expected 0 or more, below 1")
    for name, of_per_image in (("margin", True), ("data_root", True), ("penalty", False)):
        if getattr(options, name) is not None and bool(options.per_image) != of_per_image:
            raise InputError(f"--{name}: expected only {'with' if of_per_image else 'without'} --per_image")
    if options.allow_test_reuse and not options.evaluate:
        raise InputError("--allow_test_reuse: expected --evaluate with it")
    if options.evaluate and not options.output:
        raise InputError("--evaluate: expected --output, where it is recorded when test was evaluated")


def by_class(runs: RunSet, tree: LevelTree, material: Material, options: argparse.Namespace) -> dict[str, Any]:
    """Choose a cut, write it, evaluate it if asked to, and return its record."""
    weights = bootstrap_weights(material.image_ids, options.resamples, options.seed)
    choice = choose(tree, material.rights, weights, options.seed, options.folds, penalty=options.penalty)
    record = as_record(runs, tree, material, choice)
    if not options.output:
        return record
    marks, parts = admit(record, cut_record, options), [material]
    if options.evaluate:
        test = read_test(runs, tree, options)
        fits = choice.fitted, choice.single
        differences = compare_on(test, runs.seeds, tree.levels, *fits, options.resamples, options.seed)
        record[TEST] = test_entry(differences, len(test.image_ids), now(), marks)
        parts.append(test)
    path = options.output / cut_record.NAME
    replace_record(path, record, cut_record.WRITTEN, record[TEST] is not None and not options.evaluate)
    for part in parts:
        write_composed(runs, tree, part, choice, options.output)
    write_cut(runs, tree, choice, options.output)
    return record


@command
def main() -> None:
    """Choose, write, and evaluate if asked to."""
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="+", type=path, metavar="RUN", help="folders of finished runs, at two levels or more")
    parser.add_argument("--output", type=path, metavar="FOLDER", help="default: only print")
    parser.add_argument("--evaluate", choices=(TEST,), help="compare with the best single level of val, on test")
    parser.add_argument("--allow_test_reuse", action="store_true", help="evaluate another choice too, and mark it")
    parser.add_argument("--penalty", type=float, help="percent per split, instead of a cross-validated one; the cut is kept")
    parser.add_argument("--per_image", action="store_true", help="a level for each image, from its maps, not for each class")
    parser.add_argument("--margin", type=float, help="share in [0, 1), instead of a cross-validated one; the rule is kept")
    parser.add_argument("--data_root", type=path, help="the images, for maps that were not saved; default: the runs' own")
    parser.add_argument("--seed", type=int, default=0, help="of folds and resamples; default: 0")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"default: {FOLDS}")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"of intervals and tests; default: {RESAMPLES}")
    parser.add_argument("--metadata_root", type=path, help="default: the runs' own")
    options = parser.parse_args()
    check_options(options)
    runs = read_run_set(options.runs, options.metadata_root)
    tree = read_level_tree(runs.folder, runs.levels)
    material = read_material(runs, tree, VAL)
    images = len(material.image_ids)
    if images < LEAST_IMAGES:
        raise InputError(f"{images} images of val; expected {LEAST_IMAGES} or more")
    if options.folds > images:
        raise InputError(f"--folds {options.folds}: expected 2 to {images}, the images of val")
    options.interval = material.files[runs.seeds[0], tree.levels[0]].settings["cam_curve_interval"]
    for note in (*runs.notes, *material.notes):
        warnings.warn(note, stacklevel=1)
    if options.per_image:
        print(per_image_record.as_text(per_image(runs, tree, material, options)))
    else:
        print(as_text(by_class(runs, tree, material, options)))
    if options.output:
        print(f"written: {options.output}")


if __name__ == "__main__":
    main()
