"""Made-up runs: a hierarchy of which each part is localized best at a level of its own, and the files of such runs; small
trees, and everything about their cuts the slow way."""

from itertools import product

import numpy as np
from hypothesis import strategies as st

from samples import of_json, write_run, write_split
from wsol.core.files import write_json, write_text
from wsol.data.truth import BoxTruth, SplitTruth
from wsol.granularity.rights import Rights
from wsol.granularity.tree import LevelTree
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import SplitEvaluator

LEVELS = ("species", "genus", "family")
IOUS = (30, 50, 70)
THRESHOLDS = 10


def made_up_tree(families=2, genera=2, species=2):
    """A tree with the same number of children everywhere, levels finest first."""
    count = families * genera * species
    leaf = np.arange(count)
    classes = np.stack([leaf, leaf // species, leaf // (species * genera)])
    names = tuple(
        tuple(f"{level}{n}" for n in range(int(own.max()) + 1)) for level, own in zip(LEVELS, classes, strict=True)
    )
    return LevelTree(LEVELS, names[0], classes, names)


def draw_rights(rng, tree, chance, images_of_leaf, seeds=1):
    """Rights of images whose box is right with a chance, float (L, C), at score-map thresholds around a good one."""
    leaf_of = np.repeat(np.arange(len(tree.leaves)), images_of_leaf)
    shape = (seeds, len(tree.levels), len(leaf_of), len(IOUS), 1)
    good = rng.random(shape) < (chance[:, leaf_of, None, None] - np.array([-0.1, 0, 0.1])[:, None])
    place = rng.integers(2, 5, (seeds, len(tree.levels), len(leaf_of), 1, 1))
    near = np.abs(np.arange(THRESHOLDS) - place) <= 2
    return Rights(np.packbits(good & near, axis=4), THRESHOLDS, leaf_of, len(tree.leaves))


def differing_chance(tree):
    """The first family is localized best at its genera's labels, the others at the species'."""
    chance = np.tile(np.array([[0.6], [0.5], [0.4]]), (1, len(tree.leaves)))
    chance[1, tree.classes[2] == 0] = 0.8
    return chance


def write_data_set(root, tree, images_of_leaf, splits=("train", "val", "test")):
    """Metadata of a data set D; returns split to image ids."""
    folder, ids = root / "D", {}
    write_text(folder / "levels.txt", "".join(f"{level}\n" for level in tree.levels))
    rows = zip(*(np.array(names)[own] for names, own in zip(tree.names, tree.classes, strict=True)), strict=True)
    write_text(folder / "hierarchy.csv", "\n".join([",".join(tree.levels), *map(",".join, rows)]) + "\n")
    for i, level in enumerate(tree.levels):
        end = f"_{level}" if i else ""
        write_text(folder / f"class_names{end}.txt", "".join(f"{name},{n}\n" for n, name in enumerate(tree.names[i])))
    for split in splits:
        leaf_of = np.repeat(np.arange(len(tree.leaves)), images_of_leaf)
        ids[split] = [f"{split}{n}.jpg" for n in range(len(leaf_of))]
        files = {"image_ids": ids[split]}
        for i, level in enumerate(tree.levels):
            rows = zip(ids[split], tree.classes[i][leaf_of], strict=True)
            files["class_labels" + (f"_{level}" if i else "")] = [f"{image_id},{label}" for image_id, label in rows]
        write_split(folder / split, **files)
    return ids


def evaluator_of(rights, seed, level, image_ids, split):
    """An evaluator that has counted what a seed's run at a level gave."""
    truth = SplitTruth("D", split, image_ids, image_ids, BoxTruth({}, {}), None)
    evaluator = SplitEvaluator(truth, 0.1, list(IOUS), True)
    for image_id, packed in zip(image_ids, rights.packed[seed, level], strict=True):
        evaluator.add(Scored(image_id, packed, size=(9, 9), rank=0))
    return evaluator


def write_runs(root, tree, rights, ids, **options):
    """A run of every seed at every level; `rights`: split to its rights. Returns their folders."""
    folders = []
    for seed in range(next(iter(rights.values())).packed.shape[0]):
        for i, level in enumerate(tree.levels):
            folder = root / f"{level}{seed}"
            results = {}
            for split, own in rights.items():
                evaluator = evaluator_of(own, seed, i, ids[split], split)
                settings = {"label_level": level, "seed": seed, "metadata_root": str(root.parent / "metadata"), **options}
                write_run(folder, evaluator, **settings)
                results[split] = evaluator.results()
            merge_results(folder, results)
            folders.append(folder)
    return folders


def merge_results(folder, results):
    """Put the results of several splits into one results.json."""
    content = of_json(folder / "results.json")
    write_json(folder / "results.json", {**content, **results})


@st.composite
def level_trees(draw, most_leaves=4, most_levels=3):
    """Nested partitions of a few leaves; the finest level may already join some, the coarsest may have a single class."""
    leaves = draw(st.integers(2, most_leaves))
    classes = [np.arange(leaves)]
    for _ in range(draw(st.integers(1, most_levels - 1))):
        count = int(classes[-1].max()) + 1
        steps = [0, *draw(st.lists(st.integers(0, 1), min_size=count - 1, max_size=count - 1))]
        classes.append(np.cumsum(steps)[classes[-1]])
    names = tuple(tuple(f"{i}.{n}" for n in range(int(own.max()) + 1)) for i, own in enumerate(classes))
    levels = tuple(f"level{i}" for i in range(len(classes)))
    return LevelTree(levels, tuple(f"leaf{i}" for i in range(leaves)), np.array(classes), names)


def every_cut(tree):
    """Every consistent assignment of levels to leaves: where a node is in the cut, all its leaves have its level."""
    for assignment in product(range(len(tree.levels)), repeat=len(tree.leaves)):
        level_of = np.array(assignment)
        if all((level_of[tree.members(node)] == node[0]).all() for node in tree.nodes(level_of)):
            yield level_of


def fewest_splits(tree, level_of):
    """The fewest places at which a cut departs from what holds above, by trying every level at every node above it."""
    inner = [
        (i, n)
        for i in range(len(tree.levels) - 1, -1, -1)
        for n in range(len(tree.names[i]))
        if all(level_of[leaf] < i for leaf in tree.members((i, n)))
    ]
    nodes = tree.nodes(level_of)

    def parent(node):
        i, n = node
        return (i + 1, int(tree.parents[i][n])) if i + 1 < len(tree.levels) else None

    fewest = len(tree.leaves)
    for default, *said in product(range(len(tree.levels)), repeat=1 + len(inner)):
        holds = dict(zip(inner, said, strict=True)) | {node: node[0] for node in nodes}
        if any(level > node[0] for node, level in holds.items()):
            continue
        fewest = min(fewest, sum(level != holds.get(parent(node), default) for node, level in holds.items()))
    return fewest
