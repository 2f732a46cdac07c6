"""What goes wrong because of what the user gave; a command shows it as one message and exits with code 2."""

import functools
import io
import sys
import traceback
from collections.abc import Callable


class InputError(ValueError):
    """Something given (an option, a file, an archive) is not as expected; the message names it and what was expected."""


class MetadataError(InputError):
    """A metadata file breaks its format; the message starts with file:line."""


class BoxError(MetadataError, RuntimeError):
    """A box is negative, inverted or outside its image (RuntimeError as in wsolevaluation)."""


class ScoreMapError(InputError):
    """A score map is missing, unreadable, not 2-D, NaN or outside [0, 1]."""


class ScoreMapTypeError(InputError, TypeError):
    """A score map is no array of floats."""


class NoPositiveError(InputError, RuntimeError):
    """An evaluation set has no positive pixel, so that precision and recall do not exist."""


def reason(error: Exception) -> str:
    """Return what an error of a library says, or the line that raised it where it says nothing (as a bare assertion)."""
    if said := str(error).strip():
        return f"{type(error).__name__}: {said}"
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.line and "raise " not in frame.line]
    return f"{type(error).__name__}, raised by {lines[-1]!r}" if lines else type(error).__name__


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Make `main` a command: an InputError ends it with exit code 2 and its message, Ctrl-C with 130."""

    @functools.wraps(main)
    def run() -> None:
        for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows its code, and the work goes on
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    return run
