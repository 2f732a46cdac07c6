"""What the tables of wrong files share: edits of a workspace file, special files, and an object that would run code."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

DIGITS = "9" * 5000
Edit = Callable[[bytes], bytes]


class RunsCode:
    """Runs a command when it is unpickled, which leaves a marker file."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


def zip_bytes(members: dict[str, bytes]) -> bytes:
    """Return a zip archive of members (name to content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def special(name: str, kind: str, folder: Path) -> None:
    """Replace a file by something that is not a regular file."""
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
    """Write a file, replacing whatever is there."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(content() if callable(content) else content)


def edited(file: str, edit: Edit) -> Callable[[Path], object]:
    """Return a setup that edits a workspace file."""
    return lambda folder: (folder / file).write_bytes(edit((folder / file).read_bytes()))
