"""Image ids and their labels as columns: what is read of a data set of any size, and what a run keeps of it.

In: arrays that metadata files were read into. Out: ids as a sequence of text, labels as NumPy arrays beside them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import pyarrow
import pyarrow.acero  # of group_by
import pyarrow.compute

from wsol.core.columns import text_column

AT_ONCE = 4096  # ids that become Python strings together


class ImageIds(Sequence[str]):
    """Different image ids, in the order of their file: a list that takes a third of a list's memory.

    Processes that load images share that memory with the one that started them: reading an id changes nothing in it, while
    strings of Python count who uses them.

    >>> ids = ImageIds(["a.jpg", "b.jpg", "c.jpg"])
    >>> ids[1], ids[1:] == ["b.jpg", "c.jpg"], list(ids.take(np.array([True, False, True])))
    ('b.jpg', True, ['a.jpg', 'c.jpg'])
    """

    def __init__(self, ids: Iterable[str] | pyarrow.StringArray):
        self.array = ids if isinstance(ids, pyarrow.StringArray) else text_column(ids)
        self._found: tuple[ImageIds, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageIds": ...
    def __getitem__(self, index: int | slice) -> "str | ImageIds":
        if not isinstance(index, slice):
            return self.array[index].as_py()
        chosen = range(len(self))[index]
        if chosen.step == 1:
            return ImageIds(self.array.slice(chosen.start, len(chosen)))
        return ImageIds(self.array.take(pyarrow.array(chosen, pyarrow.int64())))

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self.array.slice(start, AT_ONCE).to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ImageIds):
            return self is other or self.array.equals(other.array)
        return isinstance(other, list) and len(other) == len(self) and all(map(str.__eq__, self, other))

    def __repr__(self) -> str:
        return f"ImageIds({list(self[:5])}{', ...' if len(self) > 5 else ''})"

    def __reduce__(self) -> tuple:
        return ImageIds, (self.array,)

    def take(self, kept: np.ndarray) -> "ImageIds":
        """Return the ids where a mask, bool (n,), is true."""
        return ImageIds(self.array if kept.all() else self.array.filter(pyarrow.array(kept)))

    def positions(self, among: "ImageIds") -> np.ndarray:
        """Return where each id is among others, int32 (n,), -1: nowhere. The last answer is kept: levels share their ids."""
        if self._found is None or self._found[0] is not among:
            if self == among:
                return np.arange(len(self), dtype=np.int32)
            if among._found and among._found[0] is self:  # the same the other way round
                there = np.flatnonzero(among._found[1] >= 0)
                found = np.full(len(self), -1, dtype=np.int32)
                found[among._found[1][there]] = there
            else:
                found = pyarrow.compute.index_in(self.array, value_set=among.array).fill_null(-1).to_numpy()
            self._found = among, found
        return self._found[1]

    def first_duplicate(self) -> int | None:
        """Return the position of the first id that is there before, of ids that are still to be checked."""
        table = pyarrow.table({"id": self.array})
        if table.group_by("id", use_threads=False).aggregate([([], "count_all")]).num_rows == len(self):
            return None
        first: dict[str, int] = {}
        return next(i for i, image_id in enumerate(self) if first.setdefault(image_id, i) != i)


class Collector:
    """Puts ids together that are read block by block.

    As long as they are the same as those of `like`, lists that are known already, nothing is kept of them: the files of a
    split's levels mostly have the same ids, or some of those of the first list.
    """

    def __init__(self, like: Iterable[ImageIds] = ()):
        self.like, self.blocks, self.size = list(like), list[pyarrow.StringArray](), 0
        self.among = next(iter(self.like), None)

    def add(self, block: pyarrow.StringArray) -> None:
        """Add the next ids."""
        same = [one for one in self.like if one.array.slice(self.size, len(block)).equals(block)]
        if self.like and not same:
            self.blocks.append(self.like[0].array.slice(0, self.size))
        if not same:
            self.blocks.append(block)
        self.like, self.size = same, self.size + len(block)

    def ids(self) -> tuple[ImageIds, bool]:
        """Return all ids, and whether they are known to be different ones."""
        if self.like:
            whole = (one for one in self.like if len(one) == self.size)
            return next(whole, self.like[0][: self.size]), True
        ids = ImageIds(pyarrow.concat_arrays(self.blocks or [text_column([])]))
        self.blocks.clear()  # what comes next needs the memory
        if self.among is None:
            return ids, False
        found = ids.positions(self.among)  # a caller with other ids asks for these next
        return ids, bool((found >= 0).all() and (np.bincount(found) <= 1).all())


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of a split at one level.

    ids: n ids.
    values: int32 (n,), 0 or more.
    """

    ids: ImageIds
    values: np.ndarray

    @classmethod
    def of(cls, labels: Mapping[str, int]) -> "Labels":
        """Return a table from image id to label."""
        return cls(ImageIds(labels), np.fromiter(labels.values(), dtype=np.int32, count=len(labels)))

    def to_dict(self) -> dict[str, int]:
        """Return image id to label."""
        return dict(zip(self.ids, self.values.tolist(), strict=True))

    def at(self, ids: ImageIds) -> np.ndarray:
        """Return the label of each of these ids, int32 (len(ids),), -1: none."""
        return self.values if ids is self.ids else np.append(self.values, np.int32(-1))[ids.positions(self.ids)]

    def classes(self) -> list[int]:
        """Return the labels that occur, ascending."""
        return np.unique(self.values).tolist()


def relabeled(values: np.ndarray, number_of: Mapping[int, int]) -> np.ndarray:
    """Return labels, int32 (n,), renumbered; -1: none, for those that are not in the table."""
    codes, labels, _ = first_of_each(values)
    return np.array([number_of.get(label, -1) for label in labels.tolist()], dtype=np.int32)[codes]


def first_of_each(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (codes int32 (n,), labels (k,), first int64 (k,)) of labels, int32 (n,): the different labels in the order in
    which they occur, which of these each one is, and where each occurs first."""
    found = pyarrow.array(values).dictionary_encode()
    codes, labels = found.indices.to_numpy(), found.dictionary.to_numpy()
    most = np.maximum.accumulate(codes)  # codes count up as labels occur, so each is a new maximum where it occurs first
    first = np.searchsorted(most, np.arange(len(labels)))
    return codes, labels, first
