from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.errors import OptionRefused
from laneway.publish.delay import LONGEST_DELAY, whole_seconds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("countdown", "expected"),
    [(None, None), (0, None), (-5, None), (0.2, 1), (1, 1), (1.5, 2), (4.0, 4), (4.0005, 4)],
)
def test_a_countdown_is_rounded_up(countdown: float | None, expected: int | None) -> None:
    assert whole_seconds(countdown, None, now=NOW) == expected


@pytest.mark.parametrize(
    "eta",
    [
        NOW + timedelta(seconds=5),
        (NOW + timedelta(seconds=5)).isoformat(),
        (NOW + timedelta(seconds=5)).astimezone(timezone(timedelta(hours=5))),
        (NOW + timedelta(seconds=5)).replace(tzinfo=None),
        NOW + timedelta(seconds=4.2),
    ],
)
def test_an_eta_in_any_form(eta: object) -> None:
    assert whole_seconds(None, eta, now=NOW) == 5


def test_an_eta_in_the_past_is_at_once() -> None:
    assert whole_seconds(None, NOW - timedelta(days=1), now=NOW) is None


def test_countdown_wins_over_eta() -> None:
    assert whole_seconds(3, NOW + timedelta(seconds=50), now=NOW) == 3


@pytest.mark.parametrize("countdown", ["5", True, float("nan"), LONGEST_DELAY + 1, float("inf")])
def test_what_is_no_countdown_is_refused(countdown: object) -> None:
    with pytest.raises(OptionRefused, match="expected"):
        whole_seconds(countdown, None, now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("eta", ["tomorrow", 17])
def test_what_is_no_time_is_refused(eta: object) -> None:
    with pytest.raises(OptionRefused, match="expected eta"):
        whole_seconds(None, eta, now=NOW)


@given(st.floats(min_value=0.01, max_value=1e6))
def test_never_early_and_never_a_second_late(seconds: float) -> None:
    whole = whole_seconds(seconds, None, now=NOW)
    assert whole is not None
    assert seconds - 0.001 <= whole < seconds + 1
