"""A backend that is away."""

from __future__ import annotations

import logging

import pytest

from laneway.results.outage import LAST_PAUSE, LONGEST_PAUSE, Outage

ERROR = ConnectionError("its words")


@pytest.fixture
def outage() -> Outage:
    return Outage(first_pause=0.1, away=5.0)


def test_it_lasts_for_a_while_after_the_last_failure(outage: Outage) -> None:
    assert not outage.lasts(0.0)
    outage.failed(ERROR, 10.0)
    assert outage.lasts(14.9)
    assert not outage.lasts(15.0)


def test_pauses_grow_to_a_bound(outage: Outage) -> None:
    for bound in (0.1, 0.2, 0.4, 0.8, 1.6, *[LONGEST_PAUSE] * 20):
        outage.failed(ERROR, 10.0)
        assert bound / 2 <= outage.pause(10.0) <= bound
    assert outage.pause(10.0 + LONGEST_PAUSE) == 0.0


def test_who_ends_tries_often(outage: Outage) -> None:
    for _ in range(9):
        outage.failed(ERROR, 10.0)
    outage.hurry(10.0)
    assert outage.pause(10.0) == pytest.approx(LAST_PAUSE)
    outage.failed(ERROR, 10.0, ending=True)
    assert outage.pause(10.0) <= LAST_PAUSE


def test_it_ends_with_what_is_stored(outage: Outage) -> None:
    assert not outage.ended()
    outage.failed(ERROR, 10.0)
    assert outage.ended()
    assert not outage.lasts(10.0)
    assert outage.pause(10.0) == 0.0
    assert not outage.ended()


def test_it_is_said_once_a_minute_without_the_errors_words(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for second in range(100, 200):
            outage.failed(ERROR, float(second))
    assert len(caplog.messages) == 2
    assert "ConnectionError" in caplog.text
    assert "its words" not in caplog.text
