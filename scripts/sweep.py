"""Runs an experiment of many runs: trains, chooses on val, then opens the test split once.

    python scripts/sweep.py scripts/experiments/small/glol_figureA2.yaml    # also to go on after an interruption
    python scripts/sweep.py SPEC.yaml --jobs 2 --pretrained_path weights.pth    # options of main.py for every run
    python scripts/sweep.py SPEC.yaml --dry_run                              # the commands, and how many are done
    python scripts/sweep.py SPEC.yaml --status                               # a live table, from anywhere

In: a spec (docs/sweeps.md). Out: train_log/<name>/, with a folder a run, and protocol.json: what was chosen, from what, and
when test was opened.
"""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import wsol.core.machine  # noqa: F401  (first: Ctrl-C while the libraries load is one line)

# isort: split
from config import LOG_ROOT, get_config, read_config, training_parser
from dataset import toy
from dataset.known import require_dataset
from option_tables import training_groups
from wsol.core.arguments import folder_name, path, whole
from wsol.core.errors import InputError, command
from wsol.core.locks import locked
from wsol.core.options import by_name
from wsol.core.stopping import stopping_at_once
from wsol.runs.run_folder import CONFIG
from wsol.runs.run_tables import markdown_table
from wsol.sweeps.conduct import LOGS, Program, Sweep, last_error, printed
from wsol.sweeps.plan import PlannedRun, make_plan
from wsol.sweeps.protocol import read_protocol
from wsol.sweeps.spec import SET_BY_SWEEP, Spec, read_spec
from wsol.sweeps.states import State

REFRESH_SECONDS = 5


def configure(words: Sequence[str]) -> Mapping[str, Any]:
    """Return the checked configuration of a command line of main.py."""
    config, _ = get_config(list(words))
    config.pop("config", None)
    return config


def saved_config(run: Path) -> Mapping[str, Any]:
    """Return the configuration that a run's folder holds."""
    return read_config(run / CONFIG)


def planned(sweep: Sweep) -> list[PlannedRun]:
    """Return the runs that are known by now: all candidates, and what is reported of choices made before."""
    plan = sweep.plan
    protocol = read_protocol(sweep.folder)
    choices = protocol.content["choices"] if protocol else {}
    runs: dict[str, PlannedRun] = {}
    for point in plan.points:
        candidates = plan.candidates(point)
        runs |= {run.name: run for run in candidates}
        winner = next((run for run in candidates if run.name == choices.get(point.name, {}).get("run")), None)
        if winner or not candidates:
            runs |= {run.name: run for run in plan.reported(point, (winner.chosen if winner else None) or {})}
    return list(runs.values())


def to_come(sweep: Sweep, runs: Sequence[PlannedRun]) -> int:
    """Return how many more runs there will be once everything is chosen; each choice reports equally many."""
    known = {run.name for run in runs}
    count = 0
    for point in sweep.plan.points:
        candidates = sweep.plan.candidates(point)
        if candidates and not any(run.name in known and run.point == point.name and run.chosen is None for run in runs):
            names = {run.name for run in sweep.plan.reported(point, candidates[0].chosen or {})}
            count += len(names - known)
    return count


def dry_run(sweep: Sweep) -> None:
    """Print the commands, how many there are, and how many are done."""
    runs = planned(sweep)
    states = {run.name: sweep.state(run) for run in runs}
    for run in runs:
        print(f"{states[run.name].name}: python main.py {shlex.join(sweep.words(run))}")
    done = sum(state.is_finished for state in states.values())
    later = to_come(sweep, runs)
    said = f", and {later} more once val has chosen" if later else ""
    print(f"\n{len(runs)} runs{said}; {done} of them finished")
    for dataset, levels in sweep.plan.levels_alike.items():
        for level, trained in levels.items():
            print(f"{dataset}: {level} has the same classes as {trained}, which is trained in its place")


def status_table(sweep: Sweep) -> tuple[str, bool]:
    """Return a table of all runs and whether nothing is left to do."""
    runs = planned(sweep)
    states: dict[str, State] = {}
    for run in runs:
        try:
            states[run.name] = sweep.state(run)
            said = last_error(printed(sweep.log(run.name)))
            if said and states[run.name].name == "missing":  # main.py refused it, and left no folder
                states[run.name] = State("failed", said)
        except InputError as error:
            states[run.name] = State("refused", str(error).removeprefix(f"{sweep.folder / run.name}").lstrip(": "))
    protocol = read_protocol(sweep.folder)
    opened = protocol.test_runs if protocol else {}
    rows: list[Mapping[str, object]] = [
        {
            "run": name,
            "state": state.name,
            "": state.said[:60],
            "minutes": None if state.seconds is None else round(state.seconds / 60, 1),
            "host": state.host,
            "test": "opened" if opened.get(name, {}).get("opened") else "intended" if name in opened else "",
        }
        for name, state in states.items()
    ]
    done = sum(state.is_finished for state in states.values())
    later = to_come(sweep, runs)
    text = f"{markdown_table(rows)}\n\n{done} of {len(runs) + later} runs finished"
    is_complete = done == len(runs) and not later and bool(opened) and all(one["opened"] for one in opened.values())
    return text, is_complete


def show_status(sweep: Sweep) -> None:
    """Print the table; on a terminal again every few seconds, until everything is done."""
    while True:
        text, is_complete = status_table(sweep)
        live = sys.stdout.isatty() and not is_complete
        print(f"\x1b[2J\x1b[H{text}" if live else text, flush=True)
        if not live:
            return
        time.sleep(REFRESH_SECONDS)


def conduct(sweep: Sweep, allow_reuse: bool) -> None:
    """Conduct the sweep, alone in its folder, and say how it went."""
    with locked(sweep.folder / ".lock") as lock:
        if lock is None:
            raise InputError(f"{sweep.folder}: another sweep.py is running it; expected one at a time (see --status)")
        began = time.monotonic()
        with stopping_at_once(shlex.join(["python", *sys.argv])):  # runs that it started checkpoint too
            outcome = sweep.conduct(allow_reuse)
    minutes = (time.monotonic() - began) / 60
    print(
        f"{len(outcome.trained)} runs trained, {len(outcome.skipped)} finished before, {len(outcome.opened)} evaluated on "
        f"test, {len(outcome.failed)} failed; {minutes:.1f} minutes"
    )
    for dataset, levels in sweep.plan.levels_alike.items():
        for level, trained in levels.items():
            print(f"{dataset}: {level} has the same classes as {trained}, which stands for it")
    if outcome.failed:
        runs: dict[str, list[str]] = {}
        for run, reason in outcome.failed.items():
            runs.setdefault(reason, []).append(run)
        lines = "".join(f"\n  {reason}: {', '.join(failed)}" for reason, failed in runs.items())
        raise InputError(f"{sweep.folder}: still failing; {LOGS}/<run>.txt says more:{lines}")


def read_options(argv: Sequence[str] | None = None) -> tuple[Any, Spec]:
    """Return (the command's options, the spec)."""
    parser = training_parser(__doc__ or "")  # the options of main.py, for every run
    own = parser.add_argument_group("the sweep")
    own.add_argument("spec", type=path, metavar="SPEC.yaml")
    own.add_argument("--name", type=folder_name, help="of the sweep: train_log/<name>/ (default: the spec's)")
    own.add_argument("--jobs", type=whole, metavar="N", help="runs at once on this machine (default: the spec's)")
    own.add_argument("--dry_run", action="store_true", help="print the commands; run nothing")
    own.add_argument("--status", action="store_true", help="print a table of the runs; run nothing")
    own.add_argument(
        "--allow_test_reuse", action="store_true", help="open test again for another choice; its figures are marked"
    )
    options = parser.parse_args(argv)
    table = by_name(training_groups())
    overrides = {name: value for name, value in vars(options).items() if name in table}
    if wrong := [name for name in overrides if name in (*SET_BY_SWEEP, "seed")]:
        raise InputError(f"--{wrong[0]}: the sweep sets it; expected options for every run, and seeds in the spec")
    spec = read_spec(options.spec, table, overrides)
    if options.name:
        spec = replace(spec, name=options.name)
    if options.jobs is not None:
        if options.jobs < 1:
            raise InputError(f"--jobs {options.jobs}: expected 1 or more")
        spec = replace(spec, run=replace(spec.run, jobs=options.jobs))
    return options, spec


@command
def main() -> None:
    """Plan, show or conduct a sweep."""
    options, spec = read_options()
    table = by_name(training_groups())
    data = {**{name: option.initial for name, option in table.items()}, **spec.options}
    names = spec.vary.get("dataset_name", (data["dataset_name"],))
    with toy.prepared(data["data_root"], data["metadata_root"]) if toy.NAME in names else nullcontext():
        for name in names:
            require_dataset(data["metadata_root"], name)
        plan = make_plan(spec, table, Path(LOG_ROOT))
        program = Program(configure, saved_config, table, ROOT, Path(LOG_ROOT))
        sweep = Sweep(plan, program, partial(print, flush=True))
        for run in [] if options.status else planned(sweep):
            sweep.state(run)  # what is refused makes no folder, and leaves the Toy that was there
    if options.dry_run:
        dry_run(sweep)
    elif options.status:
        show_status(sweep)
    else:
        conduct(sweep, options.allow_test_reuse)


if __name__ == "__main__":
    main()
