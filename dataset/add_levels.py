"""Add label levels to metadata that has the finest labels alone, such as the released metadata of CUB and ILSVRC:

    python dataset/add_levels.py CUB --metadata_root metadata/

writes class_labels_<level>.txt of every split there is, class names, levels.txt, and hierarchy.csv or tree.csv.
`dataset/prepare.py` does this by itself.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dataset import cub_levels, wordnet
from dataset.label_levels import read_splits
from wsol.errors import InputError, command
from wsol.levels import read_hierarchy, read_levels

WRITERS = {"CUB": cub_levels.write_levels, "ILSVRC": wordnet.write_ilsvrc_levels}


@command
def main() -> None:
    """Add the levels of one data set and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=WRITERS, metavar="NAME", help=", ".join(WRITERS))
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    options = parser.parse_args()
    folder = options.metadata_root / options.name
    splits = read_splits(folder)
    if not splits:
        raise InputError(f"{folder}: no split with class_labels.txt; expected the metadata of {options.name}")
    WRITERS[options.name](folder, splits)
    print(f"{options.name}: levels {', '.join(read_levels(folder))}; {len(read_hierarchy(folder).leaves)} leaves")


if __name__ == "__main__":
    main()
