"""Class-agnostic proposals from COCO's JSON: any number of boxes or segmentations per image, of any detector or segmenter.

In: a list of results, or an annotation file with images and annotations. Out: proposals by image id; scores and categories
are not read.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsol.core.errors import InputError, MetadataError
from wsol.core.plain_values import is_number
from wsol.data.coco import name_of, read_coco_names, read_results
from wsol.data.masks import mask_extent
from wsol.data.metadata import Box, configure_metadata, first_names, get_image_sizes
from wsol.data.segmentations import mask_of

EXPECTED = '{"image_id": ..., "bbox": [x, y, width, height]}, or with a "segmentation"'


class Proposal(NamedTuple):
    """A region that may be the object: its box in pixels of the image, x0, y0, x1, y1 as in localization.txt, and its
    segmentation, as the file has it; None where there is only a box. `where`: the file and the entry, for messages."""

    box: Box
    segmentation: object
    where: str

    def mask(self, size: tuple[int, int]) -> np.ndarray | None:
        """Return bool (H, W), in an image of `size` (w, h); None where there is only a box.

        Raises:
            InputError: the segmentation is malformed, names the entry.
        """
        if self.segmentation is None:
            return None
        try:
            return mask_of(self.segmentation, size)
        except ValueError as error:
            raise InputError(f"{self.where}: segmentation: {error}") from None


@dataclass(frozen=True)
class Proposals:
    """The proposals of many images.

    found: of each image, in the order of its file. sizes: (w, h) of each. others: ids of the file's other images.
    """

    found: Mapping[str, list[Proposal]]
    sizes: Mapping[str, tuple[int, int]]
    others: Sequence[str] = ()


def box_inside(edges: tuple[float, float, float, float], size: tuple[int, int]) -> Box | None:
    """Return a box (x0, y0, x1, y1) in whole pixels, truncated, within an image of `size` (w, h); None if nothing of it is
    inside.

    >>> box_inside((-3.0, 2.5, 12.0, 8.9), (10, 10)), box_inside((11.0, 0.0, 15.0, 5.0), (10, 10))
    ((0, 2, 10, 8), None)
    """
    x0, y0 = (int(max(edge, 0)) for edge in edges[:2])
    x1, y1 = (int(min(edge, limit)) for edge, limit in zip(edges[2:], size, strict=True))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def read_proposals(
    path: str | os.PathLike, image_sizes: Mapping[str, tuple[int, int]], coco_images: str | os.PathLike | None = None
) -> tuple[dict[str, list[Proposal]], list[str]]:
    """Return (proposals of each image of `image_sizes`, in the file's order; the file's image ids that are not among them).

    An annotation file names its own images, and crowds are left out; a list of results has paths, or numbers that
    `coco_images`, an annotation file, gives names. A region outside its image, or without a pixel in it, is left out. A
    segmentation takes precedence over the box beside it.

    Raises:
        InputError: neither kind of file, a malformed entry, or numeric ids without names.
    """
    entries, names = read_results(path, read_coco_names(coco_images) if coco_images else None)
    found: dict[str, list[Proposal]] = {image_id: [] for image_id in image_sizes}
    unknown: dict[str, None] = {}
    for number, entry in enumerate(entries, 1):
        where = f"{path}: entry {number}"
        if not (isinstance(entry, dict) and isinstance(entry.get("image_id"), int | str)):
            raise InputError(f"{where}: {str(entry)[:120]}; expected {EXPECTED}")
        if entry.get("iscrowd"):
            continue
        image_id = name_of(entry["image_id"], names, where)
        if image_id not in found:
            unknown[image_id] = None
        elif proposal := _proposal(entry, where, image_sizes[image_id]):
            found[image_id].append(proposal)
    return found, list(unknown)


def require_sizes(folder: Path, image_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return image id to (w, h), from a split's image_sizes.txt.

    Raises:
        MetadataError: images have no line there; boxes are read with their sizes.
    """
    metadata = configure_metadata(folder)
    sizes = get_image_sizes(metadata)
    if missing := [image_id for image_id in image_ids if image_id not in sizes]:
        raise MetadataError(
            f"{metadata.image_sizes}: no size of {len(missing)} images; expected path,width,height of every image of "
            f"{folder.name}:{first_names(missing)}"
        )
    return {image_id: sizes[image_id] for image_id in image_ids}


def read_split_proposals(
    path: str | os.PathLike, folder: Path, image_ids: Iterable[str], coco_images: str | os.PathLike | None = None
) -> Proposals:
    """Return the proposals of images of a split, whose metadata are in `folder`; see `read_proposals`.

    Raises:
        InputError: the file is not one of proposals, or has none of any of these images.
        MetadataError: an image's size is not known.
    """
    sizes = require_sizes(folder, image_ids)
    found, unknown = read_proposals(path, sizes, coco_images)
    if not any(found.values()):
        others = f"; it has those of others:{first_names(unknown)}" if unknown else ""
        raise InputError(f"{path}: no proposal of any image of {folder.name}{others}")
    return Proposals(found, sizes, unknown)


def _proposal(entry: Mapping, where: str, size: tuple[int, int]) -> Proposal | None:
    if segmentation := entry.get("segmentation"):
        mask = Proposal((0, 0, 0, 0), segmentation, where).mask(size)
        box = None
        if mask is not None and mask.any():
            x0, y0, x1, y1 = mask_extent(mask)  # both ends included
            box = (x0, y0, x1 + 1, y1 + 1)
    else:
        edges = entry.get("bbox")
        numbers = [edge for edge in edges if is_number(edge)] if isinstance(edges, list) and len(edges) == 4 else []
        if len(numbers) < 4 or min(numbers[2:]) < 0:
            raise InputError(f"{where}: {str(entry)[:120]}; expected {EXPECTED}, finite numbers and no negative side")
        x, y, width, height = numbers
        box, segmentation = box_inside((x, y, x + width, y + height), size), None
    return None if box is None else Proposal(box, segmentation, where)
