"""What is made of a message of the dead inbox: a letter, whatever the message is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from amqp import Message
from hypothesis import given
from hypothesis import strategies as st

from laneway.broker.deliveries import Delivery
from laneway.control.death import Death, last_death
from laneway.control.given_up import GivenUp, given_up
from laneway.deadletter import envelope

NOW = 1_700_000_000.0
WHEN = datetime(2023, 11, 14, 22, 0, tzinfo=UTC)
JOB: dict[str, Any] = {"task": "shop.pay", "id": "a", "laneway_queue": "high"}
DELAY_KEY = "0." * 26 + "1.1.high"


def death(queue: str, reason: str, **more: Any) -> dict[str, Any]:
    return {
        "queue": queue,
        "reason": reason,
        "exchange": "jobs",
        "routing-keys": [queue],
        "count": 1,
        "time": WHEN,
        **more,
    }


def understood(
    headers: dict[str, Any] | None, *, raw: bytes | None = None, key: str = "high", **more: Any
) -> GivenUp:
    message: Any = Message("", **more)
    if headers is not None:
        message.properties["application_headers"] = headers
    properties = bytes(message._serialize_properties()) if raw is None else raw
    delivery = Delivery(7, b"c", False, "dead", key, properties, b"body")
    return given_up(delivery, now=NOW, new_id=lambda: "made", counts_deliveries=True)


@pytest.mark.parametrize(
    ("deaths", "outcome", "error_type"),
    [
        ([death("high", "rejected")], "rejected", "Rejected"),
        ([death("high", "expired")], "expired", "Expired"),
        ([death("high", "delivery_limit")], "lost", "DeliveryLimitExceeded"),
        ([death("high", "maxlen")], "rejected", "QueueFull"),
        ([death("high", "eaten")], "rejected", "Unknown"),
        ([], "rejected", "Unknown"),
        # A delay is a row of queues in which the message expired before its time.
        (
            [death("high", "rejected"), death("celery_delayed_0", "expired")],
            "rejected",
            "Rejected",
        ),
        ([death("celery_delayed_0", "expired")], "rejected", "QueueGone"),
    ],
)
def test_the_last_death_says_how_it_ended(deaths: list[Any], outcome: str, error_type: str) -> None:
    letter = understood({**JOB, "x-death": deaths}).letter
    assert (letter.outcome, letter.error_type, letter.queue) == (outcome, error_type, "high")
    assert letter.id == "a.0"
    assert letter.at == (WHEN.timestamp() if deaths else NOW)
    assert "'high'" in (letter.message or "") or error_type == "Unknown"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, Death()),
        ({}, Death()),
        ({"x-death": 1}, Death()),
        ({"x-death": []}, Death()),
        ({"x-death": ["a", 1, None]}, Death()),
        ({"x-death": [{}]}, Death()),
        ({"x-death": [{"queue": 1, "reason": [], "time": "now", "routing-keys": 7}]}, Death()),
        ({"x-death": [{"queue": "q" * 256, "routing-keys": [[]]}]}, Death()),
        (
            {
                "x-death": [death("a", "expired"), death("b", "rejected")],
                "x-last-death-queue": "b",
                "x-last-death-reason": "rejected",
            },
            Death(queue="b", reason="rejected", exchange="jobs", routing_key="b",
                  at=WHEN.timestamp()),
        ),
        (
            {
                "x-death": [
                    {"queue": "a"},
                    {"original-expiration": "50"},
                    {"original-expiration": "9"},
                ]
            },
            Death(queue="a", expiration="50"),
        ),
    ],
)  # fmt: skip
def test_x_death_is_believed_as_far_as_it_has_the_right_types(
    headers: Any, expected: Death
) -> None:
    assert last_death(headers) == expected


def test_a_thousand_deaths_are_no_trouble() -> None:
    deaths = [death(f"q{number}", "expired") for number in range(300)]
    letter = understood({**JOB, "x-death": deaths}).letter
    assert (letter.queue, letter.outcome) == ("q0", "expired")
    assert letter.original is not None
    assert len(letter.original.properties) < 200


def test_attempts_and_deliveries() -> None:
    job = {**JOB, "retries": 2, "x-delivery-count": 4, "laneway_replays": 3}
    lost = understood({**job, "x-death": [death("high", "delivery_limit")]}).letter
    assert (lost.attempts, lost.deliveries, lost.replays, lost.id) == (3, 4, 3, "a.3")
    late = understood({**job, "x-death": [death("high", "expired")]}).letter
    assert late.attempts == 2
    assert understood({**job, "x-death": [death("high", "rejected")]}).letter.attempts is None


def test_the_trace_that_the_message_carried() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    carried = {"sentry-trace": f"{trace}-b7ad6b7169203331-0"}
    assert understood({**JOB, **carried}).letter.trace_id == trace
    assert understood(carried).letter.trace_id == trace
    assert understood(JOB).letter.trace_id is None


@pytest.mark.parametrize(
    ("headers", "raw", "id_", "error_type"),
    [
        (None, None, "made.0", "NotAJob"),
        ({"x-death": [death("high", "expired")]}, None, "made.0", "NotAJob"),
        ({"task": "t"}, None, "made.0", "NotAJob"),
        ({"id": "a"}, None, "a.0", "NotAJob"),
        ({"task": 1, "id": 2}, None, "made.0", "NotAJob"),
        ({"task": "t", "id": "i" * 300}, None, "made.0", "NotAJob"),
        (None, b"\x20\x00\xff\xff\xff\xff", "made.0", "Undecodable"),
        (None, b"", "made.0", "Undecodable"),
    ],
)
def test_what_is_no_job_is_quarantined(
    headers: Any, raw: bytes | None, id_: str, error_type: str
) -> None:
    found = understood(headers, raw=raw)
    letter = found.letter
    assert (letter.id, letter.outcome, letter.error_type) == (id_, "quarantined", error_type)
    assert letter.queue == "high"
    assert not found.headers
    assert letter.original is not None
    assert letter.original.body == b"body"
    if raw is not None:
        assert letter.original.properties == raw


@pytest.mark.parametrize(
    ("headers", "key", "queue"),
    [
        ({"task": "t", "id": "a"}, "low", "low"),
        ({"task": "t", "id": "a"}, DELAY_KEY, "high"),
        ({"task": "t", "id": "a"}, "2." * 28 + "high", "2." * 28 + "high"),
        ({"task": "t", "id": "a"}, "", "dead.inbox"),
        ({"task": "t", "id": "a", "laneway_queue": "high"}, "low", "high"),
        ({"task": "t", "id": "a", "laneway_queue": 1}, "low", "low"),
    ],
)
def test_the_queue_of_a_message_that_has_no_death(
    headers: dict[str, Any], key: str, queue: str
) -> None:
    assert understood(headers, key=key).letter.queue == queue


def test_a_time_in_the_future_is_somebody_elses() -> None:
    deaths = [death("high", "expired", time=datetime(2100, 1, 1, tzinfo=UTC))]
    assert understood({**JOB, "x-death": deaths}).letter.at == NOW


NAMES = st.sampled_from(
    [
        "task", "id", "root_id", "retries", "laneway_queue", "laneway_replays", "laneway_ready_at",
        "x-death", "x-last-death-queue", "x-last-death-reason", "x-delivery-count", "sentry-trace",
        "else",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats()
    | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["queue", "reason", "time", "routing-keys", "exchange"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, VALUES), st.text(max_size=10))
def test_any_headers_make_a_letter_that_can_be_written_and_read(
    headers: dict[str, Any], key: str
) -> None:
    letter = understood(headers, key=key).letter
    assert envelope.decode(envelope.encode(letter)) == letter.bounded()


@given(st.binary(max_size=300))
def test_any_bytes_make_a_letter(data: bytes) -> None:
    letter = understood(None, raw=data).letter
    assert envelope.decode(envelope.encode(letter)) == letter.bounded()
