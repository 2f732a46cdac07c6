"""A gallery: one HTML page of photos with their boxes and score maps, to look at and to accept or reject each.

In: what a model says of each photo, and its thumbnails. Out: a page that needs no other file and no network (its template,
style and script are in page/); and the verdicts that a person downloads from it.
"""

import base64
import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from PIL import Image

from wsol.core.csv_rows import DELIMITERS
from wsol.core.errors import InputError, MetadataError, shortened
from wsol.core.files import read_text, whole_file
from wsol.maps.overlay import SHARE, score_colors
from wsol.plots.jpeg import jpeg_bytes
from wsol.plots.templates import TEMPLATES, page_environment

SIDE = 256  # pixels of a thumbnail's longer side
MAP_SIDE = 128  # of a score map's, which has no finer detail
STYLES, SCRIPTS = ("base.css", "gallery.css"), ("gallery_verdicts.js", "gallery_card.js", "gallery.js")
VERDICTS_HEADER = ["file", "verdict"]
ACCEPT, REJECT = VERDICTS = ("accept", "reject")
FIELDS = (
    *("file", "width", "height", "label", "label_source", "confidence", "boxes"),
    *("expected_iou", "reaches_50", "ancestors", "top", "warnings"),
)


@dataclass(frozen=True)
class GalleryItem:
    """A photo of a gallery.

    row: what the page says of it. `file` (its name, unique in the gallery), `width` and `height` of the upright photo in
        pixels, `label`, `label_source` ("given" or "predicted"), `confidence` (in [0, 1] or None), `boxes` (the best first,
        each with `box`, [x0, y0, x1, y1] in pixels of the photo, and `score`), `expected_iou` and `reaches_50` (the
        probability of an IoU of 0.5 or more; both in [0, 1] or None), `ancestors` (level to name), `top` ([name,
        probability] of the most probable classes), `warnings` (texts).
    photo: a thumbnail as JPEG.
    overlay: its score map's colours as JPEG, stretched over the photo with opacity `SHARE`; empty without a map.
    """

    row: Mapping[str, Any]
    photo: bytes
    overlay: bytes


def thumbnail(photo: Image.Image, score_map: np.ndarray | None) -> tuple[bytes, bytes]:
    """Return (`photo`, `overlay`) of a `GalleryItem`.

    Args:
        photo: upright; it is made smaller, never larger.
        score_map: float64 (H, W) in [0, 1] of the whole photo, of any size and proportions; None: no overlay.
    """
    small = photo.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if score_map is None:
        return jpeg_bytes(small), b""
    height, width = score_map.shape
    scale = min(1.0, MAP_SIDE / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    scores = np.clip(cv2.resize(score_map, size, interpolation=cv2.INTER_AREA), 0, 1)
    return jpeg_bytes(small), jpeg_bytes(Image.fromarray(score_colors(scores)))


def _json(value: object) -> str:
    """Return JSON that can stand in an element of HTML: neither ends it nor begins another."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


class _Inline:
    """The text of a style or script, and its hash, by which the page's policy allows it and nothing else."""

    def __init__(self, names: Iterable[str]):
        text = "\n" + "".join(map(_source, names))
        self.text = Markup(text)  # noqa: S704 (files of this project)
        self.hash = f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _check_name(path: str | os.PathLike, file: str) -> None:
    try:
        file.encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: not written: the file name {file!a} cannot be encoded as UTF-8") from None


class _Photos:
    """The photos of a page in the order in which they come, each as (row, photo, overlay), texts that need no escaping.

    The names alone are kept, so that none comes twice.
    """

    def __init__(self, path: str | os.PathLike, title: str, items: Iterable[GalleryItem]):
        self._path, self._items = path, items
        self._files = set[str]()
        self._hash = hashlib.sha256(_json(title).encode())

    def __iter__(self) -> Iterator[tuple[Markup, Markup, Markup]]:
        for item in self._items:
            if missing := [name for name in FIELDS if name not in item.row]:
                raise ValueError(f"a row without {', '.join(missing)}")
            file = item.row["file"]
            if file in self._files:
                raise InputError(f"{self._path}: {file!r} comes twice; expected each photo once")
            _check_name(self._path, file)
            self._files.add(file)
            row = _json(dict(item.row))
            self._hash.update(row.encode())
            pictures = (base64.b64encode(one).decode() for one in (item.photo, item.overlay))
            texts = [Markup(text) for text in (row, *pictures)]  # noqa: S704 (escaped by _json, and base64)
            yield texts[0], texts[1], texts[2]

    def key(self) -> str:
        """Return what identifies this gallery once all photos have come: the same title and rows give the same key."""
        return self._hash.hexdigest()[:24]


def write_gallery(path: str | os.PathLike, title: str, items: Iterable[GalleryItem]) -> None:
    """Write a gallery as one HTML file, photo by photo as they come, whole or not at all.

    Verdicts are kept in the browser under a key of title and rows, so that the same photos with other boxes start anew.

    Raises:
        InputError: it cannot be written, or a file comes twice or has a name that is not UTF-8.
        ValueError: a row lacks a field, or has NaN or infinity.
    """
    photos = _Photos(path, title, items)
    template = page_environment().get_template("gallery.html")
    page = template.generate(title=title, share=SHARE, photos=photos, style=_Inline(STYLES), script=_Inline(SCRIPTS))
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(page)


def read_verdicts(path: str | os.PathLike) -> dict[str, str]:
    """Return the verdict, "accept" or "reject", on each file of a verdicts.csv that a gallery gave.

    A spreadsheet may have saved it again: with a byte order mark, other line ends, semicolons or tabs, and empty rows. Names
    may hold line ends.

    Raises:
        InputError: the file cannot be read.
        MetadataError: another header, a row that is not a file and a verdict, or a file that is there twice.
    """
    text = read_text(path, newline="")
    first = text.partition("\n")[0].rstrip("\r").replace('"', "")
    delimiter = next((one for one in DELIMITERS if first == one.join(VERDICTS_HEADER)), None)
    if delimiter is None:
        raise MetadataError(f"{path}:1: {shortened(first)!r}; expected the header {','.join(VERDICTS_HEADER)}")
    verdicts: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, row in _numbered_rows(path, text, delimiter):
        if number == 1 or not any(row):
            continue
        if len(row) != len(VERDICTS_HEADER) or not row[0] or row[1] not in VERDICTS:
            found = shortened(delimiter.join(row), 200)
            raise MetadataError(f"{path}:{number}: {found!r}; expected a file and {' or '.join(VERDICTS)}")
        file, verdict = row
        if file in verdicts:
            raise MetadataError(f"{path}:{number}: {file!r} again, after line {lines[file]}; expected each file once")
        verdicts[file], lines[file] = verdict, number
    return verdicts


def _numbered_rows(path: str | os.PathLike, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, fields) of each row; unlike `csv_rows.read_rows`, a field may have line ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise MetadataError(f"{path}:{number}: {error}; expected quotes only around whole fields") from None
        if row is None:
            return
        yield number, row
