"""A folder of photos and what they show: which files are images, their labels, duplicates and sizes.

In: a folder, with a table of labels or one subfolder per class. Out: relative paths with labels, groups and sizes, and a
report of what was left out.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset.annotations import IMAGE_SUFFIXES, UNREAD_SUFFIXES, Names
from dataset.orientation import Photo, read_photo
from dataset.tables import Table, TableOptions, find_role, has_image, need_image, open_table
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.core.folders import files_below
from wsol.core.progress import progress
from wsol.data.hierarchy import check_level_names
from wsol.data.metadata import first_names

SHOWN = 5  # printed names per kind


class Report:
    """What was found: lines, then names by kind, the first few of each. Printed after all work is done, so that a closed
    output does not stop it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.kinds: dict[str, list[str]] = {}

    def add(self, kind: str, names: list[str]) -> None:
        """Note names of one kind."""
        self.kinds.setdefault(kind, []).extend(names)

    def names(self, most: int | None = SHOWN) -> str:
        """Return every kind with its count and first names (None: all), each line preceded by a line end."""
        return "".join(
            f"\n{kind}: {len(names)}{first_names(names, most or len(names))}" for kind, names in self.kinds.items() if names
        )

    def write(self, path: Path) -> None:
        """Write everything, with all names, and add a line that says where if some names are not printed."""
        text = "\n".join(self.lines) + self.names(None) + "\n"
        text = text.encode(errors="backslashreplace").decode()  # JSON may contain lone surrogates, which UTF-8 cannot encode
        if not path.is_file() or path.read_bytes() != text.encode():  # importing again changes nothing
            write_text(path, text)
        if any(len(names) > SHOWN for names in self.kinds.values()):
            self.lines.append(f"all names of what follows: {path}")

    def print(self) -> None:
        """Print everything, with the first few names of each kind."""
        print("\n".join(self.lines) + self.names())


@dataclass
class Labels:
    """Image to class, image to group, and with --levels class to its names at every level, finest first."""

    classes: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[str]] = field(default_factory=dict)


def find_images(folder: Path, report: Report) -> list[str]:
    """Return the relative paths of all image files in a folder, at any depth, sorted; files that are not regular, and images
    in formats that are not read, are reported."""
    if not os.path.isdir(folder):
        raise InputError(f"--images {folder}: no such folder")
    found, others = files_below(folder, IMAGE_SUFFIXES)
    report.add("links to folders, and folders, devices and broken links named like images, left out", others)
    unread, _ = files_below(folder, UNREAD_SUFFIXES)
    kinds = Counter(Path(name).suffix for name in unread)
    counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(kinds.items()))
    report.add(f"images in formats that are not read ({counts}; save them as JPEG or PNG), left out", unread)
    for name in found:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"--images {folder}: {os.fsencode(name)!r}; expected file names in UTF-8") from None
    if not found:
        raise InputError(
            f"--images {folder}: no images; expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            + (f" (there are {counts}: save them as JPEG or PNG)" if unread else "")
        )
    return found


def _class_rows(table: Table, names: Sequence[str]) -> list[list[str]]:
    """Return the names at the levels, which are columns, of every row; raise InputError for a gap or a class with two
    parents."""
    columns = [table.column(name) for name in names]
    seen: dict[str, tuple[str, list[str]]] = {}
    rows = []
    for where, fields in table.rows:
        row = [fields[i] for i in columns]
        if row[0] and not all(row):
            gap = names[row.index("")]
            raise InputError(f"{where}: {row[0]!r} has no {gap}; expected a name at every level of --levels")
        first, same = seen.setdefault(row[0], (where, row))
        if row[0] and row != same:
            raise InputError(
                f"{where}: {row[0]!r} belongs to {row[1:]}, but at {first} to {same[1:]}; expected one class per level"
            )
        rows.append(row)
    return rows


def _read_label_table(
    images: list[str], path: Path, group: str | None, levels: Sequence[str], options: TableOptions, report: Report
) -> Labels:
    table = open_table(path, options.encoding, has_image(options))
    if not table.header:
        raise InputError(f"{path}: no rows; expected a header, then a line per image")
    image_column = need_image(table, options)
    if not table.rows:
        raise InputError(f"{path}: no rows; expected a header, then a line per image")
    rows = _class_rows(table, levels) if levels else []
    label = table.column(levels[0]) if levels else find_role(table, "label", options)
    group_column = table.column(group) if group else None
    taken = f"{table.header[image_column]!r} names the image, " + (
        "the folders are the classes" if label is None else f"{table.header[label]!r} the class"
    )
    report.lines.append(f"{path}: {len(table.rows)} rows; {taken}")
    unused = [name for i, name in enumerate(table.header) if i not in (image_column, group_column)]
    if label is None and unused:
        names = ", ".join(map(repr, unused[:10]))
        report.lines.append(
            f"WARNING: no column of {path} was taken for the class; to take one of {names}: --columns label=NAME, or "
            "--levels NAME ..."
        )
    labels = Labels()
    if label is None:
        labels.classes = {name: name.split("/")[0] for name in images if "/" in name}
    meant, guessed = Names(images).find_all([(fields[image_column], where) for where, fields in table.rows])
    report.add("names in --labels matched to an image that differs in case or extension", guessed)
    seen: dict[str, str] = {}
    for i, ((where, fields), image) in enumerate(zip(table.rows, meant, strict=True)):
        if image is None:
            report.add("lines of --labels without an image", [f"{where}: {fields[image_column]}"])
            continue
        if image in seen:
            raise InputError(f"{where}: duplicate image {image!r}, already at {seen[image]}; expected unique images")
        seen[image] = where
        if label is not None and fields[label]:
            labels.classes[image] = fields[label]
            if levels:
                labels.rows[fields[label]] = rows[i]
        if group_column is not None and fields[group_column]:
            labels.groups[image] = fields[group_column]
    return labels


def read_labels(
    images: list[str],
    path: Path | None,
    group: str | None,
    levels: Sequence[str],
    options: TableOptions,
    report: Report,
    unlabelled: str = "images without a label, left out",
) -> Labels:
    """Return the class of each image (from the table, or the name of its first folder) and its group; images without a label
    are reported under the title `unlabelled`.

    `levels`: columns of the table that are the label levels, finest first.
    """
    if path:
        check_level_names(levels, ["--levels"] * len(levels))
        labels = _read_label_table(images, path, group, levels, options, report)
    else:
        labels = Labels({name: name.split("/")[0] for name in images if "/" in name})
    report.add(unlabelled, [name for name in images if name not in labels.classes])
    if not labels.classes:
        raise InputError(
            "no image has a label; expected a folder per class, or --labels with the columns image,label" + report.names()
        )
    return labels


def drop_duplicates(folder: Path, labels: dict[str, str], report: Report) -> list[str]:
    """Return the labelled images without duplicates: of equal files the first is kept, or none if their labels differ."""
    by_size: dict[int, list[str]] = {}
    for name in sorted(labels):
        by_size.setdefault((folder / name).stat().st_size, []).append(name)
    dropped: set[str] = set()
    for same_size in by_size.values():
        by_content: dict[str, list[str]] = {}
        for name in same_size if len(same_size) > 1 else ():
            with (folder / name).open("rb") as file:
                by_content.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), []).append(name)
        for first, *copies in by_content.values():
            if len({labels[name] for name in (first, *copies)}) > 1:
                report.add("equal files with different labels, all left out", [f"{first} = {', '.join(copies)}"])
                dropped.update((first, *copies))
            elif copies:
                report.add("copies of another image, left out", [f"{name} = {first}" for name in copies])
                dropped.update(copies)
    return [name for name in sorted(labels) if name not in dropped]


def read_photos(folder: Path, images: list[str], max_megapixels: float, report: Report) -> dict[str, Photo]:
    """Return image to its size and orientation; all are decoded, and unreadable ones are reported."""
    photos = {}
    for name in progress(images, "reading images"):
        try:
            photos[name] = read_photo(folder / name, max_megapixels)
        except InputError as error:
            report.add("unreadable images, left out", [error.on_command_line()])
    return photos
