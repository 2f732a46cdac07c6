"""Statistics of a data set: images per category at every level, imbalance, box sizes (Cole et al., Table 1, appendix 0.D).

In: the files of `metadata/<dataset>`. Out: numbers, and rows of tables; no image is opened.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from wsol.core.errors import InputError
from wsol.data.levels import SPLITS, label_tables, read_class_names
from wsol.data.metadata import configure_metadata, get_bounding_boxes, get_fitting_sizes, has_boxes, read_ids


def splits_of(folder: Path) -> list[str]:
    """Return the splits that a data set has; raise InputError if there are none."""
    found = [split for split in SPLITS if (folder / split / "image_ids.txt").exists()]
    if not found:
        raise InputError(f"{folder}: no split with image_ids.txt; expected one or more of {', '.join(SPLITS)}")
    return found


def named_counts(folder: Path, split: str) -> dict[str, list[tuple[str, int]]]:
    """Return level to its categories as (name, images), most images first; finest level first.

    A category of class_names without an image in the split has 0; one without a name is called by its label.
    """
    ids = read_ids(configure_metadata(folder / split)["image_ids"])
    counts = {}
    for level, table in label_tables(folder, split, ids).items():
        names = read_class_names(folder, level)
        labels = table.at(ids)
        found = Counter(labels[labels >= 0].tolist())
        found.update(dict.fromkeys(names, 0))
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        counts[level] = [(names.get(label, str(label)), number) for label, number in ordered]
    return counts


def images_per_category(folder: Path, split: str) -> dict[str, np.ndarray]:
    """Return level to its images per category, int64, descending; finest level first.

    A category of class_names without an image in the split has 0.
    """
    return {
        level: np.array([count for _, count in counts], dtype=np.int64)
        for level, counts in named_counts(folder, split).items()
    }


def imbalance(counts: np.ndarray) -> float | None:
    """Return the size of the largest category divided by that of the smallest; None if the smallest is empty.

    >>> imbalance(np.array([300, 50, 6]))
    50.0
    """
    return float(counts.max() / counts.min()) if counts.min() else None


def split_rows(folder: Path) -> list[dict]:
    """Return Table 1 of a data set: a row per split, with categories and images per category at the finest level."""
    rows = []
    for split in splits_of(folder):
        counts = next(iter(images_per_category(folder, split).values()), None)
        if counts is None:
            raise InputError(f"{folder / split}: no class labels; expected class_labels.txt for images per category")
        row = {"data set": folder.name, "split": split, "categories": len(counts)}
        rows.append(row | {"min": int(counts.min()), "max": int(counts.max()), "mean": float(counts.mean())})
        rows[-1]["total"] = int(counts.sum())
    return rows


def level_rows(folder: Path, split: str) -> list[dict]:
    """Return Table A1 of a split: a row per level, finest first, with categories, images per category and imbalance."""
    return [
        {
            "data set": folder.name,
            "split": split,
            "level": level,
            "categories": len(counts),
            "min": int(counts.min()),
            "max": int(counts.max()),
            "mean": float(counts.mean()),
            "imbalance": imbalance(counts),
        }
        for level, counts in images_per_category(folder, split).items()
    ]


def relative_box_areas(folder: Path, split: str) -> np.ndarray:
    """Return the share of its image's area that each box covers, float64 in [0, 1], ascending (Figure A6); empty if the
    split has no boxes."""
    metadata = configure_metadata(folder / split)
    if not has_boxes(metadata):
        return np.array([], dtype=np.float64)
    boxes = get_bounding_boxes(metadata)
    sizes = get_fitting_sizes(metadata, boxes)
    shares = [
        (x1 - x0) * (y1 - y0) / (sizes[image_id][0] * sizes[image_id][1])
        for image_id, image_boxes in boxes.items()
        for x0, y0, x1, y1 in image_boxes
    ]
    return np.sort(np.array(shares, dtype=np.float64))
