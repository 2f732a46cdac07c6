"""Tables of an evaluation as files: rows of one shape to CSV or Parquet, and the rows of curves and of classes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsol.core.csv_rows import csv_text, read_rows
from wsol.core.errors import MetadataError, OptionError, shortened
from wsol.core.files import whole_file, write_text
from wsol.data.levels import labels_by_level, read_class_names
from wsol.data.metadata import is_whole_number
from wsol.metrics.split_evaluator import SplitEvaluator

TABLE_EXTENSIONS = (".csv", ".parquet")
RANKS_HEADER = ("image_id", "rank")


def check_table_path(name: str, path: str | os.PathLike) -> None:
    """Raise OptionError if a file name ends in neither .csv nor .parquet."""
    if Path(path).suffix not in TABLE_EXTENSIONS:
        raise OptionError(name, path, f"expected a file name that ends in {' or '.join(TABLE_EXTENSIONS)}")


def write_table(path: str | os.PathLike, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of the same columns as .csv (None: an empty field) or .parquet, by the file's extension."""
    if Path(path).suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        columns = {name: pyarrow.array([row[name] for row in rows]) for name in rows[0]}
        for name, column in columns.items():
            if pyarrow.types.is_null(column.type):  # a column without any number is still one of numbers
                columns[name] = column.cast(pyarrow.float64())
        with whole_file(path) as temporary:
            pyarrow.parquet.write_table(pyarrow.table(columns), str(temporary))
        return
    write_text(path, csv_text([rows[0], *([row[name] for name in rows[0]] for row in rows)]))


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as a Markdown table, fractions with one decimal; empty columns are left out."""
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]

    def cell(value: object) -> str:
        return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)

    cells = [columns, *([cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def write_class_ranks(path: str | os.PathLike, ranks: Mapping[str, int]) -> None:
    """Write image id to the rank of its true class among the logits (0: top) as a CSV that `read_class_ranks` takes."""
    write_table(path, [dict(zip(RANKS_HEADER, item, strict=True)) for item in ranks.items()])


def read_class_ranks(path: str | os.PathLike) -> dict[str, int]:
    """Return image id to the rank of its true class among the logits (0: top), from a CSV of image_id, rank."""
    ranks: dict[str, int] = {}
    for number, (image_id, rank) in read_rows(path, RANKS_HEADER)[1]:
        if not (image_id and is_whole_number(rank)):
            row = shortened(f"{image_id},{rank}", 300)
            raise MetadataError(f"{path}:{number}: {row!r}; expected a header and lines of image_id,rank")
        if image_id in ranks:
            raise MetadataError(f"{path}:{number}: duplicate {image_id!r}; expected unique ids")
        ranks[image_id] = int(rank)
    return ranks


def curve_rows(evaluator: SplitEvaluator) -> list[dict]:
    """Return one row per score-map threshold: accuracy in percent at every IoU threshold and their mean; precision and
    recall of the pixels at or above it, if there are masks; no row without either."""
    if not evaluator.truth.has_any:
        return []
    thresholds = (evaluator.boxes or evaluator.require_masks()).cam_threshold_list
    rows: list[dict] = [{"threshold": threshold} for threshold in thresholds]
    if boxes := evaluator.boxes:
        accuracies = {iou: boxes.num_correct[iou] * 100.0 / boxes.cnt for iou in boxes.iou_threshold_list}
        for i, row in enumerate(rows):
            row |= {f"MaxBoxAcc{iou:g}": float(values[i]) for iou, values in accuracies.items()}
            row["mean"] = float(np.mean([values[i] for values in accuracies.values()]))
    if masks := evaluator.masks:
        true, false = (hist[::-1].cumsum()[::-1] for hist in (masks.gt_true_score_hist, masks.gt_false_score_hist))
        for i, row in enumerate(rows):
            predicted = true[i] + false[i]
            row["precision"] = float(100 * true[i] / predicted) if predicted else None
            row["recall"] = float(100 * true[i] / true[0]) if true[0] else None
    return rows


@dataclass
class LevelClasses:
    """One label level of a split: image id to label, and label to name (empty if classes have none)."""

    level: str
    labels: dict[str, int]
    names: dict[int, str]


def read_classes(dataset_folder: Path, split: str) -> list[LevelClasses]:
    """Return a split's classes at every label level, finest first.

    Raises:
        MetadataError: no level has labels, or a file breaks the format.
    """
    tables = labels_by_level(dataset_folder, split)
    if not tables:
        raise MetadataError(f"{dataset_folder / split}/class_labels.txt: no labels; expected one for every image")
    return [LevelClasses(level, labels, read_class_names(dataset_folder, level)) for level, labels in tables.items()]


def class_rows(
    evaluator: SplitEvaluator, levels: Sequence[LevelClasses], thresholds: Mapping[str, float] | None
) -> list[dict]:
    """Return one row per class of every label level, finest level first: its images and its accuracy in percent.

    Accuracy is at the split's own score-map threshold of every IoU threshold, one for all classes, and, where `thresholds`
    has val's, at those too. After the classes of a level comes their unweighted mean, as class `(mean)`.
    """
    boxes = evaluator.require_boxes()
    ious = [f"{iou:g}" for iou in boxes.iou_threshold_list]
    places = {"": {iou: boxes.best_index(iou) for iou in boxes.iou_threshold_list}}
    if thresholds:
        places["_at_val_threshold"] = evaluator.positions(thresholds)
    right = {
        f"MaxBoxAcc{name}{suffix}": boxes.correct_at(iou, positions[iou])
        for suffix, positions in places.items()
        for name, iou in zip(ious, boxes.iou_threshold_list, strict=True)
    }
    rows: list[dict] = []
    for one in levels:
        members: dict[int, list[str]] = {}
        for image_id in evaluator.scored_ids:
            if image_id in one.labels:
                members.setdefault(one.labels[image_id], []).append(image_id)
        level_rows = []
        for label in sorted(members):
            row: dict = {"level": one.level, "class": one.names.get(label, str(label)), "images": len(members[label])}
            row |= {name: 100 * sum(table[i] for i in members[label]) / row["images"] for name, table in right.items()}
            for suffix in places:
                row[f"mean{suffix}"] = float(np.mean([row[f"MaxBoxAcc{iou}{suffix}"] for iou in ious]))
            level_rows.append(row)
        if level_rows:
            mean: dict = {"level": one.level, "class": "(mean)", "images": sum(row["images"] for row in level_rows)}
            mean |= {name: float(np.mean([row[name] for row in level_rows])) for name in list(level_rows[0])[3:]}
            rows += [*level_rows, mean]
    return rows
