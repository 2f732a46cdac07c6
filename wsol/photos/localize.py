"""Boxes for a folder of photos, a part at a time, so that memory does not grow with their number and nothing is lost.

In: photos, a `Localizer`, labels that are known. Out: an output folder with parts, and pictures on request.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsol.core.processes import map_beside
from wsol.core.progress import progress
from wsol.data.batches import Photos, make_loader
from wsol.data.images import load_upright
from wsol.maps.class_maps import UNKNOWN, PhotoMaps
from wsol.maps.score_maps import save_score_map
from wsol.photos.finding import PhotoFiles
from wsol.photos.localization import Localization
from wsol.photos.localizer import Localizer
from wsol.photos.parts import Parts, Row
from wsol.photos.pictures import MAPS, save_crops, save_overlay
from wsol.plots.gallery import GalleryItem, thumbnail

THUMBNAIL = "thumbnail"  # in a row: the photo and its map as JPEG, in base64


@dataclass(frozen=True)
class Pictures:
    """What is made beside the boxes: the map over each photo, the map itself, the boxes cut out, thumbnails in the rows."""

    overlays: bool = False
    maps: bool = False
    crops: bool = False
    thumbnails: bool = False
    map_format: str = "npy"

    def save(self, folder: Path, path: Path, found: Localization, max_megapixels: float) -> Row:
        """Write what is wanted of one photo, whose file is read again for it; return what is added to its row."""
        image_id = found.file or path.name
        if self.maps and found.score_map is not None:
            save_score_map(folder / MAPS, image_id, found.score_map, self.map_format)
        if self.overlays or self.crops or self.thumbnails:
            photo = load_upright(path, max_megapixels)
            if self.overlays:
                save_overlay(folder, image_id, photo, found)
            if self.crops:
                save_crops(folder, image_id, photo, found)
            if self.thumbnails:
                pictures = thumbnail(photo, found.score_map)
                return {THUMBNAIL: [base64.b64encode(one).decode() for one in pictures]}
        return {}


def localize_photos(
    localizer: Localizer,
    files: PhotoFiles,
    labels: np.ndarray,
    parts: Parts,
    pictures: Pictures,
    batch_size: int,
    workers: int,
    amp: str,
    max_megapixels: float,
) -> int:
    """Write the parts that an output folder still lacks; return how many photos were mapped for it.

    `labels`: int64 (n,), the class of each photo, UNKNOWN: to be predicted. The loader reads, the network maps, and threads
    judge and write, at the same time.
    """
    predictor = localizer.predictor
    start = parts.finished()
    first = start * parts.size
    if first >= len(files):
        return 0
    side, preprocessing = predictor.config.crop_size, predictor.preprocessing
    paths = files.paths()
    photos = Photos(paths[first:], files.ids[first:], labels[first:], side, preprocessing, max_megapixels)
    loader = make_loader(photos, batch_size, workers, localizer.device)
    unreadable: list[str] = []  # in the photos' order; grows while they are mapped
    position_of = {image_id: number for number, image_id in enumerate(files.ids)}

    def judged(photo: PhotoMaps) -> Row:
        position = position_of[photo.image_id]
        found = localizer.judge(photo, bool(labels[position] != UNKNOWN))
        return found.to_dict() | pictures.save(parts.folder, paths[position], found, max_megapixels)

    def rows() -> Iterator[Row]:
        maps = localizer.mapper.photos(loader, localizer.device, amp, unreadable)
        return (row for _, row in progress(map_beside(judged, maps), "photos", len(photos)))

    parts.write(rows(), unreadable, start)
    return len(photos)


def gallery_items(rows: Iterable[Row]) -> Iterator[GalleryItem]:
    """Yield the photos of a gallery, from rows with thumbnails."""
    for row in rows:
        photo, overlay = (base64.b64decode(one) for one in row[THUMBNAIL])
        yield GalleryItem({name: value for name, value in row.items() if name not in (THUMBNAIL, "class")}, photo, overlay)
