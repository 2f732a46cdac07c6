"""The log of a run: to standard output, and to a file that continues if standard output fails."""

import logging
import os
import sys

from wsol.core.errors import InputError


class OutputHandler(logging.StreamHandler):
    """Prints to standard output until that fails, which is reported at the end of the command."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        if not self.failed:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Stop printing, rather than print a traceback for every record."""
        self.failed = True


class FileHandler(logging.FileHandler):
    """Writes to a file; a failure is raised, not printed as a traceback for every record."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Raise the error being handled; an error of the system becomes an InputError with the file's name."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise InputError(f"{self.baseFilename}: cannot be written ({error.strerror or error})") from None
        raise


def start_logging(path: str | os.PathLike) -> logging.Logger:
    """Log to standard output and to a file, and return the logger."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[OutputHandler(), FileHandler(path, encoding="utf-8")],
        force=True,
    )
    return logging.getLogger("wsol")
