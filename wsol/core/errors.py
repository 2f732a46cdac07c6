"""Errors in what the user gave, and how a command ends: its exit code and its last message."""

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

from wsol.core.launch import launched, rank_prefix

# Exit codes (docs/runs.md); the last two are a shell's 128 + signal.
BUG, REFUSED, CHECKPOINTED, INTERRUPTED, BROKEN_PIPE = 1, 2, 75, 130, 141
MOST_SAID = 600  # characters of an exception's own text in a message
MOST_PRINTED = 2400  # characters of a message; of a longer one the middle is left out

_last_file: str | None = None  # the file last opened for reading or writing


class Stopped(BaseException):
    """A signal stopped a command, and a checkpoint holds what was done; `command` continues from it.

    No error, so that `except Exception` lets it through.
    """

    def __init__(self, why: str, command: str):
        super().__init__(why, command)
        self.why, self.command = why, command


def printable(text: str) -> str:
    r"""Return a message as it is safe to print: control characters as escapes, and the middle of a long text left out.

    A file's text in a message could otherwise change what a terminal shows, or fill it.

    >>> printable("a\x1b[2J\nb"), len(printable("x" * 10**6)) <= MOST_PRINTED
    ('a\\x1b[2J\nb', True)
    """
    text = "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
    if len(text) <= MOST_PRINTED:
        return text
    note = f" ... ({len(text)} characters) ... "
    return text[: MOST_PRINTED // 2] + note + text[len(text) - MOST_PRINTED // 2 + len(note) :]


class OptionName(str):
    """The name of an option in a message: `label_level` in Python, `--label_level` on a command line."""

    __slots__ = ()


class InputError(ValueError):
    """An input (an option, a file, an archive) is not as expected; the message names it and says what was expected.

    The message may be given in parts. A part that is an `OptionName` is written as the reader knows the option: with dashes
    on a command line, without in Python.
    """

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the message, for another error to add to."""
        return self.args

    def __str__(self) -> str:
        return "".join(self.parts)

    def on_command_line(self) -> str:
        """Return the message as a command prints it: with dashes before the names of options, and `printable`."""
        return printable("".join(f"--{part}" if isinstance(part, OptionName) else part for part in self.parts))


class OptionError(InputError):
    """The value of an option is invalid; the message is `option value: problem`, without the value if that is empty."""

    def __init__(self, option: str, value: object, *problem: str):
        super().__init__(option, value, *problem)
        self.option, self.value = option, value

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the message."""
        option, value, *problem = self.args  # unchanged, so that the error can be pickled
        given = f" {value}" if value != "" else ""
        return OptionName(option), f"{given}: ", *problem


class MetadataError(InputError):
    """A metadata file breaks its format; the message starts with file:line."""


class BoxError(MetadataError, RuntimeError):
    """A box is negative, inverted or outside its image (RuntimeError as in wsolevaluation)."""


class ScoreMapError(InputError):
    """A score map is missing, unreadable, not 2-D, NaN or outside [0, 1]."""


class ScoreMapTypeError(InputError, TypeError):
    """A score map is not an array of floats."""


class NoPositiveError(InputError, RuntimeError):
    """An evaluation set has no positive pixel, so precision and recall are undefined."""


def reason(error: Exception) -> str:
    """Return type and message of a library's error, or the line that raised it if it has no message (a bare assertion)."""
    if said := str(error).strip():
        return f"{type(error).__name__}: {said}"
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.line and "raise " not in frame.line]
    return f"{type(error).__name__}, raised by {lines[-1]!r}" if lines else type(error).__name__


def shortened(text: str, most: int = 80) -> str:
    """Return a text for a message, cut if it is long."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" with the known word nearest to an unknown one, or "" if none is near.

    >>> did_you_mean("resnet5O", ["resnet18", "resnet50"]), did_you_mean("cat", ["resnet18"])
    ('; did you mean resnet50?', '')
    """
    by_folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(word[:100].casefold(), by_folded, n=1)
    return f"; did you mean {by_folded[close[0]]}?" if close else ""


def remember_file(path: str | os.PathLike) -> None:
    """Remember the file being processed, for the message of an unexpected error."""
    global _last_file
    _last_file = os.fspath(path)


def attach_last_file(error: Exception) -> None:
    """Record the file being processed in an error that goes to another process, which does not know it."""
    vars(error).setdefault("last_file", _last_file)


def _is_lack_of_memory(error: Exception) -> bool:
    """Return whether memory ran out, in the words of Python, NumPy, torch (GPU and CPU), the system or OpenCV."""
    said = f"{type(error).__name__}: {error}"
    words = ("OutOfMemoryError", "not enough memory", "allocate memory", "Insufficient memory")
    return isinstance(error, MemoryError) or any(word in said for word in words)


def _say(message: str) -> None:
    """Write a line to standard error, which may itself be closed or full."""
    with suppress(OSError, ValueError, AttributeError):
        print(message, file=sys.stderr, flush=True)


def _say_unexpected(error: Exception) -> int:
    """Print what is known about an unexpected error and return the exit code."""
    path = getattr(error, "last_file", _last_file)
    last = f" (the last file was {path})" if path else ""
    said = shortened(reason(error), MOST_SAID)
    if _is_lack_of_memory(error):
        _say(f"error: {rank_prefix()}not enough memory{last}: {said}")
        return REFUSED
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        _say(f"error: {rank_prefix()}{where}{error.strerror or said}{'' if where else last}")
        return REFUSED
    with suppress(OSError, ValueError, AttributeError):
        traceback.print_exception(error)
    _say(
        f"error: {rank_prefix()}a bug of this program{last}: {said}\nPlease report it, with the command and all lines above."
    )
    return BUG


def _stream_error() -> OSError | None:
    """Return the error that prevents writing to standard output or standard error, if any."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # ValueError: closed by the calling program
            stream.flush()
        if failure := getattr(stream, "failure", None):
            return failure
    return None


def _discard_output() -> None:
    """Discard what is left in a stream that cannot be written, so that Python does not report it on exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "failure", None):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _note_failures(stream: io.TextIOWrapper) -> None:
    """Keep the first write error of a stream in `stream.failure`: a raised error does not say which file it came from."""
    own = vars(stream)  # attributes that hide the methods of the class

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
    """Reopen closed standard streams on the null device; return whether standard output was closed.

    Otherwise a file opened later would get the number of the closed stream, and receive what libraries print.
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
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal lacks is shown as its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            _note_failures(stream)
    return was_closed


def plain_warning(message: Warning | str, *_: object, **__: object) -> str:
    """Format a warning like `warnings.formatwarning`, without the line of code that issued it."""
    return f"WARNING: {printable(str(message))}\n"


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings with `plain_warning`."""
    before, warnings.formatwarning = warnings.formatwarning, plain_warning
    try:
        yield
    finally:
        warnings.formatwarning = before


def _run(main: Callable[[], object]) -> int | None:
    """Run `main`, print why it failed, and return the exit code; None if it returned normally."""
    global _last_file
    _last_file = None
    try:
        main()
    except SystemExit as stop:  # of --help
        if isinstance(stop.code, str):
            _say(stop.code)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except InputError as error:
        _say(f"error: {rank_prefix()}{error.on_command_line()}")
        return REFUSED
    except Stopped as stop:
        _say(f"{stop.why}; to continue:\n{stop.command}")
        return CHECKPOINTED
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort: it is reported, with the exit code of a bug)
        if isinstance(error, OSError) and _stream_error():  # a failed print, reported at the end of the command
            return 0
        return _say_unexpected(error)
    return None


def _end_output(code: int, was_closed: bool) -> int:
    """Flush the output and return the exit code: the command's own, or that of an output that cannot be written."""
    error = _stream_error()
    if error is None and not was_closed:
        return code
    _discard_output()
    if isinstance(error, BrokenPipeError):  # as after `| head`: nobody is left to read a message
        return code or BROKEN_PIPE
    what = "closed" if error is None else error.strerror or errno.errorcode.get(error.errno or 0, "an error")
    _say(f"error: standard output: {what}; what was printed is lost")
    return code or REFUSED


def refuse_early(parse: Callable[[], object]) -> None:
    """Exit like a command if `parse` rejects the options or prints their help; otherwise return.

    For a program whose libraries take seconds to load: it parses before loading them, and again in its command. Of several
    processes that torchrun started, the first one speaks for all.
    """
    if launched().rank:
        return
    was_closed = _open_streams()
    with plain_warnings():
        code = _run(parse)
    if code is not None:
        sys.exit(_end_output(code, was_closed))


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Make `main` a command, which always ends with an exit code and, on failure, a message.

    0: finished. 1: a bug; its traceback comes first. 2: refused or failed, for the reason given in the message (an
    InputError, a full disk, too little memory, an output that cannot be written). 75: stopped by a signal and checkpointed;
    the last line is the command that continues. 130: interrupted. 141: the reader of its output has gone.
    """

    @functools.wraps(main)
    def run() -> None:
        was_closed = _open_streams()
        with plain_warnings():
            code = _end_output(_run(main) or 0, was_closed)
        if code:
            sys.exit(code)

    return run
