"""Build a localization data set from two iNaturalist-style JSON files, like iNatLoc500 (Cole et al. 2022, appendix B):

    python dataset/build_inatloc.py MyLoc --train_json train2021.json --boxed_json boxes2017.json --review review.csv

The first call writes review.csv: fill in its last column with keep, missing_instances, inaccurate_box, indirect_evidence or
close_up (docs/datasets.md says what each means). The second call reads it and writes metadata/MyLoc; image ids are the
file_names of the JSON files. Every step prints its counts, which are kept in metadata/MyLoc/construction.txt.
"""

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from dataset.addresses import check_own_name
from dataset.layout import Entry, is_relative, metadata_files, needs_making, whole_folder, write_rows
from dataset.tables import read_fields, read_table
from wsol.core.arguments import Parser
from wsol.core.csv_rows import csv_text
from wsol.core.errors import InputError, command
from wsol.core.files import check_folder, check_writable, remove_stale_files, write_text
from wsol.core.progress import tell
from wsol.data.coco import CocoImage, corners, read_coco

RANKS = ("genus", "family", "order", "class", "phylum", "kingdom")
KEEP = "keep"
REASONS = ("missing_instances", "inaccurate_box", "indirect_evidence", "close_up")
COLUMNS = ("file_name", "species", "observation", "x0", "y0", "x1", "y1", "verdict")


@dataclass(frozen=True)
class Photo:
    """One image: file name, species, observation, (width, height), boxes (x, y, width, height) in pixels, and the place of
    the first box in the file."""

    file: str
    species: str
    observation: str
    size: tuple[int, int]
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    where: str = ""


class Log:
    """What each step did, printed immediately and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, name: str, train: Sequence[Photo], boxed: Sequence[Photo], note: str = "") -> None:
        """Note how many images and species are left on each side after a step."""
        sides = [
            f"{len(photos)} {side} images of {len({p.species for p in photos})} species"
            for side, photos in (("training", train), ("boxed", boxed))
        ]
        self.note(f"{name}: {', '.join(sides)}{f' ({note})' if note else ''}")

    def note(self, line: str) -> None:
        """Print and keep a line."""
        self.lines.append(line)
        tell(self.lines[-1])


def species_key(name: str) -> str:
    """Return a species' name without differences of case and spacing.

    >>> species_key("Hyla  Arborea")
    'hyla arborea'
    """
    return " ".join(name.split()).casefold()


def read_observations(path: Path) -> dict[str, str]:
    """Return file name to observation, from a CSV of file_name,observation_id, with or without this header."""
    observations = {}
    for where, row, _ in read_fields(path):
        if len(row) != 2 or not all(row) or row[0] in observations:
            raise InputError(f"{where}: {','.join(row)!r}; expected file_name,observation_id with unique files")
        observations[row[0]] = row[1]
    if observations.get("file_name") == "observation_id":
        del observations["file_name"]
    return observations


def photos_of(
    path: Path, images: Iterable[CocoImage], observations: dict[str, str] | None, alone: bool
) -> tuple[list[Photo], set[str]]:
    """Return the labelled images of one file, and the observations of all its images.

    `alone`: an image without an observation counts as its own observation.
    """
    photos, every = [], set()
    for image in images:
        if not is_relative(image.file):
            raise InputError(f"{path}: file_name {image.file!r}; expected a path relative to the data set's folder")
        observation = (observations or {}).get(image.file, image.observation)
        if observation is None and not alone:
            raise InputError(
                f"{path}: {image.file!r} has no observation_id; expected one for every image, or a CSV of "
                "file_name,observation_id (--train_observations, --boxed_observations), or --no_observations"
            )
        if image.size is None or len(image.categories) > 1:
            raise InputError(f"{path}: {image.file!r}: expected width, height and annotations of one category")
        observation = f"image {image.file}" if observation is None else observation
        every.add(observation)
        if image.categories:
            boxes, where = tuple(box.edges for box in image.boxes), image.boxes[0].where if image.boxes else ""
            photos.append(Photo(image.file, species_key(*image.categories), observation, image.size, boxes, where))
    return photos, every


def match_species(train: list[Photo], boxed: list[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Return the images of species that occur on both sides."""
    shared = {p.species for p in train} & {p.species for p in boxed}
    return [p for p in train if p.species in shared], [p for p in boxed if p.species in shared]


def drop_boxless_species(train: list[Photo], boxed: list[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Return the images of species that have any box (iNat17 has none of plants)."""
    having = {p.species for p in boxed if p.boxes}
    return [p for p in train if p.species in having], [p for p in boxed if p.species in having]


def drop_shared_observations(train: list[Photo], seen: Container[str]) -> list[Photo]:
    """Return the training images whose observation is not in the boxed file: photos of one individual look alike."""
    return [p for p in train if p.observation not in seen]


def single_box(boxed: list[Photo]) -> list[Photo]:
    """Return the images with exactly one box."""
    return [p for p in boxed if len(p.boxes) == 1]


def box_size_fits(photo: Photo, smallest: float, largest_share: float) -> bool:
    """Return whether both sides of the only box are at least `smallest` pixels and at most a share of the image's side."""
    [(_, _, width, height)] = photo.boxes
    fits = width <= largest_share * photo.size[0] and height <= largest_share * photo.size[1]
    return fits and min(width, height) >= smallest and min(width, height) > 0


def check_boxes_inside(boxed: Iterable[Photo]) -> None:
    """Raise InputError if a box extends beyond its image, before anybody reviews it."""
    for photo in boxed:
        _, _, x1, y1 = corners(photo.boxes[0], photo.size)
        if x1 > photo.size[0] or y1 > photo.size[1]:
            size = f"{photo.size[0]} x {photo.size[1]}"
            raise InputError(f"{photo.where}: bbox {photo.boxes[0]} of {photo.file!r}; expected it inside the {size} image")


def review_rows(boxed: Iterable[Photo]) -> list[tuple]:
    """Return the rows of the review list, ordered by species, with empty verdicts."""
    ordered = sorted(boxed, key=lambda p: (p.species, p.file))
    return [(p.file, p.species, p.observation, *corners(p.boxes[0], p.size), "") for p in ordered]


def read_verdicts(path: Path, boxed: Iterable[Photo]) -> dict[str, str]:
    """Return file name to verdict of a review list; images without a verdict are left out.

    Raises:
        InputError: a missing column, an image that is a duplicate or not under review, or an unknown verdict.
    """
    known = {p.file for p in boxed}
    verdicts: dict[str, str] = {}
    for where, row in read_table(path, COLUMNS):
        file, verdict = row["file_name"], row["verdict"]
        if file not in known or file in verdicts:
            raise InputError(f"{where}: {file!r}; expected unique images under review")
        if verdict not in ("", KEEP, *REASONS):
            raise InputError(f"{where}: verdict {verdict!r}; expected {', '.join((KEEP, *REASONS))}, or nothing yet")
        verdicts[file] = verdict
    return {file: verdict for file, verdict in verdicts.items() if verdict}


def draw_splits(sizes: Sequence[int], count: int, rng: np.random.Generator) -> list[str] | None:
    """Return "val", "test" or "" for each group of images, so that val and test get exactly `count`; None if impossible.

    Groups are taken in random order, no more than needed. All reachable (val, test) sums are searched, so a species is given
    up only if no choice of whole groups fills both.
    """
    reached: dict[tuple[int, int], tuple] = {(0, 0): ()}  # sums to the linked list of the choices that first gave them
    for group in rng.permutation(len(sizes)).tolist():
        if (count, count) in reached:
            break
        for (val, test), choices in list(reached.items()):
            for split, sums in (("val", (val + sizes[group], test)), ("test", (val, test + sizes[group]))):
                if max(sums) <= count:
                    reached.setdefault(sums, (choices, group, split))
    if (count, count) not in reached:
        return None
    chosen, link = [""] * len(sizes), reached[count, count]
    while link:
        link, group, split = link
        chosen[group] = split
    return chosen


def split_species(photos: list[Photo], count: int, rng: np.random.Generator) -> dict[str, list[Photo]] | None:
    """Return `count` val and `count` test images of a species, each observation in one split; None if too few."""
    groups: dict[str, list[Photo]] = {}
    for photo in sorted(photos, key=lambda p: p.file):
        groups.setdefault(photo.observation, []).append(photo)
    chosen = draw_splits([len(group) for group in groups.values()], count, rng)
    if chosen is None:
        return None
    pairs = list(zip(groups.values(), chosen, strict=True))
    return {split: [p for group, where in pairs if where == split for p in group] for split in ("val", "test")}


def filter_photos(
    train: list[Photo], boxed: list[Photo], observed: Container[str], smallest: float, largest_share: float, log: Log
) -> tuple[list[Photo], list[Photo]]:
    """Apply the automatic steps of appendix B in order and log each; `observed`: the observations of the boxed file."""
    log.step("read, labelled", train, boxed)
    train, boxed = match_species(train, boxed)
    log.step("species in both", train, boxed)
    train, boxed = drop_boxless_species(train, boxed)
    log.step("species with boxes", train, boxed)
    before = len(train)
    train = drop_shared_observations(train, observed)
    log.step("no observation in both", train, boxed, f"dropped: {before - len(train)} training images")
    number = Counter(min(len(p.boxes), 2) for p in boxed)
    boxed = single_box(boxed)
    log.step("one box", train, boxed, f"dropped: {number[0]} without, {number[2]} with several")
    boxed = [p for p in boxed if box_size_fits(p, smallest, largest_share)]
    log.step(f"box of {smallest:g} pixels to {largest_share:.0%} of a side", train, boxed)
    check_boxes_inside(boxed)
    return train, boxed


def split_all(train: list[Photo], boxed: list[Photo], count: int, seed: int, log: Log) -> dict[str, list[Photo]]:
    """Return train, val and test images of the species with training images and enough boxed ones."""
    by_species: dict[str, list[Photo]] = {}
    for photo in boxed:
        by_species.setdefault(photo.species, []).append(photo)
    trained = {p.species for p in train}
    splits: dict[str, list[Photo]] = {"val": [], "test": []}
    kept, dropped = set(), 0
    for number, species in enumerate(sorted(by_species)):
        drawn = split_species(by_species[species], count, np.random.default_rng([seed, number]))
        if drawn is None or species not in trained:
            dropped += 1
            continue
        kept.add(species)
        for split, photos in drawn.items():
            splits[split] += photos
    splits["train"] = [p for p in train if p.species in kept]
    note = f"{dropped} species with fewer, or without training images, dropped"
    log.step(f"{count} for val and for test", splits["train"], splits["val"] + splits["test"], note)
    if not kept:
        raise InputError(f"no species has {count} boxed images for val and {count} for test; expected more, or --per_split")
    return splits


def entries_of(splits: dict[str, list[Photo]], rows: dict[str, Sequence[str]]) -> dict[str, list[Entry]]:
    """Return the entries of each split, in the order of the species' rows, then of file names."""
    order = {species: i for i, species in enumerate(rows)}
    entries = {}
    for split in ("train", "val", "test"):
        photos = sorted(splits[split], key=lambda p: (order[p.species], p.file))
        boxes = {} if split == "train" else {p.file: [corners(p.boxes[0], p.size)] for p in photos}
        entries[split] = [Entry(p.file, rows[p.species], p.size, boxes.get(p.file, ())) for p in photos]
    return entries


def taxonomy(path: Path, categories: Sequence[dict]) -> tuple[tuple[str, ...], dict[str, Sequence[str]]]:
    """Return the levels and the names of each species at them; only species if the categories have no ranks."""
    rows: dict[str, Sequence[str]] = {}
    ranks = RANKS if all(all(record.get(rank) for rank in RANKS) for record in categories) else ()
    for record in categories:
        name = record["name"]
        if species_key(name) in rows:
            raise InputError(f"{path}: two categories are named {name!r}; expected unique species")
        for rank in ranks:
            if not isinstance(record[rank], str):
                raise InputError(f"{path}: category {name!r}: {rank} {record[rank]!r}; expected text")
        rows[species_key(name)] = (" ".join(name.split()), *(record[rank] for rank in ranks))
    return ("species", *ranks), dict(sorted(rows.items(), key=lambda item: tuple(reversed(item[1]))))


def check_not_anothers(metadata: Path, replace: bool) -> None:
    """Raise InputError, before any work, if a data set of this name exists that was not built by this command."""
    check_folder(metadata)
    if os.path.lexists(metadata) and not replace and not (metadata / "construction.txt").is_file():
        raise InputError(
            f"{metadata}: already exists and was not built by this command; expected another NAME, or --replace"
        )


def build(options: argparse.Namespace) -> None:
    """Run all steps; stop after writing the review list if it does not exist yet."""
    log = Log()
    metadata = options.metadata_root / options.name
    check_not_anothers(metadata, options.replace)
    train_images, categories = read_coco(options.train_json)
    boxed_images, _ = read_coco(options.boxed_json)
    if both := set(train_images) & set(boxed_images):
        raise InputError(
            f"{options.boxed_json}: {min(both)!r} is also in {options.train_json}; expected different file names"
        )
    levels, rows = taxonomy(options.train_json, categories)
    sides: list[list[Photo]] = []
    observed: set[str] = set()
    for path, images, table in (
        (options.train_json, train_images, options.train_observations),
        (options.boxed_json, boxed_images, options.boxed_observations),
    ):
        observations = table and read_observations(table)
        if unknown := [file for file in observations or () if file not in images]:
            log.note(
                f"{table}: {len(unknown)} of {len(observations)} rows do not name an image of {path}, "
                f"the first {unknown[0]!r}"
            )
        photos, observed = photos_of(path, images.values(), observations, options.no_observations)  # last: the boxed file's
        sides.append(photos)
    train, boxed = filter_photos(sides[0], sides[1], observed, options.min_box, options.max_share, log)
    if options.review and not os.path.lexists(options.review):
        write_rows(options.review, [COLUMNS, *review_rows(boxed)])
        print(f"{options.review}: {len(boxed)} images to review; fill in the last column and call again")
        return
    rejected: list[tuple[str | int, ...]] = []
    if options.review:
        verdicts = read_verdicts(options.review, boxed)
        counts = Counter(verdicts.values())
        turned_down = [p for p in boxed if verdicts.get(p.file, KEEP) != KEEP]  # with the box that was reviewed
        rejected = [(p.file, verdicts[p.file], *corners(p.boxes[0], p.size)) for p in turned_down]
        boxed = [p for p in boxed if verdicts.get(p.file) == KEEP]
        said = [f"{reason} {counts[reason]}" for reason in REASONS]
        log.step("manual review", train, boxed, f"of {counts.total()} reviewed: {', '.join(said)}")
    splits = split_all(train, boxed, options.per_split, options.seed, log)
    used = {p.species for p in splits["val"]}
    rows = {species: row for species, row in rows.items() if species in used}
    files = metadata_files(options.name, levels, list(rows.values()), entries_of(splits, rows))
    files["construction.txt"] = "".join(f"{line}\n" for line in log.lines)
    files["rejected.csv"] = csv_text([("image", "reason", "x0", "y0", "x1", "y1"), *rejected])
    if not needs_making(metadata, files, options.replace):
        print(f"{metadata}: already exists, unchanged: levels {', '.join(levels)}")
        return
    with whole_folder(metadata) as new:
        for name, text in files.items():
            write_text(new / name, text)
    print(f"wrote {metadata}: levels {', '.join(levels)}")


@command
def main() -> None:
    """Build one data set's metadata."""
    parser = Parser(__doc__)
    parser.add_argument("name", metavar="NAME", help="the new data set's name")
    parser.add_argument("--train_json", type=Path, required=True, help="training images, with taxonomic ranks if any")
    parser.add_argument("--boxed_json", type=Path, required=True, help="images with boxes")
    parser.add_argument(
        "--train_observations", type=Path, metavar="CSV", help="file_name,observation_id if the JSON has none"
    )
    parser.add_argument("--boxed_observations", type=Path, metavar="CSV", help="the same, for the boxed images")
    parser.add_argument("--no_observations", action="store_true", help="take an image without one as its own observation")
    parser.add_argument("--review", type=Path, metavar="CSV", help="the review list; without it no image is reviewed")
    parser.add_argument("--per_split", type=int, default=25, help="images per species for val and for test (default: 25)")
    parser.add_argument("--min_box", type=float, default=32, help="smallest side of a box in pixels (default: 32)")
    parser.add_argument("--max_share", type=float, default=0.96, help="largest share of an image's side (default: 0.96)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of val and test (default: 0)")
    parser.add_argument("--replace", action="store_true", help="replace a data set of this name, built from other input")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    options = parser.parse_args()
    check_own_name(options.name)
    if options.per_split < 1:
        parser.error(f"--per_split {options.per_split}: expected 1 or more")
    if options.seed < 0:
        parser.error(f"--seed {options.seed}: expected 0 or more")
    if not 0 < options.max_share <= 1:
        parser.error(f"--max_share {options.max_share}: expected a share of a side, more than 0 and at most 1")
    if not (options.min_box >= 0 and math.isfinite(options.min_box)):
        parser.error(f"--min_box {options.min_box}: expected pixels, 0 or more")
    if options.review:
        check_writable(options.review)
    remove_stale_files(options.metadata_root / options.name)
    build(options)


if __name__ == "__main__":
    main()
