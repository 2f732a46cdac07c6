"""Lay out a data set's images and write its metadata, from the official archives:

    python dataset/prepare.py OxfordPet                               # downloads them
    python dataset/prepare.py OxfordPet --archive images.tar.gz annotations.tar.gz
    python dataset/prepare.py TinyImageNet --archive tiny-imagenet-200.zip --splits val test

Images go to <data_root>/<NAME>/, metadata to <metadata_root>/<NAME>/. Interrupted and called again, it finishes.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dataset import oxford_pet, tiny_animals, tiny_imagenet, toy
from dataset.sources import fetch
from wsol.errors import command
from wsol.levels import SPLITS, load_level, read_levels
from wsol.metadata import configure_metadata, get_image_ids

DATASETS = {module.NAME: module for module in (oxford_pet, tiny_imagenet, tiny_animals)}


def _report(metadata: Path, splits: list[str]) -> None:
    """Print what is there now, read back through the readers that training uses."""
    for level in read_levels(metadata):
        data = load_level(metadata.parent, metadata.name, level, splits)
        print(f"level {level}: {len(data.class_names)} classes")
    for split in splits:
        print(f"{split}: {len(get_image_ids(configure_metadata(metadata / split)))} images")


@command
def main() -> None:
    """Prepare one data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[toy.NAME, *DATASETS], metavar="NAME", help=f"{toy.NAME}, {', '.join(DATASETS)}")
    parser.add_argument("--archive", nargs="+", type=Path, metavar="PATH", help="official archives, or folders of theirs")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: all")
    parser.add_argument("--data_root", type=Path, default=Path("dataset"), help="default: dataset/")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    options = parser.parse_args()
    metadata = options.metadata_root / options.name
    splits = [split for split in SPLITS if split in options.splits]
    if options.name == toy.NAME:
        if options.archive or splits != list(SPLITS):
            parser.error(f"{toy.NAME} is made by code, whole; it takes neither --archive nor --splits")
        toy.prepare(options.data_root, options.metadata_root, anew=True)
        _report(metadata, splits)
        return
    module = DATASETS[options.name]
    downloads = options.data_root / "downloads" / options.name
    archives = options.archive or [fetch(official, downloads) for official in module.OFFICIAL]
    left_out = module.prepare(archives, options.data_root / options.name, metadata, splits)
    for line in left_out:
        print(f"left out: {line}")
    _report(metadata, splits)


if __name__ == "__main__":
    main()
