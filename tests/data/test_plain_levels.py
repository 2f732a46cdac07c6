"""The readers of columns against plain_levels: the same result, or the same message."""

import numpy as np
import plain_levels
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset.label_levels import read_splits, write_levels
from wsol.core import columns
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.label_rows import rows_of_labels
from wsol.data.levels import (
    SPLITS,
    class_ancestors,
    label_tables,
    load_level,
    load_levels,
    read_class_names,
    read_levels,
)
from wsol.data.metadata import get_class_labels, get_image_ids

NAMES = ["a", "b c, d", "ü", "x/..y", "a..b", "e", "f", "g"]
IDS = st.sampled_from(NAMES)
WRONG = st.sampled_from(
    ["", ",", "a", "a,", ",3", "/a,1", "../a,1", "a/../b,2", "a,-1", "a,+1", "a, 1", "a,1.5", "a,\u0663"]
)
WRONG |= st.sampled_from(
    ["a,1,", "a,1234567890", "a,123456789", "a,00", "\ufeffa,1", "a\0,1", "a\rb,1", "\x85,1", "/", ".."]
)
LINES = st.lists(st.builds("{},{}".format, IDS, st.integers(0, 12)) | IDS | WRONG, max_size=10)


def outcome(function, *arguments, **options):
    """What a function returns, or the type and message of its refusal."""
    try:
        return function(*arguments, **options)
    except InputError as error:
        return type(error), str(error)


def as_tuple(data):
    if isinstance(data, tuple):
        return data
    splits = [(name, list(each.image_ids), each.labels.tolist(), each.subset) for name, each in data.splits.items()]
    assert all(each.labels.dtype == np.int64 for each in data.splits.values())
    return data.level, data.levels, data.class_names, data.file_labels, splits, data.notes


@given(LINES, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.integers(1, 30))
@example(["a,1", "a,2", "x"], True, "\n", b"", 1)
@example(["a,1", "x", "a,2"], True, "\n", b"", 1)
@example(["a,1", "a,1", "b\0,1"], True, "\n", b"", 1)
@settings(deadline=None)
def test_a_file_of_ids_or_labels(tmp_path_factory, lines, ends, line_end, mark, size):
    path = tmp_path_factory.mktemp("file") / "x.txt"
    path.write_bytes(mark + (line_end.join(lines) + line_end * (ends and bool(lines))).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "BLOCK", size)
        assert outcome(get_image_ids, {"image_ids": path}) == outcome(plain_levels.image_ids, path)
        labels = outcome(get_class_labels, {"class_labels": path})
    expected = outcome(plain_levels.class_labels, path)
    assert labels == expected
    assert isinstance(labels, tuple) or list(labels) == list(expected)  # the order of the file


@st.composite
def data_sets(draw):
    """Files of a data set of three levels, mostly consistent, of which some leave images out or have others."""
    levels = ["kind", "group", "all"]
    parents = [draw(st.lists(st.integers(0, 2), min_size=5, max_size=5)) for _ in levels[1:]]
    files = {"levels.txt": "".join(f"{level}\n" for level in levels)}
    for split in draw(st.sets(st.sampled_from(SPLITS), min_size=1)):
        ids = draw(st.lists(IDS, unique=True, min_size=draw(st.sampled_from([0, 4, 4, 4, 4])), max_size=8))
        labels = {image_id: draw(st.integers(0, 4)) for image_id in ids}
        order = draw(st.permutations(ids)) if draw(st.booleans()) else ids
        files[f"{split}/image_ids.txt"] = "".join(f"{image_id}\n" for image_id in order)
        files[f"{split}/class_labels.txt"] = "".join(f"{image_id},{label}\n" for image_id, label in labels.items())
        for above, level in zip(parents, levels[1:], strict=True):
            labels = {image_id: above[label] for image_id, label in labels.items()}
            if draw(st.integers(0, 2)) == 0:
                labels = {image_id: labels[image_id] for image_id in draw(st.permutations(list(labels)))[1:]}
            if draw(st.integers(0, 9)) == 0:
                labels[draw(IDS)] = draw(st.integers(0, 3))
            files[f"{split}/class_labels_{level}.txt"] = "".join(f"{i},{label}\n" for i, label in labels.items())
            labels = {image_id: label for image_id, label in labels.items() if label < 5}
    if draw(st.booleans()):
        files["class_names_group.txt"] = "".join(f"g{label},{label}\n" for label in draw(st.permutations(range(3))))
    for name in draw(st.sets(st.sampled_from(sorted(files)), max_size=1)) if draw(st.integers(0, 3)) == 0 else ():
        files[name] += draw(st.sampled_from(["x\n", "\n", "a\0\n", "../b\n", "a,1\n", "a,1\na,1\n"]))
    return files


def write(root, files):
    for name, text in files.items():
        write_text(root / "D" / name, text)
    return root / "D"


@given(data_sets(), st.data())
@settings(deadline=None, max_examples=40)
def test_a_data_set_at_its_levels(tmp_path_factory, files, data):
    root = tmp_path_factory.mktemp("root")
    folder = write(root, files)
    if not isinstance(levels := outcome(read_levels, folder), list):
        return
    splits = [split for split in SPLITS if f"{split}/image_ids.txt" in files]
    asked = data.draw(st.sets(st.sampled_from(splits), min_size=1).map(sorted))
    drawn = data.draw(st.tuples(*[st.integers(0, 2)] * 3, st.sampled_from(["trained", "finest"])))
    expected = {level: as_tuple(outcome(plain_levels.load_level, root, "D", level, asked)) for level in levels}
    for level in levels:
        assert as_tuple(outcome(load_level, root, "D", level, asked)) == expected[level]
        options = dict(zip(("seed", "num_val", "num_train", "train_sample_level"), drawn, strict=True))
        plain = as_tuple(outcome(plain_levels.load_level, root, "D", level, asked, **options))
        options = {name + "_sample_per_class" * name.startswith("num"): value for name, value in options.items()}
        assert as_tuple(outcome(load_level, root, "D", level, asked, **options)) == plain
    every = load_levels(root, "D", asked)
    for level in levels:
        one = as_tuple(outcome(next, every))
        assert one == expected[level]
        if len(one) == 2:  # a refusal ends the levels
            break
    for level, coarser in zip(levels, levels[1:] + levels[-1:], strict=True):
        plain = outcome(plain_levels.class_ancestors, root, "D", level, coarser)
        assert outcome(class_ancestors, root, "D", level, coarser) == plain
    tables = outcome(lambda: {split: label_tables(folder, split) for split in SPLITS})
    if isinstance(tables, dict):

        def rows() -> list:
            names = {level: read_class_names(folder, level) for level in levels}
            return rows_of_labels(folder, levels, tables, names)

        assert outcome(rows) == outcome(plain_levels.rows_of_labels, folder, levels)


@given(st.dictionaries(IDS, st.integers(0, 3)), st.lists(st.sampled_from(["", "g", "h"]), min_size=4, max_size=4))
@settings(deadline=None)
def test_the_files_of_levels(tmp_path_factory, labels, groups):
    folder = tmp_path_factory.mktemp("D")
    write_text(folder / "test/class_labels.txt", "".join(f"{image_id},{label}\n" for image_id, label in labels.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataset.label_levels.AT_ONCE", 3)
        write_levels(folder, ("kind", "group"), [(f"k{i}", group) for i, group in enumerate(groups)], read_splits(folder))
    number = {name: label for label, name in enumerate(dict.fromkeys(filter(None, groups)))}
    lines = [f"{image_id},{number[groups[label]]}\n" for image_id, label in labels.items() if groups[label]]
    assert (folder / "test/class_labels_group.txt").read_text() == "".join(lines)
