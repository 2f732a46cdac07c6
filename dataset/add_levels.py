"""Add label levels to metadata that has only the finest labels:

    python dataset/add_levels.py MyData      # from hierarchy.csv or tree.csv in metadata/MyData/
    python dataset/add_levels.py CUB         # released metadata of CUB or ILSVRC without these files: from our tables

Writes class_labels_<level>.txt of every split, class names and levels.txt (docs/hierarchies.md); a file that already says
the same stays unchanged. `dataset/prepare.py` does all this itself.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dataset import cub_levels, wordnet
from dataset.known import require_dataset
from dataset.label_levels import Splits, read_splits, write_levels, write_tree_levels
from wsol.core.arguments import Parser, folder_name
from wsol.core.csv_rows import read_rows
from wsol.core.errors import InputError, command
from wsol.data.hierarchy import read_tiers, read_tree, some_names
from wsol.data.levels import finest_level, load_levels, read_distinct_names, read_hierarchy

OURS = {"CUB": cub_levels.write_levels, "ILSVRC": wordnet.write_ilsvrc_levels}


def class_list(folder: Path, splits: Splits) -> list[str]:
    """Return the names of the finest classes in the order of their labels; without names, the labels themselves."""
    names = read_distinct_names(folder, finest_level(folder))
    names = names or {label: str(label) for labels in splits.values() for label in labels.classes()}
    if sorted(names) != list(range(len(names))):
        raise InputError(f"{folder}: the finest labels are not 0 to {len(names) - 1}; expected numbers without gaps")
    return [names[label] for label in range(len(names))]


def write_any_levels(name: str, folder: Path, splits: Splits) -> None:
    """Write the levels from the data set's own hierarchy.csv or tree.csv, or else from our table."""
    if (path := folder / "hierarchy.csv").exists():
        classes = class_list(folder, splits)
        levels, _ = read_tiers(path, classes)
        row_of = {row[0]: row for _, row in read_rows(path)[1]}
        write_levels(folder, levels, [row_of.get(name, [name, *[""] * (len(levels) - 1)]) for name in classes], splits)
    elif (path := folder / "tree.csv").exists():
        classes = class_list(folder, splits)
        write_tree_levels(folder, finest_level(folder), classes, read_tree(path, classes), splits)
    elif name in OURS:
        OURS[name](folder, splits)
    else:
        raise InputError(f"{folder}: neither hierarchy.csv nor tree.csv; expected one, or one of {', '.join(OURS)}")


@command
def main() -> None:
    """Add the levels to one data set and print their sizes."""
    parser = Parser(__doc__)
    parser.add_argument("name", metavar="NAME", type=folder_name, help="a data set in --metadata_root")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    options = parser.parse_args()
    require_dataset(options.metadata_root, options.name)
    folder = options.metadata_root / options.name
    splits = read_splits(folder)
    if not splits:
        raise InputError(f"{folder}: no split with class_labels.txt; expected metadata with the finest labels")
    write_any_levels(options.name, folder, splits)
    for data in load_levels(options.metadata_root, options.name, splits):
        count = len(data.class_names)
        print(f"level {data.level}: {count} classes" if count > 1 else f"level {data.level}: 1 class, too few to train on")
    classes, inside = class_list(folder, splits), set(read_hierarchy(folder).leaves)
    if outside := [name for name in classes if name not in inside]:
        print(
            f"{len(outside)} of {len(classes)} classes are outside the hierarchy, without a coarser level: "
            f"{some_names(outside)}"
        )


if __name__ == "__main__":
    main()
