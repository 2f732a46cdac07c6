"""All finished runs below some folders as one table of figures, a row for each.

    python scripts/collect.py train_log/tiny_animals --output rows.csv
    python scripts/collect.py train_log --output rows.parquet

In: folders with runs of main.py anywhere below them. Out: a CSV or Parquet file (docs/tables.md lists its columns). Runs
that are not finished or cannot be read are named on standard error and left out.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split

from wsol.core.arguments import Parser
from wsol.core.errors import InputError, command
from wsol.core.files import check_new
from wsol.runs.run_tables import check_table_path, write_table
from wsol.sweeps.collection import collect, tidy_rows


@command
def main() -> None:
    """Collect the runs and write their rows."""
    parser = Parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="a new .csv or .parquet file")
    options = parser.parse_args()
    check_table_path("output", options.output)
    check_new("output", options.output)
    entries = collect(options.folders)
    rows = tidy_rows(entries)
    if not rows:
        raise InputError(f"{', '.join(map(str, options.folders))}: no finished run; expected folders with runs of main.py")
    write_table(options.output, rows)
    print(f"{options.output}: {len(rows)} figures of {len({entry.folder for entry in entries})} runs")


if __name__ == "__main__":
    main()
