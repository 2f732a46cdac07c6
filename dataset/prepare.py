"""Lay out a data set's images and write its metadata, from the official archives:

    python dataset/prepare.py CUB                                     # downloads them
    python dataset/prepare.py OxfordPet --archive images.tar.gz annotations.tar.gz
    python dataset/prepare.py iNatLoc500 --splits val test
    python dataset/prepare.py CUB --check                             # only verifies what exists

Images go to <data_root>/<NAME>/, metadata to <metadata_root>/<NAME>/. Interrupted and called again, it finishes.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dataset import aircraft, cub, oxford_pet, released, tiny_animals, tiny_imagenet, toy
from dataset.addresses import ALIASES, SOURCES, Official
from dataset.known import require_dataset
from dataset.layout import write_proxy
from dataset.sources import fetch_all, mismatch
from dataset.verify import verify_split
from wsol.core.arguments import Parser, folder_name
from wsol.core.errors import InputError, command, did_you_mean
from wsol.core.files import check_folder, check_input, remove_stale_files
from wsol.core.progress import tell
from wsol.data.levels import SPLITS, load_level, read_levels

DATASETS = {
    module.NAME: module
    for module in (
        cub,
        released.ILSVRC,
        released.OPENIMAGES,
        released.INATLOC500,
        aircraft,
        oxford_pet,
        tiny_imagenet,
        tiny_animals,
    )
}


def _archives(given: list[Path] | None, officials: list[Official], downloads: Path, mirror: str | None) -> list[Path]:
    """Return the given archives, or the official ones, which are downloaded if missing."""
    if not given:
        if mirror:
            officials = [replace(each, address=f"{mirror.rstrip('/')}/{each.file}") for each in officials]
        return fetch_all(officials, downloads)
    by_file = {official.file: official for official in officials}
    for path in given:
        if not path.is_dir():
            check_input(path)
        if path.name in by_file and path.is_file() and (wrong := mismatch(by_file[path.name], path)):
            tell(f"note: {path}: {wrong}; using it anyway")
    return given


def _report(metadata: Path, images: Path, splits: list[str]) -> None:
    """Check the prepared files with the readers that training uses, and print what was found."""
    if missing := [split for split in splits if not (metadata / split / "image_ids.txt").is_file()]:
        raise InputError(f"{metadata}: no {missing[0]}/image_ids.txt; prepare the split first, or choose other --splits")
    for level in read_levels(metadata):
        data = load_level(metadata.parent, metadata.name, level, splits)
        print(f"level {level}: {len(data.class_names)} classes")
    for split in splits:
        print(verify_split(metadata, images, split))


@command
def main() -> None:
    """Prepare one data set."""
    names = [toy.NAME, *DATASETS]
    parser = Parser(__doc__)
    parser.add_argument("name", metavar="NAME", type=folder_name, help=", ".join(names))
    parser.add_argument(
        "--archive", nargs="+", type=Path, metavar="PATH", help="official archives, or folders with their content"
    )
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: all")
    parser.add_argument("--check", action="store_true", help="only verify what was prepared, of any data set")
    parser.add_argument(
        "--proxy", action="store_true", help="also write the proxy training list, 10 %% of every class, unless released"
    )
    parser.add_argument("--mirror", metavar="URL", help="download the same files from this address instead")
    parser.add_argument("--data_root", type=Path, default=Path("dataset"), help="default: dataset/")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    options = parser.parse_args()
    name = ALIASES.get(options.name, options.name)
    metadata, images = options.metadata_root / name, options.data_root / name
    splits = [split for split in SPLITS if split in options.splits]
    if name not in names and not options.check:
        near = did_you_mean(name, [*names, *ALIASES])
        parser.error(
            f"{name!r}: expected one of {', '.join(names)}{near}; dataset/import_dataset.py imports your own images"
        )
    if options.proxy and "train" not in splits:
        parser.error("--proxy is a list of training images; expected train among --splits")
    if options.check:
        require_dataset(options.metadata_root, name)
        _report(metadata, images, splits)
        return
    for folder in (images, metadata):  # before hours of downloading
        check_folder(folder)
        remove_stale_files(folder)
    proxy = metadata / "train/image_ids_proxy.txt"
    has_proxy = options.proxy or ("train" in splits and proxy.exists())  # the split is written again, without its list
    if name == toy.NAME:
        if options.archive or splits != list(SPLITS):
            parser.error(f"{toy.NAME} is made by code, as a whole; it takes neither --archive nor --splits")
        toy.prepare(options.data_root, options.metadata_root, again=True)
    else:
        source = SOURCES[name]
        tell(f"{name}. Terms: {source.licence}. Cite: {source.citation}")
        officials = [official for official in source.files if set(splits) & set(official.splits)]
        archives = _archives(options.archive, officials, options.data_root / "downloads" / name, options.mirror)
        for line in DATASETS[name].prepare(archives, images, metadata, splits):
            tell(line)
    if has_proxy and not proxy.exists():
        write_proxy(metadata / "train")
    _report(metadata, images, splits)


if __name__ == "__main__":
    main()
