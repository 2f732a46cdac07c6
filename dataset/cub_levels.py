"""The levels of CUB: category, species, genus, family, order, from our table metadata/hierarchies/cub.csv.

188 of the 200 categories are a single species; the other 12 are absent from the coarser levels (the paper used 184, which it
does not list: a mapping published later resolves four more). All birds belong to one class, Aves, so class is not a level.
"""

from pathlib import Path

from dataset import label_levels
from wsol.core.csv_rows import read_rows

TABLE = Path(__file__).resolve().parent.parent / "metadata" / "hierarchies" / "cub.csv"


def write_levels(folder: Path, splits: label_levels.Splits) -> list[str]:
    """Write class_labels_<level>.txt, class names, levels.txt and hierarchy.csv of metadata/CUB; return the level names.

    `splits`: split to image id to category, 0 to 199 in CUB's order.
    """
    levels, rows = read_rows(TABLE)
    label_levels.write_levels(folder, levels, [row for _, row in rows], splits)
    return levels
