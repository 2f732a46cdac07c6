"""What the tables of wrong files share: edits of a file in the workspace, what is no regular file, what would run code."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

DIGITS = "9" * 5000
Edit = Callable[[bytes], bytes]


class RunsCode:
    """Would run a command when it is unpickled; a marker file would tell."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


def zip_bytes(members: dict[str, bytes]) -> bytes:
    """Return a zip archive of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def special(name: str, kind: str, folder: Path) -> None:
    """Put something that is no regular file in a file's place."""
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to({"a link to /dev/zero": "/dev/zero", "a broken link": "nowhere"}[kind])


SPECIAL = ("FIFO", "a folder", "a link to /dev/zero", "a broken link")


def put(name: str, content: bytes | Callable[[], bytes], folder: Path) -> None:
    """Write a file, in the place of whatever is there."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(content() if callable(content) else content)


def edited(file: str, edit: Edit) -> Callable[[Path], object]:
    """Return a setup that edits a file of the workspace."""
    return lambda folder: (folder / file).write_bytes(edit((folder / file).read_bytes()))
