"""Waits between retries: full jitter, and what the other side asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.retry.backoff import LONGEST_RETRY_AFTER, Backoff, retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def asked(value: Any) -> float | None:
    error = RuntimeError("busy")
    error.retry_after = value  # type: ignore[attr-defined]
    return retry_after(error, now=lambda: NOW)


def test_the_bound_doubles_up_to_the_longest() -> None:
    backoff = Backoff("2s", "1m")
    assert [backoff.bound(retries) for retries in range(7)] == [2, 4, 8, 16, 32, 60, 60]
    assert backoff.bound(10**9) == 60


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_wait_is_drawn_between_nothing_and_its_bound(retries: int, drawn: float) -> None:
    backoff = Backoff(1, 600)
    assert backoff.wait(retries, lambda: drawn) == backoff.bound(retries) * drawn
    assert 0 <= backoff.wait(retries, lambda: drawn) <= 600


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 5), ("10s", "5s")])
def test_bounds_that_make_no_sense_are_refused(bounds: Any) -> None:
    with pytest.raises(ValueError, match="expected 0 < first <= longest"):
        Backoff(*bounds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3, 3.0),
        (0.5, 0.5),
        ("120", 120.0),
        (timedelta(minutes=2), 120.0),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        (-5, 0.0),
        (1e12, LONGEST_RETRY_AFTER),
        (float("inf"), LONGEST_RETRY_AFTER),
        (float("nan"), None),
        ("soon", None),
        (True, None),
        (None, None),
        ([3], None),
    ],
)
def test_what_retry_after_means(value: Any, seconds: float | None) -> None:
    assert asked(value) == seconds


def test_the_header_of_an_http_response_counts_also_of_what_caused_the_error() -> None:
    class HTTPStatusError(Exception):
        response = SimpleNamespace(headers={"Retry-After": "7"})

    error = RuntimeError("no invoice")
    error.__cause__ = HTTPStatusError()
    assert retry_after(error, now=lambda: NOW) == 7


def test_no_exception_can_disturb_it() -> None:
    class Rude(Exception):
        @property
        def retry_after(self) -> float:
            raise KeyError

    loop = RuntimeError()
    loop.__cause__ = loop
    assert retry_after(Rude(), now=lambda: NOW) is None
    assert retry_after(loop, now=lambda: NOW) is None
    assert retry_after(None, now=lambda: NOW) is None
