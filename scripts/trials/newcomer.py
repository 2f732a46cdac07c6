"""Trial: what a new user does with a folder of odd photos and a semicolon CSV: import, train, map, score, sweep.

    python scripts/trials/newcomer.py                                 # synthetic pictures, about two minutes
    python scripts/trials/newcomer.py --photos pets/images            # real photos, with the class in the name: class_12.jpg
    python scripts/trials/newcomer.py --keep garden                   # keeps everything in this folder for a look

The photos are rotated by EXIF, 16-bit, CMYK, HEIC, unreadable or duplicates, with umlauts and spaces in their names. The
table is Latin-1 with the columns Filename;Species;Genus;Family. Everything runs once with boxes and once without any. Each
step must end with exit code 0 and tell the user what matters. If the import refuses the table, that step fails and the
others continue with a plain table.
"""

import csv
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
from PIL import Image

from scripts.trials.common import CHECKOUT, Outcome, snapshot
from scripts.trials.report import finish, trial_options
from scripts.trials.workspace import picture

# The options with which the import reads such a table.
TABLE: tuple[str, ...] = ("--labels", "photos.csv", "--encoding", "latin-1", "--columns", "image=Filename")
TABLE += ("--levels", "Species", "Genus", "Family")
BOXES = ("--boxes", "boxes.csv")
PLAIN_TABLE = ("--labels", "plain.csv", "--taxonomy", "taxonomy.csv")
PLAIN_BOXES = ("--boxes", "plain_boxes.csv")

SMALL: tuple[str, ...] = ("--architecture", "resnet18", "--pretrained", "FALSE", "--large_feature_map", "TRUE")
SMALL += ("--resize_size", "72", "--crop_size", "64", "--batch_size", "8", "--epochs", "1", "--bootstrap", "100")
SMALL += ("--workers", "1")
METRIC = ("--multi_contour_eval", "--multi_iou_eval")
SECONDS = 600
ORIENTATION = 0x0112  # EXIF tag

# Six species in three genera and two families; the names have letters that Latin-1 and UTF-8 encode differently.
TAXA = (
    ("Zaunk\xf6nig", "Troglodytes", "V\xf6gel"),
    ("Winterzaunk\xf6nig", "Troglodytes", "V\xf6gel"),
    ("Gr\xfcnspecht", "Picus", "V\xf6gel"),
    ("Grauspecht", "Picus", "V\xf6gel"),
    ("Feldm\xe4use", "Microtus", "S\xe4uger"),
    ("Erdm\xe4use", "Microtus", "S\xe4uger"),
)
PER_SPECIES = 14


def real_photos(folder: Path, seed: int) -> Iterator[list[Image.Image]]:
    """Yield up to PER_SPECIES downsized photos of each of a folder's first species, the file name before its number."""
    by_species: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            by_species.setdefault(path.stem.rpartition("_")[0], []).append(path)
    for species, _ in zip(sorted(by_species), TAXA, strict=False):
        chosen = random.Random(seed).sample(by_species[species], min(PER_SPECIES, len(by_species[species])))
        photos = [Image.open(path).convert("RGB") for path in chosen]
        for photo in photos:
            photo.thumbnail((200, 200))
        yield photos


def made_photos(seed: int) -> Iterator[list[Image.Image]]:
    """Yield synthetic pictures of each species."""
    for number in range(len(TAXA)):
        yield [picture(seed + 100 * number + i, (160, 120))[0] for i in range(PER_SPECIES)]


def jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    """Return a JPEG with this EXIF orientation, its pixels stored such that the orientation makes it upright."""
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that undo each orientation
    stored = image.transpose(Image.Transpose(inverse[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    if orientation > 1:
        exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def as_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bits(image: Image.Image) -> bytes:
    """Return a 16-bit grey PNG."""
    return as_bytes(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG")


# The odd photos of each species, by number; the others are plain JPEGs.
ODD: dict[int, tuple[str, Callable[[Image.Image], bytes]]] = {
    0: ("{} 1.JPG", lambda image: jpeg(image, 6)),
    1: ("{} 2.jpg", lambda image: jpeg(image, 3)),
    2: ("{} 3.jpeg", lambda image: jpeg(image, 8)),
    3: ("{} 16 bit.png", sixteen_bits),
    4: ("{} cmyk.jpg", lambda image: as_bytes(image.convert("CMYK"), "JPEG")),
    5: ("{} (Kopie).png", lambda image: as_bytes(image.convert("P"), "PNG", transparency=bytes(range(256)))),
    6: ("{} Telefon.HEIC", lambda image: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)),
    7: ("{} kaputt.jpg", lambda image: jpeg(image)[:400]),
}


def make_garden(folder: Path, photos: Iterator[list[Image.Image]]) -> dict[str, tuple[int, int]]:
    """Make photos/, photos.csv and boxes.csv, and the plain tables; return the upright size of every readable photo."""
    (folder / "Meine Fotos").mkdir(parents=True)
    rows, boxes, upright = [], [], {}
    for taxa, images in zip(TAXA, photos, strict=False):
        for number, image in enumerate(images):
            name, encode = ODD.get(number, ("{} " + f"{number}.jpg", jpeg))
            file = name.format(taxa[0])
            (folder / "Meine Fotos" / file).write_bytes(encode(image))
            rows.append([file, *taxa])
            if number not in (6, 7):
                upright[file] = image.size
            if number > 2:  # rotated photos get none: without a size in the table, their box is ambiguous
                width, height = image.size
                boxes.append([file, width // 4, height // 4, 3 * width // 4, 3 * height // 4])
    copied = rows[8][0]
    shutil.copy(folder / "Meine Fotos" / copied, folder / "Meine Fotos" / f"Kopie von {copied}")
    rows.append([f"Kopie von {copied}", *rows[8][1:]])
    rows.append(["gibt es nicht.jpg", *TAXA[0]])
    for name in ("Thumbs.db", ".DS_Store", "._punkt.jpg", "notes.txt"):
        (folder / "Meine Fotos" / name).write_bytes(b"\0\1")
    write_csv(folder / "photos.csv", [["Filename", "Species", "Genus", "Family"], *rows], "latin-1", ";")
    write_csv(folder / "boxes.csv", [["Filename", "xmin", "ymin", "xmax", "ymax"], *boxes], "latin-1", ";")
    write_csv(folder / "plain.csv", [["image", "label"], *(row[:2] for row in rows)])
    write_csv(folder / "plain_boxes.csv", [["image", "x0", "y0", "x1", "y1"], *boxes])
    write_csv(folder / "taxonomy.csv", [["Species", "Genus", "Family"], *map(list, TAXA)])
    return upright


def write_csv(path: Path, rows: Sequence[Sequence], encoding: str = "utf-8", delimiter: str = ",") -> None:
    """Write a table, as a user's program would."""
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


class Steps:
    """Runs a new user's commands in a folder, one after the other, and checks how each ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = {name: value for name, value in snapshot(folder).items() if not name.startswith("train_log")}
        self.last = ""

    def run(self, name: str, command: str, words: Sequence[str], says: Sequence[str] = (), code: int = 0) -> Outcome:
        """Run one command; its output must match every regular expression in `says`."""
        program = "bash" if command.endswith(".sh") else sys.executable
        begin = time.monotonic()
        environment = {"PYTHON": sys.executable, **os.environ}
        try:
            done = subprocess.run(
                [program, str(CHECKOUT / command), *words],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
            )
            ended, self.last = done.returncode, done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired:
            ended, self.last = None, ""
        faults = []
        tail = (self.last.strip().splitlines() or [""])[-1][:240]
        if "Traceback" in self.last:
            faults.append(f"traceback: {tail}")
        if ended != code:
            error = re.search(r"^(.*error: .*)$", self.last, re.MULTILINE)
            faults.append(f"exit code: {ended}, expected {code}: {error[0][:300] if error else tail}")
        if warned := re.search(r"^.*\w+Warning: .*$", self.last, re.MULTILINE):
            faults.append(f"warning of a library: {warned[0][:200]}")
        if not faults:
            faults += [f"does not say: {text}" for text in says if not re.search(text, self.last, re.IGNORECASE)]
        now = snapshot(self.folder)
        if changed := [name for name, value in self.inputs.items() if now.get(name) != value]:
            faults.append(f"input changed or lost: {', '.join(changed[:3])}")
        return Outcome(name, command, list(words), "", ended, time.monotonic() - begin, 0, faults, self.last)


def upright_faults(folder: Path, name: str, upright: dict[str, tuple[int, int]]) -> list[str]:
    """Return what is wrong with imported sizes: files and metadata must have those of the upright photos."""
    faults = []
    for lines in (folder / "metadata" / name).glob("*/image_sizes.txt"):
        for line in lines.read_text(encoding="utf-8").splitlines():
            image_id, width, height = line.rsplit(",", 2)
            file = Path(image_id).name
            with Image.open(folder / "dataset" / name / image_id) as image:
                stored, orientation = image.size, image.getexif().get(ORIENTATION, 1)
            said = (int(width), int(height))
            if said != upright.get(file, said) or stored != said or orientation != 1:
                faults.append(f"not upright: {file}: metadata {said}, file {stored} with orientation {orientation}")
    return [*faults[:1], *([f"not upright: {len(faults)} in all"] if len(faults) > 1 else [])]


def import_steps(steps: Steps, name: str, boxes: bool, upright: dict) -> Iterator[Outcome]:
    """Yield the outcome of the import and, if it fails, of an import with plain tables."""
    command, images = "dataset/import_dataset.py", ("--images", "Meine Fotos")
    says = ["HEIC", "unreadable", "cop(y|ies)", "without an image", r"turned|rotated|orientation|upright"]
    outcome = steps.run(f"{name}: import", command, [name, *images, *TABLE, *(BOXES if boxes else ())], says)
    if outcome.code:
        yield outcome
        says.remove("HEIC")
        words = [name, *images, *PLAIN_TABLE, *(PLAIN_BOXES if boxes else ())]
        outcome = steps.run(f"{name}: import of plain tables", command, words, says)
    if not outcome.code:
        outcome.faults += upright_faults(steps.folder, name, upright)
    yield outcome


def with_boxes(steps: Steps, upright: dict) -> Iterator[Outcome]:
    """Yield the outcomes for a data set with boxes."""
    data, run = ("--dataset_name", "Garten"), "train_log/garten"
    scored = ("--scoremap_root", f"{run}/scoremaps", *data, "--split", "test", *METRIC, "--bootstrap", "100")
    yield from import_steps(steps, "Garten", True, upright)
    yield steps.run("train", "main.py", [*data, *SMALL, "--experiment_name", "garten"], ["MaxBoxAccV2", "score again"])
    yield steps.run("score", "evaluation.py", scored, ["MaxBoxAccV2"])
    yield steps.run("compare with Center", "evaluation.py", [*scored, "--compare", "center"], ["p [0-9]"])
    yield steps.run(
        "score a run's folder", "evaluation.py", ["--scoremap_root", run, *data, "--split", "test"], ["scoremaps"], 2
    )
    yield steps.run(
        "score at val's threshold",
        "evaluation.py",
        [*scored, "--thresholds_from", f"{run}/results.json"],
        ["val's threshold"],
    )
    mapping = ["--checkpoint", f"{run}/last_checkpoint.pth.tar", "--split", "test", "--scoremap_root", "maps"]
    yield steps.run("map", "inference.py", mapping, ["score maps"])
    sweep = ["Garten", "--name", "stufen", *SMALL]
    outcome = steps.run("sweep", "scripts/sweep_granularity.sh", sweep, ["Center"])
    made = [steps.folder / "train_log/stufen" / name for name in ("tables.md", "figures", "report.html", "protocol.json")]
    outcome.faults += [f"output lost: {path.name}" for path in made if not path.exists()]
    yield outcome
    yield steps.run("tables", "scripts/dataset_tables.py", ["Garten"], ["Garten"])
    yield steps.run("plots", "scripts/plot_dataset.py", ["Garten", "--out", "plots"], ["written"])


def without_boxes(steps: Steps, upright: dict) -> Iterator[Outcome]:
    """Yield the outcomes for a data set without any box."""
    data = ("--dataset_name", "Wiese")
    yield from import_steps(steps, "Wiese", False, upright)
    outcome = steps.run("train without boxes", "main.py", [*data, *SMALL, "--experiment_name", "wiese"], ["box"])
    results = steps.folder / "train_log/wiese/results.json"
    if outcome.code == 0 and "top1_cls" not in results.read_text():
        outcome.faults.append("no classification in results.json")
    yield outcome
    words = ["--scoremap_root", "train_log/wiese/scoremaps", *data, "--split", "test"]
    yield steps.run("score without boxes", "evaluation.py", words, ["box"], 2)


def main() -> None:
    """Run the trial."""
    options = trial_options(
        __doc__,
        photos={"type": Path, "metavar": "FOLDER", "help": "real photos from which the odd ones are made"},
        keep={"type": Path, "metavar": "FOLDER", "help": "a new folder to work in, which is kept"},
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch, "garden")
        photos = real_photos(options.photos, options.seed) if options.photos else made_photos(options.seed)
        upright = make_garden(folder.resolve(), photos)
        steps = Steps(folder.resolve())

        def outcomes() -> Iterator[Outcome]:
            yield from with_boxes(steps, upright)
            yield from without_boxes(steps, upright)

        finish(outcomes(), options, "newcomer")


if __name__ == "__main__":
    main()
