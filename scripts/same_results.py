"""Show that a change moves no digit: six seeded runs by two checkouts, compared byte for byte.

    python scripts/same_results.py ../before . --pets oxford-iiit-pet-mini
    python scripts/same_results.py ../before . --keep ../before_runs      # OLD's runs are kept there, and reused when there

OLD and NEW are folders of checkouts. Compared are results.json, metrics.jsonl, every table, every score map, and the
weights, momentum and learning rates of the checkpoints. With --draws, NEW also trains twice what draws in a step
(HaS, ADL, CutMix, dropout), which must agree with itself. Without --pets, an archive of OxfordPet, its run is left out.
Exit code 1: something differs.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from wsol.core.arguments import Parser, path
from wsol.core.errors import InputError, command
from wsol.runs.run_record import NAME as RUN_RECORD

SMALL = "--threads 1 --workers 0 --num_train_sample_per_class 8 --bootstrap 100"
PETS = f"{SMALL} --dataset_name OxfordPet --architecture resnet18 --pretrained FALSE --resize_size 72 --crop_size 64"
SCORE = "--dataset_name Toy --multi_contour_eval --multi_iou_eval --split test --scoremap_root train_log/cam/scoremaps"
SCORE += " --thresholds_from train_log/cam/results.json --class_ranks train_log/cam/test_class_ranks.csv --json scored.json"
SCORE += " --curve scored_curve.csv --per_class scored_classes.csv --per_image scored_images.csv --compare center"
SCORE += " --bootstrap 200"
MAP = "--checkpoint train_log/cam/last_checkpoint.pth.tar --split test --cam_agg_level family --workers 0 --threads 1"
RUNS = {
    "cam": f"main.py {SMALL} --epochs 2 --eval_checkpoint_type best",
    "acol": f"main.py {SMALL} --epochs 1 --wsol_method acol --label_level genus",
    "spg": f"main.py {SMALL} --epochs 1 --wsol_method spg --architecture resnet50 --label_level order",
    "decays": f"main.py {SMALL} --epochs 4 --lr_decay_frequency 1 --save_scoremaps val --scoremap_format npz",
    "pets": f"main.py {PETS} --epochs 1 --batch_size 16 --label_level breed --cam_agg_level species --seed 3",
    "evaluation": f"evaluation.py {SCORE}",
    "inference": f"inference.py {MAP} --scoremap_root mapped",
}
DRAWS = {
    "has": f"main.py {SMALL} --epochs 2 --wsol_method has --has_grid_size 16",
    "adl": f"main.py {SMALL} --epochs 2 --wsol_method adl",
    "cutmix": f"main.py {SMALL} --epochs 2 --wsol_method cutmix",
    "inception": f"main.py {SMALL} --epochs 1 --architecture inception_v3 --resize_size 112 --crop_size 96",
}
COMPARED = {".json", ".jsonl", ".csv", ".npy", ".npz", ".png"}


def call(checkout: Path, words: str, folder: Path, name: str) -> None:
    """Run a command of a checkout in a folder."""
    script, *options = words.split()
    if script == "main.py":
        options += ["--experiment_name", name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(checkout / script), *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise InputError(f"{checkout / script} {' '.join(options)}: exit code {done.returncode}:\n{done.stdout[-2000:]}")


def make_runs(checkout: Path, runs: dict[str, str], folder: Path, pets: Path | None) -> None:
    """Make all runs in a new folder; the data sets are made there too, by the same checkout."""
    folder.mkdir(parents=True)
    if pets:
        call(checkout, f"dataset/prepare.py OxfordPet --archive {pets.resolve()}", folder, "")
    for name, words in runs.items():
        print(f"{checkout}: {name}", flush=True)
        call(checkout, words, folder, name)


def weights_and_rates(file: Path) -> dict[str, object]:
    """Return a checkpoint's weights, momentum and learning rates by name."""
    checkpoint = torch.load(file, weights_only=True, map_location="cpu")
    found: dict[str, object] = dict(checkpoint["state_dict"])
    optimizer = checkpoint["optimizer"]
    found |= {f"lr {i}": group["lr"] for i, group in enumerate(optimizer["param_groups"])}
    found |= {f"momentum {i}": state.get("momentum_buffer") for i, state in optimizer["state"].items()}
    return found


def _same(old: object, new: object) -> bool:
    if isinstance(old, torch.Tensor):
        return isinstance(new, torch.Tensor) and torch.equal(old, new)
    return old == new


def same_file(old: Path, new: Path) -> bool:
    """Return whether two files hold the same: bytes, or a checkpoint's tensors."""
    if old.suffix != ".tar":
        return old.read_bytes() == new.read_bytes()
    first, second = weights_and_rates(old), weights_and_rates(new)
    return first.keys() == second.keys() and all(_same(value, second[name]) for name, value in first.items())


def compared_files(folder: Path) -> dict[str, Path]:
    """Return what is compared of a folder of runs, by relative path."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix in COMPARED | {".tar"})
    files = (file for file in files if file.name != RUN_RECORD)  # times and versions, which may differ
    found = {str(file.relative_to(folder)): file for file in sorted(files)}
    return {name: file for name, file in found.items() if not name.startswith(("dataset/", "metadata/"))}


def differences(old: Path, new: Path, runs: Sequence[str]) -> Iterator[str]:
    """Yield the files that differ, or that OLD has and NEW lacks; files that only NEW writes do not count."""
    first, second = compared_files(old), compared_files(new)
    for name, file in first.items():
        parts = Path(name).parts
        if parts[0] == "train_log" and parts[1] not in runs:
            continue
        if name not in second:
            yield f"{name}: missing in {new}"
        elif not same_file(file, second[name]):
            yield f"{name}: differs"


@command
def main() -> None:
    """Make the runs and compare them."""
    parser = Parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=path, metavar="OLD", help="checkout before the change")
    parser.add_argument("new", type=path, metavar="NEW", help="checkout with the change")
    parser.add_argument("--pets", type=path, help="archive or folder of OxfordPet, as dataset/prepare.py takes it")
    parser.add_argument("--keep", type=path, help="folder of OLD's runs: made once, read afterwards")
    parser.add_argument("--draws", action="store_true", help="also make NEW's runs of HaS, ADL, CutMix and dropout twice")
    options = parser.parse_args()
    for checkout in (options.old, options.new):
        if not (checkout / "main.py").is_file():
            raise InputError(f"{checkout}: no main.py there; expected the folder of a checkout")
    old, new = options.old.resolve(), options.new.resolve()
    runs = {name: words for name, words in RUNS.items() if options.pets or name != "pets"}
    with tempfile.TemporaryDirectory() as scratch:
        before = options.keep or Path(scratch, "old")
        if not before.is_dir():
            partial = before.with_name(f"{before.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            make_runs(old, runs, partial, options.pets)
            partial.rename(before)
        make_runs(new, runs, Path(scratch, "new"), options.pets)
        found = list(differences(before, Path(scratch, "new"), list(runs)))
        count = len(compared_files(before))
        if options.draws:
            for twice in ("first", "second"):
                make_runs(new, DRAWS, Path(scratch, twice), None)
            found += differences(Path(scratch, "first"), Path(scratch, "second"), list(DRAWS))
            count += len(compared_files(Path(scratch, "first")))
    print("\n".join([*found, f"{count} files compared, {len(found)} differ"]))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
