"""What a replay publishes: the original, begun again, and never anywhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from amqp.serialization import decode_properties_basic

from laneway.deadletter import Edit
from laneway.deadletter.letter import Letter, Original
from laneway.deadletter.republish import NotReplayable, republished
from laneway.deadletter.state import new_job_id
from laneway.publish.frames import publish_method
from support.letters import letter, properties

NOW = 1_800_000_000.5


def of(**more: Any) -> Letter:
    """A letter whose message has these properties."""
    one = letter("job")
    assert one.original is not None
    return replace(one, original=replace(one.original, properties=properties("job", **more)))


def headers(one: Letter, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = published(one, **options)["application_headers"]
    return found


def published(one: Letter, **options: Any) -> dict[str, Any]:
    message = republished(one, vhost="jobs", now=NOW, **options).message
    found: dict[str, Any] = decode_properties_basic(message.properties, 0)[0]
    return found


def test_it_goes_to_its_queue_and_is_the_original_begun_again() -> None:
    one = letter("job", 2)
    made = republished(one, vhost="jobs", now=NOW)
    assert one.original is not None
    assert made.message.method == publish_method("jobs", "default")
    assert made.message.body == one.original.body
    assert made.correlation_id == "job"
    before: dict[str, Any] = decode_properties_basic(one.original.properties, 0)[0]
    after = decode_properties_basic(made.message.properties, 0)[0]
    changed = {"laneway_replays": 3, "laneway_ready_at": NOW, "retries": 0}
    assert after.pop("application_headers") == {**before.pop("application_headers"), **changed}
    assert after == {**before, "timestamp": int(NOW)}


def test_the_queue_of_the_letter_counts_and_not_where_the_message_came_from() -> None:
    one = letter("job", queue="high")
    assert one.original is not None
    one = replace(one, original=replace(one.original, exchange="dead", routing_key="secure"))
    assert republished(one, vhost="jobs").message.method == publish_method("jobs", "high")


def test_what_brokers_wrote_is_dropped() -> None:
    brokers = {
        "x-death": [{"queue": "default"}],
        "x-first-death-queue": "default",
        "x-last-death-reason": "expired",
        "x-delivery-count": 3,
        "x-acquired-count": 3,
        "x-opt-anything": 1,
        "CC": ["secure"],
        "BCC": ["secure"],
    }
    found = published(of(headers={**brokers, "x-own": 1}, user_id="somebody"))
    assert not brokers.keys() & found["application_headers"].keys()
    assert found["application_headers"]["x-own"] == 1
    assert "user_id" not in found


def test_it_is_persistent_whatever_it_was() -> None:
    assert published(of(delivery_mode=1))["delivery_mode"] == 2
    assert published(of(priority=None, delivery_mode=None))["delivery_mode"] == 2


def test_an_expiry_that_is_over_is_dropped_and_another_kept() -> None:
    past = of(expiration="60000", headers={"expires": "2020-01-01T00:00:00+00:00"})
    assert "expiration" not in published(past)
    assert headers(past)["expires"] is None
    future = of(expiration="60000", headers={"expires": "2099-01-01T00:00:00+00:00"})
    assert published(future)["expiration"] == "60000"
    assert headers(future)["expires"] == "2099-01-01T00:00:00+00:00"
    expired = replace(of(expiration="60000"), outcome="expired")
    assert "expiration" not in published(expired)
    assert "expires" not in headers(expired)


def test_a_new_id_is_one_everywhere() -> None:
    found = published(letter("job"), new_id=True)
    assert found["correlation_id"] == found["application_headers"]["id"] == new_job_id("job.0")
    with pytest.raises(NotReplayable, match="keeps its id"):
        republished(letter("job"), vhost="secure", new_id=True)


def test_a_message_without_a_correlation_id_gets_one() -> None:
    made = republished(of(correlation_id=None), vhost="jobs")
    assert made.correlation_id == "job.0"
    found = decode_properties_basic(made.message.properties, 0)[0]
    assert found["correlation_id"] == "job.0"


@pytest.mark.parametrize(
    ("edit", "body"),
    [
        (Edit(args=[5]), [[5], {"order": 7}, {"chain": None}]),
        (Edit(kwargs={"order": 8, "x": None}), [[1, 2], {"order": 8, "x": None}, {"chain": None}]),
        (Edit(args=[], kwargs={"order": 9}), [[], {"order": 9}, {"chain": None}]),
    ],
)
def test_edited_arguments(edit: Edit, body: Any) -> None:
    made = republished(letter("job"), vhost="jobs", edit=edit)
    assert json.loads(made.message.body) == body
    found = decode_properties_basic(made.message.properties, 0)[0]["application_headers"]
    assert found["kwargsrepr"] == repr(body[1])
    assert json.loads(found["argsrepr"].replace("'", '"')) == body[0]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff", b'["a", {}, {}]', b"[" * 100_000])
def test_what_is_no_job_cannot_be_edited(body: bytes) -> None:
    one = letter(
        "job", original=Original(exchange="", routing_key="", properties=b"\0\0", body=body)
    )
    assert republished(one, vhost="jobs").message.body == body
    with pytest.raises(NotReplayable, match="edited"):
        republished(one, vhost="jobs", edit=Edit(args=[]))


def test_the_arguments_of_a_secure_job_cannot_be_edited() -> None:
    with pytest.raises(NotReplayable, match="secure"):
        republished(letter("job"), vhost="secure", edit=Edit(args=[]))


def test_what_is_not_there_or_cannot_be_read() -> None:
    with pytest.raises(NotReplayable, match="not there"):
        republished(letter("job", original=None), vhost="jobs")
    broken = Original(exchange="", routing_key="", properties=b"\0", body=b"")
    with pytest.raises(NotReplayable, match="cannot be read"):
        republished(letter("job", original=broken), vhost="jobs")
