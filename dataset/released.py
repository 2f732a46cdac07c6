"""Data sets whose lists and boxes are released as text: the text is used unchanged, and says how to lay out the images.

ILSVRC (val is ImageNetV2), OpenImages (OpenImages30k), iNatLoc500, and the val split of CUB (CUBV2). In: archives with
images, masks and the released text. Out: images, and metadata equal to the release except for image sizes, which are read
from the images.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset.label_levels import Splits, read_splits
from dataset.layout import image_size, whole_folder, write_lines, write_rows
from dataset.sources import by_suffix, extract
from dataset.wordnet import write_ilsvrc_levels
from wsol.core.errors import InputError
from wsol.core.files import missing_files, read_lines, write_text
from wsol.core.progress import progress
from wsol.data.levels import labels_by_level, level_file, read_class_names
from wsol.data.metadata import (
    check_boxes_fit,
    configure_metadata,
    first_names,
    get_bounding_boxes,
    get_class_labels,
    get_image_ids,
    get_image_sizes,
    get_mask_paths,
    has_boxes,
    has_masks,
)

SPLIT_TEXTS = r"(?:train|val|test)/(?:image_ids|image_ids_proxy|class_labels(?:_\w+)?|image_sizes|localization|masks)\.txt"
NAME_TEXTS = r"class_names(?:_\w+)?\.txt"
Locate = Callable[[str], str | None]  # from the name of an archive member to the image id that it would have


def _size(archive: Path) -> int:
    return archive.stat().st_size if archive.is_file() else 0


def take_text(
    archives: Sequence[Path], folder: Path, prefix: str, splits: Iterable[str], levels: Sequence[str] = ()
) -> Path:
    """Copy the released text of `splits` to `folder`/released and return that folder.

    It must have the labels and class names of all `levels`, if given. `prefix` is a regular expression for what precedes
    train/, val/ and test/ in the name of a member. The smallest archives are searched first, and no more than needed: those
    of images have hundreds of GB.

    Raises:
        InputError: a needed file is in none of the archives.
    """
    pattern = re.compile(rf"(?:^|/){prefix}({SPLIT_TEXTS}|{NAME_TEXTS})$")
    needed = {f"{split}/{name}" for split in splits for name in ("image_ids.txt", "class_labels.txt")}
    needed |= {f"{split}/localization.txt" for split in splits if split != "train"}
    needed |= {f"{split}/{level_file('class_labels', level, levels[0])}" for split in splits for level in levels}
    needed |= {level_file("class_names", level, levels[0]) for level in levels}
    released = folder / "released"
    shutil.rmtree(released, ignore_errors=True)
    for archive in sorted(archives, key=_size):
        needed -= set(extract(archive, released, lambda name: (match := pattern.search(name)) and match[1]))
        if not needed:
            return released
    raise InputError(
        f"{', '.join(map(str, archives))}: no {min(needed)}; expected the released metadata among them, as "
        "dataset/addresses.py names it"
    )


def lay_out(archives: Sequence[Path], folder: Path, wanted: Iterable[str], locate: Locate | None = None) -> None:
    """Copy the wanted images and masks to `folder`. If none is missing or empty there, nothing is done; otherwise every file
    whose size differs from the archive's is copied again.

    `locate` gives the relative name for a member; by default, the wanted name that the member's name ends with.

    Raises:
        InputError: a wanted file is in none of the archives.
    """
    listed = dict.fromkeys(wanted)
    if not missing_files(folder, listed, filled=True):
        return
    find = locate or by_suffix(listed)

    def located(name: str) -> str | None:
        ours = find(name)
        return ours if ours in listed else None

    for archive in archives:
        extract(archive, folder, located, resume=True)
    if missing := missing_files(folder, listed, filled=True):
        raise InputError(
            f"{', '.join(map(str, archives))}: {len(missing)} of {len(listed)} listed files are missing; an archive "
            "is damaged, missing or has a different layout:" + first_names(missing)
        )


def real_sizes(
    folder: Path, ids: Iterable[str], released: dict[str, tuple[int, int]], boxed: bool, notes: list[str]
) -> dict[str, tuple[int, int]]:
    """Return the (width, height) of the image files; notes say which column order the released sizes have.

    Raises:
        InputError: the images are `boxed`, and the size of one is not the released one in either order, so it is not the
            image that was annotated. Without boxes this is only noted.
    """
    sizes, swapped, others = {}, [], []
    for image_id in progress(ids, "image sizes"):
        size = sizes[image_id] = image_size(folder / image_id)
        said = released.get(image_id, size)
        if size == said[::-1] != said:
            swapped.append(image_id)
        elif size != said and boxed:
            raise InputError(
                f"{folder / image_id}: is {size[0]} x {size[1]}; expected the annotated image, {said[0]} x {said[1]}"
            )
        elif size != said:
            others.append(image_id)
    if swapped:
        notes.append(
            f"image_sizes.txt: {len(swapped)} of {len(sizes)} released lines are path,height,width (the first: "
            f"{swapped[0]!r}); path,width,height of the image files is written"
        )
    if others:
        notes.append(f"image_sizes.txt: {len(others)} images differ in size from the release:" + first_names(others))
    return sizes


def _split_sizes(released: Path, folder: Path, notes: list[str]) -> dict[str, tuple[int, int]]:
    """Return the sizes of the image files, if the release has sizes (OpenImages30k has none); every box must fit them."""
    paths = configure_metadata(released)
    if not (said := get_image_sizes(paths)):
        return {}
    sizes = real_sizes(folder, get_image_ids(paths), said, has_boxes(paths), notes)
    if has_boxes(paths):
        check_boxes_fit(paths, get_bounding_boxes(paths), sizes)
    return sizes


def _write_split(released: Path, metadata: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """Write the metadata of one split: the released lines, with the given sizes, if any."""
    with whole_folder(metadata) as new:
        for path in sorted(released.glob("*.txt")):
            write_lines(new / path.name, read_lines(path))
        if sizes:
            write_lines(new / "image_sizes.txt", [f"{name},{width},{height}" for name, (width, height) in sizes.items()])


def _hierarchy(released: Path, levels: Sequence[str], splits: Iterable[str]) -> list[list[str]]:
    """Return the level names and one row per finest class, its name at every level, from the labels of the images."""
    names = [read_class_names(released, level) for level in levels]
    rows: dict[int, list[str]] = {}
    for split in splits:
        tables = list(labels_by_level(released, split).values())
        for image_id, label in tables[0].items():
            if label not in rows:
                rows[label] = [names[i][table[image_id]] for i, table in enumerate(tables)]
    return [list(levels), *(rows[label] for label in sorted(rows))]


@dataclass(frozen=True)
class Released:
    """A data set that is released completely as text; `levels` (finest first) if the release does not name them.

    `write_levels` adds our own levels to the metadata, given the finest labels of its splits.
    """

    NAME: str
    prefix: str
    locate: Locate | None = None
    levels: tuple[str, ...] = ()
    write_levels: Callable[[Path, Splits], object] | None = None

    def prepare(self, archives: list[Path], folder: Path, metadata: Path, splits: list[str]) -> list[str]:
        """Lay out images and masks in `folder` and write `metadata`; return messages about them."""
        released = take_text(archives, folder, self.prefix, splits, self.levels)
        if self.levels:
            write_lines(released / "levels.txt", self.levels)
            write_rows(released / "hierarchy.csv", _hierarchy(released, self.levels, splits))
        wanted: list[str] = []
        for split in splits:
            paths = configure_metadata(released / split)
            ids, labels = get_image_ids(paths), get_class_labels(paths)
            if unlabeled := [image_id for image_id in ids if image_id not in labels]:
                raise InputError(f"{paths.class_labels}: no label for {unlabeled[0]!r}; expected one for every id")
            wanted += ids
            if has_masks(paths):
                masks, ignores = get_mask_paths(paths)
                wanted += [name for names in masks.values() for name in names] + [name for name in ignores.values() if name]
        lay_out(archives, folder, wanted, self.locate)
        notes: list[str] = []
        sizes = {split: _split_sizes(released / split, folder, notes) for split in splits}
        for split in splits:
            _write_split(released / split, metadata / split, sizes[split])
        for path in sorted(path for path in released.iterdir() if path.is_file()):
            write_text(metadata / path.name, path.read_text(encoding="utf-8"))
        if self.write_levels:
            self.write_levels(metadata, read_splits(metadata, splits))
        shutil.rmtree(released)
        return notes


def locate_ilsvrc(name: str) -> str | None:
    """Return the image id of a member of ImageNet's or ImageNetV2's archives (train/, val/ and val2/ of its README)."""
    if match := re.search(r"(?:^|/)((n\d{8})_\d+\.JPEG)$", name):
        return f"train/{match[2]}/{match[1]}"
    if match := re.search(r"(?:^|/)(ILSVRC2012_val_\d{8}\.JPEG)$", name):
        return f"val/{match[1]}"
    if match := re.search(r"(?:^|/)(\d+/\d+\.jpeg)$", name):
        return f"val2/{match[1]}"
    return None


ILSVRC = Released("ILSVRC", "ILSVRC/", locate_ilsvrc, write_levels=write_ilsvrc_levels)
OPENIMAGES = Released("OpenImages", "OpenImages/")
INATLOC500 = Released("iNatLoc500", "", levels=("species", "genus", "family", "order", "class", "phylum", "kingdom"))
