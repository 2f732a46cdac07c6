"""Files: read only if they are regular files, written whole or not at all (under a temporary name next to the target,
which is then renamed)."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError, MetadataError, OptionError, remember_file, shortened

HOST = re.sub(r"\W", "", platform.node())[:20]  # process numbers belong to one machine; folders may be shared

MOST_BYTES = 255  # of a file's name, on common file systems
MOST_TEMPORARY = 200  # bytes of a name within a temporary name, which may have 255


def temporary_sibling(path: Path, process: int | None = None) -> Path:
    """Return a name next to `path` that only this process (or the given one) uses; the caller renames it to `path` or
    removes it."""
    return path.with_name(f".{_short(path.name)}.{HOST}.{process or os.getpid()}.tmp")


def _short(name: str) -> str:
    """Return a name, or a hash of it if the temporary name would be too long for a file."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= MOST_TEMPORARY else hashlib.sha256(encoded).hexdigest()[:32]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def remove_stale_files(folder: Path) -> None:
    """Remove temporary files and folders in and next to `folder` whose process, on this machine, no longer runs."""
    inside = (Path(root) / name for root, folders, files in os.walk(folder) for name in (*folders, *files))
    for path in list(chain(folder.parent.glob(f".{_short(folder.name)}.*.tmp"), inside)):
        match = re.fullmatch(rf"\..+\.{HOST}\.(\d+)\.tmp", path.name)
        if match and not _is_running(int(match[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _listing(folder: Path, filled: bool) -> set[str]:
    try:
        if not filled:
            return set(os.listdir(folder))
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file() and entry.stat().st_size}
    except OSError:
        return set()


def missing_files(root: str | os.PathLike, names: Iterable[str], filled: bool = False) -> list[str]:
    """Return the relative names that do not exist under `root` (`filled`: or are empty, or not regular files).

    Each folder is listed only once, for speed.
    """
    listed: dict[str, set[str]] = {}
    missing = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in listed:
            listed[folder] = _listing(Path(root) / folder, filled)
        if file not in listed[folder]:
            missing.append(name)
    return missing


def check_input(path: str | os.PathLike) -> Path:
    """Return the path of an input file, checked to be a regular file; every file that is read is checked here.

    Raises:
        InputError: no such file, a folder, or a FIFO or device, which may block or never end.
    """
    remember_file(path)
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: not a readable file ({error.strerror})") from None
    except ValueError as error:  # a NUL, or a surrogate, which file names cannot have
        raise InputError(f"{os.fspath(path)!a}: not a valid file name ({error})") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, FIFO or socket"
        raise InputError(f"{path}: {kind}; expected a regular file")
    return Path(path)


def read_text(path: str | os.PathLike) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: it cannot be read, or is not a regular file or not UTF-8.
    """
    try:
        return check_input(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: not a readable file ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None


def read_lines(path: str | os.PathLike, optional: bool = False) -> list[str]:
    """Return the lines of a UTF-8 text file, without their line ends; an optional file that is absent has none.

    Raises:
        MetadataError: it cannot be read, is not UTF-8, or has a NUL.
    """
    if optional and not os.path.lexists(path):
        return []
    try:
        text = read_text(path)
    except InputError as error:
        raise MetadataError(str(error)) from None
    lines = text.replace("\r\n", "\n").split("\n")
    if "\0" in text:
        number = next(number for number, line in enumerate(lines, 1) if "\0" in line)
        raise MetadataError(f"{path}:{number}: a NUL byte; expected text")
    if lines[-1] == "":
        lines.pop()
    return lines


def read_json(path: str | os.PathLike) -> Any:  # noqa: ANN401 (a reader checks what it needs)
    """Return the content of a JSON file.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a whole number of thousands of digits
        raise InputError(f"{path}: not a readable JSON file ({error})") from None


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _check_name(path: str | os.PathLike) -> None:
    """Raise InputError for a path that a file cannot have; the system would complain only on writing."""
    try:
        encoded = os.fsencode(path)
    except ValueError as error:  # a lone surrogate
        raise InputError(f"{os.fspath(path)!a}: not a valid file name ({error})") from None
    if b"\0" in encoded or max(map(len, encoded.split(b"/"))) > MOST_BYTES:
        raise InputError(f"{shortened(ascii(os.fspath(path)))}: expected names without NUL, of at most {MOST_BYTES} bytes")


def check_folder(folder: str | os.PathLike) -> None:
    """Raise InputError if a folder exists but is not writable, or does not exist and cannot be created."""
    _check_name(folder)
    folder = Path(os.path.realpath(folder))
    above = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {above} is not a writable folder")


def check_writable(path: str | os.PathLike) -> None:
    """Check that an output path is, or could become, a regular file, before there is anything to write.

    Raises:
        InputError: a folder or device, a path in something that is not a writable folder, or an invalid file name.
    """
    _check_name(path)
    path = Path(os.path.realpath(path))
    if os.path.lexists(path) and not path.is_file():
        raise InputError(f"{path}: a folder or device; expected a file")
    check_folder(path.parent)


def check_new(option: str, path: str | os.PathLike) -> None:
    """Check that an option's output can be written and does not exist, before there is anything to write.

    Raises:
        InputError: see `check_writable`; OptionError: it exists.
    """
    check_writable(path)
    if os.path.lexists(path):
        raise OptionError(option, path, "exists; expected a new file")


def refuse_overwriting(outputs: Mapping[str, str | os.PathLike], inputs: Iterable[str | os.PathLike]) -> None:
    """Check that no output (option to path) is one of the input files, under any name or link.

    Raises:
        OptionError: an output would replace an input; the message names both.
    """
    existing = {_identity(path): option for option, path in outputs.items() if os.path.exists(path)}
    for path in inputs if existing else ():
        if option := existing.get(_identity(path)):
            raise OptionError(option, outputs[option], f"would replace the input {path}; expected another file")


def refuse_inside(outputs: Mapping[str, str | os.PathLike], folders: Iterable[str | os.PathLike]) -> None:
    """Check that no output (option to path) is inside a folder of data that a command only reads.

    Raises:
        OptionError: an output is; the message names both.
    """
    for folder in folders:
        for option, path in outputs.items():
            if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
                raise OptionError(option, path, f"is inside {folder}, which holds data; expected a file elsewhere")


def _identity(path: str | os.PathLike) -> tuple[int, int] | None:
    """Return what all names and links of a file share; None if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def to_disk(path: str | os.PathLike) -> None:
    """Wait until a file's content, or a folder's list of names, would survive a loss of power.

    Raises:
        OSError: it cannot be written.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot do this for a folder
            raise
    finally:
        os.close(number)


@contextmanager
def whole_file(path: str | os.PathLike, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path; on success it is renamed to `path`, on any error it is removed.

    If `path` is a link, its target is written. `durable`: once it has its name, it would survive a loss of power.

    Raises:
        InputError: `path` is not a regular file, or cannot be written.
    """
    remember_file(path)
    _check_name(path)
    path = Path(os.path.realpath(path))
    temporary = temporary_sibling(path)
    try:
        check_writable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            to_disk(temporary)
        os.replace(temporary, path)
        if durable:
            to_disk(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str, durable: bool = False) -> None:
    """Write UTF-8 text with Unix line ends; `durable` as in `whole_file`.

    Raises:
        InputError: it cannot be written, or the text has a lone surrogate, which UTF-8 cannot encode.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        around = ascii(text[max(0, error.start - 20) : error.end + 20])
        raise InputError(f"{path}: not written: {around} cannot be encoded as UTF-8") from None
    with whole_file(path, durable) as temporary:
        temporary.write_bytes(encoded)


def write_json(path: str | os.PathLike, value: object, durable: bool = False) -> None:
    """Write JSON, indented by two spaces; `durable` as in `whole_file`.

    Raises:
        InputError: it cannot be written.
        ValueError: NaN or infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", durable)
