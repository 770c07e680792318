"""A message's properties without what the broker wrote into them, byte for byte."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from amqp import Message
from hypothesis import given
from hypothesis import strategies as st

from laneway.control.published import as_published
from laneway.deadletter.properties import BROKERS_HEADERS

BROKERS: dict[str, Any] = {name: [{"count": 1}] for name in BROKERS_HEADERS}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.just(datetime(2026, 1, 2, tzinfo=UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
# Names that stand in the code are tried, too: those of the broker's own headers are no message's.
NAMES = st.text(max_size=20).filter(lambda name: name not in BROKERS_HEADERS)
HEADERS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=6)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.text(max_size=20),
        "content_encoding": st.text(max_size=20),
        "delivery_mode": st.integers(1, 2),
        "priority": st.integers(0, 9),
        "correlation_id": st.text(max_size=20),
        "reply_to": st.text(max_size=20),
        "message_id": st.text(max_size=20),
        "timestamp": st.integers(0, 2**40),
        "type": st.text(max_size=20),
        "app_id": st.text(max_size=20),
    },
)


def written(properties: dict[str, Any], headers: dict[str, Any] | None) -> bytes:
    message: Any = Message("", **properties)
    if headers is not None:
        message.properties["application_headers"] = headers
    return bytes(message._serialize_properties())


@given(PROPERTIES, HEADERS, st.none() | st.integers(0, 10**9).map(str))
def test_the_brokers_headers_are_cut_out_and_the_expiration_is_put_back(
    properties: dict[str, Any], headers: dict[str, Any], expiration: str | None
) -> None:
    delivered = written(properties, {**headers, **BROKERS})
    given_back = {**properties, **({"expiration": expiration} if expiration is not None else {})}
    assert as_published(delivered, expiration) == written(given_back, headers)


@given(PROPERTIES)
def test_headers_that_only_the_broker_wrote_were_none(properties: dict[str, Any]) -> None:
    assert as_published(written(properties, BROKERS)) == written(properties, None)
    assert as_published(written(properties, None)) == written(properties, None)


def test_every_type_of_the_broker_is_known() -> None:
    values = {
        b"t": b"\x01", b"b": b"\x01", b"B": b"\x01", b"s": b"ab", b"u": b"ab", b"U": b"ab",
        b"I": b"abcd", b"i": b"abcd", b"f": b"abcd", b"l": b"abcdefgh", b"L": b"abcdefgh",
        b"d": b"abcdefgh", b"T": b"abcdefgh", b"D": b"abcde", b"V": b"",
        b"S": b"\x00\x00\x00\x02ab", b"x": b"\x00\x00\x00\x02\xff\xfe", b"A": b"\x00" * 4,
        b"F": b"\x00" * 4,
    }  # fmt: skip
    kept = b"".join(b"\x02k" + letter + letter + value for letter, value in values.items())
    headers = kept + b"\x07x-deathV"
    table = struct.pack(">HI", 0x2000, len(headers)) + headers
    assert as_published(table) == struct.pack(">HI", 0x2000, len(kept)) + kept


def test_an_expiration_that_the_message_still_has_stays() -> None:
    delivered = written({"expiration": "7"}, {"a": 1})
    assert as_published(delivered, "50") == delivered


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x20",
        b"\x20\x00",
        b"\x20\x01\x00\x00\x00\x00",
        b"\x20\x00\x00\x00\x00\x05\x01a",
        b"\x20\x00\x00\x00\x00\x03\x01a?",
        b"\x20\x00\x00\x00\x00\x02\x01aV",
        b"\x10\x00",
        b"\x80\x00",
    ],
)
def test_what_is_no_properties_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        as_published(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else(data: bytes) -> None:
    try:
        as_published(data, "1")
    except ValueError:
        return
