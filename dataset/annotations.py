"""Boxes as people have them (COCO JSON, a folder of Pascal VOC XML, CSV), taxonomies, and the images that they name.

In: files from any tool. Out: boxes (x0, y0, x1, y1) in whole pixels, counted from 0, with the place where each was read.
"""

import math
import os
import unicodedata
import xml.parsers.expat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from dataset.tables import TABLES, TableOptions, find_box_columns, has_image, need_image, one_column, open_table
from wsol.core.errors import InputError, shortened
from wsol.core.files import check_input
from wsol.core.folders import files_below
from wsol.data.coco import LARGEST, corners, read_coco
from wsol.data.hierarchy import check_level_names

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")
# Images that are not read: some need a decoder that may be missing, others are raw, drawn or animated.
UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".hif", ".avif", ".gif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".jxr", ".svg", ".eps", ".psd"),
    *(".xcf", ".ai", ".tga", ".ppm", ".pgm", ".pnm", ".pbm", ".ico", ".dcm", ".fits", ".exr", ".hdr", ".czi", ".nd2"),
    *(".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef"),
    *(".srw", ".x3f", ".rwl", ".iiq", ".3fr", ".erf", ".kdc", ".mrw", ".mpo", ".apng"),
)


class FoundBox(NamedTuple):
    """One box.

    image: the name of the image as its file gives it.
    box: (x0, y0, x1, y1) in pixels.
    where: the file and line of the box.
    size: (width, height) of the image according to the file, if given.
    inclusive: whether x1 and y1 are the last pixels of the box, not the edges after them.
    """

    image: str
    box: tuple[int, int, int, int]
    where: str
    size: tuple[int, int] | None = None
    inclusive: bool = True


def annotation_files(folder: Path, suffix: str) -> list[str]:
    """Return the relative paths of the annotation files in a folder, sorted; raise InputError if one is not a file."""
    regular, others = files_below(folder, (suffix,))
    if others:
        raise InputError(f"{folder / others[0]}: a folder or device, or a link to one; expected regular {suffix} files")
    return regular


class Names:
    """Finds the image that an annotation names: by its relative path, or by a path that ends with it or is its end, if only
    one image matches."""

    def __init__(self, names: Iterable[str], stems: bool = False) -> None:
        """`stems`: compare names without their extension, as for masks and XML files."""
        self.stems = stems
        self.by_path: dict[str, str] = {}
        for name in names:
            if (other := self.by_path.setdefault(self._key(name), name)) != name:
                raise InputError(
                    f"{other!r} and {name!r} differ only in their extension; expected names that differ without it"
                )
        self.by_file: dict[str, list[str]] = {}
        for name in self.by_path.values():
            self.by_file.setdefault(PurePosixPath(self._key(name)).name, []).append(name)
        self.by_bare: dict[str, list[str]] = {}

    def _key(self, name: str) -> str:
        return str(PurePosixPath(name).with_suffix("")) if self.stems else name

    def _fitting(self, name: str, where: str, plain: Callable[[str], str], images: Iterable[str]) -> str | None:
        given = PurePosixPath(plain(name)).parts
        found = []
        for image in images:
            parts = PurePosixPath(plain(image)).parts
            common = min(len(parts), len(given))
            if parts[-common:] == given[-common:]:
                found.append(image)
        if len(found) > 1:
            raise InputError(
                f"{where}: {name!r} may be {found[0]!r} or {found[1]!r}; expected the path relative to --images"
            )
        return found[0] if found else None

    def find(self, name: str, where: str) -> str | None:
        """Return the image that `name` means, or None; raise InputError if several match equally."""
        key = self._key(_slashes(name))
        if key in self.by_path:
            return self.by_path[key]
        return self._fitting(_slashes(name), where, self._key, self.by_file.get(PurePosixPath(key).name, ()))

    def _bare(self, name: str) -> str:
        """Return a name in lower case, without the extension of an image."""
        path = PurePosixPath(_lower(name))
        known = self.stems or path.suffix in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)
        return str(path.with_suffix("") if known else path)

    def guess(self, name: str, where: str) -> str | None:
        """Return the image that `name` means if case is ignored, or else case and extension; None if there is none."""
        if not self.by_bare:
            for image in self.by_path.values():
                self.by_bare.setdefault(PurePosixPath(self._bare(image)).name, []).append(image)
        name = _slashes(name)
        images = self.by_bare.get(PurePosixPath(self._bare(name)).name, ())
        return self._fitting(name, where, _lower, images) or self._fitting(name, where, self._bare, images)

    def find_all(self, given: Sequence[tuple[str, str]]) -> tuple[list[str | None], list[str]]:
        """Return the image, or None, of every (name, where), and the names matched to an image despite a different case or
        extension. An image that another name means exactly is never matched like this."""
        found = [self.find(name, where) for name, where in given]
        exact, guessed = set(found), []
        for i, (name, where) in enumerate(given):
            if found[i] is None and (image := self.guess(name, where)) and image not in exact:
                found[i] = image
                guessed.append(f"{name} = {image}")
        return found, list(dict.fromkeys(guessed))


def _slashes(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _lower(name: str) -> str:
    """Return a name in lower case, with composed letters: some systems store ä as a and two dots."""
    return unicodedata.normalize("NFC", name).casefold()


def _number(text: str | None, decimal_comma: bool) -> float:
    """Return a number of pixels, or NaN if the text is not one."""
    try:
        number = float((text or "").replace(",", ".") if decimal_comma else text or "")
    except ValueError:
        return math.nan
    return number if abs(number) <= LARGEST else math.nan


def _numbers(where: str, texts: Mapping[str, str | None], decimal_comma: bool = False) -> tuple[float, ...]:
    """Return the numbers in texts, given by column or element; `decimal_comma`: 12,5 is a number.

    Raises:
        InputError: a text is not a number of pixels.
    """
    numbers = {name: _number(text, decimal_comma) for name, text in texts.items()}
    if wrong := [name for name, number in numbers.items() if math.isnan(number)]:
        given = ", ".join("None" if text is None else shortened(repr(text)) for text in texts.values())
        names = ", ".join(shortened(repr(name)) for name in wrong)
        raise InputError(f"{where}: [{given}]; expected numbers of pixels (not so: {names})")
    return tuple(numbers.values())


def _pixels(where: str, texts: Mapping[str, str | None]) -> tuple[int, ...]:
    """Return numbers as whole pixels, rounded down: a number just below 0 stays outside the image."""
    return tuple(map(math.floor, _numbers(where, texts)))


def _are_sides(edges: Sequence[tuple[float, ...]], sizes: Sequence[tuple[float, ...]]) -> bool:
    """Return whether columns width and height next to x0, y0, x1, y1 are the sides of the boxes, not of the images."""
    return all(
        abs(x1 - x0 - width) <= 1 and abs(y1 - y0 - height) <= 1
        for (x0, y0, x1, y1), (width, height) in ((box, size) for box, size in zip(edges, sizes, strict=True) if size)
    )


def _read_csv(path: Path, options: TableOptions) -> list[FoundBox]:
    """Read a table of boxes; a row with four empty fields has no box, one without both sides of the image no size."""
    table = open_table(path, options.encoding, has_image(options))
    image = need_image(table, options)
    columns, extent, size_columns = find_box_columns(table, options)
    comma = table.delimiter != ","
    rows = [(where, row) for where, row in table.rows if any(row[i] for i in columns)]

    def numbers(where: str, row: list[str], indices: list[int]) -> tuple[float, ...]:
        return _numbers(where, {table.header[i]: row[i] for i in indices}, comma)

    edges = [numbers(where, row, columns) for where, row in rows]
    for (where, _), box in zip(rows, edges, strict=True):
        if max(map(abs, box)) <= 1 and any(value % 1 for value in box):
            raise InputError(f"{where}: box {box}; expected pixels, not fractions of the image")
        if extent and not min(box[2:]) > 0:
            raise InputError(f"{where}: box {box}; expected a width and a height above 0")
    sizes = [numbers(where, row, size_columns) if all(row[i] for i in size_columns) else () for where, row in rows]
    if size_columns and not extent and _are_sides(edges, sizes):
        sizes = [()] * len(rows)
    found = []
    for (where, row), box, size in zip(rows, edges, sizes, strict=True):
        known = (int(size[0]), int(size[1])) if size and all(size) else None
        x0, y0, x1, y1 = box  # or x, y, width, height
        whole = (
            corners((x0, y0, x1, y1), known) if extent else (math.floor(x0), math.floor(y0), math.floor(x1), math.floor(y1))
        )
        found.append(FoundBox(row[image], whole, where, known, not extent))
    return found


def _read_coco(path: Path) -> list[FoundBox]:
    images = read_coco(path)[0].values()
    for box in (box for image in images for box in image.boxes):
        if not min(box.edges[2:]):
            raise InputError(f"{box.where}: bbox {box.edges}; expected a width and a height above 0")
    return [
        FoundBox(image.file, corners(box.edges, image.size), f"{box.where} ({image.file})", image.size, False)
        for image in images
        for box in image.boxes
    ]


def parse_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file; raise InputError for a DOCTYPE, so that no entity is ever expanded or fetched."""

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: has a DOCTYPE; expected plain Pascal VOC XML without one")

    builder = ElementTree.TreeBuilder()
    parser = xml.parsers.expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(check_input(path).read_bytes(), True)
        return builder.close()
    except InputError:
        raise
    except (xml.parsers.expat.ExpatError, OSError, ValueError, LookupError) as error:  # the last two: from its encoding
        raise InputError(f"{path}: not a readable XML file ({error})") from None


def _read_voc(folder: Path) -> list[FoundBox]:
    """Read a folder of Pascal VOC files, whose pixels count from 1; an XML file has the name of its image."""
    found = []
    for name in annotation_files(folder, ".xml"):
        path = folder / name
        root = parse_xml(path)
        width, height = _pixels(
            f"{path}: size", {side: (root.findtext(f"size/{side}") or "").strip() or "0" for side in ("width", "height")}
        )
        for i, each in enumerate(root.iter("object"), 1):
            where = f"{path}: object {i}"
            edges = {edge: each.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")}
            # Many tools count from 0 and write a 0 here, which stays 0.
            x0, y0, x1, y1 = (edge - 1 if edge else 0 for edge in _pixels(where, edges))
            size = (width, height) if width and height else None  # some tools write 0 x 0
            found.append(FoundBox(name, (x0, y0, x1, y1), where, size))
    return found


def read_boxes(
    path: Path, images: Iterable[str], options: TableOptions
) -> tuple[dict[str, list[FoundBox]], list[str], list[str]]:
    """Return image to its boxes, the places of boxes whose image was not found, and the names matched to similar ones.

    A folder holds Pascal VOC XML, .json is COCO, .csv and .tsv are tables with columns of a box.
    """
    if os.path.isdir(path):
        found = _read_voc(path)
    elif path.suffix.lower() == ".json":
        found = _read_coco(path)
    elif path.suffix.lower() in TABLES:
        found = _read_csv(path, options)
    else:
        raise InputError(f"{path}: expected COCO .json, .csv with image,x0,y0,x1,y1, or a folder of Pascal VOC .xml")
    names = Names(images, stems=os.path.isdir(path))
    meant, guessed = names.find_all([(each.image, each.where) for each in found])
    boxes: dict[str, list[FoundBox]] = {}
    unmatched = []
    for each, image in zip(found, meant, strict=True):
        if image:
            boxes.setdefault(image, []).append(each)
        else:
            unmatched.append(each.where)
    return boxes, unmatched, guessed


def read_taxonomy(path: Path, encoding: str | None = None) -> tuple[list[str], dict[str, list[str]]]:
    """Return the level names, finest first, and leaf to its names at all levels, in file order.

    Leaves are unique and have a name at every level. That every class belongs to one class of the next level is checked on
    writing.
    """
    rows: dict[str, list[str]] = {}
    table = open_table(path, encoding)
    if len(table.header) == 1:
        raise InputError(f"{one_column(table)}: the levels of a taxonomy, finest first, two or more")
    for where, names in table.rows:
        if not all(names) or names[0] in rows:
            raise InputError(
                f"{where}: {shortened(repr(','.join(names)))}; expected a unique leaf, then its ancestors, none empty"
            )
        rows[names[0]] = names
    if not rows:
        raise InputError(f"{path}: no rows; expected level names, finest first, then a row for every leaf")
    check_level_names(table.header, [table.where] * len(table.header))
    return table.header, rows
