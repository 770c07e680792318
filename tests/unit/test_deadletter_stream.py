"""A reader comes to its end whatever comes at once, and asks for no more than it needs."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from laneway.deadletter.stream import Stored, StreamReader
from laneway.errors import BrokerError
from support.played_stream import Stream, deliver, frame


def reader(stream: Stream) -> StreamReader:
    connection: Any = stream
    return StreamReader(connection)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.deadletter.stream._SETTLING_SECONDS", (0.0, 0.0))


@pytest.mark.parametrize("prefetch", [1, 2, 3, 10, 64, 1000])
@pytest.mark.parametrize(
    ("start", "last"), [(0, 0), (0, 99), (17, 17), (17, 18), (40, 90), (99, 99)]
)
@pytest.mark.parametrize("piece", [1, 13, 100_000])
def test_exactly_what_was_asked_for(start: int, last: int, prefetch: int, piece: int) -> None:
    stream = Stream(100, piece=piece)
    found = [
        one for some in reader(stream).entries("s", start, last, prefetch=prefetch) for one in some
    ]
    assert found == [Stored(n, str(n).encode() * (n % 3)) for n in range(start, last + 1)]
    assert stream.sent <= last - start + 1 + prefetch


def test_no_more_is_asked_for_than_is_wanted() -> None:
    stream = Stream(100, piece=13)
    assert len(list(reader(stream).entries("s", 17, 24, prefetch=10))) >= 1
    assert stream.sent == 10


@pytest.mark.parametrize(("count", "first"), [(0, 0), (1, 0), (7, 0), (14, 0), (100, 0), (100, 93)])
def test_where_a_stream_begins_and_ends(count: int, first: int) -> None:
    stream = Stream(count, first=first)
    assert reader(stream).first_offset("s") == (first if count else None)
    last = reader(stream).last("s")
    assert (last and last.offset) == (count - 1 if count else None)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (frame(1, b"\0\x14\0\x28" + struct.pack(">HB", 403, 4) + b"ouch\0\0\0\0"), "403 ouch"),
        (frame(1, b"\0\x3c\0\x1e\3tag\0"), "deleted or moved"),
        (b"\1\0\1\0\0\0\0x", "end of an AMQP frame"),
        (deliver(1) + frame(2, struct.pack(">HHQH", 60, 0, 0, 0)), "another kind of queue"),
    ],
)
def test_what_the_broker_says_instead(instead: bytes, said: str) -> None:
    stream = Stream(10)
    stream.instead = instead
    with pytest.raises(BrokerError, match=said):
        list(reader(stream).entries("s", 0, 9))


def test_a_broker_that_says_nothing_more() -> None:
    with pytest.raises(BrokerError, match="no sign"):
        list(reader(Stream(10)).entries("s", 0, 20))
