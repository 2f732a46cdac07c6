r"""Make a data set from your own images (docs/your_own_data.md):

    python dataset/import_dataset.py MyBirds --images photos/ --boxes boxes.json              # a folder per class
    python dataset/import_dataset.py MyBirds --images photos/ --labels labels.csv --taxonomy taxonomy.csv \
        --boxes voc_xml/ --group observation
    python dataset/import_dataset.py MyBirds --images photos/ --labels labels.csv --levels species genus family \
        --columns image=Datei --encoding cp1252                                               # no boxes

Images go to <data_root>/<NAME>/images (as hard links if possible, rotated ones as upright copies), masks to .../masks,
metadata to <metadata_root>/<NAME>. Nothing is written before everything has been read and checked, and files of an earlier
import are replaced only with --replace.
"""

import argparse
import filecmp
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from dataset.addresses import check_own_name
from dataset.annotations import read_taxonomy
from dataset.grouped_splits import draw_splits
from dataset.layout import Entry, check_consistent, metadata_files, needs_making, whole_folder
from dataset.localized import Localization, MaskReader, localized_entry, mask_files, read_localization
from dataset.orientation import Photo, upright_bytes
from dataset.photos import Labels, Report, drop_duplicates, find_images, read_labels, read_photos
from dataset.tables import (
    TABLES,
    TableOptions,
    check_columns,
    check_encoding,
    has_image,
    is_misread,
    open_table,
    parse_columns,
)
from dataset.verify import verify_split
from option_tables import max_megapixels
from wsol.core.arguments import Parser
from wsol.core.declared_size import MAX_MEGAPIXELS, open_image
from wsol.core.errors import InputError, command, did_you_mean
from wsol.core.files import check_folder, remove_stale_files, whole_file, write_text
from wsol.core.progress import progress
from wsol.data.hierarchy import check_level_names
from wsol.data.levels import SPLITS
from wsol.data.metadata import first_names


def _copy(source: Path, photo: Photo, target: Path) -> None:
    """Put a photo in place: an upright copy of a rotated photo, else a hard link if the file system supports it, which takes
    no space."""
    with whole_file(target) as temporary:
        if photo.orientation > 1:
            temporary.write_bytes(upright_bytes(source))
            return
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _same_photo(source: Path, photo: Photo, target: Path) -> bool:
    if photo.orientation > 1:
        return target.read_bytes() == upright_bytes(source)
    return source.samefile(target) or filecmp.cmp(source, target, shallow=False)


def _save_mask(mask: np.ndarray, target: Path) -> None:
    with whole_file(target) as temporary:
        Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, format="PNG")


def _same_mask(decode: Callable[[], dict[str, np.ndarray]], file: str, path: Path) -> bool:
    try:
        with open_image(path) as image:
            return np.array_equal(np.array(image) > 0, decode()[file])
    except Exception:  # noqa: BLE001 (not a readable mask, whatever Pillow raises: a different file)
        return False


def needs_writing(target: Path, source: Path, same: Callable[[Path], bool], replace: bool) -> bool:
    """Return whether a file must be written.

    Raises:
        InputError: a different file is there and `replace` is not given, or it is the source itself, which may be the only
            copy.
    """
    if not os.path.lexists(target) or (target.is_file() and same(target)):
        return not os.path.lexists(target)
    if os.path.realpath(target) == os.path.realpath(source):
        raise InputError(
            f"{source}: would be replaced by its own copy (an upright photo, or a mask of 0 and 255); expected the "
            "originals in another folder"
        )
    if not replace:
        raise InputError(f"{target}: already exists with different content; expected another NAME, or --replace")
    return True


def read_classes(options: argparse.Namespace, labels: Labels, report: Report) -> tuple[list[str], dict[str, list[str]]]:
    """Return the level names, finest first, and class to its names at all levels."""
    used = dict.fromkeys(sorted(set(labels.classes.values())))
    if options.levels:
        check_consistent(options.levels, labels.rows.values(), str(options.labels))
        return options.levels, {name: labels.rows[name] for name in used}
    if not options.taxonomy:
        return [options.level], {name: [name] for name in used}
    levels, rows = read_taxonomy(options.taxonomy, options.encoding)
    check_consistent(levels, rows.values(), str(options.taxonomy))
    if unknown := [name for name in used if name not in rows]:
        count = "a class" if len(unknown) == 1 else f"{len(unknown)} classes"
        similar = did_you_mean(unknown[0], rows) if len(unknown) == 1 else ""
        raise InputError(
            f"{options.taxonomy}: no row for {count} of the labels:" + first_names(unknown) + similar + report.names()
        )
    return levels, {name: row for name, row in rows.items() if name in used}


def draw(options: argparse.Namespace, labels: Labels, localized: set[str], report: Report) -> dict[str, list[str]]:
    """Return split to images; without boxes and masks all images are divided among the splits."""
    if (options.boxes or options.masks) and not localized:
        raise InputError("no labelled image has a box or mask; expected some, for val and test" + report.names())
    fit = localized if options.boxes or options.masks else set(labels.classes)
    splits, left_out = draw_splits(labels.classes, fit, labels.groups, options.shares, np.random.default_rng(options.seed))
    report.add("images without a box whose group is in val or test, left out", left_out)
    if not splits["train"]:
        raise InputError("no images are left for train; expected more images than val and test take, or different --shares")
    for split in [split for split, share in zip(SPLITS, options.shares, strict=True) if split == "train" or share]:
        missing = sorted(set(labels.classes.values()) - {labels.classes[name] for name in splits[split]})
        report.add(f"classes without an image in {split}", missing)
    return {split: names for split, names in splits.items() if names}


def lay_out(
    options: argparse.Namespace,
    files: dict[str, str],
    entries: dict[str, dict[str, Entry]],
    photos: dict[str, Photo],
    found: Localization,
    reader: MaskReader,
) -> None:
    """Write images, masks and metadata that do not exist yet; first check that all of them may be written."""
    folder, metadata = options.data_root / options.name, options.metadata_root / options.name
    is_new = needs_making(metadata, files, options.replace)
    copies: list[str] = []
    masked: dict[str, list[str]] = {}  # image to its masks that must be written
    for name, entry in ((name, entry) for part in entries.values() for name, entry in part.items()):
        source, photo = options.images / name, photos[name]
        if needs_writing(folder / "images" / name, source, partial(_same_photo, source, photo), options.replace):
            copies.append(name)
        decode = partial(mask_files, name, found, photo, reader)
        for file in filter(None, (*entry.masks, entry.ignore)):
            same = partial(_same_mask, decode, file)
            if needs_writing(folder / file, found.masks[name], same, options.replace):
                masked.setdefault(name, []).append(file)
    with whole_folder(metadata) if is_new else nullcontext() as new:  # it is renamed into place after all images
        if new is not None:
            for name, text in files.items():
                write_text(new / name, text)
        for name in progress(copies, "laying out images"):
            _copy(options.images / name, photos[name], folder / "images" / name)
        for name in progress(masked, "laying out masks"):
            masks = mask_files(name, found, photos[name], reader)
            for file in masked[name]:
                _save_mask(masks[file], folder / file)


def import_dataset(options: argparse.Namespace) -> Report:
    """Read everything, draw the splits, lay out images and masks, write the metadata; return a report."""
    report = Report()
    tables = TableOptions(options.encoding, parse_columns(options.columns))
    if tables.columns:
        given = [options.labels, options.boxes if options.boxes and options.boxes.suffix.lower() in TABLES else None]
        check_columns([open_table(path, tables.encoding, has_image(tables)) for path in given if path], tables)
    images = find_images(options.images, report)
    encoded = [path for path in (options.labels, options.taxonomy, options.boxes) if path and os.path.isfile(path)]
    misread = [str(path) for path in encoded if path.suffix.lower() != ".json" and is_misread(path, options.encoding)]
    report.add(f"UTF-8 tables that were read as {options.encoding}, since --encoding applies to all", misread)
    labels = read_labels(images, options.labels, options.group, options.levels, tables, report)
    levels, rows = read_classes(options, labels, report)
    names = drop_duplicates(options.images, labels.classes, report)
    photos = read_photos(options.images, names, options.max_megapixels, report)
    reader = MaskReader(options.foreground, options.ignore, options.max_megapixels)
    found, localized = read_localization(options.boxes, options.masks, images, photos, reader, tables, report)
    if same := [path for image, path in found.masks.items() if path.samefile(options.images / image)]:
        raise InputError(f"--masks {options.masks}: {same[0]} is itself one of the photos; expected a folder of masks")
    if found.ambiguous:
        report.lines.append(
            "rotated photos were left out because it is unknown whether their box or mask was drawn upright or as stored; "
            "the image size next to each box would tell (columns image_width and image_height), except for photos that "
            "are square, upside down or mirrored"
        )
    photos = {name: photo for name, photo in photos.items() if name not in found.ambiguous}
    rotated = [name for name, photo in photos.items() if photo.orientation > 1]
    report.add("photos rotated by their EXIF orientation, used as upright copies", rotated)
    labels.classes = {name: labels.classes[name] for name in photos}
    splits = draw(options, labels, localized, report)
    entries: dict[str, dict[str, Entry]] = {}
    for split, names in splits.items():
        entries[split] = {}
        for name in names:
            row, photo = rows[labels.classes[name]], photos[name]
            # Training gets only image-level labels.
            plain = Entry(f"images/{name}", row, photo.size)
            entries[split][name] = plain if split == "train" else localized_entry(name, row, photo, found, reader)
    parts = {split: list(part.values()) for split, part in entries.items()}
    files = metadata_files(options.name, levels, list(rows.values()), parts)
    lay_out(options, files, entries, photos, found, reader)
    report.lines.append(f"{len(images)} image files, {len(photos)} used")
    for i, level in enumerate(levels):
        counts = Counter(rows[label][i] for label in labels.classes.values())
        smallest, largest = min(counts.values()), max(counts.values())
        report.lines.append(f"level {level}: {len(counts)} classes of {smallest} to {largest} images")
    for split in entries:
        checked = verify_split(options.metadata_root / options.name, options.data_root / options.name, split)
        report.lines.append(checked)
    if not localized:
        report.lines.append(
            "no boxes or masks were given: a run trains, makes maps and reports classification; localization cannot be "
            "measured, nor a threshold chosen, unless on pseudo boxes (dataset/pseudo_boxes.py)"
        )
    report.write(options.metadata_root / options.name / "import_report.txt")
    return report


def _make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("name", metavar="NAME", help="the new data set's name")
    parser.add_argument(
        "--images", type=Path, required=True, help="folder of images; without --labels, one folder per class"
    )
    parser.add_argument("--labels", type=Path, metavar="CSV", help="columns image,label (or usual names for them) and more")
    parser.add_argument(
        "--taxonomy", type=Path, metavar="CSV", help="header: level names, finest first; then a row per class"
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of --labels that are the taxonomy, finest first, instead of --taxonomy",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="ROLE=NAME",
        help="names of table columns, such as image=photo label=species x0=left ...",
    )
    parser.add_argument(
        "--encoding", help="of tables, such as cp1252 or latin-1 (default: UTF-8, or that of the byte order mark)"
    )
    parser.add_argument("--level", default="class", help="name of the level without a taxonomy (default: class)")
    parser.add_argument(
        "--boxes", type=Path, metavar="PATH", help="COCO .json, .csv (such as image,x0,y0,x1,y1) or a folder of VOC .xml"
    )
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="PNG masks with the paths and sizes of the images")
    parser.add_argument("--foreground", type=int, nargs="+", default=[], help="mask values of the object (default: not 0)")
    parser.add_argument("--ignore", type=int, nargs="+", default=[], help="mask values to ignore (default: none)")
    parser.add_argument(
        "--max_megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        help=f"of an image or mask; larger ones are left out, undecoded (default: {MAX_MEGAPIXELS:g})",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="column of --labels; images with the same value stay in one split (observation, camera)",
    )
    parser.add_argument("--shares", type=float, nargs=3, default=[0.5, 0.2, 0.3], metavar=("TRAIN", "VAL", "TEST"))
    parser.add_argument("--seed", type=int, default=0, help="of the splits (default: 0)")
    parser.add_argument("--replace", action="store_true", help="replace a data set of this name, made from other input")
    parser.add_argument("--data_root", type=Path, default=Path("dataset"), help="default: dataset/")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    return parser


@command
def main() -> None:
    """Import one data set."""
    parser = _make_parser()
    options = parser.parse_args()
    check_own_name(options.name)
    wrong_shares = not all(0 <= share <= 1 for share in options.shares) or abs(sum(options.shares) - 1) > 1e-6
    if wrong_shares or not sum(options.shares[1:]):
        parser.error(f"--shares {options.shares}: expected three shares that sum to 1, not all for train")
    if options.group and not options.labels:
        parser.error("--group names a column of --labels; expected both")
    if options.levels and (options.taxonomy or not options.labels):
        parser.error("--levels names columns of --labels, instead of --taxonomy; expected --labels, and no --taxonomy")
    if options.columns and not (options.labels or options.boxes):
        parser.error("--columns names columns of tables; expected --labels or --boxes with one")
    if options.seed < 0:
        parser.error(f"--seed {options.seed}: expected 0 or more")
    if options.encoding is not None:
        check_encoding(options.encoding)
    max_megapixels("photos and masks").check(options.max_megapixels)
    check_level_names([options.level], ["--level"])
    for root in (options.data_root, options.metadata_root):
        check_folder(root / options.name)
        remove_stale_files(root / options.name)
    import_dataset(options).print()


if __name__ == "__main__":
    main()
