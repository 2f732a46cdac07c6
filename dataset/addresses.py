"""Where each data set is officially published, with its licence and citation: the only table of addresses.

A file without an address is downloaded by hand from `page`. `tried` says whether this code has ever downloaded the address;
an MD5 is published by the official site, or by a library that downloads from it.
"""

import re
from dataclasses import dataclass

from wsol.core.errors import InputError
from wsol.data.levels import SPLITS


@dataclass(frozen=True)
class Official:
    """One file of a data set: its name, address (None: by hand), MD5 and size in bytes (None: not published).

    `splits`: which need it. `page`: where a person finds it.
    """

    file: str
    address: str | None
    md5: str | None = None
    size: int | None = None
    splits: tuple[str, ...] = SPLITS
    page: str = ""
    tried: bool = False


@dataclass(frozen=True)
class Source:
    """The files of a data set, their terms of use, and what to cite."""

    files: tuple[Official, ...]
    licence: str
    citation: str


def _drive(key: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={key}&export=download&confirm=t"


CHOE = "Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020"
WSOLEVALUATION = "https://github.com/clovaai/wsolevaluation"
IMAGENET = "https://image-net.org/download.php"
INAT = "https://ml-inat-competition-datasets.s3.amazonaws.com/inatloc/"
PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"


def _released(*splits: str) -> Official:
    """Return the archive of the lists and boxes that exist only as text in the original authors' repository."""
    address = f"{WSOLEVALUATION}/archive/96f4b88.zip"
    return Official("wsolevaluation.zip", address, splits=splits, page=f"{WSOLEVALUATION}, commit 96f4b88")


SOURCES = {
    "CUB": Source(
        (
            Official(
                "CUB_200_2011.tgz",
                "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                "97eceeb196236b17998738112f37df78",
            ),
            Official("CUBV2.tar", _drive("1U6cwKHS65wayT9FFvoLIA8cn1k0Ot2M1"), splits=("val",), page=WSOLEVALUATION),
            _released("val"),
        ),
        "images: their owners' terms, non-commercial research; CUBV2: images as on Flickr, boxes CC BY 2.0 NAVER",
        f"Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, CNS-TR-2011-001; CUBV2: {CHOE}",
    ),
    "ILSVRC": Source(
        (
            Official("ILSVRC2012_img_train.tar", None, "1d675b47d978889d74fa0da5fadfb00e", splits=("train",), page=IMAGENET),
            Official("ILSVRC2012_img_val.tar", None, "29b22e2961454d5413ddabcf34fc5622", splits=("test",), page=IMAGENET),
            Official(
                "imagenetv2-threshold0.7.tar.gz",
                "https://s3-us-west-2.amazonaws.com/imagenetv2public/imagenetv2-threshold0.7.tar.gz",
                splits=("val",),
                page="https://github.com/modestyachts/ImageNetV2",
            ),
            _released(*SPLITS),
        ),
        "ImageNet's terms of access (non-commercial research); ImageNetV2 as its repository says, boxes CC BY 2.0 NAVER",
        "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015; Recht et al., Do ImageNet "
        f"Classifiers Generalize to ImageNet?, ICML 2019; boxes: {CHOE}",
    ),
    "OpenImages": Source(
        (
            Official("OpenImages_images.zip", _drive("1oOb4WQ-lb8SYppHEg3lWnpHk1X8WVO4e"), page=WSOLEVALUATION),
            Official(
                "OpenImages_annotations.zip",
                _drive("1eu1YvcZlsEalhXTS_5Ni5tkImCliIPie"),
                splits=("val", "test"),
                page=WSOLEVALUATION,
            ),
            _released(*SPLITS),
        ),
        "images CC BY 2.0, annotations CC BY 4.0 Google LLC",
        f"{CHOE}; Benenson et al., Large-scale interactive object segmentation with human annotators, CVPR 2019",
    ),
    "iNatLoc500": Source(
        (
            Official("iNatLoc.tar.gz", f"{INAT}iNatLoc.tar.gz", "f9394137ddbff3919fe805c6dd8f22cb"),
            Official("metadata_choe.zip", f"{INAT}metadata_choe.zip", "5ae02339a005574b3c6757309e9872ed"),
        ),
        "images: each under its photographer's licence on iNaturalist, non-commercial research",
        "Cole et al., On Label Granularity and Object Localization, ECCV 2022",
    ),
    "FGVC-Aircraft": Source(
        (
            Official(
                "fgvc-aircraft-2013b.tar.gz",
                "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
                page="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
            ),
        ),
        "non-commercial research only; the banner at each image's foot names its owner",
        "Maji et al., Fine-Grained Visual Classification of Aircraft, arXiv 1306.5151, 2013",
    ),
    "OxfordPet": Source(
        (
            Official("images.tar.gz", f"{PETS}images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            Official("annotations.tar.gz", f"{PETS}annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
        ),
        "CC BY-SA 4.0",
        "Parkhi et al., Cats and Dogs, CVPR 2012",
    ),
    "TinyImageNet": Source(
        (
            Official(
                "tiny-imagenet-200.zip",
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "90528d7ca1a48142e341f4ef8d21d0de",
            ),
        ),
        "ImageNet's terms of access (non-commercial research)",
        "Stanford CS231n, Tiny ImageNet Visual Recognition Challenge; Russakovsky et al., IJCV 2015",
    ),
}
SOURCES["TinyAnimals"] = SOURCES["TinyImageNet"]  # the same archive
ALIASES = {"OpenImages30k": "OpenImages"}
# Compared without case, for file systems that ignore it; our own folders are next to those of data sets.
TAKEN = {name.casefold() for name in ("Toy", *SOURCES, *ALIASES, "hierarchies", "downloads")}


def check_own_name(name: str) -> None:
    """Raise InputError if the name of a user's own data set is not a plain folder name, or is used by prepare.py."""
    if not re.fullmatch(r"\w[\w.-]{,99}", name) or name.casefold() in TAKEN:
        raise InputError(f"{name!r}: expected a name of your own, of at most 100 letters, digits, '.', '-' and '_'")
