"""Medians, ranges, ratios and ties."""

# ruff: noqa: RUF001 -- the signs of the report

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.summary import Spread, inversions, median_interval, percentile, ratio, steady_rate

POSITIVE = st.floats(0.001, 1e6)


def test_a_spread_is_the_median_and_the_range() -> None:
    assert Spread.of([3, 1, 9]) == Spread(median=3, low=1, high=9, runs=3)
    with pytest.raises(ValueError, match="got none"):
        Spread.of([])


@pytest.mark.parametrize(
    ("own", "other", "higher", "shown"),
    [
        (2000, 1000, True, "2×"),
        (1000, 2000, True, "0.5×"),
        (1000, 2000, False, "2×"),
        (1000, 905, True, "tie"),
        (905, 1000, True, "tie"),
        (1000, 899, True, "1.1×"),
        (899, 1000, False, "1.1×"),
    ],
)
def test_ratios_above_one_are_better_and_a_tie_is_a_tie(
    own: float, other: float, higher: bool, shown: str
) -> None:
    assert str(ratio(own, other, higher_is_better=higher)) == shown


@given(POSITIVE, POSITIVE, st.booleans())
def test_a_tie_is_one_from_both_sides_and_better_here_is_worse_there(
    own: float, other: float, higher: bool
) -> None:
    here = ratio(own, other, higher_is_better=higher)
    there = ratio(other, own, higher_is_better=higher)
    assert here is not None
    assert there is not None
    mirrored = {"tie": "tie", "better": "worse", "worse": "better"}
    assert there.verdict == mirrored[here.verdict]


def test_nothing_is_said_of_a_zero() -> None:
    assert ratio(0, 5, higher_is_better=True) is None
    assert ratio(5, 0, higher_is_better=False) is None


def test_percentiles_are_values_that_occurred() -> None:
    values = list(range(1, 101))
    assert [percentile(values, p) for p in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([7], 99) == 7
    with pytest.raises(ValueError, match="expected values"):
        percentile([], 50)


def test_the_rate_leaves_out_how_it_began_and_ended() -> None:
    steady = [10 + n / 100 for n in range(100)]
    assert steady_rate(steady) == pytest.approx(100)
    # The first job a minute early and the last a minute late change nothing.
    assert steady_rate([0.0, *steady, 71.0]) == pytest.approx(100)
    assert steady_rate([1.0] * 50) == 0
    assert steady_rate([1.0, 2.0]) == 0


def test_an_inversion_is_a_lesser_job_that_started_while_an_urgent_one_waited() -> None:
    urgent = [(1.0, 2.0), (3.0, 3.1), (5.0, 4.9)]
    assert inversions(urgent, [0.5, 1.0, 1.2, 1.9, 2.0, 2.5, 3.05]) == [2, 1, 0]


def test_between_what_the_median_lies() -> None:
    # Of ten values, what is expected of tables of the sign test: the second to the ninth.
    assert median_interval([float(value) for value in range(1, 11)]) == (2.0, 9.0)
    assert median_interval([5.0, 1.0, 3.0, 2.0, 6.0, 4.0]) == (1.0, 6.0)
    assert median_interval([1.0] * 5) is None
    assert median_interval([]) is None
    low, high = median_interval([float(value) for value in range(40)]) or (0, 0)
    assert (low, high) == (13.0, 26.0)
