"""Tables as files and as Markdown, class ranks, and the rows of curves."""

import numpy as np
import pytest
from pyarrow import parquet

from samples import BOTH, read_csv
from wsol.core.errors import InputError, MetadataError
from wsol.core.files import write_text
from wsol.data.truth import SplitTruth
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.runs.run_tables import (
    check_table_path,
    curve_rows,
    markdown_table,
    read_class_ranks,
    write_class_ranks,
    write_table,
)

ROWS = [{"level": "genus, or so", "images": 3, "figure": 50.25}, {"level": "order", "images": 2, "figure": None}]


def test_a_table_is_the_same_as_csv_and_as_parquet(tmp_path):
    write_table(tmp_path / "t.csv", ROWS)
    assert read_csv(tmp_path / "t.csv") == [
        {"level": "genus, or so", "images": "3", "figure": "50.25"},
        {"level": "order", "images": "2", "figure": ""},
    ]
    write_table(tmp_path / "t.parquet", ROWS)
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == ROWS


def test_a_column_without_any_number_is_one_of_numbers(tmp_path):
    write_table(tmp_path / "t.parquet", [{"figure": None}])
    assert str(parquet.read_table(tmp_path / "t.parquet").schema.field("figure").type) == "double"


def test_a_markdown_table_leaves_empty_columns_out():
    lines = markdown_table([{**row, "empty": None} for row in ROWS]).split("\n")
    assert [line.replace(" ", "") for line in lines] == [
        "|level|images|figure|",
        f"|{'-' * 14}|{'-' * 8}|{'-' * 8}|",
        "|genus,orso|3|50.2|",
        "|order|2||",
    ]


@pytest.mark.parametrize("name", ["t.txt", "csv", "t.csv.gz"])
def test_a_table_of_no_known_kind_is_refused(name):
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        check_table_path("curve", name)


def test_class_ranks_are_read_as_written(tmp_path):
    ranks = {"a.jpg": 3, "x, y/b.jpg": 0}
    write_class_ranks(tmp_path / "r.csv", ranks)
    assert read_class_ranks(tmp_path / "r.csv") == ranks
    write_text(tmp_path / "r.csv", "image_id,rank\na.jpg,1\na.jpg,1\n")
    with pytest.raises(MetadataError, match=r"r\.csv:3: duplicate 'a\.jpg'"):
        read_class_ranks(tmp_path / "r.csv")


def test_a_curve_has_the_accuracy_at_every_threshold(two_images, tmp_path):
    evaluator = SplitEvaluator(SplitTruth.read(tmp_path / "metadata", tmp_path, "D", "val"), 0.1, [30, 50], True)
    for image_id in BOTH:
        evaluator.accumulate(np.eye(8), image_id)
    rows = curve_rows(evaluator)
    assert [row["threshold"] for row in rows] == evaluator.require_boxes().cam_threshold_list
    for iou, accuracy in evaluator.results()["MaxBoxAcc"].items():
        assert max(row[f"MaxBoxAcc{iou}"] for row in rows) == accuracy
    assert all(row["mean"] == (row["MaxBoxAcc30"] + row["MaxBoxAcc50"]) / 2 for row in rows)
