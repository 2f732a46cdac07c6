"""What the preparation of all data sets shares: image sizes, splits drawn by name, and metadata written in one format."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from wsol.core.csv_rows import csv_text
from wsol.core.declared_size import open_image
from wsol.core.errors import InputError
from wsol.core.files import check_folder, check_input, temporary_sibling, write_text
from wsol.data.hierarchy import is_line, read_tree
from wsol.data.levels import SPLITS, level_file
from wsol.data.metadata import configure_metadata, get_class_labels, get_image_ids

# The files that making a data set writes, relative to metadata/<dataset>; a tree.csv or a vector of k is the user's own.
METADATA_FILES = re.compile(
    rf"(class_names(_.+)?|levels|construction|import_report)\.txt|(hierarchy|rejected)\.csv|({'|'.join(SPLITS)})/"
    r"(image_ids|image_ids_proxy|class_labels(_.+)?|image_sizes|localization|masks)\.txt"
)


@dataclass
class Entry:
    """One image: its id, class name at every level (finest first), (width, height), boxes, masks, ignore mask, and for
    messages the place of its box in a file."""

    image_id: str
    classes: Sequence[str]
    size: tuple[int, int]
    boxes: Sequence[tuple[int, int, int, int]] = ()
    masks: Sequence[str] = field(default_factory=list)
    ignore: str = ""
    where: str = ""


def split_by_name(names: Iterable[str], shares: dict[str, float]) -> dict[str, list[str]]:
    """Return split to names: the names of one class, ordered by SHA-256 and cut by shares that sum to 1.

    No seed and no random generator is involved, so the splits are always and everywhere the same.

    >>> split_by_name(["a", "b", "c", "d"], {"val": 0.5, "test": 0.5})
    {'val': ['d', 'c'], 'test': ['b', 'a']}
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    splits, start, share = {}, 0, 0.0
    for split, part in shares.items():
        share += part
        end = round(share * len(ordered))
        splits[split] = ordered[start:end]
        start = end
    return splits


def image_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) of an image file from its header; no pixel is decoded."""
    try:
        with open_image(check_input(path)) as image:
            return image.size
    except Exception as error:  # noqa: BLE001 (Pillow's decoders raise many kinds, such as SyntaxError and struct.error)
        raise InputError(
            f"{path}: not a readable image ({type(error).__name__}: {error}); remove it, and prepare again from the archives"
        ) from None


@contextmanager
def exchanged(new: Path, old: Path) -> Iterator[None]:
    """Replace an old folder by a new one for the duration of the block, and permanently if it succeeds; if it fails, the old
    folder is put back. If two processes do this at the same time, one of them wins."""
    aside = temporary_sibling(old.with_name(f"{old.name}.old"))
    shutil.rmtree(aside, ignore_errors=True)
    old.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        os.rename(old, aside)
    try:
        try:
            os.rename(new, old)
        except OSError:
            if not old.is_dir():
                raise
            shutil.rmtree(new, ignore_errors=True)
        yield
    except BaseException:
        if aside.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary folder; on success it replaces `path`, on any error it is removed.

    If `path` is a link, its target is replaced.

    Raises:
        InputError: `path` is not a folder, or cannot be written.
    """
    path = Path(os.path.realpath(path))
    check_folder(path)
    new = temporary_sibling(path)
    shutil.rmtree(new, ignore_errors=True)
    try:
        yield new
        with exchanged(new, path):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def check_only_ours(folder: Path, ours: Callable[[str], object], what: str) -> None:
    """Raise InputError if a folder that would be replaced holds other files than `ours`, a test of relative names."""
    for root, folders, files in os.walk(folder):
        for name in (*files, *(each for each in folders if (Path(root) / each).is_symlink())):
            path = Path(root) / name
            if not ours(path.relative_to(folder).as_posix()):
                raise InputError(f"{path}: not a file of {what}, which would replace {folder}; move it elsewhere first")


def differing(metadata: Path, files: dict[str, str]) -> list[str]:
    """Return the metadata files of a data set that differ from the given texts, and those of splits that are not given."""
    wrong = [name for name, text in files.items() if not _has_text(metadata / name, text)]
    splits = [path.parent.name for path in metadata.glob("*/image_ids.txt") if path.parent.name in SPLITS]
    return wrong + [f"{split}/image_ids.txt" for split in splits if f"{split}/image_ids.txt" not in files]


def _has_text(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def needs_making(metadata: Path, files: dict[str, str], replace: bool) -> bool:
    """Return whether the metadata of a data set must be written.

    Raises:
        InputError: different metadata exists and `replace` is not given, or files would be lost that no import writes.
    """
    wrong = differing(metadata, files)
    if wrong and os.path.lexists(metadata):
        if not replace:
            raise InputError(
                f"{metadata}: already exists with different content ({wrong[0]} differs); expected another NAME, or "
                "--replace"
            )
        check_only_ours(metadata, METADATA_FILES.fullmatch, "a data set's metadata")
    return bool(wrong)


def _check_text(where: Path | str, text: str) -> str:
    """Return a text unchanged; raise InputError for a NUL or a lone surrogate (which JSON may contain)."""
    for line in text.split("\n") if not text.isascii() or "\0" in text else ():
        if "\0" in line or any("\ud800" <= letter <= "\udfff" for letter in line):
            raise InputError(f"{where}: {line!a}; expected names without NUL, in characters that UTF-8 can encode")
    return text


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a text file."""
    write_text(path, _check_text(path, _text(lines)))


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows to a CSV file; a field with a comma is quoted."""
    write_text(path, _check_text(path, csv_text(rows)))


def is_relative(name: str) -> bool:
    """Return whether a name is a single line and a path inside the folder of the data set."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and is_line(name)


def _check(split: str, entries: Sequence[Entry]) -> None:
    """Raise InputError for an empty split, an id that readers would reject, or a box that is inverted or extends beyond its
    image."""
    if not entries:
        raise InputError(f"no images are left for the split {split}; nothing was written")
    for entry in entries:
        if not is_relative(entry.image_id) or not all(map(is_line, entry.classes)):
            raise InputError(f"{entry.image_id!r}: expected a path relative to the data set's folder, names on one line")
        for x0, y0, x1, y1 in entry.boxes:
            if not (0 <= x0 <= x1 <= entry.size[0] and 0 <= y0 <= y1 <= entry.size[1]):
                size = f"{entry.size[0]} x {entry.size[1]}"
                where = f"{entry.where}: {entry.image_id}" if entry.where else entry.image_id
                raise InputError(f"{where}: box {x0},{y0},{x1},{y1}; expected it inside the {size} image")


def check_consistent(levels: Sequence[str], rows: Iterable[Sequence[str]], where: str) -> None:
    """Raise InputError if, in rows of names at every level (finest first), a class belongs to two of the next level."""
    parents: list[dict[str, str]] = [{} for _ in levels]
    for row in rows:
        for i in range(len(levels) - 1):
            if (parent := parents[i].setdefault(row[i], row[i + 1])) != row[i + 1]:
                both = f"{parent!r} and to {row[i + 1]!r}"
                raise InputError(f"{where}: the {levels[i]} {row[i]!r} belongs to {both}; expected one {levels[i + 1]}")


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def metadata_files(
    name: str, levels: Sequence[str], hierarchy: Sequence[Sequence[str]], splits: dict[str, list[Entry]]
) -> dict[str, str]:
    """Return relative path to text for the metadata of a data set: the given splits, class names, hierarchy.csv, levels.txt.

    `hierarchy` has one row per finest class, its name at every level; classes are numbered in the order of the rows.

    Raises:
        InputError: anything that readers would reject.
    """
    check_consistent(levels, hierarchy, name)
    numbers = [{each: i for i, each in enumerate(dict.fromkeys(column))} for column in zip(*hierarchy, strict=True)]
    files: dict[str, str] = {}
    for split, entries in splits.items():
        _check(split, entries)
        files[f"{split}/image_ids.txt"] = _text(entry.image_id for entry in entries)
        for i, level in enumerate(levels):
            lines = (f"{entry.image_id},{numbers[i][entry.classes[i]]}" for entry in entries)
            files[f"{split}/{level_file('class_labels', level, levels[0])}"] = _text(lines)
        files[f"{split}/image_sizes.txt"] = _text(f"{e.image_id},{e.size[0]},{e.size[1]}" for e in entries)
        boxes = (f"{e.image_id},{','.join(map(str, box))}" for e in entries for box in e.boxes)
        files[f"{split}/localization.txt"] = _text(boxes)
        masks = [f"{e.image_id},{mask},{'' if i else e.ignore}" for e in entries for i, mask in enumerate(e.masks)]
        if masks:
            files[f"{split}/masks.txt"] = _text(masks)
    for i, level in enumerate(levels):
        files[level_file("class_names", level, levels[0])] = _text(f"{each},{label}" for each, label in numbers[i].items())
    if len(levels) > 1:
        files["hierarchy.csv"] = csv_text((levels, *hierarchy))
    files["levels.txt"] = _text(levels)
    for file, text in files.items():
        _check_text(f"{name}, {file}", text)
    return files


def _remove_stale(folder: Path, written: Container[str], classes: list[str]) -> None:
    """Remove files that describe other levels than those written; a tree.csv stays if its leaves are the classes."""
    for path in (*folder.glob("class_names_*.txt"), folder / "hierarchy.csv"):
        if path.name not in written:
            path.unlink(missing_ok=True)
    if (tree := folder / "tree.csv").exists():
        try:
            read_tree(tree, classes)
        except InputError:
            tree.unlink()


def write_metadata(
    folder: Path, levels: Sequence[str], hierarchy: Sequence[Sequence[str]], splits: dict[str, list[Entry]]
) -> None:
    """Write `metadata/<dataset>` (see `metadata_files`); the given splits are replaced, others stay."""
    files = metadata_files(folder.name, levels, hierarchy, splits)
    kept = [path.parent.name for path in folder.glob("*/image_ids.txt") if path.parent.name not in splits]
    for level in levels if kept else ():
        path = folder / (name := level_file("class_names", level, levels[0]))
        if path.exists() and path.read_text(encoding="utf-8").splitlines() != files[name].splitlines():
            raise InputError(
                f"{path}: has different classes than these archives, and the splits {', '.join(kept)} use them; prepare "
                "all splits together"
            )
    for split in splits:
        with whole_folder(folder / split) as new:
            for name, text in files.items():
                if name.startswith(f"{split}/"):
                    write_text(new / PurePosixPath(name).name, text)
    _remove_stale(folder, files, [row[0] for row in hierarchy])
    for name, text in files.items():
        if "/" not in name:
            write_text(folder / name, text)


def write_proxy(train: Path, share: float = 0.1) -> None:
    """Write image_ids_proxy.txt of a training split: `share` of the images of every finest class, at least one.

    They are chosen by the SHA-256 of their ids, so the list is the same everywhere.
    """
    metadata = configure_metadata(train)
    labels, ids = get_class_labels(metadata), get_image_ids(metadata)
    by_class: dict[int, list[str]] = {}
    for image_id in ids:
        by_class.setdefault(labels[image_id], []).append(image_id)
    chosen: set[str] = set()
    for names in by_class.values():
        part = max(share, 1 / len(names))
        chosen.update(split_by_name(names, {"proxy": part, "rest": 1 - part})["proxy"])
    write_lines(train / "image_ids_proxy.txt", [image_id for image_id in ids if image_id in chosen])
