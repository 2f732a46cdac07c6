"""Metadata files to typed tables: ids, labels, sizes, boxes, mask paths.

In: `metadata/<dataset>/<split>/*.txt` (the format of wsolevaluation, with masks added; docs/metadata.md). Out: dictionaries
by image id. Anything that breaks the format raises MetadataError with file, line and what was expected.
"""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow
from munch import Munch
from pyarrow import compute

from wsol.core.columns import line_blocks
from wsol.core.errors import BoxError, InputError, MetadataError, did_you_mean, shortened
from wsol.core.files import read_lines
from wsol.data.image_ids import Collector, ImageIds, Labels

Box = tuple[int, int, int, int]
MOST_DIGITS = 9  # of a label or a size; Python refuses numbers of thousands of digits
SWAP_EVIDENCE = 10  # boxes that must contradict the documented order of width and height before the other is considered


def dataset_folder(metadata_root: str | os.PathLike, dataset_name: str) -> Path:
    """Return the folder of a data set's metadata.

    Raises:
        InputError: there is none; the message names a similar data set, and all of them.
    """
    root = Path(metadata_root)
    folder = root / dataset_name
    if not folder.is_dir():
        found = dataset_names(root)
        there = f"{root} has {', '.join(found)}" if found else f"{root} has no data set"
        raise InputError(f"{folder}: no metadata of a data set {dataset_name!r}{did_you_mean(dataset_name, found)}; {there}")
    return folder


def dataset_names(metadata_root: str | os.PathLike) -> list[str]:
    """Return the names of the data sets in a folder: its subfolders that have a split with image_ids.txt."""
    return sorted({path.parent.parent.name for path in Path(metadata_root).glob("*/*/image_ids.txt")})


def configure_metadata(metadata_root: str | os.PathLike) -> Munch:
    """Return the paths of a split's files, as a mapping with attributes; nothing is read yet.

    >>> configure_metadata("metadata/Toy/val").class_labels
    'metadata/Toy/val/class_labels.txt'
    """
    folder = str(metadata_root)
    names = ("image_ids", "image_ids_proxy", "class_labels", "image_sizes", "localization")
    return Munch({name: os.path.join(folder, f"{name}.txt") for name in names})


def is_whole_number(text: str) -> bool:
    """Return whether a field is a whole number, 0 or more, of at most nine ASCII digits (other scripts have digits too)."""
    return len(text) <= MOST_DIGITS and text.isascii() and text.isdecimal()


def _unique(path: str | os.PathLike, number: int, seen: Mapping, image_id: str) -> None:
    if image_id in seen:
        raise MetadataError(f"{path}:{number}: duplicate id {image_id!r}; expected unique ids")


def _whole_numbers(path: str | os.PathLike, number: int, line: str, count: int, expected: str) -> tuple[str, list[int]]:
    """Split `path,n1,...` from the right into the path and `count` whole numbers."""
    name, *fields = line.rsplit(",", count)
    if len(fields) == count and name and all(is_whole_number(value.removeprefix("-")) for value in fields):
        return name, [int(value) for value in fields]
    raise MetadataError(f"{path}:{number}: {shortened(repr(line), 300)}; expected {expected}")


def _check_inside(path: str | os.PathLike, number: int, name: str) -> None:
    """Raise MetadataError for a path that points outside its root: maps are written under image ids."""
    if not name or name.startswith("/") or (".." in name and ".." in PurePosixPath(name).parts):
        raise MetadataError(f"{path}:{number}: {name!r}; expected a path relative to the data set's folder")


def _raise_first(path: str | os.PathLike, ids: ImageIds, is_known: bool, wrong: MetadataError | None) -> None:
    """Raise MetadataError for the first id that is there twice, or else `wrong`, which is about a later line; a file that is
    not UTF-8 or has a NUL is refused for that instead."""
    duplicate = None if is_known else ids.first_duplicate()
    if duplicate is not None:
        read_lines(path)
        raise MetadataError(f"{path}:{duplicate + 1}: duplicate id {ids[duplicate]!r}; expected unique ids")
    if wrong is not None:
        read_lines(path)
        raise wrong


def read_ids(path: str | os.PathLike, like: Sequence[ImageIds] = ()) -> ImageIds:
    """Return the ids of a file in the format of image_ids.txt, in file order. `like`: ids of which these may be the same."""
    collector, wrong = Collector(like), None
    for lines in line_blocks(path):
        suspect = compute.or_(compute.starts_with(lines, "/"), compute.match_substring(lines, ".."))
        suspect = compute.or_(suspect, compute.equal(lines, ""))
        for i in compute.indices_nonzero(suspect).to_pylist():
            try:
                _check_inside(path, collector.size + i + 1, lines[i].as_py())
            except MetadataError as error:
                wrong, lines = error, lines.slice(0, i)
                break
        collector.add(lines)
        if wrong:
            break
    ids, is_known = collector.ids()
    _raise_first(path, ids, is_known, wrong)
    return ids


def _split_labels(lines: pyarrow.StringArray) -> tuple[pyarrow.StringArray, np.ndarray]:
    """Return (ids, labels int32) of lines path,label; of those before the first that is malformed."""
    fields = compute.split_pattern(lines, ",", max_splits=1, reverse=True)
    texts, whole = fields.flatten(), len(lines)
    if len(texts) < 2 * whole:  # one or two fields each
        whole = _before_false(compute.equal(compute.list_value_length(fields), 2))
    ids, labels = (texts.take(pyarrow.array(np.arange(start, 2 * whole, 2, dtype=np.int32))) for start in (0, 1))
    is_short = compute.less_equal(compute.binary_length(labels), MOST_DIGITS)
    good = compute.and_(compute.and_(compute.ascii_is_decimal(labels), is_short), compute.not_equal(ids, ""))
    count = _before_false(good)
    return ids.slice(0, count), labels.slice(0, count).cast(pyarrow.int32()).to_numpy()


def _before_false(good: pyarrow.BooleanArray) -> int:
    """Return how many values there are before the first that is false."""
    first = compute.index(good, False).as_py()
    return len(good) if first < 0 else first


def read_labels(path: str | os.PathLike, like: Sequence[ImageIds] = ()) -> Labels:
    """Return the labels of `class_labels.txt`, or of another level's file. `like`: ids of which these may be the same."""
    collector, values, wrong = Collector(like), [np.empty(0, dtype=np.int32)], None
    for lines in line_blocks(path):
        ids, labels = _split_labels(lines)
        collector.add(ids)
        values.append(labels)
        if len(ids) < len(lines):
            wrong = MetadataError(
                f"{path}:{collector.size + 1}: {shortened(repr(lines[len(ids)].as_py()), 300)}; expected path,label with a "
                f"label of 0 or more (at most {MOST_DIGITS} digits)"
            )
            break
    ids, is_known = collector.ids()
    _raise_first(path, ids, is_known, wrong)
    return Labels(ids, np.concatenate(values))


def get_image_ids(metadata: Mapping, proxy: bool = False) -> list[str]:
    """Return the image ids of a split (relative paths) in file order; `proxy`: of the proxy training set."""
    return list(read_ids(metadata["image_ids_proxy" if proxy else "image_ids"]))


def get_class_labels(metadata: Mapping) -> dict[str, int]:
    """Return image id to integer label, from `class_labels.txt` or the file of another level."""
    return read_labels(metadata["class_labels"]).to_dict()


def get_image_sizes(metadata: Mapping) -> dict[str, tuple[int, int]]:
    """Return image id to (width, height) in pixels; empty if the data set has no sizes."""
    path = metadata["image_sizes"]
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(read_lines(path, optional=True), 1):
        expected = "path,width,height with sizes of 1 or more"
        image_id, (width, height) = _whole_numbers(path, number, line, 2, expected)
        if width < 1 or height < 1:
            raise MetadataError(f"{path}:{number}: {line!r}; expected {expected}")
        _unique(path, number, sizes, image_id)
        sizes[image_id] = (width, height)
    return sizes


def _names_a_mask(line: str) -> bool:
    """Return whether a line is path,mask,ignore, not path,x0,y0,x1,y1 or a malformed box: its second to last field is not a
    number."""
    fields = line.rsplit(",", 2)
    try:
        float(fields[-2] if len(fields) == 3 else "nan")
    except ValueError:
        return True
    return False


def get_bounding_boxes(metadata: Mapping) -> dict[str, list[Box]]:
    """Return image id to its boxes (x0, y0, x1, y1) in pixels; empty if there are none.

    Raises:
        MetadataError: a line is not a path and four whole numbers.
        BoxError: a negative edge, x1 < x0 or y1 < y0 (also a RuntimeError, as in wsolevaluation).
    """
    path = metadata["localization"]
    boxes: dict[str, list[Box]] = {}
    for number, line in enumerate(read_lines(path, optional=True), 1):
        expected = "path,x0,y0,x1,y1 in whole pixels with 0 <= x0 <= x1 and 0 <= y0 <= y1"
        image_id, (x0, y0, x1, y1) = _whole_numbers(path, number, line, 4, expected)
        if x0 < 0 or y0 < 0 or x1 < x0 or y1 < y0:
            raise BoxError(f"{path}:{number}: {line!r}; expected {expected}")
        boxes.setdefault(image_id, []).append((x0, y0, x1, y1))
    return boxes


def _mask_file(metadata: Mapping) -> str:
    """Return the file that lists masks: masks.txt next to localization.txt if it exists, else localization.txt."""
    masks = os.path.join(os.path.dirname(metadata["localization"]), "masks.txt")
    return masks if os.path.lexists(masks) else metadata["localization"]


def get_mask_paths(metadata: Mapping) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return (image id to its instance masks, image id to its ignore mask or ""), as paths relative to the mask root."""
    path = _mask_file(metadata)
    masks: dict[str, list[str]] = {}
    ignores: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, optional=True), 1):
        fields = line.rsplit(",", 2)
        if len(fields) != 3 or not fields[0]:
            raise MetadataError(f"{path}:{number}: {line!r}; expected path,mask,ignore")
        image_id, mask, ignore = fields
        for name in (mask, ignore) if ignore else (mask,):
            _check_inside(path, number, name)
        if image_id not in masks:
            masks[image_id], ignores[image_id] = [], ignore
        elif ignore:
            raise MetadataError(f"{path}:{number}: {ignore!r}; expected the ignore mask on the image's first line only")
        masks[image_id].append(mask)
    return masks, ignores


def has_boxes(metadata: Mapping) -> bool:
    """Return whether a split has true boxes."""
    return any(not _names_a_mask(line) for line in read_lines(metadata["localization"], optional=True)[:1])


def has_masks(metadata: Mapping) -> bool:
    """Return whether a split has true masks."""
    path = _mask_file(metadata)
    lines = read_lines(path, optional=True)[:1]
    return bool(lines) if path != metadata["localization"] else any(map(_names_a_mask, lines))


def get_fitting_sizes(metadata: Mapping, boxes: Mapping[str, list[Box]]) -> dict[str, tuple[int, int]]:
    """Return image id to (width, height), checked so that all boxes fit.

    A file of path,height,width is recognised by its boxes, and read as such with a warning: ten or more extend beyond their
    image in the documented order, path,width,height, and none in the other.

    Raises:
        BoxError: boxes extend beyond their image in both orders, or too few do to conclude that the columns are swapped.
    """
    sizes = get_image_sizes(metadata)
    pairs = [(sizes[image_id], box) for image_id, image_boxes in boxes.items() if image_id in sizes for box in image_boxes]
    outside = sum(x1 > width or y1 > height for (width, height), (_, _, x1, y1) in pairs)
    fits_swapped = not any(x1 > height or y1 > width for (width, height), (_, _, x1, y1) in pairs)
    if outside >= SWAP_EVIDENCE and fits_swapped:
        warnings.warn(
            f"{metadata['image_sizes']}: read as path,height,width, not path,width,height as documented: {outside} of "
            f"{len(pairs)} boxes extend beyond their image in the documented order, none in this one",
            stacklevel=2,
        )
        sizes = {image_id: (width, height) for image_id, (height, width) in sizes.items()}
    check_boxes_fit(metadata, boxes, sizes)
    return sizes


def check_boxes_fit(metadata: Mapping, boxes: Mapping[str, list[Box]], sizes: Mapping[str, tuple[int, int]]) -> None:
    """Check that every box is inside its image; an edge may equal the width or height.

    Raises:
        MetadataError: the image of a box has no size.
        BoxError: a box extends beyond its image.
    """
    for image_id, image_boxes in boxes.items():
        if image_id not in sizes:
            raise MetadataError(f"{metadata['image_sizes']}: no line for {image_id!r}, which has a box")
        width, height = sizes[image_id]
        for box in image_boxes:
            if box[2] > width or box[3] > height:
                text = ",".join(map(str, box))
                number = read_lines(metadata["localization"]).index(f"{image_id},{text}") + 1
                where = f"{metadata['localization']}:{number}"
                raise BoxError(f"{where}: box {text} of {image_id!r}; expected it inside the {width} x {height} image")


def read_id_list(path: str | os.PathLike, known: Iterable[str] | None = None, what: str = "") -> list[str]:
    """Return the image ids of a file in the format of image_ids.txt; with `known`, the ids of `what`, no others are allowed.

    Raises:
        MetadataError: no ids, or a duplicate or unknown one.
    """
    image_ids = get_image_ids({"image_ids": path})
    if not image_ids:
        raise MetadataError(f"{path}: no image ids; expected one per line")
    if known is not None:
        known = set(known)
        unknown = [(number, image_id) for number, image_id in enumerate(image_ids, 1) if image_id not in known]
        if unknown:
            lines = [f"{number}: {image_id}" for number, image_id in unknown]
            raise MetadataError(
                f"{path}:{unknown[0][0]}: {unknown[0][1]!r} is not an image of {what}; expected ids as in "
                f"image_ids.txt, but {len(unknown)} of {len(image_ids)} are not:{first_names(lines)}"
            )
    return image_ids


def first_names(names: Sequence[str], limit: int = 10) -> str:
    """Return up to `limit` names for a message, one per line, and how many more there are."""
    more = [f"... and {len(names) - limit} more"] if len(names) > limit else []
    return "\n  ".join(["", *names[:limit], *more])
