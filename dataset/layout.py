"""What every data set's preparation shares: splits drawn from names, and metadata written in one format."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsol.errors import InputError
from wsol.files import temporary_sibling, write_text


@dataclass
class Entry:
    """One image: its id, its class name at every level (finest first), (width, height), boxes and masks."""

    image_id: str
    classes: Sequence[str]
    size: tuple[int, int]
    boxes: Sequence[tuple[int, int, int, int]] = ()
    masks: Sequence[str] = field(default_factory=list)
    ignore: str = ""


def split_by_name(names: Iterable[str], shares: dict[str, float]) -> dict[str, list[str]]:
    """Return split to names: one class's names ordered by their SHA-256, cut by shares that sum to 1.

    No seed and no library's generator is involved, so the splits are the same everywhere and for ever.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    splits, start, share = {}, 0, 0.0
    for split, part in shares.items():
        share += part
        end = round(share * len(ordered))
        splits[split] = ordered[start:end]
        start = end
    return splits


def replace_folder(new: Path, old: Path) -> None:
    """Put a finished folder in the place of an older one; of two processes that do so at once, one wins."""
    shutil.rmtree(old, ignore_errors=True)
    old.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(new, old)
    except OSError:
        if not old.is_dir():
            raise
        shutil.rmtree(new, ignore_errors=True)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _file_name(stem: str, levels: Sequence[str], level: str) -> str:
    return f"{stem}.txt" if level == levels[0] else f"{stem}_{level}.txt"


def _check(split: str, entries: Sequence[Entry]) -> None:
    """Refuse to write an empty split, or a box that is inverted or leaves its image."""
    if not entries:
        raise InputError(f"no image is left for the split {split}; nothing was written")
    for entry in entries:
        for x0, y0, x1, y1 in entry.boxes:
            if not (0 <= x0 <= x1 <= entry.size[0] and 0 <= y0 <= y1 <= entry.size[1]):
                size = f"{entry.size[0]} x {entry.size[1]}"
                raise InputError(f"{entry.image_id}: box {x0},{y0},{x1},{y1}; expected it inside the {size} image")


def write_metadata(
    folder: Path, levels: Sequence[str], hierarchy: Sequence[Sequence[str]], splits: dict[str, list[Entry]]
) -> None:
    """Write `metadata/<dataset>`: levels.txt, class names, hierarchy.csv, and the folder of each split given.

    `hierarchy` has one row a finest class, its name at every level; classes are numbered in the order of the rows.
    """
    class_names = {level: list(dict.fromkeys(row[i] for row in hierarchy)) for i, level in enumerate(levels)}
    for split, entries in splits.items():
        _check(split, entries)
    kept = [path.parent.name for path in folder.glob("*/image_ids.txt") if path.parent.name not in splits]
    for level in levels if kept else ():
        path = folder / _file_name("class_names", levels, level)
        lines = [f"{name},{label}" for label, name in enumerate(class_names[level])]
        if path.exists() and path.read_text(encoding="utf-8").splitlines() != lines:
            raise InputError(
                f"{path}: has other classes than these archives, and the splits {', '.join(kept)} use them; expected "
                "all splits to be prepared together"
            )
    for split, entries in splits.items():
        new = temporary_sibling(folder / split)
        shutil.rmtree(new, ignore_errors=True)
        _write_lines(new / "image_ids.txt", [entry.image_id for entry in entries])
        for i, level in enumerate(levels):
            number = {name: label for label, name in enumerate(class_names[level])}
            lines = [f"{entry.image_id},{number[entry.classes[i]]}" for entry in entries]
            _write_lines(new / _file_name("class_labels", levels, level), lines)
        _write_lines(new / "image_sizes.txt", [f"{e.image_id},{e.size[0]},{e.size[1]}" for e in entries])
        boxes = [f"{e.image_id},{','.join(map(str, box))}" for e in entries for box in e.boxes]
        _write_lines(new / "localization.txt", boxes)
        masks = [f"{e.image_id},{mask},{'' if i else e.ignore}" for e in entries for i, mask in enumerate(e.masks)]
        if masks:
            _write_lines(new / "masks.txt", masks)
        replace_folder(new, folder / split)
    for level in levels:
        names = [f"{name},{label}" for label, name in enumerate(class_names[level])]
        _write_lines(folder / _file_name("class_names", levels, level), names)
    if len(levels) > 1:
        _write_lines(folder / "hierarchy.csv", [",".join(row) for row in (levels, *hierarchy)])
    _write_lines(folder / "levels.txt", levels)
