"""Which photos are meant by a folder, a pattern or a list, and the names under which their results are kept.

In: what a user names. Out: `PhotoFiles`: paths, and ids that are relative paths, unique and inside their folder.
"""

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsol.core.errors import InputError, OptionError
from wsol.core.files import read_lines
from wsol.core.folders import files_below

# What Pillow reads here (READ_KINDS of wsol/core/declared_size.py), by the names of such files.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pnm"),
    *(".pbm", ".jp2", ".avif", ".mpo", ".tga", ".pcx"),
)
# Photos that Pillow does not read, which a folder may hold beside others.
OTHER_FORMATS = (".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".jxl")
LIST = ".txt"
MAGIC = "*?["


@dataclass(frozen=True)
class PhotoFiles:
    """Photos in a fixed order.

    root: the folder that all of them are in, at some depth.
    ids: their paths relative to it, with "/".
    left_out: files whose names are not UTF-8, escaped.
    other_formats: files of a folder that end in one of OTHER_FORMATS.
    """

    root: Path
    ids: Sequence[str]
    left_out: Sequence[str] = ()
    other_formats: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def paths(self) -> list[Path]:
        """Return the files."""
        return [self.root / name for name in self.ids]

    def digest(self) -> str:
        """Return the SHA-256 sum of the root's and the photos' names, in hexadecimal."""
        names = "\0".join((os.path.abspath(self.root), *self.ids))
        return hashlib.sha256(os.fsencode(names)).hexdigest()


def find_photos(named: str, image_root: str | None = None) -> PhotoFiles:
    """Return the photos that an option names: all of a folder, or of a pattern, or of a list, or a single one.

    A folder is searched at any depth for files with a suffix of SUFFIXES, without its links to folders and the hidden files
    of macOS (._name); a pattern has *, ?, [] or **; a list is a .txt file with one path a line, relative to `image_root` (by
    default the current folder), whose order is kept. Files whose names are not UTF-8 are left out.

    The photos' ids are relative to `image_root`, by default to the folder that was named or that all of them are in.

    Raises:
        InputError: nothing there, a list with duplicates, or photos outside `image_root`.
    """
    path = Path(named)
    others: list[str] = []
    if path.is_dir():
        below = files_below(path, (*SUFFIXES, *OTHER_FORMATS))[0]
        others = [name for name in below if Path(name).suffix.lower() in OTHER_FORMATS]
        files, root = [str(path / name) for name in below if Path(name).suffix.lower() in SUFFIXES], named
        expected = f"expected files ending in {', '.join(SUFFIXES)}"
    elif path.suffix.lower() == LIST and path.is_file():
        files = [os.path.join(image_root or "", line) for line in read_lines(path) if line.strip()]
        root, expected = "", "expected one path a line"
    elif path.is_file():
        files, root, expected = [named], str(path.parent), ""
    elif any(sign in named for sign in MAGIC):
        files = sorted(name for name in glob.glob(named, recursive=True) if os.path.isfile(name))
        root, expected = "", "expected a pattern that matches photos"
    else:
        raise OptionError("images", named, "there is no such folder, file or list of files, and it is no pattern")
    if not files:
        raise OptionError("images", named, f"no photos; {expected}")
    absolute = [os.path.abspath(name) for name in files]
    if len(set(absolute)) < len(absolute):
        known: set[str] = set()
        for name, whole in zip(files, absolute, strict=True):
            if whole in known:
                raise InputError(f"{named}: {name!r} is named twice; expected each photo once")
            known.add(whole)
    top = os.path.abspath(image_root or root or os.path.commonpath([os.path.dirname(name) for name in absolute]))
    if outside := [name for name in files if not Path(os.path.abspath(name)).is_relative_to(top)]:
        raise OptionError("image_root", str(image_root), f"{outside[0]!r} is not in it")
    ids = [Path(name).relative_to(top).as_posix() for name in absolute]
    left_out = [ascii(name) for name in ids if not is_text(name)]
    ids = [name for name in ids if is_text(name)]
    if not ids:
        raise OptionError("images", named, "no photos whose names are UTF-8")
    return PhotoFiles(Path(os.path.relpath(top)), ids, left_out, [ascii(name)[1:-1] for name in others])


def is_text(name: str) -> bool:
    """Return whether a file name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
