"""Add label levels to metadata that has the finest labels alone:

    python dataset/add_levels.py CUB         # the released metadata of CUB or ILSVRC: from our tables
    python dataset/add_levels.py MyData      # your own: from hierarchy.csv or tree.csv in metadata/MyData/

Writes class_labels_<level>.txt of every split there is, class names and levels.txt (docs/hierarchies.md).
`dataset/prepare.py` does this by itself.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dataset import cub_levels, wordnet
from dataset.label_levels import Splits, read_splits, write_levels, write_tree_levels
from wsol.errors import InputError, command
from wsol.hierarchy import read_notice, read_rows, read_tiers, read_tree
from wsol.levels import finest_level, load_level, read_class_names, read_levels

OURS = {"CUB": cub_levels.write_levels, "ILSVRC": wordnet.write_ilsvrc_levels}


def class_list(folder: Path, splits: Splits) -> list[str]:
    """Return the finest classes' names by label; where none are named, the labels."""
    names = read_class_names(folder, finest_level(folder))
    names = names or {label: str(label) for labels in splits.values() for label in labels.values()}
    if sorted(names) != list(range(len(names))):
        raise InputError(f"{folder}: the finest labels are not 0 to {len(names) - 1}; expected them numbered without a gap")
    return [names[label] for label in range(len(names))]


def write_own_levels(folder: Path, splits: Splits) -> None:
    """Write the levels that a data set's own hierarchy.csv or tree.csv gives."""
    classes = class_list(folder, splits)
    if (path := folder / "hierarchy.csv").exists():
        levels, hierarchy = read_tiers(path)
        row_of = {row[0]: row for _, row in read_rows(path)[1]}
        if unknown := [name for name in hierarchy.leaves if name not in set(classes)]:
            raise InputError(f"{path}: {unknown[0]!r} is no class of the finest level; expected names of classes there")
        write_levels(folder, levels, [row_of.get(name, [name, *[""] * (len(levels) - 1)]) for name in classes], splits)
    elif (path := folder / "tree.csv").exists():
        tree = read_tree(path, classes)
        write_tree_levels(folder, finest_level(folder), classes, tree, splits, read_notice(path))
    else:
        raise InputError(f"{folder}: neither hierarchy.csv nor tree.csv; expected one, or one of {', '.join(OURS)}")


@command
def main() -> None:
    """Add the levels of one data set and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="a data set of --metadata_root")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    options = parser.parse_args()
    folder = options.metadata_root / options.name
    splits = read_splits(folder)
    if not splits:
        raise InputError(f"{folder}: no split with class_labels.txt; expected metadata with the finest labels")
    OURS.get(options.name, write_own_levels)(folder, splits)
    for level in read_levels(folder):
        print(f"level {level}: {len(load_level(options.metadata_root, options.name, level, splits).class_names)} classes")


if __name__ == "__main__":
    main()
