"""A folder of resized images, so that each is decoded and resized once and not in every epoch.

In: what an image was made from, and its pixels. Out: the same pixels, or None if they are not there, or no longer those that
decoding would give. Entries are written whole, so any number of processes may use a folder at once.

An entry is a line of JSON that says what it was made from, the size of the original, the raw pixels, and a CRC-32 of all
that. Raw, since a PNG takes as long to decode as the JPEG that the cache is to save.
"""

import json
import os
import struct
from typing import NamedTuple

import PIL
from PIL import Image, features

from wsol.data.entry_folder import EntryFolder

FORMAT = 1  # of entries; also goes up when images are read or resized differently, for example turned by their EXIF entry
DECODER = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version_feature('libjpeg_turbo')}"  # others round differently
NUMBERS = struct.Struct("<II")  # width and height


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


class ImageCache(EntryFolder):
    """The resized images in a folder."""

    def __init__(self, folder: str | os.PathLike):
        super().__init__(folder, "resized images")

    def get(self, source: Source) -> Square | None:
        """Return what is kept of a source; None if that is nothing, damaged, or made from another state of the file."""
        heading, side = _heading(source), source.side
        num_pixels = 3 * side * side
        num_bytes = len(heading) + NUMBERS.size + num_pixels
        content = self.read(name_of(source), num_bytes)
        if content is None or len(content) != num_bytes or content[: len(heading)] != heading:
            return None
        width, height = NUMBERS.unpack_from(content, len(heading))
        return Square(Image.frombytes("RGB", (side, side), content[-num_pixels:]), (width, height))

    def put(self, source: Source, square: Square) -> None:
        """Keep a square, unless an earlier one could not be written."""
        self.write(name_of(source), _heading(source) + NUMBERS.pack(*square.size) + square.image.tobytes())


def name_of(source: Source) -> str:
    """Return the name of a source's entry: one per path, side and scale, so that what is stale is replaced."""
    return f"{source.path}\0{source.side}\0{source.decode_scale}"


def _heading(source: Source) -> bytes:
    made_from = {"format": FORMAT, "decoder": DECODER, **source._asdict()}
    return json.dumps(made_from, ensure_ascii=True).encode() + b"\n"
