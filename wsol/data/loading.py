"""What goes wrong in the processes that load images, as a message that a user can act on."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from wsol.core.errors import InputError, OptionName

KILLED = r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([^.]+)|exited unexpectedly)"
RAISED = r"in (?:DataLoader worker process|pin memory thread)"  # torch's, of an error that a process sent on
SHARED = r"shared memory|unable to (?:mmap|write to file </?torch_)"
NO_PROCESS = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)


@contextmanager
def loading_failures(workers: int) -> Iterator[None]:
    """Turn the end of a process that loads images into an InputError. It may arrive anywhere in the block: torch raises it
    when the signal comes.

    Raises:
        InputError: a process was ended from outside, or could not be started or hand its images over for lack of memory,
            shared memory or open files. Anything else that a process raises comes through: it is a fault of the program.
    """
    advice = (OptionName("workers"), f" {workers}: expected fewer, or 0, or more memory")
    try:
        yield
    except (RuntimeError, OSError, MemoryError) as error:
        said = str(error)
        if found := re.search(KILLED, said):
            how = f"was ended from outside (signal: {found[2]})" if found[2] else "ended, perhaps from outside"
            raise InputError(f"a process that loads images (number {found[1]}) {how}; ", *advice) from None
        sent_on = re.search(RAISED, said) and isinstance(error, OSError | MemoryError)
        not_started = getattr(error, "errno", None) in NO_PROCESS
        if workers and (sent_on or not_started or re.search(SHARED, said)):
            last = said.strip().splitlines()[-1] if said.strip() else type(error).__name__
            raise InputError(f"the processes that load images ran out of resources ({last}); ", *advice) from None
        raise
