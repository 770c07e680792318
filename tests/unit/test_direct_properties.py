"""The properties of messages, against py-amqp's own decoder."""

from __future__ import annotations

import struct
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp.basic_message import Message
from amqp.serialization import decode_properties_basic
from hypothesis import given
from hypothesis import strategies as st

from laneway.worker.direct import properties

JOB: dict[str, Any] = {
    "lang": "py",
    "task": "billing.charge_card",
    "id": "0b8f…é",
    "eta": None,
    "retries": 0,
    "timelimit": [None, 30],
    "ignore_result": True,
    "stamps": {"batch": ["a", 2**40]},
    "published": 1_700_000_000.25,
}
#: All that a job's headers can be made of, and two types that are left to py-amqp.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=[]), max_size=20)
    | st.decimals(0, 100, places=2)
    | st.just(datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001 (what py-amqp gives)
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
HEADERS = st.dictionaries(st.text(max_size=12), VALUES, max_size=8)
NAMES = st.text(max_size=20)


def encoded(headers: dict[str, Any] | None, **others: Any) -> bytes:
    usual = {"content_type": "application/json", "content_encoding": "utf-8"}
    if headers is not None:
        usual["application_headers"] = headers  # type: ignore[assignment]
    raw: bytes = Message(b"", **{**usual, **others})._serialize_properties()
    return raw


def of_py_amqp(raw: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = decode_properties_basic(raw, 0)[0]
    return decoded


@given(
    HEADERS,
    st.fixed_dictionaries(
        {},
        optional={
            "delivery_mode": st.integers(1, 2),
            "priority": st.integers(0, 255),
            "correlation_id": NAMES,
            "reply_to": NAMES,
            "expiration": NAMES,
            "message_id": NAMES,
            "app_id": NAMES,
        },
    ),
)
def test_properties_are_those_of_py_amqp(headers: dict[str, Any], others: dict[str, Any]) -> None:
    raw = encoded(headers, **others)
    expected = of_py_amqp(raw)
    assert properties.decode(raw) == expected
    # Also the order, and 1 is not True.
    assert repr(properties.decode(raw)) == repr(expected)


@pytest.mark.parametrize(
    "item",
    [
        b"b\xff",
        b"B\xff",
        b"U\xff\xff",
        b"u\xff\xff",
        b"i\xff\xff\xff\xff",
        b"s\xff\xff",
        b"l\xff\xff\xff\xff\xff\xff\xff\xff",
        b"f\x3f\x3f\x3f\x3f",
        b"T\0\0\0\0\0\0\0\0",
        b"x\0\0\0\x01\xff",
        b"D\x02\0\0\0\x05",
        b"t\x02",
        b"S\0\0\0\x01\xff",
    ],
)
def test_every_type_of_header_is_read_as_py_amqp_does(item: bytes) -> None:
    table = b"\x01k" + item
    raw = b"\xe0\x00\x01a\x01b" + struct.pack(">I", len(table)) + table
    assert repr(properties.decode(raw)) == repr(of_py_amqp(raw))


@pytest.mark.parametrize(
    "table",
    [b"\x01kS\0\0\0\x03a", b"\x01kF\0\0\0\x06\x01kS\0\0\0\x03a", b"\x01kA\0\0\0\x01I\0\0\0\0"],
)
def test_a_length_beyond_its_table_means_what_it_means_to_py_amqp(table: bytes) -> None:
    raw = b"\xe8\x00\x01a\x01b" + struct.pack(">I", len(table)) + table + b"\x05\x06\x07\x08"
    assert repr(properties.decode(raw)) == repr(of_py_amqp(raw))


@given(st.data())
def test_damaged_properties_mean_what_they_mean_to_py_amqp(data: st.DataObject) -> None:
    whole = bytearray(encoded(JOB, delivery_mode=2, priority=4, correlation_id="c", reply_to="r"))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        expected = of_py_amqp(raw)
    except Exception as error:
        with pytest.raises(type(error)):
            properties.decode(raw)
    else:
        assert repr(properties.decode(raw)) == repr(expected)


def test_a_jobs_headers_need_no_help(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = encoded(JOB, delivery_mode=2, priority=4, correlation_id="c", reply_to="r")
    monkeypatch.setattr(properties, "decode_properties_basic", lambda *_: pytest.fail("asked"))
    assert properties.decode(raw)["application_headers"] == JOB


def test_made_up_names_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(properties, "_names", {})
    monkeypatch.setattr(properties, "_MOST_NAMES", 50)
    for number in range(200):
        properties.decode(encoded({f"name-{number}": Decimal(1)}))
        properties.decode(encoded({f"other-{number}": "x"}))
    assert len(properties._names) == 50
