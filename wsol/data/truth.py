"""The truth of a split: the boxes, masks and sizes of its images, read from its metadata once and shared by all evaluators.

In: `metadata/<dataset>/<split>/`. Out: immutable tables by image id, checked against the images to be scored; masks stay in
their files until a map is scored. Val's boxes may be pseudo boxes, which nobody has drawn (dataset/pseudo_boxes.py).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from munch import Munch

from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError, MetadataError, did_you_mean
from wsol.core.files import file_hash, missing_files
from wsol.data.metadata import (
    Box,
    configure_metadata,
    dataset_folder,
    first_names,
    get_bounding_boxes,
    get_fitting_sizes,
    get_image_ids,
    get_image_sizes,
    get_mask_paths,
    has_boxes,
    has_masks,
)

TRUE, PSEUDO = SOURCES = ("true", "pseudo")  # where boxes come from: an annotator, or proposals and a network
PSEUDO_BOXES = "pseudo_localization.txt"  # in a split's folder, in the format of localization.txt


@dataclass(frozen=True)
class BoxTruth:
    """By image id: `boxes` (x0, y0, x1, y1) in pixels, and `sizes` (w, h) of the images, which the boxes fit."""

    boxes: Mapping[str, list[Box]]
    sizes: Mapping[str, tuple[int, int]]

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> "BoxTruth":
        """Return the boxes of a split; see `get_bounding_boxes` and `get_fitting_sizes` for the errors."""
        boxes = get_bounding_boxes(metadata)
        return cls(boxes, get_fitting_sizes(metadata, boxes))


@dataclass(frozen=True)
class MaskTruth:
    """By image id: `paths` of the instance masks and of the `ignored` mask ("": none), relative to `root`, and `sizes`
    (w, h) of the images if known. A mask may declare at most `max_megapixels`."""

    root: Path
    paths: Mapping[str, list[str]]
    ignored: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]]
    max_megapixels: float = MAX_MEGAPIXELS

    @classmethod
    def read(cls, metadata: Mapping[str, str], root: str | os.PathLike, max_megapixels: float) -> "MaskTruth":
        """Return the masks of a split; `root` is the data set's own mask folder."""
        return cls(Path(root), *get_mask_paths(metadata), get_image_sizes(metadata), max_megapixels)

    def files(self, image_ids: Sequence[str]) -> list[str]:
        """Return the names of all masks of some images."""
        names = [name for image_id in image_ids for name in self.paths[image_id]]
        return names + [self.ignored[image_id] for image_id in image_ids if self.ignored[image_id]]


@dataclass(frozen=True)
class SplitTruth:
    """What the maps of a split are compared with: `boxes` and `masks`, each None if the split has none.

    `image_ids`, all or some of the `split_ids`, are the images to be scored; each has its truth, and its mask files exist.
    `pseudo_hash`: the SHA-256 of the file of its pseudo boxes, in hexadecimal; None: its boxes are true. There are no masks
    beside pseudo boxes.
    """

    dataset_name: str
    split: str
    split_ids: Sequence[str]
    image_ids: Sequence[str]
    boxes: BoxTruth | None
    masks: MaskTruth | None
    pseudo_hash: str | None = None

    @property
    def source(self) -> str:
        """Where the boxes come from, one of SOURCES."""
        return PSEUDO if self.pseudo_hash else TRUE

    @property
    def has_any(self) -> bool:
        """Whether there is anything to compare maps with."""
        return bool(self.boxes or self.masks)

    def count(self) -> tuple[int, int]:
        """Return how many true boxes and how many true masks the images to be scored have."""
        if self.source == PSEUDO:
            return 0, 0
        boxes = sum(len(self.boxes.boxes[image_id]) for image_id in self.image_ids) if self.boxes else 0
        masks = sum(len(self.masks.paths[image_id]) for image_id in self.image_ids) if self.masks else 0
        return boxes, masks

    @classmethod
    def read(
        cls,
        metadata_root: str | os.PathLike,
        mask_root: str | os.PathLike,
        dataset_name: str,
        split: str,
        image_ids: Sequence[str] | None = None,
        with_masks: bool = True,
        needs_truth: bool = True,
        max_megapixels: float = MAX_MEGAPIXELS,
        source: str = TRUE,
    ) -> "SplitTruth":
        """Return the truth of all images of a split, or of `image_ids`.

        `with_masks`: masks too, if the split has any. `needs_truth`: a split without boxes and masks is an error. `source`:
        PSEUDO takes the split's pseudo boxes, and none of its true boxes and masks.

        Raises:
            InputError: no such split, no images, images that are not in the split, missing mask files, or no pseudo boxes.
            MetadataError: images without their truth, or a file that breaks the format.
        """
        folder = dataset_folder(metadata_root, dataset_name) / split
        if not folder.is_dir():
            splits = [path.parent.name for path in folder.parent.glob("*/image_ids.txt")]
            hint = did_you_mean(split, splits) or f"; it has {', '.join(sorted(splits)) or 'none'}"
            raise InputError(f"{folder}: no metadata of the split {split!r} of {dataset_name!r}{hint}")
        metadata = configure_metadata(folder)
        split_ids = get_image_ids(metadata)
        image_ids = split_ids if image_ids is None else list(image_ids)
        if not image_ids:
            raise InputError(f"{dataset_name} {split}: no images to evaluate")
        if unknown := sorted(set(image_ids) - set(split_ids)):
            raise InputError(
                f"{metadata.image_ids}: lacks {len(unknown)} of the images to be scored:" + first_names(unknown)
            )
        pseudo_hash = None
        if source == PSEUDO:
            metadata = _with_pseudo_boxes(metadata, folder)
            pseudo_hash = file_hash(Path(metadata.localization))
        boxes = BoxTruth.read(metadata) if has_boxes(metadata) else None
        masks = None
        if with_masks and source == TRUE and has_masks(metadata):
            masks = MaskTruth.read(metadata, Path(mask_root) / dataset_name, max_megapixels)
        if needs_truth and not (boxes or masks):
            truth = "boxes or masks" if with_masks else "boxes"
            raise MetadataError(
                f"{metadata.localization}: no {truth}, so localization cannot be measured; expected them for every "
                f"image of {split} (import_dataset.py takes them with --boxes or --masks)"
            )
        _check_complete(folder, image_ids, boxes, masks, source)
        return cls(dataset_name, split, split_ids, image_ids, boxes, masks, pseudo_hash)

    @classmethod
    def of(
        cls,
        config: Mapping,
        split: str,
        image_ids: Sequence[str] | None = None,
        with_masks: bool = True,
        needs_truth: bool = True,
    ) -> "SplitTruth":
        """Return the truth of a split, given the options of a command; see `read`.

        Of val it is what `select_on` says; the other splits have their true boxes.
        """
        names = ("metadata_root", "mask_root", "dataset_name")
        given = {name: config[name] for name in names}
        given["max_megapixels"] = config.get("max_megapixels", MAX_MEGAPIXELS)  # missing from older runs
        given["source"] = config.get("select_on", TRUE) if split == "val" else TRUE
        return cls.read(split=split, image_ids=image_ids, with_masks=with_masks, needs_truth=needs_truth, **given)


def _with_pseudo_boxes(metadata: Mapping[str, str], folder: Path) -> Munch:
    """Return the paths of a split's files, with its pseudo boxes as the boxes.

    Raises:
        InputError: they have not been made; the message says how to.
    """
    path = folder / PSEUDO_BOXES
    if not path.is_file():
        raise InputError(f"{path}: no pseudo boxes; make them with {_making_pseudo_boxes(folder)}")
    if not has_boxes({**metadata, "localization": str(path)}):
        raise MetadataError(f"{path}: no boxes; expected path,x0,y0,x1,y1 for every image of {folder.name}")
    return Munch({**metadata, "localization": str(path)})


def _making_pseudo_boxes(folder: Path) -> str:
    return f"'python dataset/pseudo_boxes.py {folder.parent.name} --split {folder.name} --proposals FILE'"


def _check_complete(
    folder: Path, image_ids: Sequence[str], boxes: BoxTruth | None, masks: MaskTruth | None, source: str
) -> None:
    """Check that all images have their truth and all mask files exist, before anything is scored."""
    truths: list[tuple[str, Mapping[str, object]]] = []
    truths += [("box", boxes.boxes)] if boxes else []
    truths += [("mask", masks.paths)] if masks else []
    for kind, truth in truths:
        missing = [image_id for image_id in image_ids if image_id not in truth]
        if missing:
            if source == PSEUDO:
                again = f"expected one for each; make them again with {_making_pseudo_boxes(folder)} --replace"
                where = folder / PSEUDO_BOXES
                raise MetadataError(f"{where}: {len(missing)} images have no pseudo box; {again}:" + first_names(missing))
            raise MetadataError(f"{folder}: {len(missing)} images have no true {kind}:" + first_names(missing))
    if masks:
        names = masks.files(image_ids)
        if missing := missing_files(masks.root, names):
            raise InputError(f"{masks.root}: {len(missing)} of {len(names)} masks are missing:" + first_names(missing))
