"""Numbers for people."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.console import numbers
from laneway.console.numbers import format_rate, format_wait, sparkline


def test_the_examples_in_the_module_hold() -> None:
    results = doctest.testmod(numbers)
    assert results.attempted >= 5
    assert results.failed == 0


@given(st.floats(0, 359_999))
def test_a_wait_is_never_wider_than_its_column(seconds: float) -> None:
    assert len(format_wait(seconds)) <= 6


@pytest.mark.parametrize(("rate", "text"), [(99.96, "100.0"), (100.0, "100"), (12345.6, "12,346")])
def test_rates_at_their_edges(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@given(st.lists(st.integers(0, 10_000), max_size=40), st.integers(1, 30))
def test_a_sparkline_has_one_bar_a_number(counts: list[int], width: int) -> None:
    line = sparkline(counts, width=width)
    assert len(line) == min(len(counts), width)
    if counts and max(counts[-width:]) > 0:
        assert "█" in line
