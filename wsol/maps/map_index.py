"""A split's maps in the folders of several runs: a CSV image,folder says which folder has each image's map.

What is composed from several runs is scored through such a file, without a copy of any map. Folders are relative to the
file's own, so that both may move together.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wsol.core.csv_rows import csv_text, read_rows
from wsol.core.errors import MetadataError, ScoreMapError
from wsol.core.files import write_text
from wsol.maps.score_maps import ScoreMapFiles, find_score_maps

HEADER = ("image", "folder")
EXTENSION = ".csv"


def write_map_index(path: Path, folders: Mapping[str, Path]) -> None:
    """Write an index: image id to the folder of maps that serves it."""
    rows = ((image_id, Path(os.path.relpath(folder, path.parent)).as_posix()) for image_id, folder in folders.items())
    write_text(path, csv_text([HEADER, *rows]))


def read_map_index(path: Path) -> dict[str, Path]:
    """Return image id to folder.

    Raises:
        MetadataError: the file breaks the format, or has an image twice.
    """
    found: dict[str, Path] = {}
    for number, (image_id, folder) in read_rows(path, HEADER)[1]:
        if image_id in found or not (image_id and folder):
            raise MetadataError(
                f"{path}:{number}: {image_id!r}, {folder!r}; expected every image once, with a folder of maps"
            )
        found[image_id] = path.parent / folder
    return found


def find_maps(
    scoremap_root: str | os.PathLike, image_ids: Sequence[str], split_ids: Iterable[str] | None = None
) -> ScoreMapFiles:
    """Return `find_score_maps` of a folder, or what it finds in the folders of an index, if the root is a .csv file.

    Raises:
        ScoreMapError: as of `find_score_maps`; or the folders of an index have maps of different formats.
        MetadataError: the index breaks its format.
    """
    root = Path(scoremap_root)
    if root.suffix != EXTENSION or not root.is_file():
        return find_score_maps(scoremap_root, image_ids, split_ids)
    folder_of = read_map_index(root)
    all_ids = list(split_ids or image_ids)
    paths: dict[str, Path] = {}
    for folder in dict.fromkeys(folder_of.values()):
        own = [image_id for image_id in image_ids if folder_of.get(image_id) == folder]
        paths |= find_score_maps(folder, own, all_ids).paths
    kinds = sorted({path.suffix for path in paths.values()})
    if len(kinds) > 1:
        raise ScoreMapError(f"{root}: its folders have maps of the formats {', '.join(kinds)}; expected one format")
    missing = [image_id for image_id in image_ids if image_id not in paths]
    return ScoreMapFiles(root, {image_id: paths[image_id] for image_id in image_ids if image_id in paths}, missing, [])
