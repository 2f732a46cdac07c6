"""Toy: a synthetic data set of textured scenes, made by code, with the same arrays on every machine.

In: only this file. Out: PNG images and masks in `<data_root>/Toy`, metadata in `<metadata_root>/Toy`. Every pixel comes
from integer arithmetic on NumPy's frozen legacy generator, so the arrays never differ. Results on Toy check the machinery;
they are not evidence about real images (docs/datasets.md describes the cues).
"""

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dataset.layout import METADATA_FILES, Entry, check_only_ours, exchanged, metadata_files, write_lines
from wsol.core.errors import InputError
from wsol.core.files import check_folder, read_lines, temporary_sibling, write_text
from wsol.data.masks import mask_extent
from wsol.data.metadata import Box

NAME = "Toy"
MADE = f"the data set {NAME} that this program makes"
STAMP = "version.txt"  # next to the metadata
LIST = "files.txt"  # of the written files, in both folders: "<SHA-256>  <name>", for sha256sum
VERSION = "1"  # change it whenever a pixel or a line changes, so that older copies are replaced
SIZE = 96
LEVELS = ("species", "genus", "family", "order")
IMAGES_PER_SPECIES = {"train": 24, "val": 8, "test": 12}
SCENE_FOLLOWS_ORDER = 85  # percent of images with the usual scene of their order

ORDERS = ("round", "angular")
FAMILY_COLOURS = {"round": ("red", "violet"), "angular": ("yellow", "grey")}
TEXTURES = ("striped", "dotted")
MARKS = ("ring", "cross")
RGB = {"red": (190, 60, 50), "violet": (140, 70, 190), "yellow": (215, 185, 50), "grey": (135, 135, 145)}
SCENES = {"meadow": (70, 125, 60), "water": (60, 105, 150)}


class Example(NamedTuple):
    """One scene: image uint8 (SIZE, SIZE, 3), mask bool (SIZE, SIZE), box (x0, y0, x1, y1) with both ends included."""

    image: np.ndarray
    mask: np.ndarray
    box: Box


def species() -> list[tuple[str, str, str, str]]:
    """Return the 16 finest classes as (order, colour, texture, mark), in label order."""
    return [
        (order, colour, texture, mark)
        for order in ORDERS
        for colour in FAMILY_COLOURS[order]
        for texture in TEXTURES
        for mark in MARKS
    ]


def ancestors(kind: tuple[str, str, str, str]) -> dict[str, str]:
    """Return level to the class name of a species, finest first."""
    return {level: "-".join(kind[: len(kind) - i]) for i, level in enumerate(LEVELS)}


def _smooth_noise(rng: np.random.RandomState, cell: int, amplitude: int) -> np.ndarray:
    """Return int (SIZE, SIZE): bilinear value noise in [-amplitude, amplitude], with `cell` pixels between random values."""
    grid = rng.randint(-amplitude, amplitude + 1, size=(SIZE // cell + 2, SIZE // cell + 2)).astype(np.int64)
    i, f = np.divmod(np.arange(SIZE), cell)
    rows = grid[i] * (cell - f)[:, None] + grid[i + 1] * f[:, None]
    columns = rows[:, i] * (cell - f) + rows[:, i + 1] * f
    return columns // (cell * cell)


def _scene(rng: np.random.RandomState, name: str) -> np.ndarray:
    """Return the background, int (SIZE, SIZE, 3): rippled water or a speckled meadow."""
    y = np.arange(SIZE)[:, None]
    base = np.array(SCENES[name]) + rng.randint(-15, 16, size=3)
    shade = _smooth_noise(rng, 24, 30) + _smooth_noise(rng, 8, 15)
    if name == "water":
        shade = shade + np.where((y + _smooth_noise(rng, 16, 6)) % 8 < 2, 16, 0)
    else:
        shade = shade + rng.randint(-22, 23, size=(SIZE, SIZE))
    return base + shade[:, :, None]


def _body(kind: str, x: np.ndarray, y: np.ndarray, a: int, b: int) -> np.ndarray:
    """Return the pixels of the body, bool: an ellipse with half axes a and b, or a rectangle cut by a rhombus."""
    if kind == "round":
        return x * x * b * b + y * y * a * a <= a * a * b * b
    return (abs(x) <= a) & (abs(y) <= b) & (2 * (abs(x) * b + abs(y) * a) <= 3 * a * b)


def _place(rng: np.random.RandomState) -> tuple[int, int, int, int, int, int]:
    """Return (cx, cy, a, b, head radius, side): of varying size, anywhere it fits except the middle."""
    while True:
        a, b = int(rng.randint(10, 31)), int(rng.randint(8, 25))
        radius, side = 5 + min(a, b) // 4, int(rng.randint(2)) * 2 - 1
        left, right = a + 1, a + 1
        if side > 0:
            right += 2 * radius - 2
        else:
            left += 2 * radius - 2
        height = max(b, radius) + 1
        cx = int(rng.randint(left, SIZE - right))
        cy = int(rng.randint(height, SIZE - height))
        if (cx - SIZE // 2) ** 2 + (cy - SIZE // 2) ** 2 >= 12**2:
            return cx, cy, a, b, radius, side


def draw(kind: tuple[str, str, str, str], seed: int) -> Example:
    """Return a scene with an object of the given species."""
    order, colour, texture, mark = kind
    rng = np.random.RandomState(seed)
    usual = ORDERS.index(order)
    scene = tuple(SCENES)[usual if rng.randint(100) < SCENE_FOLLOWS_ORDER else 1 - usual]
    image = _scene(rng, scene)
    cx, cy, a, b, radius, side = _place(rng)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.int64)
    x, y = x - cx, y - cy
    body = _body(order, x, y, a, b)
    hx = x - side * (a + radius - 3)
    head = hx * hx + y * y <= radius * radius

    # Middle tiers: the body's colour (family) and its texture (genus).
    paint = np.array(RGB[colour]) + rng.randint(-12, 13, size=3)
    phase = int(rng.randint(8))
    pattern = ((x + y + phase) % 8 < 3) if texture == "striped" else ((x + phase) % 6 < 3) & ((y + phase) % 6 < 3)
    shade = _smooth_noise(rng, 12, 14) - 60 * (pattern & body)
    image = np.where((body | head)[:, :, None], paint + shade[:, :, None], image)
    # Finest tier: a mark in the head, a few pixels wide.
    r2 = hx * hx + y * y
    inner = (radius - 2) ** 2
    drawn = (r2 <= inner) & (r2 > inner // 4) if mark == "ring" else (r2 <= inner) & ((abs(hx) <= 1) | (abs(y) <= 1))
    image = np.where(drawn[:, :, None], np.array((245, 245, 235)), image)

    image = image + rng.randint(-6, 7, size=(SIZE, SIZE, 1))
    mask = body | head
    return Example(np.clip(image, 0, 255).astype(np.uint8), mask, mask_extent(mask))


def _names(split: str, kind: tuple[str, str, str, str]) -> list[str]:
    """Return the names, without extension, of the images of a species in a split."""
    return [f"{split}/{'-'.join(kind)}/{number:03d}" for number in range(IMAGES_PER_SPECIES[split])]


def _draw_split(split: str, images: Path) -> list[Entry]:
    """Draw the images and masks of one split in `images`, and return its entries."""
    entries = []
    for kind in species():
        for name in _names(split, kind):
            example = draw(kind, zlib.crc32(name.encode()))
            image_id, mask = f"{name}.png", f"{name}_mask.png"
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(example.image).save(images / image_id)
            Image.fromarray(example.mask.astype(np.uint8) * 255).save(images / mask)
            entries.append(Entry(image_id, list(ancestors(kind).values()), (SIZE, SIZE), [example.box], [mask]))
    return entries


def _is_text(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8").strip() == text
    except (OSError, UnicodeDecodeError):
        return False


def _listed(folder: Path) -> dict[str, str | None]:
    """Return name to SHA-256 of the files in a folder's list (None: an older list, which has only names)."""
    found: dict[str, str | None] = {LIST: None}
    for line in read_lines(folder / LIST):
        digest, separator, name = line.partition("  ")
        found[name if separator else line] = digest if separator else None
    return found


def _write_list(folder: Path) -> None:
    """Write the list of the files in a finished folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_lines(folder / LIST, [f"{_digest(path)}  {path.relative_to(folder).as_posix()}" for path in files])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_unchanged(folder: Path, listed: Mapping[str, str | None]) -> None:
    """Raise InputError if a file in a folder that would be replaced has changed since it was written."""
    for name, digest in listed.items():
        path = folder / name
        if digest and path.is_file() and _digest(path) != digest:
            raise InputError(
                f"{path}: changed since this program made it, and {folder} would be replaced; move it elsewhere first"
            )


def _check_ours(images: Path, metadata: Path) -> None:
    """Raise InputError if folders that would be replaced hold anything that this module did not write: files that are not in
    the list, or have a different digest. Older copies have no list; their files are recognised by name, if the version is
    next to the metadata."""
    for folder in (images, metadata):
        check_folder(folder)
    has_stamp = (metadata / STAMP).is_file()
    names = [name for split in IMAGES_PER_SPECIES for kind in species() for name in _names(split, kind)]
    made = {f"{name}{end}.png" for name in names for end in ("", "_mask")}
    older: dict[Path, Callable[[str], bool]] = {
        images: made.__contains__,
        metadata: lambda name: name == STAMP or METADATA_FILES.fullmatch(name) is not None,
    }
    for folder, is_older in older.items():
        if (folder / LIST).is_file():
            listed = _listed(folder)
            check_only_ours(folder, listed.__contains__, MADE)
            _check_unchanged(folder, listed)
        else:
            check_only_ours(folder, is_older if has_stamp else lambda _: False, MADE)


@contextmanager
def prepared(data_root: str | os.PathLike, metadata_root: str | os.PathLike, again: bool = False) -> Iterator[bool]:
    """Make the images, masks and metadata of Toy if they do not exist, or `again`; yield whether they were made.

    If the block fails, the folders they replaced are put back, so a command that is refused loses nothing.

    Raises:
        InputError: the folders hold files that were not made here, or cannot be written.
    """
    images, metadata = (Path(os.path.realpath(Path(root) / NAME)) for root in (data_root, metadata_root))
    if not again and images.is_dir() and _is_text(metadata / STAMP, VERSION):
        yield False
        return
    _check_ours(images, metadata)
    new_images, new_metadata = temporary_sibling(images), temporary_sibling(metadata)
    try:
        try:
            splits = {split: _draw_split(split, new_images) for split in IMAGES_PER_SPECIES}
            rows = [list(ancestors(kind).values()) for kind in species()]
            files = metadata_files(NAME, LEVELS, rows, splits) | {STAMP: f"{VERSION}\n"}
            for name, text in files.items():
                write_text(new_metadata / name, text)
            _write_list(new_images)
            _write_list(new_metadata)
        except OSError as error:
            raise InputError(f"{images}: cannot be written ({error.strerror or error})") from None
        # The metadata comes last: if its version is there, everything is complete.
        with exchanged(new_images, images), exchanged(new_metadata, metadata):
            yield True
    finally:
        for folder in (new_images, new_metadata):
            shutil.rmtree(folder, ignore_errors=True)


def prepare(data_root: str | os.PathLike, metadata_root: str | os.PathLike, again: bool = False) -> bool:
    """Make Toy if it does not exist, or `again`; return whether it was made. See `prepared`."""
    with prepared(data_root, metadata_root, again) as made:
        return made
