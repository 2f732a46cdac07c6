"""Make a data set of your own images (docs/your_own_data.md):

    python dataset/import_dataset.py MyBirds --images photos/ --boxes boxes.json              # a folder per class
    python dataset/import_dataset.py MyBirds --images photos/ --labels labels.csv --taxonomy taxonomy.csv \\
        --boxes voc_xml/ --group observation
    python dataset/import_dataset.py MyBirds --images photos/ --labels labels.csv --masks masks/

Images go to <data_root>/<NAME>/images (as hard links where possible), masks to .../masks, metadata to
<metadata_root>/<NAME>. Nothing is written before everything has been read and checked, and nothing of another import is
replaced without --replace.
"""

import argparse
import filecmp
import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from data_loaders import load_image
from dataset.addresses import check_own_name
from dataset.annotations import FoundBox, Names, annotation_files, files_below, read_boxes, read_table, read_taxonomy
from dataset.grouped_splits import draw_splits
from dataset.layout import Entry, check_consistent, metadata_files, whole_folder
from dataset.verify import verify_split
from wsol.arguments import Parser
from wsol.errors import InputError, command
from wsol.files import check_folder, remove_litter, whole_file, write_text
from wsol.hierarchy import check_level_names
from wsol.levels import SPLITS
from wsol.metadata import first_names
from wsol.progress import progress

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class Report:
    """What was found, by kind; printed with the first few names of each."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[str]] = {}

    def add(self, kind: str, names: list[str]) -> None:
        """Note names of one kind."""
        self.kinds.setdefault(kind, []).extend(names)

    def print(self) -> None:
        """Print every kind with its count and first names."""
        for kind, names in self.kinds.items():
            if names:
                print(f"{kind}: {len(names)}" + first_names(names, 5))


@dataclass
class Localization:
    """Images' boxes and masks, by relative path; a mask is its file, its foreground is told by the options."""

    boxes: dict[str, list[FoundBox]] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)


def find_images(folder: Path, report: Report) -> list[str]:
    """Return the relative paths of all image files below a folder, sorted; what is no regular file is reported."""
    if not folder.is_dir():
        raise InputError(f"--images {folder}: no such folder")
    found, others = files_below(folder, IMAGE_SUFFIXES)
    report.add("folders, devices and broken links named like images, left out", others)
    for name in found:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"--images {folder}: {os.fsencode(name)!r}; expected file names in UTF-8") from None
    if not found:
        raise InputError(f"--images {folder}: no image in it; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    return found


def read_labels(
    images: list[str], table: Path | None, group: str | None, report: Report
) -> tuple[dict[str, str], dict[str, str]]:
    """Return image to class (its first folder's name, or the table's `label`), and image to group; unlabelled ones are
    reported."""
    labels = {name: name.split("/")[0] for name in images if "/" in name}
    groups: dict[str, str] = {}
    if table:
        rows = read_table(table, ("image", group) if group else ("image",))
        if not rows:
            raise InputError(f"{table}: no rows; expected a header, then a line for every image")
        if "label" in rows[0][1]:
            labels = {}
        names, seen = Names(images), {}
        for where, row in rows:
            image = names.find(row["image"], where)
            if image is None:
                report.add("lines of --labels whose image is not there", [f"{where}: {row['image']}"])
                continue
            if image in seen:
                raise InputError(f"{where}: {image!r} stands at {seen[image]} already; expected every image once")
            seen[image] = where
            if row.get("label"):
                labels[image] = row["label"]
            if group and row[group]:
                groups[image] = row[group]
    report.add("images without a label, left out", [name for name in images if name not in labels])
    if not labels:
        raise InputError("no image has a label; expected a folder per class, or --labels with the columns image,label")
    return labels, groups


def drop_duplicates(folder: Path, labels: dict[str, str], report: Report) -> list[str]:
    """Return the labelled images without copies: of equal files the first stays, none where their labels differ."""
    by_size: dict[int, list[str]] = {}
    for name in sorted(labels):
        by_size.setdefault((folder / name).stat().st_size, []).append(name)
    dropped: set[str] = set()
    for same_size in by_size.values():
        by_content: dict[str, list[str]] = {}
        for name in same_size if len(same_size) > 1 else ():
            with (folder / name).open("rb") as file:
                by_content.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), []).append(name)
        for first, *copies in by_content.values():
            if len({labels[name] for name in (first, *copies)}) > 1:
                report.add("equal files with different labels, all left out", [f"{first} = {', '.join(copies)}"])
                dropped.update((first, *copies))
            elif copies:
                report.add("copies of another image, left out", [f"{name} = {first}" for name in copies])
                dropped.update(copies)
    return [name for name in sorted(labels) if name not in dropped]


def read_sizes(folder: Path, images: list[str], report: Report) -> dict[str, tuple[int, int]]:
    """Return image to (width, height); every image is decoded, and those that cannot be are reported."""
    sizes = {}
    for name in progress(images, "reading images"):
        try:
            sizes[name] = load_image(folder / name).size
        except InputError as error:
            report.add("unreadable images, left out", [str(error)])
    return sizes


class MaskReader:
    """Reads masks: `foreground` and `ignore` are grey values or palette indices; no foreground: all but 0 and ignore."""

    def __init__(self, foreground: list[int], ignore: list[int]) -> None:
        self.foreground, self.ignore = foreground, ignore

    def read(self, path: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | str:
        """Return (foreground, ignored), bool (height, width), or why the mask cannot be used."""
        try:
            with Image.open(path) as image:
                values = np.array(image)
        except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
            return f"{path}: {error}"
        if values.shape != size[::-1]:
            shape = " x ".join(map(str, values.shape))
            return f"{path}: {shape} (rows x columns), expected one channel of {size[1]} x {size[0]}"
        ignored = np.isin(values, self.ignore)
        foreground = np.isin(values, self.foreground) if self.foreground else (values != 0) & ~ignored
        return (foreground, ignored) if foreground.any() else f"{path}: no foreground"


def read_masks(folder: Path, images: list[str], report: Report) -> dict[str, Path]:
    """Return image to its PNG, named as in `Names`."""
    if not folder.is_dir():
        raise InputError(f"--masks {folder}: no such folder")
    names = Names(images, stems=True)
    masks = {}
    for name in annotation_files(folder, ".png"):
        path = folder / name
        image = names.find(name, str(path))
        if image in masks:
            raise InputError(f"{path} and {masks[image]} both mean {image!r}; expected one mask of every image")
        if image:
            masks[image] = path
        else:
            report.add("masks whose image is not there", [str(path)])
    return masks


def _copy(source: Path, target: Path) -> None:
    """Put a file in place, as a hard link where the file system can: images take no room twice."""
    with whole_file(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _save_mask(mask: np.ndarray, target: Path) -> None:
    with whole_file(target) as temporary:
        Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, format="PNG")


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def check_boxes(boxes: dict[str, list[FoundBox]], sizes: dict[str, tuple[int, int]]) -> None:
    """Refuse a box that is inverted or leaves its image."""
    for image, found in boxes.items():
        width, height = sizes.get(image, (0, 0))
        for _, (x0, y0, x1, y1), where, size in found if image in sizes else ():
            if size not in (None, (width, height)):
                raise InputError(
                    f"{where}: drawn on an image of {size[0]} x {size[1]}, but {image} is {width} x {height}; expected "
                    "boxes in the file's own pixels (not turned by its EXIF orientation, not resized)"
                )
            if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
                raise InputError(f"{where}: box {x0},{y0},{x1},{y1}; expected it inside the {width} x {height} image")


def mask_files(image: str, found: Localization, size: tuple[int, int], reader: MaskReader) -> dict[str, np.ndarray]:
    """Return an image's mask and, if any pixel is ignored, its ignore mask, by their relative paths with us."""
    if image not in found.masks:
        return {}
    foreground, ignored = reader.read(found.masks[image], size)
    file = f"{image.rpartition('.')[0]}.png"
    return {f"masks/{file}": foreground, **({f"ignore_masks/{file}": ignored} if ignored.any() else {})}


def localized_entry(image: str, names: list[str], size: tuple[int, int], found: Localization, reader: MaskReader) -> Entry:
    """Return an image's entry with its boxes and, where there are masks, its mask."""
    masks = mask_files(image, found, size, reader)
    paths = list(masks)
    boxes = [each.box for each in found.boxes.get(image, ())] or [_extent(mask) for mask in list(masks.values())[:1]]
    return Entry(f"images/{image}", names, size, boxes, paths[:1], "".join(paths[1:]))


def _same_mask(decode: Callable[[], dict[str, np.ndarray]], file: str, path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return np.array_equal(np.array(image) > 0, decode()[file])
    except Exception:  # no readable mask: another file
        return False


def _same_file(first: Path, second: Path) -> bool:
    return first.samefile(second) or filecmp.cmp(first, second, shallow=False)


def needs_writing(target: Path, same: Callable[[Path], bool], replace: bool) -> bool:
    """Tell whether a file is not there yet as it should be; refuse another in its place but with `replace`."""
    if not os.path.lexists(target) or (target.is_file() and same(target)):
        return not os.path.lexists(target)
    if not replace:
        raise InputError(f"{target}: is there with other content; expected another NAME, or --replace")
    return True


def differing(metadata: Path, files: dict[str, str]) -> list[str]:
    """Return the files of a data set's metadata, whole or a split of it, that are not as given."""
    wrong = [name for name, text in files.items() if not _has_text(metadata / name, text)]
    splits = [path.parent.name for path in metadata.glob("*/image_ids.txt") if path.parent.name in SPLITS]
    return wrong + [f"{split}/image_ids.txt" for split in splits if f"{split}/image_ids.txt" not in files]


def _has_text(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def read_localization(
    options: argparse.Namespace, images: list[str], sizes: dict[str, tuple[int, int]], reader: MaskReader, report: Report
) -> tuple[Localization, set[str]]:
    """Return the boxes and masks, and the images fit for val and test: those with a mask where masks are given, else
    with a box."""
    found = Localization()
    if options.boxes:
        found.boxes, homeless = read_boxes(options.boxes, images)
        report.add("boxes whose image is not there", homeless)
        check_boxes(found.boxes, sizes)
    if options.masks:
        for image, path in read_masks(options.masks, images, report).items():
            if image not in sizes:
                continue
            if isinstance(read := reader.read(path, sizes[image]), str):
                report.add("masks that cannot be used", [read])
            else:
                found.masks[image] = path
    return found, set(found.masks if options.masks else found.boxes) & set(sizes)


def import_dataset(options: argparse.Namespace) -> Report:
    """Read everything, draw the splits, lay out images and masks, write the metadata; return what was found."""
    report = Report()
    images = find_images(options.images, report)
    labels, groups = read_labels(images, options.labels, options.group, report)
    levels, rows = [options.level], {name: [name] for name in sorted(set(labels.values()))}
    if options.taxonomy:
        levels, taxa = read_taxonomy(options.taxonomy)
        check_consistent(levels, taxa.values(), str(options.taxonomy))
        if unknown := sorted(set(rows) - set(taxa)):
            raise InputError(f"{options.taxonomy}: no row for {len(unknown)} classes:" + first_names(unknown))
        rows = {name: row for name, row in taxa.items() if name in rows}
    sizes = read_sizes(options.images, drop_duplicates(options.images, labels, report), report)
    labels = {name: labels[name] for name in sizes}
    reader = MaskReader(options.foreground, options.ignore)
    found, localized = read_localization(options, images, sizes, reader, report)
    shares = options.shares if localized else [1.0, 0.0, 0.0]
    if (options.boxes or options.masks) and not localized:
        raise InputError("no labelled image has a box or mask; expected some, for val and test")
    splits, torn = draw_splits(labels, localized, groups, shares, np.random.default_rng(options.seed))
    report.add("images without a box whose group is in val or test, left out", torn)
    if not splits["train"]:
        raise InputError("no image is left for train; expected more images than val and test take, or other --shares")
    for split in [split for split, share in zip(SPLITS, shares, strict=True) if split == "train" or share]:
        missing = sorted(set(labels.values()) - {labels[name] for name in splits[split]})
        report.add(f"classes without an image in {split}", missing)
    splits = {split: names for split, names in splits.items() if names}

    entries: dict[str, list[Entry]] = {}
    for split, names in splits.items():
        entries[split] = []
        for name in names:
            row = rows[labels[name]]
            if split == "train":  # image-level labels are all that training gets
                entries[split].append(Entry(f"images/{name}", row, sizes[name]))
            else:
                entries[split].append(localized_entry(name, row, sizes[name], found, reader))
    folder, metadata = options.data_root / options.name, options.metadata_root / options.name
    files = metadata_files(options.name, levels, list(rows.values()), entries)
    wrong = differing(metadata, files)
    if wrong and metadata.exists() and not options.replace:
        raise InputError(
            f"{metadata}: is there and was made otherwise ({wrong[0]} differs); expected another NAME, or --replace"
        )
    copies: list[str] = []
    masked: dict[str, list[str]] = {}  # image to those of its masks that are to be written
    for split, names in splits.items():
        for name, entry in zip(names, entries[split], strict=True):
            if needs_writing(folder / "images" / name, partial(_same_file, options.images / name), options.replace):
                copies.append(name)
            decode = partial(mask_files, name, found, sizes[name], reader)
            for file in filter(None, (*entry.masks, entry.ignore)):
                if needs_writing(folder / file, partial(_same_mask, decode, file), options.replace):
                    masked.setdefault(name, []).append(file)
    with whole_folder(metadata) if wrong else nullcontext() as new:  # it comes into place when all images are there
        for name, text in files.items() if wrong else ():
            write_text(new / name, text)
        for name in progress(copies, "laying out images"):
            _copy(options.images / name, folder / "images" / name)
        for name in progress(masked, "laying out masks"):
            masks = mask_files(name, found, sizes[name], reader)
            for file in masked[name]:
                _save_mask(masks[file], folder / file)
    print(f"{len(images)} image files, {len(sizes)} used")
    for i, level in enumerate(levels):
        counts = Counter(rows[label][i] for label in labels.values())
        print(f"level {level}: {len(counts)} classes of {min(counts.values())} to {max(counts.values())} images")
    for split in entries:
        print(verify_split(metadata, folder, split))
    if not localized:
        print("no boxes or masks were given: all images are in train; a run needs val and test too")
    return report


@command
def main() -> None:
    """Import one data set."""
    parser = Parser(__doc__)
    parser.add_argument("name", metavar="NAME", help="the new data set's name")
    parser.add_argument("--images", type=Path, required=True, help="folder of images; without --labels one folder a class")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="columns image,label and more; label may be absent")
    parser.add_argument("--taxonomy", type=Path, metavar="CSV", help="header: level names, finest first; a row every class")
    parser.add_argument("--level", default="class", help="the level's name where there is no taxonomy (default: class)")
    parser.add_argument(
        "--boxes", type=Path, metavar="PATH", help="COCO .json, .csv (image,x0,y0,x1,y1) or folder of VOC .xml"
    )
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="PNG masks with the images' paths and sizes")
    parser.add_argument("--foreground", type=int, nargs="+", default=[], help="mask values of the object (default: not 0)")
    parser.add_argument("--ignore", type=int, nargs="+", default=[], help="mask values that do not count (default: none)")
    parser.add_argument("--group", metavar="COLUMN", help="of --labels: its images stay in one split (observation, camera)")
    parser.add_argument("--shares", type=float, nargs=3, default=[0.5, 0.2, 0.3], metavar=("TRAIN", "VAL", "TEST"))
    parser.add_argument("--seed", type=int, default=0, help="of the splits (default: 0)")
    parser.add_argument("--replace", action="store_true", help="make a data set of this name anew, from other input")
    parser.add_argument("--data_root", type=Path, default=Path("dataset"), help="default: dataset/")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    options = parser.parse_args()
    check_own_name(options.name)
    wrong_shares = not all(0 <= share <= 1 for share in options.shares) or abs(sum(options.shares) - 1) > 1e-6
    if wrong_shares or not sum(options.shares[1:]):
        parser.error(f"--shares {options.shares}: expected three shares that sum to 1, not all of it train")
    if options.group and not options.labels:
        parser.error("--group names a column of --labels; expected both")
    if options.seed < 0:
        parser.error(f"--seed {options.seed}: expected 0 or more")
    check_level_names([options.level], ["--level"])
    for root in (options.data_root, options.metadata_root):
        check_folder(root / options.name)
        remove_litter(root / options.name)
    import_dataset(options).print()


if __name__ == "__main__":
    main()
