"""What goes wrong because of what the user gave, and how a command ends: its exit code, its last message."""

import difflib
import errno
import functools
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

BUG, REFUSED, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141  # exit codes (docs/runs.md); the last two are a shell's 128 + signal
MOST_SAID = 600  # characters of an exception's own text in a message

_at_hand: str | None = None  # the file that was last opened to be read or written


class OptionName(str):
    """The name of an option in a message: `label_level` in Python, `--label_level` on a command line."""

    __slots__ = ()


class InputError(ValueError):
    """Something given (an option, a file, an archive) is not as expected; the message names it and what was expected.

    The message may be given in parts, of which those that are an `OptionName` are written as whoever reads it knows them.
    """

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the message, for an error that adds to it."""
        return self.args

    def __str__(self) -> str:
        return "".join(self.parts)

    def on_command_line(self) -> str:
        """Return the message as a command writes it: names of options with their dashes."""
        return "".join(f"--{part}" if isinstance(part, OptionName) else part for part in self.parts)


class OptionError(InputError):
    """An option's value is refused: `option value: problem`. The value is left out where it is empty."""

    def __init__(self, option: str, value: object, *problem: str):
        super().__init__(option, value, *problem)
        self.option, self.value = option, value

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the message."""
        option, value, *problem = self.args  # as they were given, so that the error can be pickled
        given = f" {value}" if value != "" else ""
        return OptionName(option), f"{given}: ", *problem


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


def shortened(text: str, most: int = 80) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" with the known word nearest to one that is not known, or nothing where none is near.

    >>> did_you_mean("resnet5O", ["resnet18", "resnet50"]), did_you_mean("cat", ["resnet18"])
    ('; did you mean resnet50?', '')
    """
    by_folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(word[:100].casefold(), by_folded, n=1)
    return f"; did you mean {by_folded[close[0]]}?" if close else ""


def remember_file(path: str | os.PathLike) -> None:
    """Keep the file that is at hand, for the message of an error that nobody foresaw."""
    global _at_hand
    _at_hand = os.fspath(path)


def add_file_at_hand(error: Exception) -> None:
    """Write the file at hand into an error that leaves this process: the other one does not know it."""
    vars(error).setdefault("file_at_hand", _at_hand)


def _is_lack_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out: as Python and NumPy, torch on a GPU and on a CPU, the system and OpenCV say it."""
    said = f"{type(error).__name__}: {error}"
    words = ("OutOfMemoryError", "not enough memory", "allocate memory", "Insufficient memory")
    return isinstance(error, MemoryError) or any(word in said for word in words)


def _say(message: str) -> None:
    """Write a line to standard error, which may be closed, full or gone too."""
    with suppress(OSError, ValueError, AttributeError):
        print(message, file=sys.stderr, flush=True)


def _say_unforeseen(error: Exception) -> int:
    """Say what an error is that no check foresaw; return the exit code."""
    path = getattr(error, "file_at_hand", _at_hand)
    at_hand = f" (the last file was {path})" if path else ""
    said = shortened(reason(error), MOST_SAID)
    if _is_lack_of_memory(error):
        _say(f"error: not enough memory{at_hand}: {said}")
        return REFUSED
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        _say(f"error: {where}{error.strerror or said}{'' if where else at_hand}")
        return REFUSED
    with suppress(OSError, ValueError, AttributeError):
        traceback.print_exception(error)
    _say(f"error: a bug of this program{at_hand}: {said}\nPlease report it, with the command and all lines above.")
    return BUG


def _stream_error() -> OSError | None:
    """Return what keeps standard output or standard error from being written, if anything does."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # ValueError: closed by the program that calls the command
            stream.flush()
        if failure := getattr(stream, "failure", None):
            return failure
    return None


def _discard_output() -> None:
    """Let what is left for a stream that cannot be written vanish, so that Python does not complain of it at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "failure", None):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _note_failures(stream: io.TextIOWrapper) -> None:
    """Keep in `stream.failure` the first error of writing to it: once raised, it does not tell of which file it is."""
    own = vars(stream)  # what stands here hides the class's methods

    def noting(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*arguments: object) -> object:
            try:
                return function(*arguments)
            except OSError as error:
                own["failure"] = own["failure"] or error
                raise

        return call

    if "failure" not in own:
        own.update(write=noting(stream.write), flush=noting(stream.flush))
    own["failure"] = None


def _open_streams() -> bool:
    """Give closed standard streams a place to write to; tell whether standard output was closed.

    A file opened later would get the number of a closed one, and with it whatever a library prints.
    """
    was_closed = sys.stdout is None or hasattr(sys.stdout, "stands_in")
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            try:
                os.fstat(number)
            except OSError:
                os.dup2(nowhere, number)
            setattr(sys, name, os.fdopen(nowhere, "w"))
            getattr(sys, name).stands_in = True
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows its code, and the work goes on
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            _note_failures(stream)
    return was_closed


def plain_warning(message: Warning | str, *_: object, **__: object) -> str:
    """Return a warning as `warnings.formatwarning` does, without the line of code that gave it."""
    return f"WARNING: {message}\n"


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings by `plain_warning`."""
    before, warnings.formatwarning = warnings.formatwarning, plain_warning
    try:
        yield
    finally:
        warnings.formatwarning = before


def _run(main: Callable[[], object]) -> int | None:
    """Run `main`, say how it ended, and return the exit code; None where it returned."""
    global _at_hand
    _at_hand = None
    try:
        main()
    except SystemExit as stop:  # of --help
        if isinstance(stop.code, str):
            _say(stop.code)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except InputError as error:
        _say(f"error: {error.on_command_line()}")
        return REFUSED
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort: it is said, with the exit code of a bug)
        if isinstance(error, OSError) and _stream_error():  # a print that failed; the end of the command says so
            return 0
        return _say_unforeseen(error)
    return None


def _end_output(code: int, was_closed: bool) -> int:
    """Write out what was printed and return the exit code: that of the command, or of an output that cannot be written."""
    error = _stream_error()
    if error is None and not was_closed:
        return code
    _discard_output()
    if isinstance(error, BrokenPipeError):  # as `| head` does: nobody is left to be told
        return code or BROKEN_PIPE
    what = "closed" if error is None else error.strerror or errno.errorcode.get(error.errno or 0, "an error")
    _say(f"error: standard output: {what}; what was to be printed there is lost")
    return code or REFUSED


def refuse_early(parse: Callable[[], object]) -> None:
    """End the program here, as a command ends, if `parse` refuses its options or prints their help; else return.

    For a program whose libraries take seconds to load: it parses once before they are loaded, and again in its command.
    """
    was_closed = _open_streams()
    with plain_warnings():
        code = _run(parse)
    if code is not None:
        sys.exit(_end_output(code, was_closed))


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Make `main` a command, which ends with an exit code and a message, never in the middle of a traceback.

    0: finished. 1: a bug, its traceback first. 2: refused or failed, for a reason that the message gives (an InputError, a
    full disk, too little memory, an output that cannot be written). 130: interrupted. 141: whoever read the output is gone.
    """

    @functools.wraps(main)
    def run() -> None:
        was_closed = _open_streams()
        with plain_warnings():
            code = _end_output(_run(main) or 0, was_closed)
        if code:
            sys.exit(code)

    return run
