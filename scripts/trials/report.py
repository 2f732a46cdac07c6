"""The options that every trial takes, and the report of its outcomes."""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.trials.common import Outcome, shown


def trial_options(description: str, **more: dict) -> argparse.Namespace:
    """Return the parsed options that every trial takes, and `more`: option name to its add_argument arguments."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all outcomes as .json or .csv")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only the cases whose name matches")
    parser.add_argument("--verbose", action="store_true", help="show the output of each failed case")
    for name, arguments in more.items():
        parser.add_argument(f"--{name}", **arguments)
    return parser.parse_args()


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes as JSON, or as CSV without the output."""
    rows = [{**asdict(one), "words": shown(one.words), "output": one.output[-4000:]} for one in outcomes]
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, [name for name in rows[0] if name != "output"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**row, "words": " ".join(row["words"]), "faults": "; ".join(row["faults"])} for row in rows)
    else:
        path.write_text(json.dumps(rows, indent=1) + "\n")


def finish(outcomes: Iterable[Outcome], options: argparse.Namespace, title: str) -> None:
    """Print each failed case as it ends, then the causes and a summary line; exit with 1 if any case failed."""
    done = []
    for one in outcomes:
        done.append(one)
        if one.faults:
            print(f"FAILED {' '.join(shown([one.name], 200))}", flush=True)
            for fault in one.faults:
                print(f"    {fault.encode('utf-8', 'backslashreplace').decode()}", flush=True)
            if options.verbose:
                print(
                    "    | " + "\n    | ".join(one.output[-2000:].encode("utf-8", "backslashreplace").decode().split("\n"))
                )
    if options.report and done:
        write_report(options.report, done)
    causes = Counter(fault.split(":")[0] for one in done for fault in one.faults)
    for cause, count in causes.most_common():
        print(f"{count:4d}  {cause}")
    failed = sum(bool(one.faults) for one in done)
    most = max((one.memory for one in done), default=0) / 2**30
    longest = max((one.seconds for one in done), default=0)
    print(f"{title}: {len(done)} cases, {failed} failed; longest {longest:.1f} s, most memory {most:.1f} GB")
    sys.exit(1 if failed else 0)
