"""Archives: where data sets are officially found, fetching them, and taking files out of them safely.

`Official` says where; `fetch` downloads with a progress bar, resumes a broken download and verifies the checksum;
`extract` copies chosen members of a folder, .zip or .tar archive to names of our own.
"""

import hashlib
import http.client
import lzma
import os
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from wsol.errors import InputError
from wsol.files import whole_file
from wsol.metadata import first_names
from wsol.progress import progress

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Official:
    """One archive of a data set: its file name, address and MD5 (None: none is published)."""

    file: str
    address: str
    md5: str | None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _download(address: str, part: Path) -> None:
    """Append to `part` what is still missing of an address."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing
            return
        raise
    with response:
        resumed = response.status == 206
        total = int(response.headers.get("Content-Length") or 0) + (have if resumed else 0)
        bar = tqdm(total=total or None, initial=have if resumed else 0, unit="B", unit_scale=True, disable=None)
        with part.open("ab" if resumed else "wb") as file, bar:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total and part.stat().st_size < total:
        raise ConnectionError(f"broke off after {part.stat().st_size} of {total} bytes")


def fetch(official: Official, folder: Path) -> Path:
    """Return an official archive in `folder`, downloaded unless it is there; a broken download is resumed.

    Raises:
        InputError: it cannot be had (says which file to put where), or its checksum is wrong.
    """
    target, part = folder / official.file, folder / f"{official.file}.part"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"downloading {official.address}", flush=True)
        try:
            _download(official.address, part)
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and ConnectionError are OSErrors
            raise InputError(
                f"{official.address}: could not be downloaded ({error}). Call again to resume, or fetch it where there "
                f"is a network and put it at {target}, or name it with --archive"
            ) from None
        if official.md5 and _md5(part) != official.md5:
            part.unlink()
            raise InputError(f"{official.address}: the MD5 is not {official.md5}; the download was removed")
        os.replace(part, target)
    return target


def _safe(name: str, archive: Path) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(f"{archive}: its member {name!r} leaves the folder; nothing more was taken from it")
    return name


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, Callable[[], BinaryIO]]]]:
    """Yield an iterator of (name, opener) of an archive's regular files; links and devices are refused."""

    def of_folder() -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
        for path in sorted(archive.rglob("*")):
            if path.is_file():
                yield f"{archive.resolve().name}/{path.relative_to(archive).as_posix()}", lambda path=path: path.open("rb")

    def of_zip(opened: zipfile.ZipFile) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InputError(f"{archive}: its member {info.filename!r} is a link or device; expected files")
            if not info.is_dir():
                yield _safe(info.filename, archive), lambda info=info: opened.open(info)

    def of_tar(opened: tarfile.TarFile) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise InputError(f"{archive}: its member {info.name!r} is a link or device; expected files")
            if info.isreg():
                yield _safe(info.name, archive), lambda info=info: opened.extractfile(info)

    if archive.is_dir():
        yield of_folder()
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield of_zip(opened)
    elif archive.is_file() and tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            yield of_tar(opened)
    else:
        raise InputError(f"{archive}: {'not a .zip or .tar archive' if archive.exists() else 'no such archive'}")


def extract(archive: Path, folder: Path, rename: Callable[[str], str | None]) -> list[str]:
    """Copy the members that `rename` names (member's name to a relative name of ours, None: not wanted) below `folder`.

    Each file is written whole; one that is there is replaced. Returns our names.
    """
    taken = []
    try:
        with _members(archive) as members:
            for name, opener in progress(members, f"extracting {archive.name}"):
                if name.rsplit("/", 1)[-1].startswith("._") or not (ours := rename(name)):
                    continue
                target = folder / ours
                taken.append(ours)
                with opener() as source, whole_file(target) as temporary, temporary.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, RuntimeError) as error:
        raise InputError(f"{archive}: damaged or unreadable ({error})") from None
    return taken


def require_members(archives: list[Path], wanted: Sequence[str], found: set[str]) -> None:
    """Refuse archives that lack what their own annotations list: they are damaged or not all there."""
    if missing := [name for name in wanted if name not in found]:
        raise InputError(
            f"{', '.join(map(str, archives))}: {len(missing)} of {len(wanted)} annotated images are not in there, so an "
            "archive is damaged or missing:" + first_names(missing)
        )
