"""Progress bars for long work; none if standard error is not a terminal."""

from collections.abc import Iterable
from contextlib import suppress

from tqdm import tqdm

from wsol.core.launch import launched


def progress(items: Iterable, description: str, total: int | None = None) -> Iterable:
    """Return the items, with a progress bar that disappears at the end; of several processes, the first one has it."""
    return tqdm(items, description, total, leave=False, disable=True if launched().rank else None)


def tell(line: str) -> None:
    """Print a line about work in progress. If that fails the work continues, and the end of the command reports it
    (wsol.core.errors.command)."""
    with suppress(OSError):
        print(line, flush=True)
