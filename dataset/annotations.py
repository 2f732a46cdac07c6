"""Boxes as people have them (COCO JSON, a folder of Pascal VOC XML, CSV), tables, and finding the images they name.

In: files of any tool. Out: boxes (x0, y0, x1, y1) in whole pixels that count from 0, with where each was read.
"""

import csv
import math
import xml.parsers.expat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from dataset.coco import corners, read_coco
from wsol.errors import InputError
from wsol.hierarchy import check_level_names
from wsol.metadata import read_lines


class FoundBox(NamedTuple):
    """One box: the image's name as its file gives it, (x0, y0, x1, y1) in pixels, the file and line it stands in, and the
    (width, height) that the file says the image has, if it does."""

    image: str
    box: tuple[int, int, int, int]
    where: str
    size: tuple[int, int] | None = None


def files_below(folder: Path, suffixes: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the relative paths of all files with a suffix in any case, sorted, and of what else bears such a name."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith("._")]
    regular, others = [], []
    for path in sorted(found):
        (regular if path.is_file() else others).append(path.relative_to(folder).as_posix())
    return regular, others


def annotation_files(folder: Path, suffix: str) -> list[str]:
    """Return the relative paths of a folder's annotation files, sorted; refuse what is no file."""
    regular, others = files_below(folder, (suffix,))
    if others:
        raise InputError(f"{folder / others[0]}: a folder, device or broken link; expected a {suffix} file")
    return regular


class Names:
    """Images by what annotations call them: the relative path, or one of which it is the end or that is its end, where
    only one image fits."""

    def __init__(self, names: Iterable[str], stems: bool = False) -> None:
        """`stems`: compare names without their extension, as for masks and XML files."""
        self.stems = stems
        self.by_path: dict[str, str] = {}
        for name in names:
            if (other := self.by_path.setdefault(self._key(name), name)) != name:
                raise InputError(
                    f"{other!r} and {name!r} differ in their extension alone; expected names that tell them apart"
                )
        self.by_file: dict[str, list[str]] = {}
        for name in self.by_path.values():
            self.by_file.setdefault(PurePosixPath(self._key(name)).name, []).append(name)

    def _key(self, name: str) -> str:
        return str(PurePosixPath(name).with_suffix("")) if self.stems else name

    def find(self, name: str, where: str) -> str | None:
        """Return the image that `name` means, or None; refuse a name that fits several images equally."""
        key = self._key(name.replace("\\", "/").removeprefix("./"))
        if key in self.by_path:
            return self.by_path[key]
        given = PurePosixPath(key).parts
        found = []
        for image in self.by_file.get(given[-1] if given else "", ()):
            parts = PurePosixPath(self._key(image)).parts
            common = min(len(parts), len(given))
            if parts[-common:] == given[-common:]:
                found.append(image)
        if len(found) > 1:
            raise InputError(f"{where}: {name!r} may be {found[0]!r} or {found[1]!r}; expected the path below --images")
        return found[0] if found else None


def read_fields(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (file:line, fields) of a CSV file."""
    rows = csv.reader(read_lines(path))
    try:
        for row in rows:
            yield f"{path}:{rows.line_num}", row
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: {error}; expected comma-separated values") from None


def read_table(path: Path, needed: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Return (file:line, column to text) for every row of a CSV file that has the needed columns in its header."""
    rows = read_fields(path)
    header = [name.strip() for name in next(rows, ("", []))[1]]
    if missing := [name for name in needed if name not in header]:
        raise InputError(f"{path}:1: no column {missing[0]!r}; expected a header with {', '.join(needed)}")
    if len(set(header)) < len(header):
        raise InputError(f"{path}:1: {','.join(header)!r}; expected every column once")
    table = []
    for where, row in rows:
        if len(row) != len(header):
            raise InputError(f"{where}: {','.join(row)!r}; expected {len(header)} fields")
        table.append((where, dict(zip(header, (field.strip() for field in row), strict=True))))
    return table


def _numbers(where: str, texts: Iterable[str | None]) -> tuple[int, ...]:
    """Return numbers as whole pixels, rounded down: what is a little below 0 stays outside the image."""
    texts = list(texts)
    try:
        return tuple(math.floor(float(text or "")) for text in texts)
    except (ValueError, OverflowError):
        raise InputError(f"{where}: {texts}; expected numbers") from None


def _read_csv(path: Path) -> list[FoundBox]:
    edges = ("x0", "y0", "x1", "y1")
    rows = read_table(path, ("image", *edges))
    return [FoundBox(row["image"], _numbers(where, [row[edge] for edge in edges]), where) for where, row in rows]


def _read_coco(path: Path) -> list[FoundBox]:
    images = read_coco(path)[0].values()
    for box in (box for image in images for box in image.boxes):
        if not min(box.edges[2:]):
            raise InputError(f"{box.where}: bbox {box.edges}; expected a width and a height above 0")
    return [
        FoundBox(image.file, corners(box.edges, image.size), f"{box.where} ({image.file})", image.size)
        for image in images
        for box in image.boxes
    ]


def parse_xml(path: Path) -> ElementTree.Element:
    """Return an XML file's root; a DOCTYPE is refused, so that no entity is ever expanded or fetched."""

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: has a DOCTYPE; expected plain Pascal VOC XML without one")

    builder = ElementTree.TreeBuilder()
    parser = xml.parsers.expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except InputError:
        raise
    except (xml.parsers.expat.ExpatError, OSError, ValueError, LookupError) as error:  # the last two: of its encoding
        raise InputError(f"{path}: not a readable XML file ({error})") from None


def _read_voc(folder: Path) -> list[FoundBox]:
    """Read a folder of Pascal VOC files, whose pixels count from 1; an XML file is named as its image."""
    found = []
    for name in annotation_files(folder, ".xml"):
        path = folder / name
        root = parse_xml(path)
        size = _numbers(f"{path}: size", [root.findtext(f"size/{side}") or "0" for side in ("width", "height")])
        for i, each in enumerate(root.iter("object"), 1):
            where = f"{path}: object {i}"
            edges = [each.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
            # Many tools count from 0 and write a 0 here; it stays at the edge.
            box = tuple(edge - 1 if edge else 0 for edge in _numbers(where, edges))
            found.append(FoundBox(name, box, where, size if all(size) else None))  # some tools write 0 x 0
    return found


def read_boxes(path: Path, images: Iterable[str]) -> tuple[dict[str, list[FoundBox]], list[str]]:
    """Return image to its boxes, and where boxes of images that are not there stand.

    A folder holds Pascal VOC XML, .json is COCO's, .csv has the columns image,x0,y0,x1,y1.
    """
    if path.is_dir():
        found = _read_voc(path)
    elif path.suffix.lower() == ".json":
        found = _read_coco(path)
    elif path.suffix.lower() == ".csv":
        found = _read_csv(path)
    else:
        raise InputError(f"{path}: expected COCO .json, .csv with image,x0,y0,x1,y1, or a folder of Pascal VOC .xml")
    names = Names(images, stems=path.is_dir())
    boxes: dict[str, list[FoundBox]] = {}
    homeless = []
    for each in found:
        if image := names.find(each.image, each.where):
            boxes.setdefault(image, []).append(each)
        else:
            homeless.append(each.where)
    return boxes, homeless


def read_taxonomy(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the level names, finest first, and each leaf's names at all of them, in file order.

    Each leaf once, a name at every level; that every class lies in one class of the next level is checked on writing.
    """
    rows: dict[str, list[str]] = {}
    levels: list[str] = []
    for where, row in read_table(path, ()):
        levels, names = list(row), list(row.values())
        if not all(names) or names[0] in rows:
            raise InputError(f"{where}: {','.join(names)!r}; expected each leaf once, then its ancestors, none empty")
        rows[names[0]] = names
    if not rows:
        raise InputError(f"{path}: no rows; expected level names, finest first, then a row for every leaf")
    check_level_names(levels, [f"{path}:1"] * len(levels))
    return levels, rows
