"""A folder of entries that many processes may read and write at once: each is written whole, and checked when it is read.

In: names and bytes. Out: the same bytes, or None.
"""

import hashlib
import logging
import os
import struct
import zlib
from pathlib import Path

from wsol.core.errors import InputError
from wsol.core.files import check_input, remove_stale_files, whole_file

logger = logging.getLogger("wsol")

CHECKSUM = struct.Struct("<I")


class EntryFolder:
    """A folder of entries, which is made when the first is kept; `what` they are, for messages.

    A folder that cannot be written, or is full, is read from all the same; a warning says so, once per process.
    """

    def __init__(self, folder: str | os.PathLike, what: str):
        self.folder, self.what = Path(folder), what
        self.is_writable = True
        self._cleaned: set[Path] = set()

    def path(self, name: str) -> Path:
        """Return the file of the entry of this name."""
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:40]
        return self.folder / digest[:2] / digest

    def read(self, name: str, most_bytes: int) -> memoryview | None:
        """Return the content of an entry of up to `most_bytes`; None if there is none, or it is damaged or larger."""
        try:
            with check_input(self.path(name)).open("rb") as file:
                kept = file.read(most_bytes + CHECKSUM.size + 1)
        except (InputError, OSError):
            return None
        if not CHECKSUM.size <= len(kept) <= most_bytes + CHECKSUM.size:
            return None
        content = memoryview(kept)[: -CHECKSUM.size]
        return content if CHECKSUM.unpack_from(kept, len(content)) == (zlib.crc32(content),) else None

    def write(self, name: str, content: bytes) -> None:
        """Keep an entry in place of an older one, unless an earlier one could not be written."""
        if not self.is_writable:
            return
        path = self.path(name)
        try:
            if path.parent not in self._cleaned:  # of what killed processes left; the whole folder may hold millions
                remove_stale_files(path.parent)
                self._cleaned.add(path.parent)
            with whole_file(path) as temporary:
                temporary.write_bytes(content + CHECKSUM.pack(zlib.crc32(content)))
        except InputError as error:
            self.is_writable = False
            logger.warning("%s; going on without keeping more %s", error, self.what)
