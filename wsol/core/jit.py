"""Compilation of this project's loops by numba: they release the GIL, and are cached on disk if possible."""

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Return a function that is compiled at its first call and releases the GIL, so that threads can run it in parallel.

    The result is cached next to the module, or in the user's cache folder, for later processes. If neither is writable (a
    read-only installation), each process compiles again.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache
        return njit(nogil=True)(function)
