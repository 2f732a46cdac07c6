"""The boxes of photos as the files that other programs read: COCO JSON and CSV.

In: rows, one per photo (`Localization.to_dict`), read once for each file, never held together. Out: `detections.json`,
`boxes.csv`, `unreadable.csv`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from wsol.core.csv_rows import csv_text
from wsol.core.files import whole_file
from wsol.photos.localization import OBJECT
from wsol.photos.parts import UNREADABLE, Row
from wsol.plots.gallery import ACCEPT, REJECT
from wsol.runs.predictor import Predictor

DETECTIONS, BOXES, UNREAD = "detections.json", "boxes.csv", "unreadable.csv"


@dataclass(frozen=True)
class Kept:
    """Which photos' boxes are written: all, or those that fulfil every condition that is given.

    min_confidence: of the class; min_expected_iou: of the box.
    verdicts: photo to accept or reject; those that a person rejected, or has not looked at, are left out.
    """

    min_confidence: float | None = None
    min_expected_iou: float | None = None
    verdicts: Mapping[str, str] | None = None

    def __call__(self, row: Row) -> bool:
        """Return whether a photo's boxes are written; what is not known fulfils no condition."""
        if UNREADABLE in row:
            return False
        for least, value in ((self.min_confidence, row["confidence"]), (self.min_expected_iou, row["expected_iou"])):
            if least is not None and (value is None or value < least):
                return False
        return self.verdicts is None or self.verdicts.get(row["file"]) == ACCEPT

    def verdict_counts(self, photos: Sequence[str]) -> str:
        """Return how many photos have which verdict, in words."""
        verdicts = self.verdicts or {}
        counts = Counter(verdicts.get(name) for name in photos)
        words = f"{counts[ACCEPT]} accepted, {counts[REJECT]} rejected, {counts[None]} without a verdict and left out"
        elsewhere = len(set(verdicts) - set(photos))
        return words + (f"; verdicts of files that are not among the photos: {elsewhere}" if elsewhere else "")


def categories(predictor: Predictor) -> list[dict[str, Any]]:
    """Return COCO's categories: id 1 + the class's label, its name, and as supercategory the class above it, or its own name
    if the checkpoint knows none."""
    if not predictor.classifies:
        return [{"id": 1, "name": OBJECT, "supercategory": OBJECT}]
    names = predictor.class_names
    above = [next(iter(predictor.ancestors_of(label).values()), name) for label, name in enumerate(names)]
    return [
        {"id": label + 1, "name": name, "supercategory": parent}
        for label, (name, parent) in enumerate(zip(names, above, strict=True))
    ]


def _annotations(rows: Iterable[tuple[int, Row]]) -> Iterator[dict[str, Any]]:
    number = 0
    for image_id, row in rows:
        for found in row["boxes"]:
            number += 1
            x0, y0, x1, y1 = found["box"]
            width, height = round(x1 - x0, 4), round(y1 - y0, 4)
            yield {
                "id": number,
                "image_id": image_id,
                "category_id": (row["class"] or 0) + 1,
                "bbox": [x0, y0, width, height],
                "area": round(width * height, 4),
                "iscrowd": 0,
                "score": found["score"],
                "class_confidence": row["confidence"],  # "confidence" is FiftyOne's name for the score
                **{name: row[name] for name in ("label_source", "expected_iou", "reaches_50")},
            }


def _write_list(file: IO[str], name: str, items: Iterable[Mapping[str, Any]], end: str) -> None:
    file.write(f'"{name}": [')
    for number, item in enumerate(items):
        file.write(("," if number else "") + "\n" + json.dumps(item, allow_nan=False))
    file.write(f"\n]{end}\n")


def write_detections(
    path: Path, rows: Callable[[], Iterable[Row]], kept: Kept, predictor: Predictor, info: Mapping[str, Any]
) -> None:
    """Write a COCO file: the kept photos as images, also those without a box, and their boxes as annotations with a score.

    A photo that is not kept is no image here, so that no program takes it for one without an object.

    A box [x, y, width, height] has the edges of boxes.csv. `rows` starts over at each call.
    """

    def wanted() -> Iterator[tuple[int, Row]]:
        return ((number, row) for number, row in enumerate(rows(), 1) if kept(row))

    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{\n"info": {json.dumps(dict(info), allow_nan=False)},\n')
        images = (
            {"id": number, "file_name": row["file"], "width": row["width"], "height": row["height"]}
            for number, row in wanted()
        )
        _write_list(file, "images", images, ",")
        _write_list(file, "annotations", _annotations(wanted()), ",")
        _write_list(file, "categories", categories(predictor), "\n}")


def write_boxes(path: Path, rows: Iterable[Row], kept: Kept, levels: Sequence[str], top_k: int) -> tuple[int, int]:
    """Write one line per box of the kept photos; return how many photos have a line, and how many boxes there are.

    A kept photo without a box has a line without edges. The columns of `levels` are the classes above the label.
    """
    others = [f"{name}_{number}" for number in range(2, top_k + 1) for name in ("label", "confidence")]
    header = ["file", "label", "confidence", "x0", "y0", "x1", "y1", "expected_iou", "reaches_50", "score", "label_source"]
    header += ["box", "width", "height", *levels, *others, "warnings"]
    photos = boxes = 0
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_text([header]))
        for row in rows:
            if not kept(row):
                continue
            photos += 1
            found = row["boxes"] or [{"box": [None] * 4, "score": None}]
            boxes += len(row["boxes"])
            top = [value for one in row["top"][1:] for value in one]
            top += [None] * (len(others) - len(top))
            about = [row["label_source"], None, row["width"], row["height"]]
            above = [row["ancestors"].get(level) for level in levels]
            for number, one in enumerate(found, 1):
                belief = [row["expected_iou"], row["reaches_50"]] if number == 1 else [None, None]
                about[1] = number if row["boxes"] else None
                known = [row["file"], row["label"], row["confidence"], *one["box"], *belief, one["score"], *about]
                file.write(csv_text([[*known, *above, *top, "; ".join(row["warnings"])]]))
    return photos, boxes


def write_unreadable(path: Path, rows: Iterable[Row]) -> list[str]:
    """Write the photos that could not be read, with the reason; return the reasons."""
    found = [(row["file"], row[UNREADABLE]) for row in rows if UNREADABLE in row]
    with whole_file(path) as temporary:
        temporary.write_text(csv_text([("file", "reason"), *found]), encoding="utf-8")
    return [reason for _, reason in found]
