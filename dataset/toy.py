"""Toy: a synthetic data set of textured scenes, made by code, the same arrays on every machine.

In: nothing but this file. Out: PNG images and masks under `<data_root>/Toy`, metadata under `<metadata_root>/Toy`.
Every pixel comes from integer arithmetic on NumPy's frozen legacy generator, so the arrays never differ. What one
finds on Toy is a check of the machinery, not evidence about real images (docs/datasets.md says what each cue is).
"""

import os
import shutil
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dataset.layout import Entry, replace_folder, write_metadata
from wsol.files import temporary_sibling, write_text

NAME = "Toy"
VERSION = "1"  # change it whenever one pixel or one line changes: older copies are then made anew
SIZE = 96
LEVELS = ("species", "genus", "family", "order")
IMAGES_PER_SPECIES = {"train": 24, "val": 8, "test": 12}
SCENE_FOLLOWS_ORDER = 85  # percent of the images whose scene is the usual one of their order

ORDERS = ("round", "angular")
FAMILY_COLOURS = {"round": ("red", "violet"), "angular": ("yellow", "grey")}
TEXTURES = ("striped", "dotted")
MARKS = ("ring", "cross")
RGB = {"red": (190, 60, 50), "violet": (140, 70, 190), "yellow": (215, 185, 50), "grey": (135, 135, 145)}
SCENES = {"meadow": (70, 125, 60), "water": (60, 105, 150)}


class Example(NamedTuple):
    """One scene: image uint8 (SIZE, SIZE, 3), mask bool (SIZE, SIZE), box (x0, y0, x1, y1), both ends included."""

    image: np.ndarray
    mask: np.ndarray
    box: tuple[int, int, int, int]


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
    """Return the class name of one species at every level, finest first."""
    return {level: "-".join(kind[: len(kind) - i]) for i, level in enumerate(LEVELS)}


def _smooth_noise(rng: np.random.RandomState, cell: int, amplitude: int) -> np.ndarray:
    """Return int (SIZE, SIZE) bilinear value noise in [-amplitude, amplitude]: `cell` pixels between random values."""
    grid = rng.randint(-amplitude, amplitude + 1, size=(SIZE // cell + 2, SIZE // cell + 2)).astype(np.int64)
    i, f = np.divmod(np.arange(SIZE), cell)
    rows = grid[i] * (cell - f)[:, None] + grid[i + 1] * f[:, None]
    columns = rows[:, i] * (cell - f) + rows[:, i + 1] * f
    return columns // (cell * cell)


def _scene(rng: np.random.RandomState, name: str) -> np.ndarray:
    """Return the background, int (SIZE, SIZE, 3): rippled water or a speckled meadow, with stray coloured blobs."""
    y = np.arange(SIZE)[:, None]
    base = np.array(SCENES[name]) + rng.randint(-15, 16, size=3)
    shade = _smooth_noise(rng, 24, 30) + _smooth_noise(rng, 8, 15)
    if name == "water":
        shade = shade + np.where((y + _smooth_noise(rng, 16, 6)) % 8 < 2, 16, 0)
    else:
        shade = shade + rng.randint(-22, 23, size=(SIZE, SIZE))
    return base + shade[:, :, None]


def _body(kind: str, x: np.ndarray, y: np.ndarray, a: int, b: int) -> np.ndarray:
    """Return the body's pixels, bool: an ellipse of half axes a, b, or a rhombus-cut rectangle."""
    if kind == "round":
        return x * x * b * b + y * y * a * a <= a * a * b * b
    return (abs(x) <= a) & (abs(y) <= b) & (2 * (abs(x) * b + abs(y) * a) <= 3 * a * b)


def _place(rng: np.random.RandomState) -> tuple[int, int, int, int, int, int]:
    """Return (cx, cy, a, b, head radius, side): varied size, anywhere it fits but not in the middle."""
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
    """Return one scene with an object of the given species."""
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
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    return Example(np.clip(image, 0, 255).astype(np.uint8), mask, box)


def _draw_split(split: str, images: Path) -> list[Entry]:
    """Draw one split's images and masks below `images`."""
    entries = []
    for kind in species():
        for number in range(IMAGES_PER_SPECIES[split]):
            name = f"{split}/{'-'.join(kind)}/{number:03d}"
            example = draw(kind, zlib.crc32(name.encode()))
            image_id, mask = f"{name}.png", f"{name}_mask.png"
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(example.image).save(images / image_id)
            Image.fromarray(example.mask.astype(np.uint8) * 255).save(images / mask)
            entries.append(Entry(image_id, list(ancestors(kind).values()), (SIZE, SIZE), [example.box], [mask]))
    return entries


def prepare(data_root: str | os.PathLike, metadata_root: str | os.PathLike, anew: bool = False) -> bool:
    """Make Toy's images, masks and metadata where they are not there yet, or `anew`; return whether they were made.

    The images come into place first, the file that holds the version last: where it is, everything is complete.
    """
    images, metadata = Path(data_root) / NAME, Path(metadata_root) / NAME
    stamp = metadata / "version.txt"
    if not anew and images.is_dir() and stamp.is_file() and stamp.read_text().strip() == VERSION:
        return False
    new = temporary_sibling(images)
    try:
        splits = {split: _draw_split(split, new) for split in IMAGES_PER_SPECIES}
        replace_folder(new, images)
        write_metadata(metadata, LEVELS, [list(ancestors(kind).values()) for kind in species()], splits)
        write_text(stamp, VERSION + "\n")
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return True
