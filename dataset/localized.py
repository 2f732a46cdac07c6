"""Boxes and masks of an import, rotated like their photos, and the entries made from them.

In: annotation files and the sizes of the photos. Out: boxes and masks on the upright photos, and what cannot be used.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset.annotations import FoundBox, Names, annotation_files, read_boxes
from dataset.layout import Entry
from dataset.orientation import Photo, turn_array, turn_box
from dataset.photos import Report
from dataset.tables import TableOptions
from wsol.core.declared_size import MAX_MEGAPIXELS, check_pixels, open_image
from wsol.core.errors import InputError
from wsol.core.files import check_input
from wsol.data.masks import mask_extent
from wsol.data.metadata import Box

AMBIGUOUS = "rotated photos whose {} may be drawn either way, left out"


class MaskReader:
    """Reads masks. `foreground` and `ignore` are grey values or palette indices; without foreground values, all but 0 and
    ignored values count."""

    def __init__(self, foreground: list[int], ignore: list[int], max_megapixels: float = MAX_MEGAPIXELS) -> None:
        self.foreground, self.ignore, self.max_megapixels = foreground, ignore, max_megapixels

    def read(self, path: Path, photo: Photo) -> tuple[np.ndarray, np.ndarray] | str:
        """Return (foreground, ignored), both bool (height, width) and upright, or why the mask cannot be used."""
        try:
            with open_image(check_input(path)) as image:
                check_pixels(path, image.size, self.max_megapixels)
                values = np.array(image)
        except InputError as error:
            return error.on_command_line()
        except Exception as error:  # noqa: BLE001 (Pillow's decoders raise many kinds for a damaged file)
            return f"{path}: {error}"
        if values.shape not in (photo.size[::-1], photo.stored[::-1]):
            shape = " x ".join(map(str, values.shape))
            return f"{path}: {shape} (rows x columns), expected one channel of {photo.size[1]} x {photo.size[0]}"
        if values.shape != photo.size[::-1]:
            values = turn_array(values, photo.orientation)
        ignored = np.isin(values, self.ignore)
        foreground = np.isin(values, self.foreground) if self.foreground else (values != 0) & ~ignored
        return (foreground, ignored) if foreground.any() else f"{path}: no foreground"


@dataclass
class Localization:
    """Boxes and mask files of images, by relative path. `ambiguous`: rotated images that may have been annotated upright or
    as stored."""

    boxes: dict[str, list[Box]] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)


def read_masks(folder: Path, images: list[str], report: Report) -> dict[str, Path]:
    """Return image to its PNG mask, matched by `Names`."""
    if not os.path.isdir(folder):
        raise InputError(f"--masks {folder}: no such folder")
    paths = [folder / name for name in annotation_files(folder, ".png")]
    names = Names(images, stems=True)
    meant, guessed = names.find_all([(path.relative_to(folder).as_posix(), str(path)) for path in paths])
    report.add("masks matched to an image whose name differs in case", guessed)
    masks: dict[str, Path] = {}
    for path, image in zip(paths, meant, strict=True):
        if image in masks:
            raise InputError(f"{path} and {masks[image]} both mean {image!r}; expected one mask per image")
        if image:
            masks[image] = path
        else:
            report.add("masks without an image", [str(path)])
    return masks


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def upright_boxes(image: str, found: list[FoundBox], photo: Photo) -> list[Box] | None:
    """Return the boxes of an image on its upright pixels; None if it is unknown which way they were drawn.

    Raises:
        InputError: a box is inverted or extends beyond the image, or was drawn on an image of a different size.
    """
    boxes: list[Box] | None = []
    for _, box, where, size, inclusive in found:
        if size not in (None, photo.size, photo.stored):
            raise InputError(
                f"{where}: drawn on an image of {_sides(size)}, but {image} is {_sides(photo.stored)}; expected boxes "
                "in the file's own pixels (not resized)"
            )
        decided = photo.orientation == 1 or (size is not None and photo.size != photo.stored)
        x0, y0, x1, y1 = box
        width, height = (size or photo.size) if decided else [max(photo.size)] * 2
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
            raise InputError(f"{where}: box {x0},{y0},{x1},{y1}; expected it inside the {width} x {height} image")
        if not decided:
            boxes = None
        elif boxes is not None:
            boxes.append(box if size in (None, photo.size) else turn_box(box, photo, inclusive))
    return boxes


def read_localization(
    boxes: Path | None,
    masks: Path | None,
    images: list[str],
    photos: dict[str, Photo],
    reader: MaskReader,
    options: TableOptions,
    report: Report,
) -> tuple[Localization, set[str]]:
    """Return the boxes and masks, and the images usable in val and test: those with a mask if masks are given, else those
    with a box."""
    found = Localization()
    if boxes:
        given, unmatched, guessed = read_boxes(boxes, images, options)
        report.add("boxes without an image", unmatched)
        report.add("names in --boxes matched to an image that differs in case or extension", guessed)
        for image, each in given.items():
            if image not in photos:
                continue
            if (turned := upright_boxes(image, each, photos[image])) is None:
                report.add(AMBIGUOUS.format("boxes"), [f"{image} ({each[0].where})"])
                found.ambiguous.add(image)
            else:
                found.boxes[image] = turned
    if masks:
        for image, path in read_masks(masks, images, report).items():
            photo = photos.get(image)
            if photo is None:
                continue
            if isinstance(read := reader.read(path, photo), str):
                report.add("masks that cannot be used", [read])
            elif photo.orientation > 1 and photo.size == photo.stored:
                report.add(AMBIGUOUS.format("mask"), [f"{image} ({path})"])
                found.ambiguous.add(image)
            else:
                found.masks[image] = path
    return found, (set(found.masks if masks else found.boxes) & set(photos)) - found.ambiguous


def mask_files(image: str, found: Localization, photo: Photo, reader: MaskReader) -> dict[str, np.ndarray]:
    """Return an image's mask and, if any pixel is ignored, its ignore mask, by their relative paths in the data set."""
    if image not in found.masks:
        return {}
    read = reader.read(found.masks[image], photo)
    if isinstance(read, str):
        raise InputError(f"{read}; the file has changed since it was first read")
    file = f"{image.rpartition('.')[0]}.png"
    return {f"masks/{file}": read[0], **({f"ignore_masks/{file}": read[1]} if read[1].any() else {})}


def localized_entry(image: str, names: list[str], photo: Photo, found: Localization, reader: MaskReader) -> Entry:
    """Return the entry of an image, with its boxes and its mask, if any; without boxes, with the extent of the mask."""
    masks = mask_files(image, found, photo, reader)
    paths = list(masks)
    boxes = found.boxes.get(image) or [mask_extent(mask) for mask in list(masks.values())[:1]]
    return Entry(f"images/{image}", names, photo.size, boxes, paths[:1], "".join(paths[1:]))
