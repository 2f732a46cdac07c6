"""A folder of resized images, so that each is decoded and resized once and not in every epoch.

In: what an image was made from, and its pixels. Out: the same pixels, or None if they are not there, or no longer those that
decoding would give. Entries are written whole, so any number of processes may use a folder at once.

An entry is a line of JSON that says what it was made from, the size of the original, the raw pixels, and a CRC-32 of all
that. Raw, since a PNG takes as long to decode as the JPEG that the cache is to save.
"""

import hashlib
import json
import logging
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import PIL
from PIL import Image, features

from wsol.core.errors import InputError
from wsol.core.files import check_input, remove_stale_files, whole_file

logger = logging.getLogger("wsol")

FORMAT = 1  # of entries; also goes up when images are read or resized differently, for example turned by their EXIF entry
DECODER = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version_feature('libjpeg_turbo')}"  # others round differently
NUMBERS = struct.Struct("<II")  # width and height
CHECKSUM = struct.Struct("<I")


class Square(NamedTuple):
    """An image, RGB (side, side), and the (width, height) that its file declares."""

    image: Image.Image
    size: tuple[int, int]


class Source(NamedTuple):
    """What a square was made from, and how: the file's absolute path, its bytes and its time of change, the side, and the
    scale of decoding."""

    path: str
    num_bytes: int
    mtime_ns: int
    side: int
    decode_scale: str


class ImageCache:
    """The resized images in a folder, which is made when the first is kept.

    A folder that cannot be written, or is full, is read from all the same; a warning says so, once per process.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.is_writable = True
        self._cleaned: set[Path] = set()

    def entry(self, source: Source) -> Path:
        """Return the file of a source: one per path, side and scale, so that what is stale is replaced."""
        named = f"{source.path}\0{source.side}\0{source.decode_scale}"
        digest = hashlib.sha256(os.fsencode(named)).hexdigest()[:40]
        return self.folder / digest[:2] / digest

    def get(self, source: Source) -> Square | None:
        """Return what is kept of a source; None if that is nothing, damaged, or made from another state of the file."""
        heading, side = _heading(source), source.side
        num_pixels = 3 * side * side
        num_bytes = len(heading) + NUMBERS.size + num_pixels + CHECKSUM.size
        try:
            with check_input(self.entry(source)).open("rb") as file:
                kept = file.read(num_bytes + 1)
        except (InputError, OSError):
            return None
        if len(kept) != num_bytes or not kept.startswith(heading):
            return None
        content = memoryview(kept)[: -CHECKSUM.size]
        if CHECKSUM.unpack_from(kept, len(content)) != (zlib.crc32(content),):
            return None
        width, height = NUMBERS.unpack_from(kept, len(heading))
        return Square(Image.frombytes("RGB", (side, side), content[-num_pixels:]), (width, height))

    def put(self, source: Source, square: Square) -> None:
        """Keep a square, unless an earlier one could not be written."""
        if not self.is_writable:
            return
        entry = self.entry(source)
        content = _heading(source) + NUMBERS.pack(*square.size) + square.image.tobytes()
        try:
            if entry.parent not in self._cleaned:  # of what killed processes left; the whole folder may hold millions
                remove_stale_files(entry.parent)
                self._cleaned.add(entry.parent)
            with whole_file(entry) as temporary:
                temporary.write_bytes(content + CHECKSUM.pack(zlib.crc32(content)))
        except InputError as error:
            self.is_writable = False
            logger.warning("%s; going on without keeping more resized images", error)


def _heading(source: Source) -> bytes:
    made_from = {"format": FORMAT, "decoder": DECODER, **source._asdict()}
    return json.dumps(made_from, ensure_ascii=True).encode() + b"\n"
