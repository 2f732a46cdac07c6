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

# What Pillow reads here (READ_KINDS of wsol/core/declared_size.py), by the names of such files.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pnm"),
    *(".pbm", ".jp2", ".avif", ".mpo", ".tga", ".pcx"),
)
LIST = ".txt"
MAGIC = "*?["


@dataclass(frozen=True)
class PhotoFiles:
    """Photos in a fixed order.

    root: the folder that all of them are in, at some depth.
    ids: their paths relative to it, with "/".
    left_out: files whose names are not UTF-8, escaped.
    """

    root: Path
    ids: Sequence[str]
    left_out: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def paths(self) -> list[Path]:
        """Return the files."""
        return [self.root / name for name in self.ids]

    def digest(self) -> str:
        """Return the SHA-256 sum of the root's and the photos' names, in hexadecimal."""
        names = "\0".join((os.path.abspath(self.root), *self.ids))
        return hashlib.sha256(os.fsencode(names)).hexdigest()


def find_photos(named: str) -> PhotoFiles:
    """Return the photos that an option names: all of a folder, or of a pattern, or of a list, or a single one.

    A folder is searched at any depth for files with a suffix of SUFFIXES, without its links to folders and the hidden files
    of macOS (._name); a pattern has *, ?, [] or **; a list is a .txt file with one path a line, relative to the current
    folder, whose order is kept. Files whose names are not UTF-8 are left out.

    Raises:
        InputError: nothing there, or a list with duplicates.
    """
    path = Path(named)
    if path.is_dir():
        found = PhotoFiles(path, sorted(_below(path)))
        expected = f"expected files ending in {', '.join(SUFFIXES)}"
    elif path.suffix.lower() == LIST and path.is_file():
        found = _together([line for line in read_lines(path) if line.strip()], str(path))
        expected = "expected one path a line"
    elif path.is_file():
        found, expected = PhotoFiles(path.parent, [path.name]), ""
    elif any(sign in named for sign in MAGIC):
        files = sorted(name for name in glob.glob(named, recursive=True) if os.path.isfile(name))
        found, expected = _together(files, named), "expected a pattern that matches photos"
    else:
        raise OptionError("images", named, "there is no such folder, file or list of files, and it is no pattern")
    named_well = [name for name in found.ids if is_text(name)]
    found = PhotoFiles(found.root, named_well, [ascii(name) for name in found.ids if not is_text(name)])
    if not found.ids:
        raise OptionError("images", named, f"no photos; {expected}")
    return found


def _below(folder: Path) -> list[str]:
    names = []
    for root, _, files in os.walk(folder):
        for name in files:
            path = Path(root, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("._") and path.is_file():
                names.append(path.relative_to(folder).as_posix())
    return names


def _together(files: Sequence[str], named: str) -> PhotoFiles:
    """Return files under the deepest folder that all are in."""
    if not files:
        return PhotoFiles(Path(), [])
    absolute = [os.path.abspath(name) for name in files]
    if len(set(absolute)) < len(absolute):
        twice = next(name for number, name in enumerate(files) if absolute[number] in absolute[:number])
        raise InputError(f"{named}: {twice!r} is named twice; expected each photo once")
    root = os.path.commonpath([os.path.dirname(name) for name in absolute])
    return PhotoFiles(Path(root), [Path(name).relative_to(root).as_posix() for name in absolute])


def is_text(name: str) -> bool:
    """Return whether a file name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
