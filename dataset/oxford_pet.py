"""OxfordPet: the Oxford-IIIT Pet data set (Parkhi et al., CVPR 2012; CC BY-SA 4.0), breeds and species, with masks.

The foreground is value 1 of the trimap, its border (3) is ignored, and boxes are the extent of the foreground.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from dataset.layout import Entry, split_by_name, write_metadata
from dataset.sources import extract, require_members
from wsol.core.declared_size import open_image
from wsol.core.errors import InputError
from wsol.core.files import read_lines, whole_file
from wsol.data.images import load_image
from wsol.data.masks import mask_extent

NAME = "OxfordPet"
LEVELS = ("breed", "species")
SHARES = {"train": 0.5, "val": 0.2, "test": 0.3}
SPECIES = {"1": "cat", "2": "dog"}
FOREGROUND, BORDER = 1, 3


def read_list(path: Path) -> dict[str, str]:
    """Return image name to species from the official annotations/list.txt."""
    species = {}
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 4 or fields[2] not in SPECIES or not re.fullmatch(r"\w+_\d+", fields[0]):
            raise InputError(f"{path}:{number}: {line!r}; expected image, class id, species (1 or 2), breed id")
        species[fields[0]] = SPECIES[fields[2]]
    return species


def _breed(name: str) -> str:
    return name.rpartition("_")[0]


def _entry(folder: Path, name: str, species: str) -> Entry | str:
    """Write the masks of one image and return its entry, or the reason why it has none."""
    try:
        size = load_image(folder / "images" / f"{name}.jpg").size
        with open_image(folder / "trimaps" / f"{name}.png") as image:
            trimap = np.array(image)
    except Exception as error:  # noqa: BLE001 (Pillow's decoders raise many kinds for a damaged file)
        return f"{error}"
    if trimap.shape != size[::-1]:
        return f"its trimap is {trimap.shape[1]} x {trimap.shape[0]}, the image {size[0]} x {size[1]}"
    foreground = trimap == FOREGROUND
    if not foreground.any():
        return "its trimap has no foreground"
    paths = {f"masks/{name}.png": foreground, f"masks/{name}_ignore.png": trimap == BORDER}
    for path, mask in paths.items():
        with whole_file(folder / path) as temporary:
            Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, format="PNG")
    mask, ignore = paths
    return Entry(f"images/{name}.jpg", (_breed(name), species), size, [mask_extent(foreground)], [mask], ignore)


def prepare(archives: list[Path], folder: Path, metadata: Path, splits: list[str]) -> list[str]:
    """Lay out images and masks in `folder` and write `metadata`; return what was left out, and why."""

    def annotation(name: str) -> str | None:
        if match := re.search(r"(?:^|/)annotations/(list\.txt|trimaps/[^/]+\.png)$", name):
            return match[1]
        return None

    taken = {name for archive in archives for name in extract(archive, folder, annotation)}
    if "list.txt" not in taken:
        raise InputError(f"{', '.join(map(str, archives))}: no annotations/list.txt; expected the official annotations")
    species = read_list(folder / "list.txt")
    breeds: dict[str, list[str]] = {}
    for name in sorted(species):
        breeds.setdefault(_breed(name), []).append(name)
    chosen: dict[str, list[str]] = {split: [] for split in splits}
    for names in breeds.values():
        for split, part in split_by_name(names, SHARES).items():
            if split in chosen:
                chosen[split].extend(sorted(part))
    wanted = {name for names in chosen.values() for name in names}

    def image(name: str) -> str | None:
        match = re.search(r"(?:^|/)images/([^/]+)\.jpg$", name)
        if match and match[1] not in species:
            left_out.append(f"{match[1]}: not in annotations/list.txt")
        return f"images/{match[1]}.jpg" if match and match[1] in wanted else None

    left_out: list[str] = []
    found = {name for archive in archives for name in extract(archive, folder, image)}
    require_members(archives, [f"images/{name}.jpg" for name in sorted(wanted)], found)
    entries: dict[str, list[Entry]] = {split: [] for split in splits}
    for split, names in chosen.items():
        for name in names:
            entry = _entry(folder, name, species[name])
            if isinstance(entry, Entry):
                entries[split].append(entry)
            else:
                left_out.append(f"{name}: {entry}")
    write_metadata(metadata, LEVELS, [(breed, species[names[0]]) for breed, names in breeds.items()], entries)
    return [f"left out: {line}" for line in left_out]
