"""The commands of docs/tutorial.md, as they stand there, on the real photos; only the epochs are fewer."""

import csv
import re
import subprocess
import sys

import pytest

from conftest import CHECKOUT

DONE_BEFORE = ("mkdir -p pets", "tar ", "pip ")  # what a reader fetches and installs


def commands():
    """Return the lines of the page's code blocks."""
    text = (CHECKOUT / "docs/tutorial.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [line for line in lines if not line.startswith(DONE_BEFORE)]


def on_this_checkout(line):
    """Return a line as it is run here."""
    line = re.sub(r"\bpython (?=[a-z_/]+\.py)", f"{sys.executable} {CHECKOUT}/", line)
    line = re.sub(r"\bpython (?=-c)", f"{sys.executable} ", line)
    return re.sub(r"--epochs \d+", "--epochs 1 --workers 0", line)


def bash(lines, folder):
    """Run lines in one shell in the folder; return what they print."""
    script = "\n".join(("set -e -o pipefail", *map(on_this_checkout, lines)))
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_tutorial_from_photos_to_a_detector(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "pets").symlink_to(shared / "data/oxford-iiit-pet-mini")
    lines = commands()
    look = next(number for number, line in enumerate(lines) if "--keep" in line)
    printed = bash(lines[:look], tmp_path)
    assert "level breed: 3 classes" in printed and "level species: 2 classes" in printed
    assert "MaxBoxAccV2" in printed and "center" in printed.lower() and "calibration" in printed
    with (tmp_path / "boxes/boxes.csv").open(encoding="utf-8", newline="") as file:
        found = [row["file"] for row in csv.DictReader(file)]
    assert sorted(found) == sorted(path.name for path in (tmp_path / "new").iterdir()) and found
    assert (tmp_path / "boxes/gallery.html").is_file()
    (tmp_path / "verdicts.csv").write_text("file,verdict\n" + "".join(f'"{name}",accept\n' for name in found[::2]))
    shell = [line for line in lines[:look] if line.startswith(("W=", "NETWORK="))]  # a new shell has lost its variables
    scored = bash([*shell, *lines[look:]], tmp_path)
    with (tmp_path / "boxes/boxes.csv").open(encoding="utf-8", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == found[::2]
    assert len(re.findall(r"MyPets test, .*detections\.json\nMaxBoxAccV2", scored)) == 2
