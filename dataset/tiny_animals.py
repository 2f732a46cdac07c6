"""TinyAnimals: the 59 animals of TinyImageNet with our own biological taxonomy: category, order, class, phylum.

A consistent hierarchy over real images with boxes, small enough for a laptop. Images, boxes and splits are those of
TinyImageNet; the taxonomy is metadata/hierarchies/tiny_animals.csv, which notes what is doubtful.
"""

from pathlib import Path

from dataset import tiny_imagenet
from dataset.layout import write_metadata
from wsol.core.csv_rows import read_rows

NAME = "TinyAnimals"
LEVELS = ("category", "order", "class", "phylum")
TABLE = Path(__file__).resolve().parent.parent / "metadata" / "hierarchies" / "tiny_animals.csv"


def taxonomy() -> dict[str, list[str]]:
    """Return synset to its class name at every level, finest first."""
    _, rows = read_rows(TABLE, ("synset", *LEVELS, "note"))
    return {row[0]: row[1:-1] for _, row in rows}


def prepare(archives: list[Path], folder: Path, metadata: Path, splits: list[str]) -> list[str]:
    """Lay out the images of animals in `folder` and write `metadata`; return what was left out, and why."""
    classes, entries, left_out = tiny_imagenet.collect(archives, folder, splits, taxonomy())
    write_metadata(metadata, LEVELS, list(classes.values()), entries)
    return [f"left out: {line}" for line in left_out]
