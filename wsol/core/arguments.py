"""The parser of every command: values are checked as they are read, and a mistake gives a message of one line.

In: the words of a command line. Out: non-empty names, paths, whole and finite numbers; or an InputError.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from wsol.core.errors import InputError, did_you_mean, shortened
from wsol.core.files import MOST_BYTES

MOST_PATH = 4095  # bytes of a path, on common systems
MOST_DIGITS = 30  # of a number; Python refuses thousands of them


def name(text: str) -> str:
    """Return a name or path unchanged.

    Raises:
        argparse.ArgumentTypeError: it is empty, not UTF-8, too long for a file, or holds a NUL or a line end.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: an empty name; give a name, or leave the option out")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{shortened(ascii(text))}: expected a name in UTF-8") from None
    if set(text) & set("\0\n\r"):
        raise argparse.ArgumentTypeError(f"{shortened(repr(text))}: expected a name without line ends or NUL")
    longest = max(map(len, encoded.split(b"/")))
    if longest > MOST_BYTES or len(encoded) > MOST_PATH:
        raise argparse.ArgumentTypeError(
            f"{shortened(text)!r}: expected at most {MOST_BYTES} bytes per name and {MOST_PATH} per path"
        )
    return text


def path(text: str) -> Path:
    """Return a path; see `name`."""
    return Path(name(text))


def folder_name(text: str) -> str:
    """Return the name of a single folder, such as a data set or a split."""
    if "/" in name(text) or text in (".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a name, not a path")
    return text


def whole(text: str) -> int:
    """Return a whole number, written in ASCII digits."""
    if not re.fullmatch(rf"[+-]?[0-9]{{1,{MOST_DIGITS}}}", text):
        limit = f" of at most {MOST_DIGITS} digits" if len(text) > MOST_DIGITS else ""
        raise argparse.ArgumentTypeError(f"{shortened(ascii(text))} is not a whole number{limit}")
    return int(text)


def number(text: str) -> float:
    """Return a finite number."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shortened(ascii(text))} is not a finite number")
    return value


CONVERTERS = {None: name, Path: path, int: whole, float: number}  # by an option's `type`


class Parser(argparse.ArgumentParser):
    """An argument parser that reads options by CONVERTERS and raises InputError, with a message of one line.

    Attributes: `arguments`, those added to the parser itself, not to a group or subcommand of it.
    """

    def __init__(self, description: str | None = None, **options: Any):
        options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **options}
        self.arguments: list[argparse.Action] = []
        super().__init__(description=description, **options)
        for kind, convert in CONVERTERS.items():
            self.register("type", kind, convert)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an argument, as argparse does."""
        self.arguments.append(super().add_argument(*names, **options))
        return self.arguments[-1]

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(message.removeprefix("argument "))

    def parse_args(  # type: ignore[override]  # argparse also fills objects of other classes
        self, args: Iterable[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Return the options; raise InputError for a word that is not one."""
        options, left = self.parse_known_args(args, namespace)
        if left:
            self._refuse(left[0])
        return options

    def parse_known_args(  # type: ignore[override]  # as above
        self, args: Iterable[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Return the options and the words left over. An unknown --option is reported before a missing one."""
        words = sys.argv[1:] if args is None else list(args)
        end = words.index("--") if "--" in words else len(words)
        if not any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._actions):
            for word in words[:end]:
                option = word.partition("=")[0]
                if option.startswith("--") and " " not in word and option not in self._option_string_actions:
                    self._refuse(word)
        return super().parse_known_args(words, namespace)

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-"):
            self.error(f"{shortened(word)!r} does not belong to an option; --help lists the options")
        option = word.partition("=")[0]
        hint = did_you_mean(option, self._option_string_actions) or "; --help lists the options"
        self.error(f"unrecognized option {shortened(option)}{hint}")
