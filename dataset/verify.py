"""The last check of a prepared data set: every id has an image, every box fits its image, every mask exists."""

from pathlib import Path

from dataset.layout import image_size
from wsol.core.errors import InputError
from wsol.core.files import missing_files
from wsol.core.progress import progress
from wsol.data.metadata import (
    check_boxes_fit,
    configure_metadata,
    first_names,
    get_bounding_boxes,
    get_image_ids,
    get_image_sizes,
    get_mask_paths,
    has_boxes,
    has_masks,
)


def _require(folder: Path, what: str, names: list[str]) -> None:
    if missing := missing_files(folder, names, filled=True):
        raise InputError(f"{folder}: {len(missing)} of {len(names)} {what} are missing or empty:" + first_names(missing))


def verify_split(metadata: Path, images: Path, split: str) -> str:
    """Check the files of one split against `images`, the folder of the data set, and return one line about them.

    Raises:
        InputError: an image or mask is missing or empty, or an image with a box or mask has no readable header or a
            different size than in image_sizes.txt.
        MetadataError: a metadata file breaks the format, or a box extends beyond its image.
    """
    paths = configure_metadata(metadata / split)
    ids = get_image_ids(paths)
    _require(images, "images", ids)
    found = [f"{len(ids)} images"]
    if has_boxes(paths):
        boxes, sizes = get_bounding_boxes(paths), get_image_sizes(paths)
        check_boxes_fit(paths, boxes, sizes)
        for image_id in progress(boxes, f"checking {split}"):
            if (size := image_size(images / image_id)) != sizes[image_id]:
                raise InputError(
                    f"{paths.image_sizes}: {image_id!r} is {size[0]} x {size[1]}; the file says "
                    f"{sizes[image_id][0]} x {sizes[image_id][1]}"
                )
        found.append(f"{sum(map(len, boxes.values()))} boxes, all inside their images")
    if has_masks(paths):
        masks, ignores = get_mask_paths(paths)
        names = [name for image_masks in masks.values() for name in image_masks]
        files = names + [name for name in ignores.values() if name]
        _require(images, "masks", files)
        for name in progress([*masks, *files], f"checking masks of {split}"):
            image_size(images / name)
        found.append(f"{len(names)} masks")
    if (metadata / split / "image_ids_proxy.txt").exists():
        proxy = get_image_ids(paths, proxy=True)
        if unknown := set(proxy) - set(ids):
            raise InputError(f"{paths.image_ids_proxy}: {min(unknown)!r} is not in image_ids.txt")
        found.append(f"{len(proxy)} in the proxy list")
    return f"{split}: {', '.join(found)}"
