"""Options: each has a name, a reader of its text, a default, a range or choices, and a help text.

One description serves the command-line parser, YAML files, the options of methods and the checks. Nothing here imports
torch.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType
from typing import Any, cast

from wsol.core.arguments import Parser, name, number, whole
from wsol.core.errors import OptionError, shortened

AUTO = "auto"  # a value that the machine, or the run, decides


def boolean(text: str) -> bool:
    """Return the truth value of true/false/yes/no/on/off/t/f/y/n/1/0, in upper or lower case.

    >>> boolean("Yes"), boolean("F")
    (True, False)
    """
    if text.lower() in ("true", "yes", "on", "t", "y", "1"):
        return True
    if text.lower() in ("false", "no", "off", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(
        f"{shortened(ascii(text))} is neither true nor false (true/false, yes/no, on/off, t/f, y/n, 1/0)"
    )


READERS: dict[type, Callable[[str], object]] = {bool: boolean, int: whole, float: number, str: name, NoneType: name}


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`, without the bound itself if `open_low` or `open_high`; `words` replaces the
    bounds in messages.

    >>> 1 in Range(0, 1), 1 in Range(0, 1, open_high=True), Range(0, 1).expected(2)
    (True, False, '1 or less')
    """

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    words: str = ""

    def __contains__(self, value: float) -> bool:
        if not self.low <= value <= self.high or value == math.inf:
            return False
        return not (self.open_low and value == self.low) and not (self.open_high and value == self.high)

    def expected(self, value: float) -> str:
        """Return what a message expects instead of a value outside the range."""
        if self.words:
            return self.words
        if self.open_low or self.open_high:
            low = f"more than {_shown(self.low)}" if self.open_low else f"{_shown(self.low)} or more"
            return f"{low}, {'less than' if self.open_high else 'at most'} {_shown(self.high)}"
        return f"{_shown(self.high)} or less" if value > self.high else f"{_shown(self.low)} or more"


def _shown(bound: float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


@dataclass(frozen=True)
class Option:
    """One option: a row of a table.

    `read` turns a word into a value; by default the type of `default` decides (None: text). `range` applies to numbers.
    With `auto`, the word auto, in upper or lower case, is a value too. With `several`, the option takes one or more words
    and its value is a list; its default is given as a tuple. An option whose default is None may stay None.
    """

    name: str
    default: object
    help: str
    read: Callable[[str], object] | None = None
    range: Range | None = None
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    auto: bool = False
    several: bool = False
    required: bool = False

    @property
    def reader(self) -> Callable[[str], object]:
        """The function that reads a word other than auto."""
        return self.read or READERS[type(self.default)]

    @property
    def initial(self) -> object:
        """The default; a new list if the option takes several values."""
        return list(self.default) if isinstance(self.default, tuple) else self.default

    def value_of(self, word: str) -> object:
        """Return the value of a word.

        Raises:
            argparse.ArgumentTypeError: the word is not a value of this option; the message says why.
        """
        if not self.auto:
            return self.reader(word)
        if word.lower() == AUTO:
            return AUTO
        try:
            return self.reader(word)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, nor {AUTO}") from None

    def parse(self, words: str | Sequence[str]) -> object:
        """Return the value of a word as the command line gives it, or of a list of words if the option takes several.

        Raises:
            ValueError: not a value of this option; the message says what was expected.
        """
        if isinstance(words, str) == self.several:
            raise ValueError("a list" if self.several else "a single value")
        try:
            values = [self.value_of(word) for word in ([words] if isinstance(words, str) else words)]
        except argparse.ArgumentTypeError as error:
            raise ValueError(str(error)) from None
        if not values:
            raise ValueError("one value or more")
        if self.choices and not set(values) <= set(self.choices):
            raise ValueError(f"one of {', '.join(self.choices)}")
        return values if self.several else values[0]

    def check(self, value: object) -> None:
        """Check that a value, or each of several, is in the option's range, if it has one.

        Raises:
            OptionError: the value is outside the range, or not a number of the right kind.
        """
        if self.range is None or (value is None and self.default is None) or (value == AUTO and self.auto):
            return
        kind, words = (Integral, "a whole number") if self.reader is whole else (Real, "a number")
        for one in value if self.several and isinstance(value, list) else [value]:
            if not isinstance(one, kind):
                raise OptionError(self.name, one, f"expected {self.range.words or words}")
            quantity = cast("float", one)  # to a type checker float includes whole numbers
            if quantity not in self.range:
                raise OptionError(self.name, one, f"expected {self.range.expected(quantity)}")

    def argument(self) -> dict[str, Any]:
        """Return the keywords for argparse's `add_argument`; an option not given is absent from the parsed options."""
        shown = " ".join(map(str, self.default)) if isinstance(self.default, tuple) else self.default
        words: dict[str, Any] = {"metavar": self.metavar, "nargs": "+" if self.several else None}
        if self.reader is boolean:
            words = {"metavar": "BOOL", "nargs": "?", "const": True}
        words |= {"default": argparse.SUPPRESS, "type": self.value_of, "choices": self.choices, "required": self.required}
        return {**words, "help": self.help if self.default is None else f"{self.help} (default: {shown})"}


@dataclass(frozen=True)
class Group:
    """Options that the help of a command lists together."""

    title: str
    options: tuple[Option, ...]
    description: str | None = None


def by_name(groups: Sequence[Group]) -> dict[str, Option]:
    """Return name to option for all options of a table, in their order."""
    return {option.name: option for group in groups for option in group.options}


class TableParser(Parser):
    """The parser of a command whose options are rows of a table; `options` maps names to them."""

    def __init__(self, description: str, groups: Sequence[Group]):
        super().__init__(description)
        self.options = by_name(groups)
        for group in groups:
            arguments = self.add_argument_group(group.title, group.description)
            for option in group.options:
                arguments.add_argument(f"--{option.name}", **option.argument())

    @property
    def known_defaults(self) -> dict[str, object]:
        """Name to default of every option."""
        return {name: option.initial for name, option in self.options.items()}
