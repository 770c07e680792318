"""The properties of a message for the C client, which checks nothing itself."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.broker.wire_properties import wire_properties


def test_what_is_none_is_left_out() -> None:
    given = {"priority": None, "reply_to": None, "headers": None, "content_type": "a/b"}
    assert wire_properties(given) == {"content_type": "a/b"}


def test_what_fits_goes_through() -> None:
    given = {"priority": 9, "delivery_mode": 2, "expiration": "1000", "headers": {"a": None}}
    assert wire_properties(given) == given


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"reply_to": "é"}, "reply_to: expected ASCII text"),
        ({"expiration": 1000}, "expiration: expected ASCII text"),
        ({"priority": "5"}, "priority: expected a whole number up to 255"),
        ({"priority": 256}, "priority: expected a whole number up to 255"),
        ({"priority": True}, "priority: expected a whole number up to 255"),
        ({"timestamp": -1}, "timestamp: expected a whole number"),
        ({"headers": []}, "headers: expected a dict"),
        ({"cluster_id": "x"}, "would leave out the property 'cluster_id'"),
    ],
)
def test_what_would_be_garbled_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wire_properties(given)
