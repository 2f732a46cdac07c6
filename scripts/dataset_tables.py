"""Tables 1 and A1 of Cole et al. for any data set: images per category of every split, and of every label level.

    python scripts/dataset_tables.py iNatLoc500 CUB --metadata_root metadata/ [--split train] [--csv FOLDER]

In: only the metadata. Out: Markdown, and with --csv FOLDER splits.csv and levels.csv.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

from dataset.known import require_dataset
from wsol.core.arguments import Parser, folder_name
from wsol.core.errors import InputError, command
from wsol.data.levels import SPLITS
from wsol.data.statistics import level_rows, split_rows, splits_of
from wsol.runs.run_tables import markdown_table, write_table


@command
def main() -> None:
    """Print the tables of some data sets."""
    parser = Parser(__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", type=folder_name, help="data sets of --metadata_root")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    parser.add_argument("--split", choices=SPLITS, help="split of the level table (default: all splits)")
    parser.add_argument("--csv", type=Path, metavar="FOLDER", help="also write splits.csv and levels.csv there")
    options = parser.parse_args()
    splits, levels = [], []
    for name in options.names:
        require_dataset(options.metadata_root, name)
        folder = options.metadata_root / name
        there = splits_of(folder)
        if options.split and options.split not in there:
            raise InputError(f"--split {options.split}: {folder} has {', '.join(there)}")
        splits += split_rows(folder)
        levels += [row for split in there if options.split in (None, split) for row in level_rows(folder, split)]
    print(f"Images per category at the finest level\n\n{markdown_table(splits)}\n")
    print(f"Images per category at every level; imbalance: the largest by the smallest\n\n{markdown_table(levels)}")
    if options.csv:
        write_table(options.csv / "splits.csv", splits)
        write_table(options.csv / "levels.csv", levels)


if __name__ == "__main__":
    main()
