"""Deliveries come whole out of whatever the socket gives, against py-amqp's own writer."""

from __future__ import annotations

import struct

import pytest
from amqp import spec
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from laneway.broker.deliveries import Reader
from laneway.worker.direct.frames import HEARTBEAT


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def delivery(
    tag: int,
    body: bytes,
    *,
    channel: int = 1,
    redelivered: bool = False,
    place: tuple[str, str] = ("jobs", "low"),
) -> bytes:
    method = struct.pack(">HH", *spec.Basic.Deliver) + dumps(
        "sLbss", ("consumer", tag, redelivered, *place)
    )
    properties = struct.pack(">H", 0x8000) + dumps("s", ("application/json",))
    header = struct.pack(">HHQ", 60, 0, len(body)) + properties
    half = len(body) // 2
    bodies = [part for part in (body[:half], body[half:]) if part]
    return b"".join(
        [
            frame(1, channel, method),
            frame(2, channel, header),
            *(frame(3, channel, part) for part in bodies),
        ]
    )


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 50))
def test_deliveries_come_out_whole_however_they_are_cut(bodies: list[bytes], cut: int) -> None:
    data = b"".join(delivery(tag, body) for tag, body in enumerate(bodies, 1))
    reader = Reader(1, lambda *_: pytest.fail("nothing else came"))
    for at in range(0, len(data), cut):
        reader.feed(data[at : at + cut])
    assert [one.body for one in reader.deliveries] == bodies
    assert [one.tag for one in reader.deliveries] == list(range(1, len(bodies) + 1))


def test_a_delivery_says_how_it_came() -> None:
    reader = Reader(1, lambda *_: None)
    reader.feed(delivery(7, b"[]", redelivered=True))
    [one] = reader.deliveries
    assert (one.consumer_tag, one.exchange, one.routing_key) == (b"consumer", "jobs", "low")
    assert one.redelivered
    assert one.raw_properties == struct.pack(">H", 0x8000) + dumps("s", ("application/json",))


def test_everything_else_is_handed_on_and_a_cancel_is_noticed() -> None:
    seen: list[tuple[int, int, bytes]] = []
    reader = Reader(1, lambda *one: seen.append(one))
    cancelled = struct.pack(">HH", *spec.Basic.CancelOk) + dumps("s", ("consumer",))
    reader.feed(HEARTBEAT + frame(1, 1, cancelled) + delivery(1, b"x", channel=2))
    assert reader.cancelled == 1
    assert not reader.deliveries
    assert [(kind, channel) for kind, channel, _ in seen] == [
        (8, 0),
        (1, 1),
        (1, 2),
        (2, 2),
        (3, 2),
        (3, 2),
    ][: len(seen)]
    assert len(seen) >= 5


def test_what_is_not_amqp_is_an_error() -> None:
    with pytest.raises(ConnectionError, match="AMQP frame"):
        Reader(1, lambda *_: None).feed(b"HTTP/1.1 400 Bad Request\r\n" * 1000)


def test_where_a_delivery_comes_from_is_told_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.broker.deliveries._MOST_PLACES", 2)
    reader = Reader(1, lambda *_: None)
    places = [("jobs", "low"), ("", "high"), ("jobs", "low"), ("\u00fc", ""), ("jobs", "low")]
    for tag, place in enumerate(places, 1):
        reader.feed(delivery(tag, b"x", place=place))
    assert [(one.exchange, one.routing_key) for one in reader.deliveries] == places
