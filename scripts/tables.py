"""The papers' tables from finished runs: mean and deviation over seeds, the best in bold where a test separates it.

    python scripts/tables.py train_log/tiny_animals
    python scripts/tables.py train_log/cub train_log/inatloc --table 2 --format latex --output table_2.tex

In: folders with runs of main.py anywhere below them, and the data sets' metadata for the Center baseline. Out: Tables 2, A2
and A3 of "On Label Granularity and Object Localization" and the benchmark of wsolevaluation (docs/tables.md).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

from wsol.core.arguments import Parser
from wsol.core.errors import InputError, command
from wsol.core.files import check_new, write_text
from wsol.sweeps.collection import collect
from wsol.sweeps.table_text import FORMATS
from wsol.sweeps.tables import TABLES, Tables

ALL = "all"


@command
def main() -> None:
    """Print or write the tables."""
    parser = Parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--table", choices=(*TABLES, ALL), default=ALL, help="default: all for which there are runs")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="default: test")
    parser.add_argument("--format", choices=tuple(FORMATS), default="markdown", help="default: markdown")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a new file; default: standard output")
    options = parser.parse_args()
    if options.output:
        check_new("output", options.output)
    tables = Tables(collect(options.folders), options.split)
    names = list(TABLES) if options.table == ALL else [options.table]
    found = [table for name in names for table in tables.of(name)]
    if not found:
        folders = ", ".join(map(str, options.folders))
        raise InputError(f"{folders}: no finished runs for --table {options.table} with results of {options.split}")
    text = "\n\n".join(FORMATS[options.format](table) for table in found) + "\n"
    if options.output:
        write_text(options.output, text)
        print(f"{options.output}: {len(found)} tables")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
