"""Trial: invalid configurations of every command, in one process, and some as commands.

    python scripts/trials/invalid_configurations.py                  # 300 in one process, 20 as commands: a few minutes
    python scripts/trials/invalid_configurations.py --count 0        # every one there is
    python scripts/trials/invalid_configurations.py --only evaluation --verbose

The cases come from the options that each command's own parser has, so that a new option is tried too: every option times the
values that are wrong for its kind. To these come impossible combinations and odd YAML files. A sample is drawn by --seed. Each
is to end with exit code 2 and one message that names the option or file, and to change nothing.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
    finish,
    import_commands,
    judge,
    parser_of,
    run_cases,
    snapshot,
    trial_options,
)
from scripts.trials.workspace import BASE, make_workspace

DIGITS = "9" * 5000
HUGE = "1" + "0" * 30
LONG = "n" * 300  # longer than a file name may be
NUL, SURROGATE = "a\0b", "a\ud800b"

NO_NUMBERS = ("", "x", "1,5", "nan", "inf", DIGITS)
INTEGERS = (*NO_NUMBERS, "1.5", "-1", HUGE)
FLOATS = (*NO_NUMBERS, "-inf", "-1", "1e999")
BOOLEANS = ("", "maybe", "2", "nan")
NAMES = ("", NUL, SURROGATE, LONG, "nö/nonsense")
NO_FILES = ("", "nowhere/file", "photos", "/dev/zero", "fifo", NUL, SURROGATE, LONG)
NO_FOLDERS = ("", "nowhere", "ids.txt", "/dev/null", NUL, SURROGATE, LONG)
NO_OUTPUTS = ("", "photos", "/dev/full", "ids.txt/below", "fifo", NUL, SURROGATE, LONG)
NO_OUTPUT_FOLDERS = ("", "ids.txt", "/dev/null", "ids.txt/below", NUL, SURROGATE, LONG)

INPUT_FILES = {"config", "coarsening", "pretrained_path", "wsolevaluation_checkpoint", "image_list", "boxes", "coco_images"}
INPUT_FILES |= {"thresholds_from", "class_ranks", "checkpoint", "labels", "taxonomy", "train_json", "boxed_json", "synsets"}
INPUT_FILES |= {"train_observations", "boxed_observations", "rejected", "archive", "runs"}
INPUT_FOLDERS = {"images", "masks", "wordnet", "mask_root", "compare"}
OUTPUTS = {"json", "curve", "per_class", "per_image", "page", "review"}
OUTPUT_FOLDERS = {"csv", "out"}
ROOTS = {"data_root", "metadata_root", "scoremap_root"}  # read by some commands, written by others
WRITTEN = {
    "scoremap_root": ("inference.py",),
    "data_root": ("dataset/import_dataset.py", "dataset/prepare.py"),
    "metadata_root": ("dataset/import_dataset.py", "dataset/prepare.py", "dataset/build_inatloc.py"),
}
AT_LEAST_ONE = {
    "batch_size",
    "crop_size",
    "resize_size",
    "center_size",
    "lr_decay_frequency",
    "per_split",
    "iou_threshold_list",
}
POSITIVE = {"lr", "lr_classifier_ratio", "cam_curve_interval", "max_share"}
# Options whose value may be fine: a table of any name, an address that is not used, a seed of any size.
MAY_BE_FINE = {("level", LONG), ("level", "nö/nonsense"), ("label_level", LONG), ("columns", LONG), ("levels", LONG)}
MAY_BE_FINE |= {(name, HUGE) for name in ("seed", "lr_decay_frequency", "num_val_sample_per_class", "images")}
MAY_BE_FINE |= {("num_train_sample_per_class", HUGE), ("momentum", "x"), ("min_box", "1e999")}
MAY_BE_FINE |= {("mirror", value) for value in NAMES}
# What an option needs beside it to be looked at.
NEEDS = {
    "coco_images": ("--boxes", "detections.json"),
    "proxy": (),
    "rejected": ("--what", "rejected"),
    "taxonomy": (),
    "group": ("--labels", "labels.csv"),
    "page": (),
    "images": (),
    "foreground": ("--masks", "photo_masks"),
    "ignore": ("--masks", "photo_masks"),
    "pretrained_path": ("--pretrained", "TRUE"),
    "center_size": ("--center",),
}
METHODS = ("has", "acol", "spg", "adl", "cutmix")


def values_of(name: str, action: argparse.Action, command: str) -> Sequence[str]:
    """Return the values that are wrong for an option."""
    if action.nargs == 0:  # a flag
        return ()
    if action.choices:
        return (*NAMES, "0") if all(isinstance(choice, str) for choice in action.choices) else NAMES
    kind = getattr(action.type, "__name__", "str")
    if action.type is bool or kind == "boolean":
        return BOOLEANS
    if action.type is int:
        return (*INTEGERS, "0") if name in AT_LEAST_ONE else INTEGERS
    if action.type is float:
        return (*FLOATS, "0") if name in POSITIVE else FLOATS
    if name in ROOTS:
        return NO_OUTPUT_FOLDERS if command in WRITTEN[name] else NO_FOLDERS
    for names, values in ((INPUT_FILES, NO_FILES), (INPUT_FOLDERS, NO_FOLDERS), (OUTPUTS, NO_OUTPUTS)):
        if name in names:
            return values
    return NO_OUTPUT_FOLDERS if name in OUTPUT_FOLDERS else NAMES


def option_words(command: str, action: argparse.Action, value: str) -> list[str]:
    """Return the command's working words with one option's value put in."""
    base, name = list(BASE[command]), action.dest
    if not action.option_strings:  # the data set's name, or what stands first
        place = {"out": 1}.get(name, 0)
        base[place] = f"mini={value}" if name == "runs" else value
        return base
    count = action.nargs if isinstance(action.nargs, int) else 1
    flag = action.option_strings[-1]
    words = [flag, *[value] * count] if count > 1 else [f"{flag}={value}"]
    needed = list(NEEDS.get(name, ()))
    if command == "main.py" and (method := name.split("_")[0]) in METHODS:
        needed += ["--wsol_method", method]
    if name == "wsolevaluation_checkpoint":
        needed += ["--pretrained", "FALSE"]
    if name in base[:0] or (name == "boxes" and command == "evaluation.py"):
        needed = []
    return [*base, *needed, *words]


def label(value: str) -> str:
    """Return a value as a case's name shows it."""
    known = {DIGITS: "5,000 digits", HUGE: "10**30", LONG: "300 characters", NUL: "NUL", SURROGATE: "surrogate", "": "empty"}
    return known.get(value, value)


def option_cases(command: str) -> Iterator[Case]:
    """Yield every option of a command with every value that is wrong for it."""
    first = ("plan",) if command == "scripts/granularity.py" else ()
    for action in parser_of(command, first)._actions:
        name = action.dest
        if name == "help" or name not in ("help",) and isinstance(action, argparse._SubParsersAction):
            continue
        if command == "scripts/granularity.py" and name in ("label_level", "coarsening"):
            continue
        for value in values_of(name, action, command):
            expected = EITHER if (name, value) in MAY_BE_FINE else REFUSED
            words = option_words(command, action, value)
            at_fault = [name, name.replace("_", " ")] if action.option_strings else [name]
            if value and value.isprintable() and len(value) < 300:
                at_fault.append(value)
            if not action.option_strings and (value in ("", NUL, SURROGATE, LONG)):
                at_fault = []
            yield Case(f"{command} {name}: {label(value)}", command, words, expected, at_fault)


RUN = "train_log/mini"
# Combinations: command, options, what the message has to name one of.
COMBINATIONS = (
    ("main.py", "--crop_size 64 --resize_size 32", ("resize_size", "crop_size")),
    ("main.py", "--crop_size 1 --resize_size 1", ("crop_size",)),
    ("main.py", "--batch_size 11", ("batch_size",)),
    ("main.py", "--coarsening coarsening.csv --label_level order", ("label_level",)),
    ("main.py", "--coarsening ids.txt", ("ids.txt",)),
    ("main.py", "--label_level genus", ("genus",)),
    ("main.py", "--cam_agg_level species --label_level order", ("cam_agg_level", "species")),
    ("main.py", "--eval_test FALSE --save_scoremaps both", ("save_scoremaps",)),
    ("main.py", "--box_v2_metric FALSE --iou_threshold_list 30 70", ("iou_threshold_list",)),
    ("main.py", "--iou_threshold_list 50 50", ("iou_threshold_list",)),
    ("main.py", "--iou_threshold_list 0 50", ("iou_threshold_list",)),
    ("main.py", "--pretrained FALSE --pretrained_path ids.txt", ("pretrained",)),
    ("main.py", "--pretrained TRUE --pretrained_path ids.txt", ("ids.txt",)),
    ("main.py", "--wsolevaluation_checkpoint ids.txt", ("ids.txt",)),
    ("main.py", "--proxy_training_set TRUE", ("image_ids_proxy",)),
    ("main.py", "--amp fp16 --device cpu", ("amp",)),
    ("main.py", "--device cuda:9999999999999999999999", ("device",)),
    ("main.py", "--device cuda:7", ("device",)),
    ("main.py", "--architecture timm:nonsense", ("nonsense",)),
    ("main.py", "--architecture timm:", ("architecture",)),
    ("main.py", "--architecture timm:vit_tiny_patch16_224 --wsol_method spg --crop_size 224 --resize_size 224", ("spg",)),
    ("main.py", "--wsol_method spg --spg_threshold_1h 0.1 --spg_threshold_1l 0.9", ("spg_threshold",)),
    ("main.py", "--wsol_method adl --adl_drop_rate 1.5", ("adl_drop_rate",)),
    ("main.py", "--experiment_name ../outside", ("experiment_name",)),
    ("main.py", "--experiment_name /tmp/outside", ("experiment_name",)),
    ("main.py", "--experiment_name .", ("experiment_name",)),
    ("main.py", "--experiment_name mini", ("mini",)),
    ("main.py", "--experiment_name mini/inside", ("mini",)),
    ("main.py", "--data_root ids.txt --dataset_name Toy", ("ids.txt", "data_root")),
    ("main.py", "--metadata_root ids.txt --dataset_name Toy", ("ids.txt", "metadata_root")),
    ("main.py", "--dataset_name Nope", ("Nope",)),
    ("main.py", "--dataset_name mini", ("mini",)),
    ("main.py", "--dataset_name ../metadata/Mini", ("dataset_name",)),
    ("main.py", "--epochs 1000000000000", ("epochs",)),
    ("main.py", "--crop_size 1000000 --resize_size 1000000", ("crop_size",)),
    ("main.py", "--workers 100000", ("workers",)),
    ("main.py", "--bootstrap 10000000", ("bootstrap",)),
    ("main.py", "--weight_decay inf", ("weight_decay",)),
    ("main.py", "--lr 0", ("lr",)),
    ("main.py", "--nonsense 3", ("nonsense",)),
    ("main.py", "extra", ("extra",)),
    ("main.py", "--epoch 3", ("epoch",)),
    ("evaluation.py", "--center --boxes detections.json", ("boxes",)),
    ("evaluation.py", "--boxes detections.json --thresholds_from train_log/mini/results.json", ("thresholds_from",)),
    ("evaluation.py", "--coco_images coco.json", ("coco_images",)),
    ("evaluation.py", "--boxes detections.json --compare center", ("compare",)),
    ("evaluation.py", "--bootstrap 0 --compare center", ("bootstrap",)),
    ("evaluation.py", "--compare center", ("24 x 20", "20 x 24", "size")),
    ("evaluation.py", "--split train", ("train",)),
    ("evaluation.py", "--split nonsense", ("nonsense",)),
    ("evaluation.py", "--iou_threshold_list 30", ("iou_threshold_list",)),
    ("evaluation.py", "--cam_curve_interval 1e-300", ("cam_curve_interval",)),
    ("evaluation.py", "--center --center_size 1000000", ("center_size",)),
    ("evaluation.py", "--workers 1000000", ("workers",)),
    ("evaluation.py", "--json same.csv --curve same.csv", ("same.csv",)),
    ("evaluation.py", "--curve curve.txt", ("curve",)),
    ("evaluation.py", "--json ranks.csv --class_ranks ranks.csv", ("ranks.csv",)),
    ("evaluation.py", "--json ids.txt --image_list ids.txt", ("ids.txt",)),
    ("evaluation.py", "--boxes detections.json --json detections.json", ("detections.json",)),
    ("evaluation.py", "--json maps/val/ant/0.png.npy", ("0.png.npy",)),
    ("evaluation.py", f"--thresholds_from {RUN}/results.json --json {RUN}/results.json", ("results.json",)),
    ("evaluation.py", f"--scoremap_root {RUN}", ("scoremaps",)),
    ("evaluation.py", "--scoremap_root nowhere", ("nowhere",)),
    ("evaluation.py", "--dataset_name Min", ("Mini",)),
    ("inference.py", "--scoremap_root maps", ("maps",)),
    ("inference.py", "--scoremap_root photos/ant/0.jpg", ("0.jpg",)),
    ("inference.py", "--extractor gradcam --cam_agg_level order", ("extractor",)),
    ("inference.py", "--cam_agg_level nonsense", ("nonsense",)),
    ("inference.py", "--dataset_name Nope", ("Nope",)),
    ("inference.py", "--image_list ranks.csv", ("ranks.csv",)),
    ("inference.py", "--checkpoint train_log/mini/config.yaml", ("config.yaml",)),
    ("inference.py", "--amp fp16 --device cpu", ("amp",)),
    ("dataset/import_dataset.py", "--shares 0 0 0", ("shares",)),
    ("dataset/import_dataset.py", "--shares 0.5 0.5 0.5", ("shares",)),
    ("dataset/import_dataset.py", "--shares nan 0.5 0.5", ("shares",)),
    ("dataset/import_dataset.py", "--boxes labels.csv", ("labels.csv",)),
    ("dataset/import_dataset.py", "--labels ids.txt", ("ids.txt",)),
    ("dataset/import_dataset.py", "--taxonomy labels.csv", ("labels.csv",)),
    ("dataset/import_dataset.py", "--masks photos", ("photos",)),
    ("dataset/import_dataset.py", "--group nonsense --labels labels.csv", ("nonsense",)),
    ("dataset/import_dataset.py", "--images dataset", ("dataset", "label")),
    ("dataset/import_dataset.py", "--level a/b", ("level",)),
    ("dataset/prepare.py", "--archive photos", ("photos",)),
    ("dataset/prepare.py", "--archive ids.txt", ("ids.txt",)),
    ("dataset/prepare.py", "--proxy --splits val", ("proxy",)),
    ("dataset/prepare.py", "--check", ("OxfordPet",)),
    ("dataset/build_inatloc.py", "--per_split 1000", ("per_split", "1000")),
    ("dataset/build_inatloc.py", "--boxed_json train.json", ("train.json",)),
    ("scripts/plot_dataset.py", "--what rejected", ("rejected",)),
    ("scripts/compare_runs.py", "--images 0 --page page.png", ("images",)),
    ("scripts/compare_runs.py", "--page page.bmp", ("page",)),
    ("scripts/compare_runs.py", "--split nonsense", ("nonsense",)),
    ("scripts/granularity.py", "--label_level order", ("label_level",)),
)
# Whole command lines that replace the working words.
LINES = (
    ("dataset/import_dataset.py", "Toy --images photos", ("Toy",)),
    ("dataset/import_dataset.py", "../Own --images photos", ("Own",)),
    ("dataset/import_dataset.py", "Mini --images photos --boxes boxes.csv", ("Mini",)),
    ("dataset/import_dataset.py", "Own", ("images",)),
    ("dataset/prepare.py", "Nope", ("Nope",)),
    ("dataset/prepare.py", "oxfordpet", ("OxfordPet",)),
    ("dataset/prepare.py", "", ("NAME", "name")),
    ("dataset/prepare.py", "Toy --splits val", ("splits",)),
    ("dataset/add_levels.py", "Nope", ("Nope",)),
    ("dataset/build_inatloc.py", "Mini --train_json train.json --boxed_json boxed.json --no_observations --per_split 1 "
     "--min_box 4", ("Mini",)),
    ("scripts/dataset_tables.py", "Nope", ("Nope",)),
    ("scripts/plot_dataset.py", "Nope", ("Nope",)),
    ("scripts/compare_runs.py", "nonsense", ("nonsense",)),
    ("scripts/granularity.py", "", ("plan",)),
    ("scripts/granularity.py", "nonsense", ("plan",)),
    ("inference.py", "", ("checkpoint",)),
    ("evaluation.py", "--dataset_name Mini", ("scoremap_root", "train_log/scoremaps")),
    ("scripts/tiny_animals.py", "report nowhere --levels a --rates 0.1 --seeds 0", ("nowhere",)),
    ("scripts/tiny_animals.py", "choose nowhere x", ("x", "rates")),
    ("scripts/tiny_animals.py", "report nowhere --levels a --rates nan --seeds x", ("rates", "seeds")),
)  # fmt: skip

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
# YAML files of main.py: name, bytes, what the message has to name beside the file (None: the file alone).
YAMLS = {
    "bomb of aliases": BOMB.encode() + b"lr: *a9\n",
    "bomb as a value": BOMB.replace("a0: &a0", "lr: &a0", 1).replace("a9: &a9", "epochs: &a9").encode(),
    "recursion": b"lr: &a [*a]\n",
    "recursive mapping": b"&a\nlr: *a\n",
    "10,000 brackets": b"lr: " + b"[" * 10000,
    "10,000 levels": b"\n".join(b" " * i + b"a:" for i in range(2000)),
    "date out of range": b"experiment_name: 2001-99-99\n",
    "time out of range": b"experiment_name: 2001-01-01 99:99:99\n",
    "a date for a number": b"epochs: 2001-01-01\n",
    "a key twice": b"lr: 0.1\nlr: 0.2\n",
    "null for a name": b"dataset_name: null\n",
    "null for a number": b"epochs:\n",
    "a tag": b"lr: !!python/object/apply:os.system [true]\n",
    "an unknown tag": b"lr: !nonsense 3\n",
    "binary": b"experiment_name: !!binary aGVsbG8=\n",
    "a set": b"iou_threshold_list: !!set {30, 50}\n",
    "a list for a scalar": b"lr: [0.1, 0.2]\n",
    "a scalar for a list": b"iou_threshold_list: 50\n",
    "a mapping for a scalar": b"lr: {a: 1}\n",
    "an empty list": b"iou_threshold_list: []\n",
    "a list of lists": b"iou_threshold_list: [[30], 50]\n",
    "a list at the top": b"- lr\n- 0.1\n",
    "a scalar at the top": b"nonsense\n",
    "two documents": b"lr: 0.1\n---\nlr: 0.2\n",
    "an unknown key": b"learning_rate: 0.1\n",
    "a number for a key": b"3: 4\n",
    "a list for a key": b"? [a]\n: 3\n",
    "an empty string": b'dataset_name: ""\n',
    "nan": b"lr: .nan\n",
    "inf": b"weight_decay: .inf\n",
    "5,000 digits": b"epochs: " + b"9" * 5000 + b"\n",
    "base 60": b"crop_size: 1:30:00\n",
    "NUL in a name": b'experiment_name: "a\\0b"\n',
    "a surrogate in a name": b'experiment_name: "a\\ud800b"\n',
    "not UTF-8": b"experiment_name: \xff\xfe\xfa\n",
    "UTF-16 without its mark": "lr: 0.1\n".encode("utf-16-le"),
    "NUL bytes": b"\0" * 100,
    "tabs": b"\tlr: 0.1\n",
    "no YAML": b"lr: 0.1: 0.2\n",
    "an undefined alias": b"lr: *nothing\n",
    "a merge of a scalar": b"<<: 3\nlr: 0.1\n",
}


def combination_cases() -> Iterator[Case]:
    """Yield the impossible combinations and whole command lines."""
    for command, words, names in COMBINATIONS:
        yield Case(f"{command} {words}", command, [*BASE[command], *words.split()], REFUSED, names)
    for command, words, names in LINES:
        yield Case(f"{command} {words}", command, words.split(), REFUSED, names)
    yield Case("main.py a YAML file of nothing", "main.py", _with_config(), EITHER, setup=_writes(b""))
    words = [*BASE["scripts/plot_dataset.py"], "--seed", "-1"]
    yield Case("scripts/plot_dataset.py --seed -1", "scripts/plot_dataset.py", words, REFUSED, ["seed"])


def _with_config() -> list[str]:
    return [*BASE["main.py"], "--config", "odd.yaml"]


def _writes(content: bytes):
    return lambda folder: (folder / "odd.yaml").write_bytes(content)


def yaml_cases() -> Iterator[Case]:
    """Yield the odd YAML files, each given to main.py."""
    words = [word for word in _with_config() if word != "--bootstrap"]
    words = ["--config", "odd.yaml"]
    for name, content in YAMLS.items():
        yield Case(f"main.py YAML: {name}", "main.py", words, REFUSED, ["odd.yaml"], _writes(content))


def all_cases() -> list[Case]:
    """Return every case there is."""
    return [*combination_cases(), *yaml_cases(), *(case for command in BASE for case in option_cases(command))]


def drawn(cases: list[Case], count: int, seed: int) -> list[Case]:
    """Return `count` cases in their order: of those named by hand each, of the options' some, drawn; 0: all."""
    if not count or count >= len(cases):
        return cases
    fixed = [i for i, case in enumerate(cases) if ": " not in case.name or "YAML" in case.name]
    others = [i for i in range(len(cases)) if i not in set(fixed)]
    rng = random.Random(seed)
    chosen = fixed[:count] + rng.sample(others, max(0, count - len(fixed)))
    return [cases[i] for i in sorted(chosen)]


def as_commands(cases: Sequence[Case], template: Path, folder: Path) -> Iterator[Outcome]:
    """Run cases in processes of their own, as a user does, and yield their outcomes."""
    for case in cases:
        copy_workspace(template, folder)
        if case.setup:
            case.setup(folder)
        before, start = snapshot(folder), time.monotonic()
        argv = ["bash" if case.command.endswith(".sh") else sys.executable, str(CHECKOUT / case.command), *case.words]
        environment = {**os.environ, "PYTHON": sys.executable}
        try:
            done = subprocess.run(
                argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=case.seconds,
            )  # fmt: skip
            code, output = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as error:
            code, output = None, (error.stdout or b"").decode("utf-8", "replace")
        seconds = time.monotonic() - start
        faults = judge(case, code, output, before, snapshot(folder), 0)
        yield Outcome(
            f"command {case.name}", case.command, list(case.words), case.expected, code, seconds, 0, faults, output
        )


def command_cases(cases: list[Case], count: int, seed: int) -> list[Case]:
    """Return cases to run as commands: the sweep's script and every --help first, then some of all that an argument list
    can hold."""
    sweep = "scripts/sweep_granularity.sh"
    special = [
        Case(f"{sweep} an unknown data set", sweep, ["Nope"], REFUSED, ["Nope"]),
        Case(f"{sweep} an option of one run", sweep, ["Mini", "--label_level", "order"], REFUSED, ["label_level"]),
        *(Case(f"{command} --help", command, ["--help"], ACCEPTED) for command in (*BASE, "scripts/tiny_animals.py")),
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
    import re

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
