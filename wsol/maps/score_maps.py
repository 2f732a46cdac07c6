"""Score maps on disk, `<root>/<image id>` in one of four formats: 2-D, in [0, 1], of any size, checked when read.

In: score maps, or a folder of them. Out: files, written whole; maps as NumPy arrays of floats.
"""

import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib import format as npy_format
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from wsol.core.declared_size import MAX_MEGAPIXELS, check_pixels
from wsol.core.errors import InputError, ScoreMapError, ScoreMapTypeError, shortened
from wsol.core.files import check_input, whole_file, write_text
from wsol.data.metadata import first_names

MAPS_OF_A_RUN = "scoremaps"  # the folder of the maps in a run's folder

# Format to file extension. The PNG formats truncate, as the quantisation of the boxes does, so that boxes stay exact.
FORMATS = {"npy": ".npy", "npz": ".npz", "png8": ".png", "png16": ".png"}
EXTENSIONS = tuple(dict.fromkeys(FORMATS.values()))
PNG_DTYPES: dict[str, type[np.unsignedinteger]] = {"png8": np.uint8, "png16": np.uint16}
PNG_MODES = {"L": "png8", "I;16": "png16"}  # Pillow's

MOST_HEADER = 1 << 14  # bytes of a .npy file; NumPy refuses headers of more than 10,000

UNFINISHED = "UNFINISHED.txt"  # in a folder whose maps are being written, or whose command was killed


@contextmanager
def being_written(scoremap_root: str | os.PathLike, command: str) -> Iterator[None]:
    """Mark a folder of maps as unfinished while `command` writes them; the mark stays if this ends with an error."""
    mark = Path(scoremap_root) / UNFINISHED
    write_text(
        mark,
        f"{command}\n\nThe command above has not written all of its score maps into this folder: it is still running, or it "
        "was killed.\nThe folder is not scored while this file is here.\n",
    )
    yield
    mark.unlink(missing_ok=True)


def unfinished_by(scoremap_root: str | os.PathLike) -> str | None:
    """Return the command that has not written all maps of a folder; None if the folder is finished."""
    mark = Path(scoremap_root) / UNFINISHED
    if not mark.is_file():
        return None
    with suppress(OSError, UnicodeDecodeError), mark.open(encoding="utf-8") as file:
        return file.readline(1000).strip() or "a command"
    return "a command"


def _check_kind(dtype: np.dtype, shape: tuple[int, ...], source: str) -> None:
    if not np.issubdtype(dtype, np.floating):
        raise ScoreMapTypeError(f"{source}: an array of {dtype}; expected floats in [0, 1]")
    if len(shape) != 2 or min(shape) < 1:
        raise ScoreMapError(f"{source}: shape {shape}; expected (height, width)")


def check_score_map(score_map: np.ndarray, source: str) -> None:
    """Check that an array is a score map; `source` names it in messages.

    Raises:
        TypeError: it is not an array of floats.
        ValueError: it is not 2-D, is empty, or has NaN or a value outside [0, 1].
    """
    if not isinstance(score_map, np.ndarray):
        raise ScoreMapTypeError(f"{source}: a {type(score_map).__name__}; expected a NumPy array")
    _check_kind(score_map.dtype, score_map.shape, source)
    low, high = score_map.min(), score_map.max()
    if not (low >= 0 and high <= 1):  # NaN makes both comparisons false
        raise ScoreMapError(f"{source}: values from {low} to {high}; expected all in [0, 1], no NaN")


def save_score_map(scoremap_root: str | os.PathLike, image_id: str, score_map: np.ndarray, kind: str = "npy") -> None:
    """Save a score map, float (H, W) in [0, 1], as `<scoremap_root>/<image_id>.<npy|npz|png>`; `kind` is one of FORMATS."""
    with whole_file(Path(scoremap_root) / f"{image_id}{FORMATS[kind]}") as temporary, temporary.open("wb") as file:
        if kind == "npy":
            np.save(file, score_map, allow_pickle=False)
        elif kind == "npz":
            np.savez_compressed(file, score_map=score_map)
        else:
            dtype = PNG_DTYPES[kind]
            levels = (score_map.astype(np.float64) * np.iinfo(dtype).max).astype(dtype)
            Image.fromarray(levels).save(file, format="PNG")


def _read_npy(stream: io.BufferedIOBase, path: Path, max_megapixels: float, size: int) -> np.ndarray:
    """Return the array of an open .npy file or .npz member, of `size` bytes; the header is checked first."""
    head = io.BytesIO(stream.read(MOST_HEADER))  # a file would make room for whatever length the header declares
    version = npy_format.read_magic(head)
    read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, by_columns, dtype = read_header(head)
    stream.seek(head.tell())
    if dtype.hasobject:
        raise ValueError("pickled objects")
    _check_kind(dtype, shape, str(path))
    height, width = shape
    check_pixels(path, (width, height), max_megapixels)
    count, needed = size - head.tell(), height * width * dtype.itemsize
    if count < needed:  # before there is room for it
        raise ValueError(f"{count} of {needed} bytes, the rest is cut off")
    data = np.empty(needed, dtype=np.uint8)
    if (count := stream.readinto(data.data)) < data.size:
        raise ValueError(f"{count} of {data.size} bytes, the rest is cut off")
    return data.view(dtype).reshape(shape, order="F" if by_columns else "C")


def _read_npz(path: Path, max_megapixels: float) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) != 1:
            raise ValueError(f"{len(members)} arrays in it, expected one")
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # these unpack no more than is read
            raise ValueError("a compression that NumPy does not write")
        with archive.open(members[0]) as stream:
            opened = cast("io.BufferedIOBase", stream)  # as zipfile.ZipExtFile is
            return _read_npy(opened, path, max_megapixels, members[0].file_size)


def _read_png(path: Path, max_megapixels: float) -> tuple[np.ndarray, str]:
    expected = "PNG of one grey channel of 8 or 16 bits"
    try:
        image = PngImageFile(path)
    except SyntaxError as error:  # Pillow raises it for a file that is not a PNG
        raise ValueError(f"{error}; expected {expected}") from None
    with image:
        if image.mode not in PNG_MODES:
            raise ValueError(f"PNG of mode {image.mode}; expected {expected}")
        check_pixels(path, image.size, max_megapixels)
        kind, levels = PNG_MODES[image.mode], np.array(image)
    return levels / np.iinfo(PNG_DTYPES[kind]).max, kind


def _load(path: Path, max_megapixels: float) -> tuple[np.ndarray, str]:
    """Return a file's array and kind; errors of a damaged file are not handled."""
    if path.suffix == ".npy":
        with path.open("rb") as file:
            return _read_npy(file, path, max_megapixels, os.fstat(file.fileno()).st_size), "npy"
    if path.suffix == ".npz":
        return _read_npz(path, max_megapixels), "npz"
    return _read_png(path, max_megapixels)


def read_score_map(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[np.ndarray, str]:
    """Return a file's score map, float (H, W) in [0, 1], and its kind, one of FORMATS.

    Raises:
        InputError: it is not a regular file, or declares more than `max_megapixels`.
        ScoreMapError, ScoreMapTypeError: the file is damaged, or does not hold a score map; the message names it.
    """
    check_input(path)
    try:
        score_map, kind = _load(path, max_megapixels)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 (NumPy, zipfile and Pillow raise a dozen kinds for a damaged file)
        # NumPy's text about pickles advises to load the file anyway.
        reason = "damaged, or pickled objects" if "pickle" in str(error) else str(error) or type(error).__name__
        raise ScoreMapError(f"{path}: not a readable {path.suffix} score map ({shortened(reason, 300)})") from None
    check_score_map(score_map, str(path))
    return score_map, kind


@dataclass
class ScoreMapFiles:
    """The files of a split's maps: image id to file, the ids without a file, and map files that do not belong to an id."""

    root: Path
    paths: dict[str, Path]
    missing: list[str]
    others: list[str]

    def require_all(self) -> None:
        """Raise ScoreMapError if maps are missing, or if this is not a folder of maps."""
        if not self.paths and not os.path.isdir(self.root):
            raise ScoreMapError(f"{self.root}: no such folder; expected a folder of score maps")
        if not self.paths and os.path.isdir(self.root / MAPS_OF_A_RUN):
            raise ScoreMapError(f"{self.root}: a run's folder; expected that of its maps, {self.root / MAPS_OF_A_RUN}")
        if self.missing:
            count = len(self.paths) + len(self.missing)
            raise ScoreMapError(
                f"{self.root}: {len(self.missing)} of {count} score maps are missing; expected <image id>.npy (or "
                f".npz, .png) for:{first_names(self.missing)}"
            )


def find_score_maps(
    scoremap_root: str | os.PathLike, image_ids: Sequence[str], split_ids: Iterable[str] | None = None
) -> ScoreMapFiles:
    """Return the files `<root>/<id><extension>`, or `<root>/<id without its extension><extension>`, of some ids.

    `split_ids` are all ids of the split, if `image_ids` are only some of them.

    Raises:
        ScoreMapError: the root is a file, the folder is unfinished, its maps have different extensions, or a file matches
            two ids.
    """
    root = Path(scoremap_root)
    if os.path.exists(root) and not root.is_dir():
        raise ScoreMapError(f"{root}: a file; expected a folder of score maps")
    if command := unfinished_by(root):
        raise ScoreMapError(
            f"{root}: not all of its score maps are written, by {command!r}, which is still running or was killed; expected "
            f"a finished folder (to score what is there, remove its {UNFINISHED})"
        )
    names = _list_folders(root, image_ids)
    without_extension = Counter(os.path.splitext(image_id)[0] for image_id in (split_ids or image_ids))
    paths: dict[str, Path] = {}
    missing: list[str] = []
    kinds: Counter[str] = Counter()
    for image_id in image_ids:
        stem = os.path.splitext(image_id)[0]
        full = [name for extension in EXTENSIONS if (name := image_id + extension) in names]
        short = [name for extension in EXTENSIONS if (name := stem + extension) in names and name != image_id]
        if not full and short and without_extension[stem] > 1:
            raise ScoreMapError(
                f"{root / short[0]}: {without_extension[stem]} image ids share this name; name the file by the full id"
            )
        if own := full + short:
            paths[image_id] = root / own[0]
            kinds.update({os.path.splitext(name)[1] for name in (own if without_extension[stem] == 1 else full)})
        else:
            missing.append(image_id)
    if len(kinds) > 1:
        counts = ", ".join(f"{count} {extension}" for extension, count in sorted(kinds.items()))
        raise ScoreMapError(f"{root}: a mixture of {counts}; expected maps of one format")
    claimed = {name for i in image_ids for stem in (i, os.path.splitext(i)[0]) for name in map(stem.__add__, EXTENSIONS)}
    return ScoreMapFiles(root, paths, missing, sorted(set(_list_maps(root)) - claimed))


def _list_folders(root: Path, image_ids: Iterable[str]) -> set[str]:
    """Return the names, relative to the root, of all files in the ids' folders; each folder is listed once, for speed."""
    names: set[str] = set()
    for folder in {image_id.rpartition("/")[0] for image_id in image_ids}:
        with suppress(OSError, ValueError):  # no such folder, or an impossible name
            names.update(f"{folder}/{name}" if folder else name for name in os.listdir(root / folder))
    return names


def _list_maps(root: Path) -> Iterable[str]:
    """Yield every map file in a folder at any depth, as a relative name with forward slashes."""
    for folder, _, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
        for file in files:
            if file.endswith(EXTENSIONS) and not file.startswith("."):  # a killed writer leaves hidden names
                yield prefix + file


def holds_score_maps(scoremap_root: str | os.PathLike) -> bool:
    """Return whether a folder holds a map file at any depth."""
    return any(True for _ in _list_maps(Path(scoremap_root)))


def sort_others(others: Iterable[str], ids_by_split: Mapping[str, Iterable[str]]) -> tuple[dict[str, int], list[str]]:
    """Return each split's number of map files among `others`, and the files that do not belong to any known image."""
    split_of = {name: split for split, ids in ids_by_split.items() for i in ids for name in (i, os.path.splitext(i)[0])}
    counts: Counter[str] = Counter()
    unknown = []
    for name in others:
        split = split_of.get(os.path.splitext(name)[0])
        if split is None:
            unknown.append(name)
        else:
            counts[split] += 1
    return dict(counts), unknown
