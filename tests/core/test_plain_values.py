"""Values from files: which are numbers, which are thresholds, and how a message shows them."""

import math

import pytest
import torch

from wsol.core.plain_values import are_thresholds, is_number, is_whole, shown


@pytest.mark.parametrize("value", [True, math.nan, -math.inf, "1", None, [1], torch.tensor(1.0)])
def test_what_is_no_finite_number(value):
    assert not is_number(value) and not is_whole(value)


def test_a_whole_number_too_large_for_a_float_is_no_finite_number():
    assert is_whole(10**400) and not is_number(10**400)


def test_whole_numbers_have_a_lower_bound_and_no_fraction():
    assert is_number(-2.5) and is_number(3) and is_whole(0) and is_whole(-1, low=-1)
    assert not is_whole(-1) and not is_whole(2.0) and not is_whole(1, low=2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, True),
        ({"50": 0.5, "70.5": 0}, True),
        ({"50": 1.0}, False),
        ({"50": -0.1}, False),
        ({"50": math.nan}, False),
        ({"50": True}, False),
        ({50: 0.5}, False),
        ({"x": 0.5}, False),
        ([0.5], False),
        (None, False),
    ],
)
def test_thresholds_are_shares_below_1_by_percent(value, expected):
    assert are_thresholds(value) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("cam", "'cam'"),
        (None, "None"),
        (False, "False"),
        ("x" * 1000, "'" + "x" * 56 + "..."),
        pytest.param(10**5000, "a number of more than 18 digits", id="huge"),
        ({"a": 1}, "a dict of 1"),
        (torch.zeros(3), "a Tensor"),
    ],
)
def test_a_message_shows_a_value_in_few_characters(value, text):
    assert shown(value) == text
