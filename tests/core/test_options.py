import argparse
import math

import pytest

from option_tables import EVALUATION, INFERENCE, training_groups
from wsol.core.arguments import whole
from wsol.core.errors import OptionError
from wsol.core.options import Group, Option, Range, TableParser, boolean

ROWS = [
    pytest.param(option, id=f"{command} {option.name}")
    for command, groups in {"main": training_groups(), "evaluation": EVALUATION, "inference": INFERENCE}.items()
    for group in groups
    for option in group.options
]
LR = Option("lr", 0.1, "rate", range=Range(0, 1e6, open_low=True))
SIZES = Option("sizes", (3, 5), "sides", whole, metavar="SIDE", several=True)
THREADS = Option("threads", "auto", "threads", whole, range=Range(1, 8), auto=True)
KEEP = Option("keep", "auto", "whether", boolean, auto=True)


@pytest.mark.parametrize("option", ROWS)
def test_a_row_is_consistent(option):
    """The default is a value of the option: as a text, in its range, among its choices."""
    option.check(option.initial)
    if option.default is not None:
        assert option.parse([*map(str, option.initial)] if option.several else str(option.initial)) == option.initial
    defaults = option.initial if option.several else [option.default]
    assert option.choices is None or set(defaults) - {None} <= set(option.choices)
    assert option.help.strip() == option.help and not option.help.endswith(".")


@pytest.mark.parametrize(
    ("option", "words", "value"),
    [
        (LR, "1e-3", 0.001),
        (SIZES, ["7"], [7]),
        (THREADS, "AUTO", "auto"),
        (THREADS, "2", 2),
        (KEEP, "Off", False),
        (KEEP, "auto", "auto"),
        (Option("name", None, "text"), "auto", "auto"),
    ],
)
def test_a_text_is_read_as_the_command_line_reads_it(option, words, value):
    assert option.parse(words) == value
    parser = TableParser("", [Group("all", (option,))])
    assert vars(parser.parse_args([f"--{option.name}", *([words] if isinstance(words, str) else words)])) == {
        option.name: value
    }


@pytest.mark.parametrize(
    ("option", "words", "expected"),
    [
        (LR, "x", "'x' is not a finite number"),
        (LR, ["0.1"], "a single value"),
        (SIZES, "7", "a list"),
        (SIZES, [], "one value or more"),
        (THREADS, "x", "'x' is not a whole number, nor auto"),
        (Option("amp", "off", "", choices=("off", "bf16")), "fp8", "one of off, bf16"),
    ],
)
def test_a_text_that_is_no_value_is_refused(option, words, expected):
    with pytest.raises(ValueError, match=f"^{expected}$"):
        option.parse(words)


@pytest.mark.parametrize(
    ("bounds", "value", "expected"),
    [
        (Range(1, 8), 0, "1 or more"),
        (Range(1, 8), 9, "8 or less"),
        (Range(0, 1e6), 1e7, "1e+06 or less"),
        (Range(0, 1e6, open_low=True), 0, "more than 0, at most 1e+06"),
        (Range(0, 1, open_high=True), 1, "0 or more, less than 1"),
        (Range(0), -1, "0 or more"),
        (Range(0), math.inf, "0 or more"),
        (Range(0, 1), math.nan, "0 or more"),
        (Range(0, 1, words="a share"), 2, "a share"),
    ],
)
def test_a_number_outside_its_range_is_refused_with_what_was_expected(bounds, value, expected):
    with pytest.raises(OptionError) as caught:
        Option("x", 0.5, "", range=bounds).check(value)
    assert str(caught.value) == f"x {value}: expected {expected}"


def test_bounds_are_allowed_unless_they_are_open():
    for bounds, values in ((Range(1, 8), (1, 8)), (Range(0, 1, open_low=True), (1e-300, 1)), (Range(0), (0, 10**400))):
        assert all(value in bounds for value in values)


@pytest.mark.parametrize("value", [2.5, "2", None, [2]])
def test_a_value_of_another_kind_is_refused(value):
    with pytest.raises(OptionError, match="expected a whole number"):
        Option("batch_size", 64, "", range=Range(1, 8)).check(value)


def test_auto_and_a_default_none_have_no_range():
    THREADS.check("auto")
    Option("size", None, "", whole, Range(1, 8)).check(None)
    with pytest.raises(OptionError, match="expected 1 or more"):
        THREADS.check(0)


def test_the_defaults_of_a_parser_are_its_own_and_what_is_parsed_is_what_was_given():
    parser = TableParser("", [Group("all", (LR, SIZES))])
    parser.known_defaults["sizes"].append(7)
    assert parser.known_defaults == {"lr": 0.1, "sizes": [3, 5]}
    assert parser.parse_args([]) == argparse.Namespace()
    assert "sides (default: 3 5)" in parser.format_help()
