"""How often choose_granularity.py sees a gain when there is none: real runs, each image's results permuted among the levels.

    python scripts/simulate_choice.py train_log/RUN_AT_ONE_LEVEL train_log/RUN_AT_ANOTHER
    python scripts/simulate_choice.py RUN... --draws 50 --processes 4

In every draw each image's results of val change places among the levels, so that all levels are equally good. Out: the share
of draws in which a cut is returned instead of a single level, with the 95 % interval of Clopper and Pearson; 5 % or less is
right. And what the chooser promised in these draws, which should have been 0.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy.stats import binomtest

from wsol.core.arguments import Parser, path
from wsol.core.errors import InputError, command
from wsol.core.processes import map_chunks
from wsol.core.progress import progress
from wsol.granularity.choice import Choice, bootstrap_weights, choose
from wsol.granularity.material import Material, read_level_tree, read_material, read_run_set
from wsol.granularity.rights import Rights
from wsol.granularity.tree import LevelTree


def permuted(rights: Rights, rng: np.random.Generator) -> Rights:
    """Return results of which each image's, those of all seeds together, are permuted among the levels."""
    levels = rights.packed.shape[1]
    order = rng.permuted(np.tile(np.arange(levels), (len(rights.leaf_of), 1)), axis=1)
    images = np.arange(len(order))
    packed = np.stack([rights.packed[:, order[:, level], images] for level in range(levels)], axis=1)
    return Rights(packed, rights.thresholds, rights.leaf_of, rights.leaves)


def draw(tree: LevelTree, material: Material, weights: np.ndarray, number: int) -> tuple[bool, float]:
    """Return (is it a cut, what it promises) of a draw."""
    rights = permuted(material.rights, np.random.default_rng([number, 1]))
    found: Choice = choose(tree, rights, weights, seed=number)
    return bool(found.fitted.cut.splits), found.expected_gain


def draw_all(numbers: Sequence[int], tree: LevelTree, material: Material, weights: np.ndarray) -> list[tuple[bool, float]]:
    """Return `draw` of several numbers."""
    return [draw(tree, material, weights, number) for number in numbers]


@command
def main() -> None:
    """Print the rate."""
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="+", type=path, metavar="RUN")
    parser.add_argument("--draws", type=int, default=200, help="default: 200")
    parser.add_argument("--processes", type=int, default=1, help="default: 1")
    parser.add_argument("--metadata_root", type=path, help="default: the runs' own")
    options = parser.parse_args()
    for name in ("draws", "processes"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: expected 1 or more")
    runs = read_run_set(options.runs, options.metadata_root)
    tree = read_level_tree(runs.folder, runs.levels)
    material = read_material(runs, tree, "val")
    weights = bootstrap_weights(material.image_ids, 1000, 0)
    work = partial(draw_all, tree=tree, material=material, weights=weights)
    found = list(progress(map_chunks(work, list(range(options.draws)), options.processes), "draws", options.draws))
    cuts = sum(cut for cut, _ in found)
    rate, low, high = (100 * each for each in (cuts / options.draws, *binomtest(cuts, options.draws).proportion_ci()))
    promised = float(np.mean([gain for _, gain in found]))
    print(f"{cuts} of {options.draws} draws gave a cut: {rate:.1f} %, [{low:.1f}, {high:.1f}]")
    print(f"promised on average: {promised:+.3f} percent of MaxBoxAccV2")


if __name__ == "__main__":
    main()
