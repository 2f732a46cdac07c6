"""TinyImageNet: 200 ImageNet classes at 64 x 64 with boxes (Stanford CS231n; images under ImageNet's terms).

Training boxes are not used. The official validation images, whose boxes are public, are split evenly per class into
val and test; the official test images have no public labels. Levels above the synsets are c0, c1, ... of WordNet.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataset import wordnet
from dataset.label_levels import read_splits
from dataset.layout import Entry, split_by_name, write_metadata
from dataset.sources import extract, require_members
from wsol.core.errors import InputError
from wsol.core.files import read_lines
from wsol.data.images import load_image
from wsol.data.metadata import Box, first_names, is_whole_number

NAME = "TinyImageNet"
LEVELS = ("synset",)
TEXTS = ("wnids.txt", "words.txt", "val/val_annotations.txt")


def read_annotations(path: Path, names: dict[str, str]) -> dict[str, tuple[str, Box, str]]:
    """Return file name to (synset, box, file:line), from val_annotations.txt; all synsets must be in `names`."""
    annotations = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t")
        numbers = len(fields) == 6 and all(map(is_whole_number, fields[2:]))
        if not numbers or fields[1] not in names or fields[0] in annotations:
            expected = "a unique file, a synset of wnids.txt, x0, y0, x1, y1, separated by tabs"
            raise InputError(f"{path}:{number}: {line!r}; expected {expected}")
        x0, y0, x1, y1 = map(int, fields[2:])
        annotations[fields[0]] = (fields[1], (x0, y0, x1, y1), f"{path}:{number}")
    return annotations


def read_names(folder: Path) -> dict[str, str]:
    """Return synset to its name, in the order of the synsets; the synset is appended if several have the same name."""
    words = {}
    for number, line in enumerate(read_lines(folder / "words.txt"), 1):
        synset, tab, name = line.partition("\t")
        if not tab:
            raise InputError(f"{folder / 'words.txt'}:{number}: {line!r}; expected a synset, a tab, its name")
        words[synset] = name
    synsets = sorted(" ".join(read_lines(folder / "wnids.txt")).split())
    names = [words.get(synset, synset) for synset in synsets]
    counts = Counter(names)
    return {synset: name if counts[name] == 1 else f"{name} ({synset})" for synset, name in zip(synsets, names, strict=True)}


def _take_texts(archives: list[Path], folder: Path) -> None:
    """Copy the text files to `folder`; raise InputError if the archives lack one."""

    def text(name: str) -> str | None:
        return next((text for text in TEXTS if re.search(rf"(?:^|/){re.escape(text)}$", name)), None)

    taken = {name for archive in archives for name in extract(archive, folder, text)}
    if missing := [name for name in TEXTS if name not in taken]:
        raise InputError(f"{', '.join(map(str, archives))}: no {missing[0]}; expected the official archive's layout")


def collect(
    archives: list[Path], folder: Path, splits: list[str], classes: Mapping[str, Sequence[str]] | None = None
) -> tuple[dict[str, Sequence[str]], dict[str, list[Entry]], list[str]]:
    """Lay out images in `folder`; return (synset to its class name at every level, entries by split, what was left out).

    `classes`: the synsets to take, with their class names; default: all, each named as in words.txt.
    """

    def image(name: str) -> str | None:
        if match := re.search(r"(?:^|/)((?:train/(n\d{8})/|val/)images/([^/]+\.JPEG))$", name):
            wanted = "train" in splits if match[2] else {"val", "test"} & set(splits)
            synset = match[2] or annotations.get(match[3], ("",))[0]
            return match[1] if wanted and (synset in chosen or synset not in names) else None
        return None

    _take_texts(archives, folder)
    names = read_names(folder)
    chosen: dict[str, Sequence[str]] = (
        {synset: (name,) for synset, name in names.items()} if classes is None else {**classes}
    )
    if missing := [synset for synset in chosen if synset not in names]:
        where = ", ".join(map(str, archives))
        raise InputError(f"{where}: {len(missing)} synsets are not in wnids.txt:" + first_names(missing))
    annotations = read_annotations(folder / "val/val_annotations.txt", names)
    images = sorted(name for archive in archives for name in extract(archive, folder, image))
    if {"val", "test"} & set(splits):
        wanted = [f"val/images/{file}" for file, (synset, _, _) in annotations.items() if synset in chosen]
        require_members(archives, wanted, set(images))

    entries: dict[str, list[Entry]] = {split: [] for split in splits}
    left_out: list[str] = []

    def add(split: str, name: str, synset: str, boxes: Sequence[Box] = (), where: str = "") -> None:
        try:
            entries[split].append(Entry(name, chosen[synset], load_image(folder / name).size, boxes, where=where))
        except InputError as error:
            left_out.append(error.on_command_line())

    by_synset: dict[str, list[str]] = {}
    for name in images:
        file = name.rsplit("/", 1)[-1]
        if name.startswith("train/"):
            synset = name.split("/")[1]
            if synset in names:
                add("train", name, synset)
            else:
                left_out.append(f"{name}: its synset is not in wnids.txt")
        elif file in annotations:
            by_synset.setdefault(annotations[file][0], []).append(file)
        else:
            left_out.append(f"{name}: not in val_annotations.txt")
    for synset, files in sorted(by_synset.items()):
        for split, part in split_by_name(files, {"val": 0.5, "test": 0.5}).items():
            for file in sorted(part) if split in splits else ():
                _, box, where = annotations[file]
                add(split, f"val/images/{file}", synset, [box], where)
    return chosen, entries, left_out


def prepare(archives: list[Path], folder: Path, metadata: Path, splits: list[str]) -> list[str]:
    """Lay out images in `folder` and write `metadata`; return what was left out, and why."""
    classes, entries, left_out = collect(archives, folder, splits)
    write_metadata(metadata, LEVELS, list(classes.values()), entries)
    names = [name for (name,) in classes.values()]
    wordnet.write_levels(metadata, "tiny_imagenet_tree.csv", list(classes), names, read_splits(metadata))
    return [f"left out: {line}" for line in left_out]
