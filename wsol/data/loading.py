"""Failures of the processes that load images, as messages that a user can act on."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from wsol.core.errors import InputError, OptionName

KILLED = r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([^.]+)|exited unexpectedly)"
RAISED = r"in (?:DataLoader worker process|pin memory thread)"  # torch's, about an error from another process
SHARED = r"shared memory|unable to (?:mmap|write to file </?torch_)"
NO_PROCESS = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)


@contextmanager
def loading_failures(workers: int) -> Iterator[None]:
    """Raise InputError if a process that loads images dies in the block; torch may report that at any point of it.

    Raises:
        InputError: a process was killed, or could not start or pass on its images for lack of memory, shared memory or open
            files. Any other error of a process is a bug and comes through unchanged.
    """
    advice = (OptionName("workers"), f" {workers}: expected fewer, or 0, or more memory")
    try:
        yield
    except (RuntimeError, OSError, MemoryError) as error:
        said = str(error)
        if found := re.search(KILLED, said):
            how = f"was killed (signal: {found[2]})" if found[2] else "ended; perhaps it was killed"
            raise InputError(f"a process that loads images (number {found[1]}) {how}; ", *advice) from None
        sent_on = re.search(RAISED, said) and isinstance(error, OSError | MemoryError)
        not_started = getattr(error, "errno", None) in NO_PROCESS
        if workers and (sent_on or not_started or re.search(SHARED, said)):
            last = said.strip().splitlines()[-1] if said.strip() else type(error).__name__
            raise InputError(f"the processes that load images ran out of resources ({last}); ", *advice) from None
        raise
