"""Several label levels that one network learns at once: which they are, their classes, and how those of one follow from
those of the first.

In: the text of the option label_level, `LevelData` of each level. Out: `TrainedLevel`s, and the training images with their
labels at every level.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from wsol.core.errors import OptionError, OptionName, did_you_mean
from wsol.data.image_ids import ImageIds, Labels
from wsol.data.levels import LevelData, LevelSplit, class_ancestors

MEAN = "mean"  # of the option map_level: the mean of all levels' maps
SEPARATOR = ","


@dataclass(frozen=True)
class TrainedLevel:
    """One of the levels that a network learns at once.

    level: its name.
    class_names, file_labels: of its classes, which count from 0: their names, and their labels in the metadata files.
    of_first: for each class of the first level the class here that holds it, -1: none; None if this level is finer than the
        first one, whose classes then have several here.
    """

    level: str
    class_names: list[str]
    file_labels: list[int]
    of_first: list[int] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the level of `to_dict`."""
        return cls(**content)


def level_names(text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return the levels that the option label_level names: none, one, or several with commas between them.

    `known`: the levels of the data set. The name of one may hold a comma itself.

    >>> level_names("genus", ["species", "genus"]), level_names("species,genus", ["species", "genus"])
    (('genus',), ('species', 'genus'))

    Raises:
        OptionError: of several levels, one is unknown or named twice, or is called "mean".
    """
    if text is None:
        return ()
    if text in known or SEPARATOR not in text:
        return (text,)
    names = tuple(text.split(SEPARATOR))
    if unknown := [name for name in names if name not in known]:
        expected = f"expected levels among {', '.join(known)}, with commas and nothing else between them"
        problem = f"{unknown[0]!r} is no level of the data set{did_you_mean(unknown[0], known)}; {expected}"
        raise OptionError("label_level", text, problem)
    if len(set(names)) < len(names):
        raise OptionError("label_level", text, "a level is named twice; expected different ones")
    if MEAN in names:
        said = f"a level is called {MEAN!r}, which ", OptionName("map_level"), " takes for the mean of all levels' maps"
        raise OptionError("label_level", text, *said)
    return names


def joined(names: Sequence[str], map_level: str | None = None) -> str:
    """Return the name, in results and logs, of several levels learned at once; `map_level`: whose maps are used, None: the
    first one's.

    >>> joined(["species", "genus"]), joined(["species", "genus"], "genus"), joined(["species", "genus"], "mean")
    ('species+genus', 'genus of species+genus', 'mean of species+genus')
    """
    together = "+".join(names)
    return together if map_level in (None, names[0]) else f"{map_level} of {together}"


def check_map_level(
    map_level: str | None, levels: Sequence[TrainedLevel], others: Iterable[tuple[str, str | None]] = ()
) -> None:
    """Raise OptionError if the option map_level names none of the levels, or the mean where that is not defined.

    `others`: other options that change maps, with their values; None: not given.
    """
    if map_level is None:
        return
    if not levels:
        several = "levels that are learned at once (", OptionName("label_level"), " with commas), which have several maps"
        raise OptionError("map_level", map_level, "expected it only with ", *several)
    names = [one.level for one in levels]
    if map_level not in (MEAN, *names):
        raise OptionError("map_level", map_level, f"expected one of {', '.join(names)}, or {MEAN}")
    if map_level != MEAN:
        return
    if finer := [one.level for one in levels if one.of_first is None]:
        problem = f"a class of the first level, {names[0]}, has several at level {finer[0]}; expected the finest level first"
        raise OptionError("map_level", map_level, problem)
    for name, value in others:
        if value is not None:
            own = "the mean of all levels' maps is of the method's own; expected none with it"
            raise OptionError(name, value, own)


def with_labels_at(split: LevelSplit, each: Sequence[LevelSplit]) -> LevelSplit:
    """Return a split whose images also have their labels at other levels: `at_levels` int64 (n, levels), -1: none.

    `each`: all images of the split at every level.
    """
    ids = _columns(split.image_ids)
    tables = (Labels(_columns(one.image_ids), one.labels.astype(np.int32)) for one in each)
    return replace(split, at_levels=np.stack([table.at(ids) for table in tables], axis=1).astype(np.int64))


def _columns(ids: Sequence[str]) -> ImageIds:
    return ids if isinstance(ids, ImageIds) else ImageIds(ids)


def trained_levels(
    each: Sequence[LevelData], metadata_root: str | os.PathLike, dataset_name: str, levels: Sequence[str]
) -> list[TrainedLevel]:
    """Return what a network needs to know of the levels that it learns; `levels`: all of the data set, finest first."""
    first = each[0]
    found = []
    for data in each:
        of_first = None
        if levels.index(data.level) >= levels.index(first.level):
            known = class_ancestors(metadata_root, dataset_name, first.level, data.level)
            place = {label: number for number, label in enumerate(data.file_labels)}
            of_first = [place.get(known.get(label, -1), -1) for label in first.file_labels]
        found.append(TrainedLevel(data.level, data.class_names, data.file_labels, of_first))
    return found
