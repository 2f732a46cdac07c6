"""What has been found for photos so far, in files of a few hundred photos each, so that a stopped command goes on.

In: rows, one per photo that could be read, in the photos' order. Out: `parts/000000.jsonl` and so on, each written whole;
and all rows again, one at a time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.files import check_folder, read_json, remove_stale_files, write_json, write_text
from wsol.core.locks import locked
from wsol.core.plain_values import shown

FORMAT = 1
RECORD, PARTS, LOCK = "inference.json", "parts", ".lock"
UNREADABLE = "unreadable"  # in the row of a photo that could not be read: why
LEAST = 256  # photos of a part, at least
HASHED = {
    "checkpoint": "another checkpoint",
    "images": "other photos",
    "labels": "other labels",
}  # settings, by what differs

Row = dict[str, Any]


def part_size(batch_size: int) -> int:
    """Return the photos of a part, a multiple of the batch, so that a stopped command goes on with the same batches.

    >>> part_size(32), part_size(100), part_size(1000)
    (256, 300, 1000)
    """
    return batch_size * -(-LEAST // batch_size)


@dataclass(frozen=True)
class Parts:
    """The parts in an output folder.

    ids: the photos, in order.
    size: the photos of a part.
    """

    folder: Path
    ids: Sequence[str]
    size: int

    def path(self, number: int) -> Path:
        """Return the file of a part."""
        return self.folder / PARTS / f"{number:06d}.jsonl"

    def __len__(self) -> int:
        return -(-len(self.ids) // self.size)

    def finished(self) -> int:
        """Return how many parts there are, from the first one on without a gap."""
        return next((number for number in range(len(self)) if not self.path(number).is_file()), len(self))

    def write(self, rows: Iterable[Row], unreadable: Sequence[str], start: int) -> None:
        """Write parts from number `start` on, each when its last photo is known.

        `rows`: of the photos from there on that could be read, in order. `unreadable`: the reasons of the others, in order;
        it may grow, as long as a reason is there when the next row comes.
        """
        position, reasons, waiting = start * self.size, iter(unreadable), list[Row]()

        def add(row: Row | None) -> None:
            nonlocal position
            waiting.append(row or {"file": self.ids[position], UNREADABLE: next(reasons)})
            position += 1
            if position % self.size == 0 or position == len(self.ids):
                text = "".join(json.dumps(one, allow_nan=False) + "\n" for one in waiting)
                write_text(self.path((position - 1) // self.size), text)
                waiting.clear()

        for row in rows:
            while self.ids[position] != row["file"]:
                add(None)
            add(row)
        while position < len(self.ids):
            add(None)

    def rows(self) -> Iterator[Row]:
        """Yield the row of every photo, in order.

        Raises:
            InputError: a part is missing or damaged.
        """
        for number in range(len(self)):
            path = self.path(number)
            expected = self.ids[number * self.size : (number + 1) * self.size]
            try:
                with path.open(encoding="utf-8") as file:
                    for image_id, line in zip(expected, file, strict=True):
                        row = json.loads(line)
                        if row["file"] != image_id:
                            raise ValueError(f"of {row['file']!r}")
                        yield row
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}: damaged ({error}); remove it, and the command makes it again") from None


@contextmanager
def output_folder(folder: Path, settings: Mapping[str, Any], total: int) -> Iterator[None]:
    """Hold a folder of results: a new one, or one that the same command with the same settings began.

    Raises:
        InputError: another process is at it, or the folder has other contents.
    """
    check_folder(folder)
    record = folder / RECORD
    if not record.is_file() and folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
        raise InputError(f"{folder}: not empty, and without {RECORD}; expected a new folder, or one of this command")
    with locked(folder / LOCK) as lock:
        if lock is None:
            raise InputError(f"{folder}: another process is writing into it")
        if record.is_file():
            _check_settings(folder, settings)
            remove_stale_files(folder)
            remove_stale_files(folder / PARTS)
        else:
            write_json(record, {"format": FORMAT, "photos": total, "settings": dict(settings)})
        yield


def begun_with(folder: Path) -> dict[str, Any]:
    """Return the settings with which an output folder was begun; empty if it was not.

    Raises:
        InputError: its record is not one.
    """
    record = folder / RECORD
    if not record.is_file():
        return {}
    content = read_json(record)
    kept = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(kept, dict) or content.get("format") != FORMAT:
        raise InputError(f"{record}: not a record of format {FORMAT}; expected a new folder, or one of this command")
    return kept


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    kept = begun_with(folder)
    for name, value in settings.items():
        if kept.get(name) != value:
            if name in HASHED:
                raise InputError(f"{folder}: was begun with {HASHED[name]}; expected the same, or another folder")
            raise InputError(
                f"{folder}: was begun with {name} {shown(kept.get(name))}, not {shown(value)}; expected the same, or "
                "another folder"
            )
