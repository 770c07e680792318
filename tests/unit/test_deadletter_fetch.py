"""Exactly the letters that are asked for come, however scattered, and however long it takes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.deadletter.fetch import fetch
from laneway.deadletter.stream import Stored
from laneway.errors import BrokerError
from support.played_stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Played:
    """Brokers that all have the same stream, one for each connection that is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int, **stream: Any) -> None:
        self._make: Callable[[], Stream] = lambda: Stream(count, **stream)
        self.made: list[Stream] = []
        monkeypatch.setattr("laneway.deadletter.fetch.connection_to", self.connection_to)
        monkeypatch.setattr("laneway.deadletter.fetch._AHEAD", 20)
        monkeypatch.setattr("laneway.deadletter.fetch._NEAR", 5)

    @contextlib.contextmanager
    def connection_to(self, _address: Any, _vhost: Any) -> Iterator[Stream]:
        self.made.append(self._make())
        yield self.made[-1]

    def fetch(self, offsets: list[int]) -> Iterator[list[Stored]]:
        nowhere: Any = None
        return fetch(nowhere, "jobs", offsets)


def body(offset: int) -> bytes:
    return str(offset).encode() * (offset % 3)


@pytest.mark.parametrize("fresh", [1000, 0])
@given(wanted=st.sets(st.integers(0, 199)), first=st.sampled_from([0, 0, 37]))
def test_exactly_what_is_asked_for(fresh: int, wanted: set[int], first: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        played = Played(monkeypatch, 200, first=first, piece=500)
        # With 0 every connection is old when the next letters are asked for.
        monkeypatch.setattr("laneway.deadletter.fetch.FRESH_SECONDS", fresh or 1e-9)
        found = [one for some in played.fetch(sorted(wanted)) for one in some]
    assert found == [Stored(n, body(n)) for n in sorted(wanted) if n >= first]
    if fresh:
        assert len(played.made) <= 1


def test_the_broker_sends_ahead_and_not_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, 10_000, piece=200)
    letters = played.fetch([*range(0, 100, 2), *range(5000, 5005)])
    some = next(letters)
    [stream] = played.made
    assert len(some) < 10 < stream.sent <= 20 + len(some)
    assert sum(len(one) for one in letters) == 55 - len(some)
    assert stream.sent <= 99 + 20 + 5


def test_a_connection_that_nobody_served_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, 100, piece=200)
    letters = played.fetch(list(range(100)))
    found = next(letters)
    monkeypatch.setattr("laneway.deadletter.fetch.FRESH_SECONDS", 1e-9)
    played.made[0].closed = True
    found += next(letters)
    monkeypatch.setattr("laneway.deadletter.fetch.FRESH_SECONDS", 1000)
    found += [one for some in letters for one in some]
    assert [one.offset for one in found] == list(range(100))
    assert [stream.collected for stream in played.made] == [True, False]


def test_a_connection_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, 100, piece=200)
    letters = played.fetch(list(range(100)))
    next(letters)
    played.made[0].closed = True
    with pytest.raises(BrokerError, match="closed the connection"):
        list(letters)
