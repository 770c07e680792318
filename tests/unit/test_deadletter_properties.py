"""Properties are changed in places, and byte for byte the same elsewhere."""

from __future__ import annotations

import contextlib
import datetime
from decimal import Decimal
from typing import Any

import amqp
import pytest
from amqp.serialization import decode_properties_basic
from hypothesis import given
from hypothesis import strategies as st

from laneway.deadletter.properties import PropertiesUnreadable, RawProperties

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def encoded(**given: Any) -> bytes:
    data = amqp.Message(**given)._serialize_properties()
    assert isinstance(data, bytes)
    return data


def decoded(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = decode_properties_basic(data, 0)[0]
    return found


ALL: dict[str, Any] = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "application_headers": {
        "text": "é",
        "whole": 7,
        "large": 2**40,
        "none": None,
        "list": [1, "x", [None]],
        "table": {"a": {"b": 1.5}},
        "yes": True,
        "time": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "decimal": Decimal("1.25"),
    },
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "job",
    "reply_to": "answers",
    "expiration": "5000",
    "message_id": "m",
    "timestamp": 1_700_000_000,
    "type": "t",
    "user_id": "u",
    "app_id": "a",
    "cluster_id": "c",
}


def test_every_property_stays_byte_for_byte() -> None:
    data = encoded(**ALL)
    assert RawProperties(data).encode() == data


def test_no_property_at_all() -> None:
    assert RawProperties(b"\0\0").encode() == b"\0\0"


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=6), values, max_size=6))
def test_any_headers_stay_byte_for_byte(headers: dict[str, Any]) -> None:
    data = encoded(application_headers=headers, priority=3)
    if headers:
        assert RawProperties(data).encode() == data


def test_texts_and_headers_are_read() -> None:
    properties = RawProperties(encoded(**ALL))
    assert properties.text("correlation_id") == "job"
    assert properties.header_text("text") == "é"
    assert properties.header_text("whole") is None
    assert properties.header_text("missing") is None
    assert RawProperties(b"\0\0").text("reply_to") is None


@pytest.mark.parametrize("value", [None, 0, 2**40, "text"])
def test_a_header_is_put(value: object) -> None:
    properties = RawProperties(encoded(**ALL))
    properties.put_header("whole", value)
    properties.put_header("new", value)
    properties.put_text("correlation_id", "other")
    found = decoded(properties.encode())
    assert found["application_headers"] == {
        **decoded(encoded(**ALL))["application_headers"],
        "whole": value,
        "new": value,
    }
    assert found["correlation_id"] == "other"
    assert found["cluster_id"] == "c"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(PropertiesUnreadable):
        RawProperties(data).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\1",  # a flag for more flags
        b"\x80\0\x05ab",  # shorter than it says
        b"\0\0x",  # longer than it says
        b"\x20\0\0\0\0\x07\x01aS\0\0\0\xff",  # a header longer than the headers
        b"\x20\0\0\0\0\x03\x01a?",  # a type that nobody knows
    ],
)
def test_what_is_no_properties(data: bytes) -> None:
    with pytest.raises(PropertiesUnreadable):
        RawProperties(data)
