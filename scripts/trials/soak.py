"""Trial: short runs of random valid configurations, each stopped at a random moment and continued.

    python scripts/trials/soak.py                       # 40 configurations, then 10 runs in one process; about 15 minutes
    python scripts/trials/soak.py --runs 5 --seed 1 --verbose

Every configuration (method, network, level, options) runs to its end once. Then it runs again, is ended at a random moment
by SIGKILL, SIGTERM or Ctrl-C, and is continued with --resume auto. It must end with the bytes of the first, and nothing may
be left: no process, no temporary file, no checkpoint within an epoch. Then one process runs a configuration ten times, and
may not grow, in memory or in open files.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from dataset import toy
from scripts.trials.common import Outcome, call, import_commands, peak, snapshot
from scripts.trials.kills import Job, run_to_end, start, temporary, wait
from scripts.trials.processes import end_session, session
from scripts.trials.report import finish, trial_options

LINGER = 20  # seconds within which a stopped run must have ended, with its children
MEMORY = 3 << 30  # most bytes that a run may use
GROWTH = 1.15  # most by which ten runs in one process may raise its peak over that of the first two
SMALL = ("resnet18", "timm:tf_efficientnet_lite0", "timm:mobilenetv3_small_100")
NETWORKS = (*SMALL, *SMALL, "resnet50", "vgg16", "inception_v3")  # the last three take minutes on a slow machine
LIMIT = 600  # seconds for one complete run
METHODS = ("cam", "has", "acol", "spg", "adl", "cutmix", "tri_region", "fsl_seg", "fsl_det")
OF_METHOD = {
    "has": ("--has_grid_size 16", "--has_drop_rate 0.3"),
    "acol": ("--acol_threshold 0.6",),
    "spg": ("--spg_threshold_1h 0.6",),
    "adl": ("--adl_drop_rate 0.5",),
    "cutmix": ("--cutmix_prob 0.5", "--cutmix_beta 0.3"),
}
DIFFERS = ("log.txt", "run.json", "config.yaml")  # and checkpoints, which hold the configuration


def configuration(rng: random.Random) -> list[str]:
    """Return the words of a random valid run on Toy, at 64 to 96 pixels."""
    network, method = rng.choice(NETWORKS), rng.choice(METHODS)
    if network.startswith("timm:") and method in ("spg", "adl"):  # they need places that these do not offer
        network = "resnet18"
    size = 96 if network == "inception_v3" else rng.choice((64, 80, 96))
    words = ["--wsol_method", method, "--architecture", network, "--pretrained", "F", "--large_feature_map", "T"]
    words += ["--crop_size", str(size), "--resize_size", str(size + rng.choice((0, 8))), "--threads", "1"]
    words += ["--num_val_sample_per_class", "2", "--batch_size", str(rng.choice((3, 4, 5)))]
    words += ["--epochs", str(rng.choice((1, 2))), "--bootstrap", rng.choice(("0", "20")), "--seed", str(rng.randrange(99))]
    words += ["--workers", str(rng.choice((0, 0, 1, 2))), "--checkpoint_minutes", rng.choice(("0", "1e-9", "15"))]
    words += ["--lr_decay_frequency", rng.choice(("1", "30")), "--cam_curve_interval", rng.choice(("0.001", "0.1"))]
    words += ["--amp", rng.choice(("off", "off", "bf16")), "--eval_test", rng.choice(("T", "T", "F"))]
    if rng.random() < 0.3:
        words += ["--box_v2_metric", "F"]
    if rng.random() < 0.3:
        words += ["--eval_batch_size", "7"]
    if rng.random() < 0.2:
        words += ["--logger", "tensorboard"]
    for option in OF_METHOD.get(method, ()):
        words += option.split() if rng.random() < 0.5 else []
    if method.startswith("fsl"):
        return [*words, "--fsl_val_share", rng.choice(("0", "0.5"))]
    level = rng.choice(toy.LEVELS)
    words += [
        "--label_level",
        level,
        "--num_train_sample_per_class",
        "2",
        "--train_sample_level",
        rng.choice(("trained", "finest")),
    ]
    if level != toy.LEVELS[-1] and rng.random() < 0.3:
        words += ["--cam_agg_level", toy.LEVELS[-1]]
    elif level != toy.LEVELS[-1] and rng.random() < 0.4:
        words[words.index("--label_level") + 1] = f"{level},{toy.LEVELS[-1]}"
    if method != "adl" and rng.random() < 0.3:  # ADL acts inside the network
        words += ["--freeze_backbone", "T"]
    elif rng.random() < 0.2:
        words += ["--train_last_blocks", "1"]
    words += ["--eval_checkpoint_type", rng.choice(("last", "best"))]
    if words[words.index("--eval_test") + 1] == "T":
        words += ["--save_scoremaps", rng.choice(("none", "val", "test", "both"))]
        words += ["--scoremap_format", rng.choice(("npy", "npz", "png16"))]
    return words


def left_by(folder: Path) -> dict[str, str]:
    """Return what a finished run leaves that may not depend on how it got there: file to its digest."""
    found = snapshot(folder)
    return {
        name: content
        for name, content in found.items()
        if Path(name).name not in DIFFERS and "checkpoint" not in name and not name.startswith("tensorboard")
    }


def faults_of(run: Path, code: int | None, printed: str) -> list[str]:
    """Return what is wrong with a run that should have finished."""
    if code:
        return [f"exit code: {code}: {printed.strip()[-300:]!r}"]
    faults = []
    if "Traceback (most recent call last)" in printed:
        faults.append(f"traceback: {printed.strip().splitlines()[-1][:200]}")
    record = json.loads((run / "run.json").read_text())
    if record["state"] != "finished":
        faults.append(f"state: {record['state']}")
    if record["peak_memory_bytes"] > MEMORY:
        faults.append(f"memory: {record['peak_memory_bytes'] / 2**30:.1f} GB")
    names = list(snapshot(run.parent))
    if left := [*temporary(names), *(name for name in names if "step_checkpoint" in name)]:
        faults.append(f"files left: {', '.join(left[:3])}")
    return faults


def soak(number: int, rng: random.Random, folder: Path, output: Path) -> Outcome:
    """Run a configuration twice, the second time stopped once; return the outcome."""
    words = configuration(rng)
    first = Job("main.py", (*words, "--experiment_name", f"{number}/whole"), forked=True)
    second = Job("main.py", (*words, "--experiment_name", f"{number}/stopped", "--resume", "auto"), forked=True)
    code, printed, seconds = run_to_end(first, first.words, folder, output, LIMIT)
    logs = folder / "train_log" / str(number)
    faults = faults_of(logs / "whole", code, printed)
    kind = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
    after = seconds * rng.random()
    if not faults:
        process = start(second, second.words, folder, output)
        code = wait(process, after)
        if code is None:
            os.kill(process, kind)
            code = wait(process, LINGER)
            expected = {signal.SIGKILL: (-9,), signal.SIGTERM: (75, -15), signal.SIGINT: (75, 130)}[kind]
            if code not in (0, *expected):  # without a checkpoint before the folder is there
                faults.append(f"stopped: exit code {code} at {kind.name}: {output.read_text(errors='replace')[-300:]!r}")
        end = time.monotonic() + LINGER
        while session(process) and time.monotonic() < end:
            time.sleep(0.05)
        if left := session(process):
            faults.append(f"processes left: {len(left)}")
        end_session(process)
        code, printed, _ = run_to_end(second, second.words, folder, output, LIMIT)
        faults += faults_of(logs / "stopped", code, printed)
    if not faults:
        whole, stopped = left_by(logs / "whole"), left_by(logs / "stopped")
        if unlike := [name for name in {**whole, **stopped} if whole.get(name) != stopped.get(name)]:
            faults.append(f"differs: {', '.join(unlike[:3])} ({len(unlike)})")
    memory = 0
    with contextlib.suppress(OSError):
        memory = json.loads((logs / "whole/run.json").read_text())["peak_memory_bytes"]
    shutil.rmtree(logs, ignore_errors=True)  # hundreds of megabytes
    name = f"{number}: {kind.name} after {after:.1f} of {seconds:.1f} s: {' '.join(words)}"
    return Outcome(name, "main.py", list(second.words), "", code, seconds, memory, faults, printed)


def in_one_process(folder: Path, runs: int) -> Outcome:
    """Run a configuration again and again in this process; return whether it grows."""
    words = ["--architecture", "resnet18", "--pretrained", "F", "--num_train_sample_per_class", "2", "--epochs", "1"]
    words += ["--threads", "1", "--workers", "1", "--bootstrap", "20", "--override_cache", "T", "--experiment_name", "again"]
    begin, sizes, files, faults = time.monotonic(), [], [], []
    for _ in range(runs):
        code, printed = call("main.py", words, folder)
        faults += faults_of(folder / "train_log/again", code, printed)
        sizes.append(peak())
        files.append(len(os.listdir("/proc/self/fd")))
    if max(sizes) > GROWTH * max(sizes[:2]):
        faults.append(f"memory: grew from {max(sizes[:2]) >> 20} to {max(sizes) >> 20} MB in {runs} runs")
    if files[-1] > files[1]:
        faults.append(f"open files: {files}")
    seconds = time.monotonic() - begin
    return Outcome(f"{runs} runs in one process", "main.py", words, "", 0, seconds, max(sizes), faults)


def main() -> None:
    """Run the trial."""
    options = trial_options(__doc__, runs={"type": int, "default": 40, "help": "configurations (default: 40)"})
    import_commands({"main.py"})
    with tempfile.TemporaryDirectory() as scratch:
        folder, output = Path(scratch, "work"), Path(scratch, "printed")
        folder.mkdir()
        toy.prepare(folder / "dataset", folder / "metadata")

        def outcomes() -> Iterator[Outcome]:
            for number in range(options.runs):
                rng = random.Random(options.seed * 1000 + number)
                if re.search(options.only, str(number)):
                    yield soak(number, rng, folder, output)
            if re.search(options.only, "in one process"):
                yield in_one_process(folder, 10)

        finish(outcomes(), options, "soak")


if __name__ == "__main__":
    main()
