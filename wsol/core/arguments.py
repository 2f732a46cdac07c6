"""One parser for every command: values are checked as they are read, a mistake is one line.

In: the words of a command line. Out: names that are no empty string, paths, whole and finite numbers; else an InputError.
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

MOST_PATH = 4095  # bytes of a path, on the systems that are in use
MOST_DIGITS = 30  # of a number; Python refuses those of thousands


def name(text: str) -> str:
    """Return a name or path as it is; refused: nothing, NUL, a line end, what is not UTF-8, longer than a file's may be."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: an empty name; expected a name, or the option to be left out")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{shortened(ascii(text))}: expected a name in UTF-8") from None
    if set(text) & set("\0\n\r"):
        raise argparse.ArgumentTypeError(f"{shortened(repr(text))}: expected a name without line ends and NUL")
    longest = max(map(len, encoded.split(b"/")))
    if longest > MOST_BYTES or len(encoded) > MOST_PATH:
        raise argparse.ArgumentTypeError(
            f"{shortened(text)!r}: expected at most {MOST_BYTES} bytes a name and {MOST_PATH} a path"
        )
    return text


def path(text: str) -> Path:
    """Return a path; see `name`."""
    return Path(name(text))


def folder_name(text: str) -> str:
    """Return the name of one folder, such as that of a data set or a split."""
    if "/" in name(text) or text in (".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a name, not a path")
    return text


def whole(text: str) -> int:
    """Return a whole number of ASCII digits."""
    if not re.fullmatch(rf"[+-]?[0-9]{{1,{MOST_DIGITS}}}", text):
        limit = f" of at most {MOST_DIGITS} digits" if len(text) > MOST_DIGITS else ""
        raise argparse.ArgumentTypeError(f"{shortened(ascii(text))} is no whole number{limit}")
    return int(text)


def number(text: str) -> float:
    """Return a finite number."""
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shortened(ascii(text))} is no finite number")
    return value


CONVERTERS = {None: name, Path: path, int: whole, float: number}  # by an option's `type`


class Parser(argparse.ArgumentParser):
    """An argument parser whose options are read by CONVERTERS; what it refuses is an InputError of one line.

    `arguments`: what was added to the parser itself, not to a group or subcommand of it.
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
        """Return the options; a word that is none is refused."""
        options, left = self.parse_known_args(args, namespace)
        if left:
            self._refuse(left[0])
        return options

    def parse_known_args(  # type: ignore[override]  # as above
        self, args: Iterable[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Return the options and what is left; an unknown --option is refused, before one that is missing for it."""
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
            self.error(f"{shortened(word)!r} belongs to no option; --help lists them")
        option = word.partition("=")[0]
        hint = did_you_mean(option, self._option_string_actions) or "; --help lists the options"
        self.error(f"unrecognized option {shortened(option)}{hint}")
