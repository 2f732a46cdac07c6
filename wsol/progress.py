"""Progress bars for long work, quiet where standard error is not a terminal."""

from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, description: str, total: int | None = None) -> Iterable:
    """Return the items, with a bar that disappears when they end."""
    return tqdm(items, description, total, leave=False, disable=None)
