"""Progress bars for long work, quiet where standard error is not a terminal."""

from collections.abc import Iterable
from contextlib import suppress

from tqdm import tqdm


def progress(items: Iterable, description: str, total: int | None = None) -> Iterable:
    """Return the items, with a bar that disappears when they end."""
    return tqdm(items, description, total, leave=False, disable=None)


def tell(line: str) -> None:
    """Print a line about work that goes on. Where it cannot be printed the work goes on too: the end of the command says so
    (wsol.core.errors.command)."""
    with suppress(OSError):
        print(line, flush=True)
