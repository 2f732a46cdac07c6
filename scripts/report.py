"""One HTML page of a sweep, which needs no other file and no network.

    python scripts/report.py train_log/tiny_animals --output tiny_animals.html

In: a folder with runs of main.py, and with protocol.json if it is a sweep's. Out: protocol, tables to sort, figures, example
maps to filter, options that differ, runs without results (docs/report.md).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split
from wsol.core.arguments import Parser, path, whole
from wsol.core.errors import OptionError, command
from wsol.core.files import check_new, refuse_inside, write_text
from wsol.networks.device import resolve_device
from wsol.plots.report import build_page, rendered_within
from wsol.sweeps.collection import collect


@command
def main() -> None:
    """Write the report."""
    parser = Parser(__doc__)
    parser.add_argument("folder", type=path, metavar="FOLDER", help="folder of a sweep, or of any runs")
    parser.add_argument("--output", type=path, required=True, metavar="FILE", help="a new .html file")
    parser.add_argument(
        "--examples", type=whole, default=24, metavar="N", help="images for each method and level; 0: no maps; default: 24"
    )
    parser.add_argument("--seed", type=whole, default=0, help="draws these images; default: 0")
    parser.add_argument("--device", default="auto", help="that makes the maps: auto, cpu, cuda, cuda:N; default: auto")
    options = parser.parse_args()
    for name in ("examples", "seed"):
        if getattr(options, name) < 0:
            raise OptionError(name, getattr(options, name), "expected 0 or more")
    if options.output.suffix != ".html":
        raise OptionError("output", options.output, "expected a name that ends in .html")
    check_new("output", options.output)
    device, entries = resolve_device(options.device), collect([options.folder])
    refuse_inside({"output": options.output}, [entry.folder for entry in entries])
    page = build_page(options.folder, entries, options.examples, options.seed, device)
    text, said = rendered_within(page)
    write_text(options.output, text)
    print(f"{options.output}: {len(text.encode()) / 1e6:.1f} MB, {len(page.examples)} example maps. {said}".strip())


if __name__ == "__main__":
    main()
