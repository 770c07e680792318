"""What the data path writes itself, against py-amqp's own writer and reader."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from amqp import spec
from amqp.serialization import dumps, loads

from laneway.worker.direct import frames


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


@pytest.mark.parametrize(
    ("made", "method", "form", "values"),
    [
        (frames.ack(3, 9), spec.Basic.Ack, "Lb", (9, True)),
        (frames.ack_one(3, 9), spec.Basic.Ack, "Lb", (9, False)),
        (frames.reject(3, 9, requeue=True), spec.Basic.Reject, "Lb", (9, True)),
        (frames.reject(3, 9, requeue=False), spec.Basic.Reject, "Lb", (9, False)),
        (frames.give_back(3, 9), spec.Basic.Nack, "Lbb", (9, False, True)),
        (frames.give_back_all(3), spec.Basic.Nack, "Lbb", (0, True, True)),
        (frames.cancel(3, b"low.1"), spec.Basic.Cancel, "sb", ("low.1", True)),
        (frames.close_channel(3), spec.Channel.Close, "BsBB", (200, "", 0, 0)),
    ],
)
def test_what_is_written_is_what_py_amqp_would_write(
    made: bytes, method: Any, form: str, values: tuple[object, ...]
) -> None:
    assert made == frame(1, 3, struct.pack(">HH", *method) + dumps(form, values))
    assert loads(form, made[11:-1], 0)[0] == list(values)


def test_the_answer_to_a_close_is_known_by_its_bytes() -> None:
    assert frames.channel_closed(3) == frame(1, 3, struct.pack(">HH", *spec.Channel.CloseOk))
