"""The papers' data sets as published: images, levels and classes, so that their experiments can be planned without them.

Called by scripts/cost.py, which needs numbers of images, and by the tests of the specs, which need levels to plan with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsol.core.files import write_text
from wsol.data.levels import FINEST
from wsol.sweeps.cost import Images


@dataclass(frozen=True)
class Published:
    """A data set as published (Cole et al., Tables 1 and A1; docs/hierarchies.md): images of its splits, classes of its
    levels, finest first, and how many finest classes each of them leaves out."""

    train: int
    val: int
    test: int
    levels: Mapping[str, int]
    proxy: int = 0
    outside: Mapping[str, int] = field(default_factory=dict)

    def kept(self, level: str) -> float:
        """Return the share of the finest classes, and so about that of the images, that a level keeps."""
        finest = next(iter(self.levels.values()))
        return 1 - self.outside.get(level, 0) / finest


_IMAGENET_TREE = (927, 926, 904, 845, 804, 747, 680, 625, 553, 477, 345, 208, 71, 27, 13, 8, 4, 2)
_IMAGENET = {f"c{steps}": classes for steps, classes in enumerate(_IMAGENET_TREE)}
_BIRDS = {"species": 188, "genus": 114, "family": 36, "order": 12}
PUBLISHED = {
    "ILSVRC": Published(
        1_281_167, 10_000, 50_000, {"synset": 1000, **_IMAGENET}, proxy=128_117, outside=dict.fromkeys(_IMAGENET, 73)
    ),
    "CUB": Published(5994, 1000, 5794, {"category": 200, **_BIRDS}, outside=dict.fromkeys(_BIRDS, 12)),
    "OpenImages": Published(29_819, 2500, 5000, {FINEST: 100}),
    "iNatLoc500": Published(
        138_000,
        12_500,
        12_500,
        {"species": 500, "genus": 317, "family": 184, "order": 61, "class": 18, "phylum": 5, "kingdom": 1},
    ),
    "FGVC-Aircraft": Published(3334, 3333, 3333, {"variant": 100, "family": 70, "manufacturer": 30}),
}


def write_stand_in(folder: Path, one: Published) -> None:
    """Write metadata with one image of every finest class, enough to plan with: levels with their numbers of classes."""
    write_text(folder / "levels.txt", "".join(f"{level}\n" for level in one.levels))
    finest, leaves = next(iter(one.levels.items()))
    labels = list(range(leaves))
    above, count = labels, leaves
    for level, classes in one.levels.items():
        inside = leaves - one.outside.get(level, 0)
        if level != finest and count > inside:  # the first of the levels that leave classes out
            above, count = labels[:inside], inside
        above, count = [label * classes // count for label in above], classes
        lines = "".join(f"{image}.jpg,{label}\n" for image, label in enumerate(above))
        for split in ("train", "val"):
            write_text(folder / split / f"class_labels{'' if level == finest else f'_{level}'}.txt", lines)
    for split in ("train", "val"):
        for file in ("image_ids", "image_ids_proxy"):
            write_text(folder / split / f"{file}.txt", "".join(f"{image}.jpg\n" for image in labels))


def published_images(options: Mapping[str, Any]) -> Images:
    """Return the images of a run on a published data set; all classes are taken to have equally many."""
    one = PUBLISHED[options["dataset_name"]]
    finest = next(iter(one.levels))
    level = options["label_level"] or finest
    kept = one.kept(level)
    leaves = round(one.levels[finest] * kept)
    train = (one.proxy if options["proxy_training_set"] else one.train) * kept
    if drawn := options["num_train_sample_per_class"]:
        train = min(train, drawn * (leaves if options["train_sample_level"] == FINEST else one.levels[level]))
    per_class = options["num_val_sample_per_class"]
    val = per_class * leaves if per_class else one.val * kept
    return Images(round(train), round(val), round(one.test * kept))
