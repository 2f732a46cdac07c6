"""Trial: invalid configurations of every command, in one process, and some as commands.

    python scripts/trials/invalid_configurations.py                  # 300 in one process, 20 as commands: a few minutes
    python scripts/trials/invalid_configurations.py --count 0        # all of them
    python scripts/trials/invalid_configurations.py --only evaluation --verbose

The cases come from the option table or the parser of each command, so that new options are tried too: every option with the
values that are wrong for its type, impossible combinations, and odd YAML files. A sample is drawn with --seed. Each case
must end with exit code 2 and one message that names the option or file, and must not change anything.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from scripts.trials.common import (
    ACCEPTED,
    CHECKOUT,
    EITHER,
    REFUSED,
    Case,
    Outcome,
    copy_workspace,
    import_commands,
    judge,
    parser_of,
    run_cases,
    snapshot,
)
from scripts.trials.invalid_tables import COMBINATIONS, LINES, SPECS, YAMLS
from scripts.trials.report import finish, trial_options
from scripts.trials.workspace import BASE, NAME, make_workspace
from wsol.core.arguments import Parser, number, whole
from wsol.core.options import Range, TableParser, boolean

DIGITS = "9" * 5000
HUGE = "1" + "0" * 30
LONG = "n" * 300  # longer than a file name may be
NUL, SURROGATE = "a\0b", "a\ud800b"

NO_NUMBERS = ("", "x", "1,5", "nan", "inf", DIGITS)
INTEGERS = (*NO_NUMBERS, "1.5", "-1", HUGE)
FLOATS = (*NO_NUMBERS, "-inf", "-1", "1e999")
BOOLEANS = ("", "maybe", "2", "nan")
LEFT_TO_RUNS = ("cam_agg_level", "data_root", "mask_root")  # a sweep's plan does not read these; its first run does
NAMES = ("", NUL, SURROGATE, LONG, "nö/nonsense")
NO_FILES = ("", "nowhere/file", "photos", "/dev/zero", "fifo", NUL, SURROGATE, LONG)
NO_FOLDERS = ("", "nowhere", "ids.txt", "/dev/null", NUL, SURROGATE, LONG)
NO_OUTPUTS = ("", "photos", "/dev/full", "ids.txt/below", "fifo", NUL, SURROGATE, LONG)
NO_OUTPUT_FOLDERS = ("", "ids.txt", "/dev/null", "ids.txt/below", NUL, SURROGATE, LONG)

INPUT_FILES = {"config", "coarsening", "pretrained_path", "wsolevaluation_checkpoint", "image_list", "boxes", "coco_images"}
INPUT_FILES |= {"thresholds_from", "class_ranks", "checkpoint", "labels", "taxonomy", "train_json", "boxed_json", "synsets"}
INPUT_FILES |= {"train_observations", "boxed_observations", "rejected", "archive", "runs", "proposals"}
INPUT_FOLDERS = {"images", "masks", "wordnet", "mask_root", "compare"}
OUTPUTS = {"json", "curve", "per_class", "per_image", "page", "review"}
OUTPUT_FOLDERS = {"csv", "out"}
ROOTS = {"data_root", "metadata_root", "scoremap_root"}  # read by some commands, written by others
WRITTEN = {
    "scoremap_root": ("inference.py",),
    "data_root": ("dataset/import_dataset.py", "dataset/prepare.py"),
    "metadata_root": ("dataset/import_dataset.py", "dataset/prepare.py", "dataset/build_inatloc.py"),
}
# Lower bounds of options that are not in an option table with a range.
AT_LEAST_ONE = {"per_split", "iou_threshold_list"}
POSITIVE = {"max_share"}
# Values that may be valid: a table with any name, an address that is not used, a seed of any size.
MAY_BE_FINE = {("level", LONG), ("level", "nö/nonsense"), ("label_level", LONG), ("columns", LONG), ("levels", LONG)}
MAY_BE_FINE |= {(name, HUGE) for name in ("seed", "images")}
MAY_BE_FINE |= {("min_box", "1e999"), ("experiment_name", "nö/nonsense"), ("cache_images", "nö/nonsense")}
MAY_BE_FINE |= {("mirror", value) for value in NAMES}
# The words without which a command ignores an option.
NEEDS = {
    "evaluation.py coco_images": ("--boxes", "detections.json"),
    "rejected": ("--what", "rejected"),
    "group": ("--labels", "labels.csv"),
    "foreground": ("--masks", "photo_masks"),
    "ignore": ("--masks", "photo_masks"),
    "pretrained_path": ("--pretrained", "TRUE"),
    "center_size": ("--center",),
    "fsl_val_share": ("--wsol_method", "fsl_seg"),
    "main.py thresholds_from": ("--wsol_method", "fsl_seg", "--fsl_val_share", "0"),
    "scripts/sweep.py thresholds_from": ("--wsol_method", "fsl_seg", "--fsl_val_share", "0"),
    "scripts/plot_dataset.py data_root": ("--what", "samples"),
}
KINDS: dict[Callable[[str], object], type] = {
    boolean: bool,
    whole: int,
    number: float,
}  # by the option's reader; text for others
SWEEP = "scripts/sweep.py"
METHODS = ("has", "acol", "spg", "adl", "cutmix")


@dataclass(frozen=True)
class Taken:
    """An option or positional argument of a command.

    flag: None for a positional argument.
    kind: the type of its value.
    count: the number of words that it takes.
    """

    name: str
    flag: str | None
    kind: type
    choices: Sequence[object] = ()
    range: Range | None = None
    count: int = 1


def taken_by(parser: Parser) -> Iterator[Taken]:
    """Yield what a command takes: the rows of its option table, or the arguments of its parser."""
    if isinstance(parser, TableParser):
        for option in parser.options.values():
            yield Taken(option.name, f"--{option.name}", KINDS.get(option.reader, str), option.choices or (), option.range)
        return
    for action in parser.arguments:
        flag = action.option_strings[-1] if action.option_strings else None
        if action.nargs != 0:  # a flag has no value that could be wrong
            count = action.nargs if isinstance(action.nargs, int) else 1
            yield Taken(action.dest, flag, _kind(action), tuple(action.choices or ()), None, count)


def _kind(action: argparse.Action) -> type:
    try:  # a type may be a function of this project with its own checks
        return type(action.type("1")) if callable(action.type) else str
    except (ValueError, argparse.ArgumentTypeError):
        return str


def numbers_of(taken: Taken) -> Sequence[str]:
    """Return the texts that are wrong for a number."""
    whole = taken.kind is int
    texts = (*(INTEGERS if whole else FLOATS), "0")
    if taken.range is None:
        return texts if taken.name in (AT_LEAST_ONE if whole else POSITIVE) else texts[:-1]
    fine = [text for text in ("-1", "0", HUGE) if float(text) in taken.range]
    return [text for text in texts if text not in fine]


def values_of(taken: Taken, command: str) -> Sequence[str]:
    """Return the values that are wrong for an option."""
    name = taken.name
    if taken.choices:
        return (*NAMES, "0") if all(isinstance(choice, str) for choice in taken.choices) else NAMES
    if taken.kind is bool:
        return BOOLEANS
    if taken.kind in (int, float):
        return numbers_of(taken)
    if name in ROOTS:
        return NO_OUTPUT_FOLDERS if command in WRITTEN[name] else NO_FOLDERS
    for names, values in ((INPUT_FILES, NO_FILES), (INPUT_FOLDERS, NO_FOLDERS), (OUTPUTS, NO_OUTPUTS)):
        if name in names:
            return values
    return NO_OUTPUT_FOLDERS if name in OUTPUT_FOLDERS else NAMES


def option_words(command: str, taken: Taken, value: str) -> list[str]:
    """Return the command's working words with one option's value put in."""
    base, name = list(BASE[command]), taken.name
    if taken.flag is None:  # the data set's name, or another first word
        place = {"out": 1}.get(name, 0)
        base[place] = f"mini={value}" if name == "runs" else value
        return base
    words = [taken.flag, *[value] * taken.count] if taken.count > 1 else [f"{taken.flag}={value}"]
    needed = list(NEEDS.get(name, ()) or NEEDS.get(f"{command} {name}", ())) if value else []
    if command in ("main.py", SWEEP) and (method := name.split("_")[0]) in METHODS:
        needed += ["--wsol_method", method]
    return [*base, *needed, *words]


def label(value: str) -> str:
    """Return a value as it appears in a case's name."""
    known = {DIGITS: "5,000 digits", HUGE: "10**30", LONG: "300 characters", NUL: "NUL", SURROGATE: "surrogate", "": "empty"}
    return known.get(value, value)


def option_cases(command: str) -> Iterator[Case]:
    """Yield every option of a command with every value that is wrong for it."""
    for taken in taken_by(parser_of(command)):
        name = taken.name
        for value in values_of(taken, command):
            later = command == SWEEP and name in LEFT_TO_RUNS
            expected = EITHER if later or (name, value) in MAY_BE_FINE else REFUSED
            words = option_words(command, taken, value)
            at_fault = [name, name.replace("_", " ")] if taken.flag else [name]
            if value:
                at_fault += [value, value.split("/")[0] or value, ascii(value)[1:-1]]
            if taken.flag is None and value in ("", NUL, SURROGATE, LONG):
                at_fault = []
            yield Case(f"{command} {name}: {label(value)}", command, words, expected, at_fault)


def combination_cases() -> Iterator[Case]:
    """Yield the impossible combinations and whole command lines."""
    for command, words, names in COMBINATIONS:
        yield Case(f"{command} {words}", command, [*BASE[command], *words.split()], REFUSED, names)
    for command, words, names in LINES:
        yield Case(f"{command} {words}", command, words.split(), REFUSED, names)
    yield Case("main.py a YAML file of nothing", "main.py", _with_config(), EITHER, setup=_writes(b""))
    seeded = [*BASE["scripts/plot_dataset.py"], "--seed", "-1"]
    yield Case("scripts/plot_dataset.py --seed -1", "scripts/plot_dataset.py", seeded, REFUSED, ["seed"])


def _with_config() -> list[str]:
    return [*BASE["main.py"], "--config", "odd.yaml"]


def _writes(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "odd.yaml").write_bytes(content)


def yaml_cases() -> Iterator[Case]:
    """Yield the odd YAML files, each given to main.py."""
    for name, content in YAMLS.items():
        words, own = _with_config(), re.findall(rb"^(\w+):", content, re.MULTILINE)
        for option in own:  # the command line would take precedence
            if (flag := f"--{option.decode()}") in words:
                del words[(place := words.index(flag)) : place + 2]
        names = ["odd.yaml", *(option.decode() for option in own)]
        yield Case(f"main.py YAML: {name}", "main.py", words, REFUSED, names, _writes(content))


def spec_cases() -> Iterator[Case]:
    """Yield the wrong specs, each given to sweep.py."""
    for name, (content, said) in SPECS.items():
        words = ["odd.yaml", "--dry_run", "--dataset_name", NAME]
        yield Case(f"{SWEEP} YAML: {name}", SWEEP, words, REFUSED, [said or "odd.yaml"], _writes(content))


def all_cases() -> list[Case]:
    """Return all cases."""
    return [
        *combination_cases(),
        *yaml_cases(),
        *spec_cases(),
        *(case for command in BASE for case in option_cases(command)),
    ]


def drawn(cases: list[Case], count: int, seed: int) -> list[Case]:
    """Return `count` cases in their order, 0 for all: the handwritten ones, and a sample of those made from options."""
    if not count or count >= len(cases):
        return cases
    fixed = [i for i, case in enumerate(cases) if ": " not in case.name or "YAML" in case.name]
    others = [i for i in range(len(cases)) if i not in set(fixed)]
    rng = random.Random(seed)
    chosen = fixed[:count] + rng.sample(others, max(0, count - len(fixed)))
    return [cases[i] for i in sorted(chosen)]


def as_commands(cases: Sequence[Case], template: Path, folder: Path) -> Iterator[Outcome]:
    """Run each case in its own process, as a user would, and yield their outcomes."""
    for case in cases:
        copy_workspace(template, folder)
        if case.setup:
            case.setup(folder)
        before, start = snapshot(folder), time.monotonic()
        argv = ["bash" if case.command.endswith(".sh") else sys.executable, str(CHECKOUT / case.command), *case.words]
        environment = {**os.environ, "PYTHON": sys.executable}
        try:
            done = subprocess.run(
                argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=case.seconds,
            )
            code, output = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as error:
            code, output = None, (error.stdout or b"").decode("utf-8", "replace")
        seconds = time.monotonic() - start
        faults = judge(case, code, output, before, snapshot(folder), 0)
        yield Outcome(
            f"command {case.name}", case.command, list(case.words), case.expected, code, seconds, 0, faults, output
        )


def command_cases(cases: list[Case], count: int, seed: int) -> list[Case]:
    """Return `count` cases to run as commands: first those of the sweep's script and every --help, then a sample of the
    cases that fit into an argument list."""
    sweep = "scripts/sweep_granularity.sh"
    special = [
        Case(f"{sweep} an unknown data set", sweep, ["Nope"], REFUSED, ["Nope"]),
        Case(f"{sweep} an option of one run", sweep, ["Mini", "--label_level", "order"], REFUSED, ["label_level"]),
        *(Case(f"{command} --help", command, ["--help"], ACCEPTED) for command in (*BASE, "scripts/tiny_animals.sh")),
    ]
    plain = [
        case for case in cases if all("\0" not in word and word.isprintable() and len(word) < 6000 for word in case.words)
    ]
    return (special + random.Random(seed).sample(plain, len(plain)))[:count]


def main() -> None:
    """Run the trial."""
    counts = {
        "count": {"type": int, "default": 300, "help": "cases in one process; 0: all (default: 300)"},
        "commands": {"type": int, "default": 20, "help": "cases as commands (default: 20)"},
    }
    options = trial_options(__doc__, **counts)

    def wanted(cases: list[Case]) -> list[Case]:
        return [case for case in cases if re.search(options.only, case.name)]

    with tempfile.TemporaryDirectory() as scratch:
        template, folder = Path(scratch, "template"), Path(scratch, "work")
        import_commands(BASE)
        make_workspace(template)
        cases = wanted(all_cases()) if options.only else drawn(all_cases(), options.count, options.seed)
        commands = wanted(command_cases(all_cases(), options.commands, options.seed))

        def outcomes() -> Iterator[Outcome]:
            yield from run_cases(cases, template, folder)
            yield from as_commands(commands, template, folder)

        finish(outcomes(), options, "invalid configurations")


if __name__ == "__main__":
    main()
