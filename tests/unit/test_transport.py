"""The workers' transport: a message that cannot be decoded arrives like any other."""

from __future__ import annotations

import struct
import types
import zlib
from typing import Any

import amqp
import kombu
import pytest
from amqp import spec
from amqp.exceptions import UnexpectedFrame
from amqp.method_framing import frame_handler
from kombu.transport import get_transport_cls

from laneway.worker.gate import Run
from laneway.worker.transport import (
    FrameHandler,
    JobMessage,
    SSLTransport,
    Transport,
    worker_urls,
)

DELIVER = struct.pack(">HH", *spec.Basic.Deliver)
GOOD = bytes(
    amqp.Message(application_headers={"task": "a"}, content_type="t")._serialize_properties()
)
BAD = {
    "text": struct.pack(">H", 0x8000) + b"\x01\xff",
    "time": struct.pack(">HI", 0x2000, 11) + b"\x01aT" + b"\xff" * 8,
    "type": struct.pack(">HI", 0x2000, 3) + b"\x01a?",
    "nothing": b"",
    "cut": GOOD[:-3],
}


def header(properties: bytes, size: int) -> bytes:
    return struct.pack(">HHQ", 60, 0, size) + properties


def taken(frames: list[tuple[int, int, bytes]], handler: Any = FrameHandler) -> list[Any]:
    """What a frame handler made of frames: channel, method, arguments, message."""
    found: list[Any] = []
    on_frame = handler(types.SimpleNamespace(bytes_recv=0), lambda *parts: found.append(parts))
    for frame in frames:
        assert on_frame(frame) == (len(found) > 0 and frame is frames[-1])
    return found


@pytest.mark.parametrize("body", [[], [b"ab"], [b"a", b"b"]])
def test_frames_are_what_py_amqp_makes_of_them(body: list[bytes]) -> None:
    frames = [(1, 3, DELIVER), (2, 3, header(GOOD, len(b"".join(body))))]
    frames += [(3, 3, part) for part in body]
    [ours], [amqps] = taken(frames), taken(frames, frame_handler)
    assert ours[:3] == amqps[:3]
    assert (ours[3].body, ours[3].properties) == (amqps[3].body, amqps[3].properties)
    assert (ours[3].raw_properties, ours[3].readable) == (GOOD, True)


@pytest.mark.parametrize("wrong", BAD)
def test_properties_that_nothing_can_be_made_of(wrong: str) -> None:
    frames = [(1, 1, DELIVER), (2, 1, header(BAD[wrong], 2)), (3, 1, b"ab")]
    [(_, _, _, message)] = taken(frames)
    assert (message.body, message.readable, message.properties) == (b"ab", False, {})
    assert message.raw_properties == BAD[wrong]
    [(_, _, _, empty)] = taken([(1, 1, DELIVER), (2, 1, header(BAD[wrong], 0))])
    assert empty.readable is False


def test_channels_are_told_apart_and_heartbeats_are_nothing() -> None:
    found: list[Any] = []
    on_frame = FrameHandler(types.SimpleNamespace(bytes_recv=0), lambda *parts: found.append(parts))
    for frame in [(1, 1, DELIVER), (8, 0, b""), (1, 2, DELIVER), (2, 2, header(GOOD, 0))]:
        on_frame(frame)
    on_frame((1, 4, struct.pack(">HH", *spec.Channel.CloseOk)))
    on_frame((2, 1, header(GOOD, 0)))
    for frame in [(1, 1, DELIVER), (2, 1, header(GOOD, 1)), (3, 1, b"a")]:
        on_frame(frame)
    assert [parts[0] for parts in found] == [2, 4, 1, 1]


@pytest.mark.parametrize(
    "frames",
    [
        [(2, 1, header(GOOD, 0))],
        [(3, 1, b"a")],
        [(1, 1, DELIVER), (3, 1, b"a")],
        [(1, 1, DELIVER), (1, 1, DELIVER)],
        [(1, 1, DELIVER), (2, 1, header(GOOD, 1)), (2, 1, header(GOOD, 1))],
    ],
)
def test_a_broker_that_does_not_keep_to_the_protocol(
    frames: list[tuple[int, int, bytes]],
) -> None:
    with pytest.raises(UnexpectedFrame):
        taken(frames)


def test_a_message_is_decompressed_by_nobody_but_the_gate() -> None:
    compressed = zlib.compress(b"[[], {}, {}]")
    headers = {"compression": "application/x-gzip"}
    properties = amqp.Message(application_headers=headers)._serialize_properties()
    frames = [(1, 1, DELIVER), (2, 1, header(properties, len(compressed))), (3, 1, compressed)]
    [(_, _, _, incoming)] = taken(frames)
    incoming.delivery_info = {"delivery_tag": 7}
    message = JobMessage(incoming)
    assert (message.body, message.headers, message.errors) == (compressed, headers, [])
    message.job = Run([1], {}, {}, b"")
    assert message.payload == ([1], {}, {})


def test_every_member_of_a_cluster_is_reached_this_way() -> None:
    urls = worker_urls("pyamqp://u:p@one:5672/jobs;amqps://u:p@two:5671/jobs?ssl_ca_certs=a")
    assert urls == (
        "laneway-amqp://u:p@one:5672/jobs;laneway-amqps://u:p@two:5671/jobs?ssl_ca_certs=a"
    )
    connection: Any = kombu.Connection(urls)
    assert connection.transport_cls == "laneway-amqp"
    assert get_transport_cls("laneway-amqp") is Transport
    assert get_transport_cls("laneway-amqps") is SSLTransport
    connection.switch(urls.split(";")[1])
    assert isinstance(connection.transport, SSLTransport)
    assert connection.ssl == {"ssl_ca_certs": "a"}
