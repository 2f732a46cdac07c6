"""How this project's loops are compiled by numba: without Python's lock, and kept on disk where there is a place."""

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Return a function compiled at its first call, which leaves Python's lock, so that threads run it at once.

    What was compiled is kept beside the module, or in the user's cache folder, for the next process; where neither can be
    written (a read-only installation) each process compiles anew.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no place for the cache
        return njit(nogil=True)(function)
