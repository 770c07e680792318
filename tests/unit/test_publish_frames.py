"""The frames are those that py-amqp writes."""

from __future__ import annotations

import types

import amqp
import pytest
from amqp.method_framing import frame_writer
from amqp.serialization import dumps

from laneway.publish import frames


def written_by_amqp(message: amqp.Message, frame_max: int) -> bytes:
    sent: list[bytes] = []
    transport = types.SimpleNamespace(write=lambda data: sent.append(bytes(data)))
    connection = types.SimpleNamespace(frame_max=frame_max, bytes_sent=0)
    where = dumps("Bssbb", (0, "jobs", "low", True, False))
    frame_writer(connection, transport)(1, frames.CHANNEL, (60, 40), where, message)
    return b"".join(sent)


@pytest.mark.parametrize("size", [0, 1, 4000, 4087, 4088, 4089, 8176, 8177, 20_000])
def test_a_publish_is_what_amqp_writes(size: int) -> None:
    body = b"x" * size
    message = amqp.Message(body, application_headers={"a": 1}, priority=3)
    publish = frames.Publish(
        frames.publish_method("jobs", "low"), message._serialize_properties(), body
    )
    assert publish.frames(4096) == written_by_amqp(message, 4096)


def test_a_confirm_is_the_frame_that_the_broker_sends() -> None:
    frame = frames.confirm(2**40)
    assert len(frame) == 7 + 13 + 1
    assert frame[:7] == b"\x01\x00\x01\x00\x00\x00\x0d"
    assert frames.answer((1, frames.CHANNEL, frame[7:-1])) == frames.ACK
    assert frames.unpack_answer(frame[7:-1], 4) == (2**40, 0)
    assert frame[-1:] == b"\xce"


def test_the_items_of_a_table() -> None:
    items = {"text": "ü", "none": None, "number": 2**40, "list": [1, None], "table": {"a": True}}
    table = frames.table_items(items)
    assert dumps("F", [items])[4:] == table
    assert table == b"".join(frames.table_items({key: value}) for key, value in items.items())


def test_answers_are_told_apart() -> None:
    assert frames.unpack_answer(frames.ACK + dumps("Lb", (7, True)), 4) == (7, 1)
    assert (dumps("BB", (60, 80)), dumps("BB", (60, 120))) == (frames.ACK, frames.NACK)


def test_a_damaged_method_is_told_from_a_whole_one() -> None:
    whole = frames.publish_method("jobs", "low")
    assert frames.is_publish_method(whole)
    for damaged in (b"", whole[:-1], whole + b"\0", b"\x02" + whole[1:], whole[:9] + whole[10:]):
        assert not frames.is_publish_method(damaged)
