"""Archives: downloading the official ones, and extracting files from them safely.

`fetch` downloads with a progress bar, resumes a broken download and verifies size and checksum; `extract` copies chosen
members of a folder, .zip or .tar archive (also of .tar files inside it) under new names.
"""

import hashlib
import http.client
import lzma
import os
import re
import stat
import struct
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from tqdm import tqdm

from dataset.addresses import Official
from wsol.core.errors import InputError
from wsol.core.files import check_writable, whole_file
from wsol.core.progress import progress, tell
from wsol.data.metadata import first_names

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte
DAMAGES: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    struct.error,
)
DAMAGES += (ValueError, OverflowError, IndexError)  # from numbers, names and extra fields in damaged headers


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _download(address: str, part: Path) -> None:
    """Append the missing rest of a download to `part`."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 (an address from addresses.py)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 (as above)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing
            return
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise ValueError("the server sent a web page, not the file")
        resumed = response.status == 206
        total = int(response.headers.get("Content-Length") or 0) + (have if resumed else 0)
        bar = tqdm(total=total or None, initial=have if resumed else 0, unit="B", unit_scale=True, disable=None)
        with part.open("ab" if resumed else "wb") as file, bar:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total and part.stat().st_size < total:
        raise ConnectionError(f"broke off after {part.stat().st_size} of {total} bytes")


def mismatch(official: Official, path: Path) -> str | None:
    """Return how a file differs from the published size or checksum; None if it does not."""
    if official.size is not None and path.stat().st_size != official.size:
        return f"the size is {path.stat().st_size} bytes, not {official.size}"
    if official.md5 and _md5(path) != official.md5:
        return f"the MD5 is not {official.md5}"
    return None


def fetch(official: Official, folder: Path) -> Path:
    """Return the path of an official archive in `folder`; it is downloaded, or its download resumed, unless it exists.

    Raises:
        InputError: it cannot be downloaded (the message says where to put the file), or does not have the published size or
            checksum.
    """
    target, part = folder / official.file, folder / f"{official.file}.part"
    by_hand = (
        f"download it on a machine with a network{f' ({official.page})' if official.page else ''} and put it at {target}, "
    )
    by_hand += "or give all archives with --archive"
    if target.exists():
        if wrong := mismatch(official, target):
            raise InputError(f"{target}: {wrong}; remove it to download it again, or {by_hand}")
        return target
    if official.address is None:
        raise InputError(f"{official.file} cannot be downloaded without signing in; {by_hand}")
    check_writable(part)
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"downloading {official.address}")
    try:
        _download(official.address, part)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and ConnectionError are OSErrors
        raise InputError(
            f"{official.address}: could not be downloaded ({error}). Call again to resume, or {by_hand}"
        ) from None
    if wrong := mismatch(official, part):
        part.unlink()
        raise InputError(f"{official.address}: {wrong}; the download was removed. Call again, or {by_hand}")
    os.replace(part, target)
    return target


def fetch_all(officials: Iterable[Official], folder: Path) -> list[Path]:
    """Return the official archives in `folder`; raise InputError first if any must be downloaded by hand, and name all of
    these."""
    officials = list(officials)
    missing = [official for official in officials if official.address is None and not (folder / official.file).exists()]
    if missing:
        names = [f"{official.file} ({official.page})" for official in missing]
        raise InputError(
            f"{len(missing)} of {len(officials)} files cannot be downloaded without signing in; download them by hand and "
            f"put them into {folder}, or give all archives with --archive:" + first_names(names)
        )
    return [fetch(official, folder) for official in officials]


def _safe(name: str, archive: Path) -> str:
    parts = set(name.split("/"))
    if "\\" in name or {"", ".."} & parts or parts == {"."}:  # an empty part: absolute, also after its start is cut off
        raise InputError(f"{archive}: its member {name!r} points outside the folder; extraction stopped")
    return name


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except InputError:  # a ValueError, too
        raise
    except DAMAGES as error:
        raise InputError(f"{archive}: damaged or unreadable ({error})") from None


Member = tuple[str, int, Callable[[], IO[bytes]]]  # name, bytes, opener


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _of_folder(folder: Path) -> Iterator[Member]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".tar":  # as inside a .tar: ILSVRC's training images, unpacked once
            with _reading(path), tarfile.open(path) as nested:
                yield from _of_tar(nested, path, inner=True)
        else:
            name = f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}"
            yield name, path.stat().st_size, partial(_opened, path)


def _of_zip(opened: zipfile.ZipFile, archive: Path) -> Iterator[Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"{archive}: its member {info.filename!r} is a link or device; expected files")
        if not info.is_dir():
            yield _safe(info.filename, archive), info.file_size, partial(opened.open, info)


def _content(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = opened.extractfile(info)
    if content is None:
        raise tarfile.ReadError(f"its member {info.name!r} has no content")
    return content


def _of_tar(opened: tarfile.TarFile, archive: Path, inner: bool = False) -> Iterator[Member]:
    for info in opened:
        if not (info.isreg() or info.isdir()):
            raise InputError(f"{archive}: its member {info.name!r} is a link or device; expected files")
        if info.issparse():  # a few bytes may declare any number of zeros
            raise InputError(f"{archive}: its member {info.name!r} is a sparse file; expected plain files")
        if info.isreg() and info.name.endswith(".tar") and not inner:  # ILSVRC's training images: a .tar per class
            with tarfile.open(fileobj=_content(opened, info)) as nested:
                yield from _of_tar(nested, archive / info.name, inner=True)
        elif info.isreg():
            yield _safe(info.name, archive), info.size, partial(_content, opened, info)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    """Yield an iterator over the regular files of an archive; raise InputError for links and devices."""
    if archive.is_dir():
        yield _of_folder(archive)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _of_zip(opened, archive)
    elif archive.is_file() and tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            yield _of_tar(opened, archive)
    else:
        raise InputError(f"{archive}: {'not a .zip or .tar archive' if archive.exists() else 'no such archive'}")


def _chunks(opener: Callable[[], IO[bytes]], archive: Path) -> Iterator[bytes]:
    """Yield the bytes of a member; errors in reading name the archive, not the file being written."""
    with _reading(archive), opener() as source:
        while chunk := source.read(CHUNK):
            yield chunk


def extract(archive: Path, folder: Path, rename: Callable[[str], str | None], resume: bool = False) -> list[str]:
    """Copy members of an archive to `folder` and return their new names.

    `rename` gives the relative name for a member's name, None if it is not wanted. Each file is written whole. An existing
    file is replaced, but with `resume` it is kept if it has the size of the member.

    Raises:
        InputError: the archive is damaged, or a member is a link or device or points outside the folder.
    """
    taken = []
    with _reading(archive), _members(archive) as members:
        for name, size, opener in progress(members, f"extracting {archive.name}"):
            if name.rsplit("/", 1)[-1].startswith("._") or not (ours := rename(name)):
                continue
            target = folder / _safe(ours, archive)
            taken.append(ours)
            if resume and target.is_file() and target.stat().st_size == size:
                continue
            with whole_file(target) as temporary, temporary.open("wb") as file:
                file.writelines(_chunks(opener, archive))
    return taken


def by_suffix(wanted: Container[str]) -> Callable[[str], str | None]:
    """Return a function that finds the wanted name that a member's name ends with, regardless of its outer folders.

    >>> by_suffix({"val/a.jpg"})("archive/val/a.jpg")
    'val/a.jpg'
    """

    def ours(name: str) -> str | None:
        while name not in wanted:
            _, slash, name = name.partition("/")
            if not slash:
                return None
        return name

    return ours


def take_annotations(archives: list[Path], folder: Path, parent: str, names: Sequence[str]) -> Path:
    """Copy the text files `parent`/name of archives to `folder`/annotations and return that folder; all must exist."""

    def ours(name: str) -> str | None:
        match = re.search(rf"(?:^|/){parent}/({'|'.join(map(re.escape, names))})$", name)
        return match and f"annotations/{match[1]}"

    taken = {name for archive in archives for name in extract(archive, folder, ours)}
    if missing := [name for name in names if f"annotations/{name}" not in taken]:
        raise InputError(f"{', '.join(map(str, archives))}: no {parent}/{missing[0]}; expected the official archive")
    return folder / "annotations"


def require_members(archives: list[Path], wanted: Sequence[str], found: set[str]) -> None:
    """Raise InputError if archives lack images that their own annotations list: one is damaged or missing."""
    if missing := [name for name in wanted if name not in found]:
        raise InputError(
            f"{', '.join(map(str, archives))}: {len(missing)} of {len(wanted)} annotated images are missing; an "
            "archive is damaged or missing:" + first_names(missing)
        )
