"""What one can look at or use of a photo's localization: its map over the photo with the box, and the boxes cut out.

In: an upright photo and its localization. Out: JPEG files.
"""

from pathlib import Path

from PIL import Image, ImageDraw

from wsol.core.files import whole_file
from wsol.maps.overlay import overlay
from wsol.photos.localization import Localization
from wsol.plots.jpeg import jpeg_bytes

OVERLAYS, CROPS, MAPS = "overlays", "crops", "maps"  # folders
SIDE = 512  # the longer side of an overlay, at most
COLOR = (0, 230, 118)
QUALITY = 90


def _save(image: Image.Image, path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(jpeg_bytes(image, QUALITY))


def save_overlay(folder: Path, image_id: str, photo: Image.Image, found: Localization) -> None:
    """Write OVERLAYS/<id>.jpg: the photo, at most SIDE pixels wide and high, under its map's colours, with its boxes."""
    scale = min(1.0, SIDE / max(photo.size))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    small = photo.resize(size, Image.Resampling.BILINEAR)
    if found.score_map is not None:
        small = Image.fromarray(overlay(photo, found.score_map)).resize(size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(small)
    for number, box in enumerate(found.boxes):
        draw.rectangle([edge * scale for edge in box], outline=COLOR, width=3 if number == 0 else 1)
    _save(small, folder / OVERLAYS / f"{image_id}.jpg")


def save_crops(folder: Path, image_id: str, photo: Image.Image, found: Localization) -> None:
    """Write CROPS/<id>.jpg, the photo within its first box, and CROPS/<id>_2.jpg and so on for further ones."""
    for number, (x0, y0, x1, y1) in enumerate(found.boxes, 1):
        edges = (int(x0), int(y0), min(int(x1) + 1, photo.width), min(int(y1) + 1, photo.height))
        _save(photo.crop(edges), folder / CROPS / f"{image_id}{'' if number == 1 else f'_{number}'}.jpg")
