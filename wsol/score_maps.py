"""Score maps on disk: `<root>/<image id>.npy`, 2-D floats in [0, 1] of any size, checked when they are read."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wsol.errors import ScoreMapError, ScoreMapTypeError
from wsol.files import save_npy
from wsol.metadata import first_names


def check_score_map(score_map: np.ndarray, source: str) -> None:
    """Refuse what is no score map.

    Raises:
        TypeError: not an array of floats.
        ValueError: not 2-D, empty, NaN, or a value outside [0, 1].
    """
    if not isinstance(score_map, np.ndarray):
        raise ScoreMapTypeError(f"{source}: a {type(score_map).__name__}; expected a NumPy array")
    if not np.issubdtype(score_map.dtype, np.floating):
        raise ScoreMapTypeError(f"{source}: an array of {score_map.dtype}; expected floats in [0, 1]")
    if score_map.ndim != 2 or not score_map.size:
        raise ScoreMapError(f"{source}: shape {score_map.shape}; expected (height, width)")
    low, high = score_map.min(), score_map.max()
    if not (low >= 0 and high <= 1):  # NaN makes both comparisons false
        raise ScoreMapError(f"{source}: values from {low} to {high}; expected all in [0, 1], no NaN")


def save_score_map(scoremap_root: str | os.PathLike, image_id: str, score_map: np.ndarray) -> None:
    """Save a score map as `<scoremap_root>/<image_id>.npy`."""
    save_npy(Path(scoremap_root) / f"{image_id}.npy", score_map)


def read_score_maps(scoremap_root: str | os.PathLike, image_ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (image id, score map) from `<root>/<id>.npy`, or `<root>/<id without its extension>.npy`.

    Raises:
        ScoreMapError: maps are missing (all are looked for before the first is read), or one cannot be read.
    """
    root = Path(scoremap_root)
    without_extension = Counter(os.path.splitext(image_id)[0] for image_id in image_ids)
    paths, missing = {}, []
    for image_id in image_ids:
        stem = os.path.splitext(image_id)[0]
        if os.path.exists(path := root / f"{image_id}.npy"):
            paths[image_id] = path
        elif os.path.exists(path := root / f"{stem}.npy"):
            if without_extension[stem] > 1:
                raise ScoreMapError(f"{path}: {without_extension[stem]} image ids share this name; name it by full id")
            paths[image_id] = path
        else:
            missing.append(image_id)
    if missing:
        raise ScoreMapError(
            f"{root}: {len(missing)} of {len(image_ids)} score maps are missing; expected <image id>.npy for:"
            + first_names(missing)
        )
    for image_id, path in paths.items():
        try:
            score_map = np.load(path, allow_pickle=False)
        except Exception as error:  # NumPy raises ValueError, OSError or EOFError; a damaged header many more
            raise ScoreMapError(f"{path}: not a readable .npy file of numbers ({error})") from None
        check_score_map(score_map, str(path))
        yield image_id, score_map
