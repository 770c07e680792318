"""What a worker's letters say, of whatever it was that failed."""

from __future__ import annotations

import types
from typing import Any
from urllib.error import URLError

import amqp
import pytest
from billiard.exceptions import TimeLimitExceeded
from billiard.pool import MaybeEncodingError
from celery.exceptions import Reject

from laneway import Laneway
from laneway.deadletter import envelope
from laneway.deadletter.letter import Original
from laneway.deadletter.properties import BROKERS_HEADERS
from laneway.policy import load_policy
from laneway.worker.hand_back import hand_back
from laneway.worker.letters import Failure, LetterWriter, failure_of, original_of
from support.workers import POLICY

TASK = types.SimpleNamespace(__module__=__name__, throws=(KeyboardInterrupt, EOFError))
FAILED = Failure(outcome="failed", error_type="E", message="words", place="m:f", traceback="T")


@pytest.fixture
def app() -> Laneway:
    return Laneway("letters", policy=load_policy(POLICY), set_as_current=False)


def error_of(function: Any) -> BaseException:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError


def test_an_error_in_words() -> None:
    def boom() -> None:
        raise KeyError("order")

    failure = failure_of("failed", error_of(boom), task=TASK, text="T")
    assert failure.error_type == "KeyError"
    assert failure.message == "'order'"
    assert (failure.place or "").startswith(f"{__name__}:")
    assert failure.traceback == "T"


def test_a_reject_is_its_reason() -> None:
    def reject() -> None:
        raise Reject(LookupError("gone"), requeue=False)

    failure = failure_of("rejected", error_of(reject), task=TASK)
    assert (failure.error_type, failure.message) == ("LookupError", "gone")
    assert failure.place is not None


def test_only_a_reject_is_its_reason() -> None:
    failure = failure_of("failed", URLError(TimeoutError("slow")), task=TASK)
    assert failure.error_type == "urllib.error.URLError"


def test_an_error_whose_text_fails() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failure = failure_of("failed", Odd(), task=TASK)
    assert "RuntimeError" in (failure.message or "")


@pytest.mark.parametrize(
    ("outcome", "error", "event"),
    [
        ("failed", KeyError(), "process"),
        ("failed", EOFError(), "nobody"),
        ("failed", MaybeEncodingError("e", "v"), "letter"),
        ("rejected", Reject(EOFError()), "letter"),
        ("time-limit", TimeLimitExceeded(1), "letter"),
    ],
)
def test_who_sends_the_event(outcome: Any, error: Exception, event: str) -> None:
    assert failure_of(outcome, error, task=TASK).event == event


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        {},
        {"id": 7, "task": [], "root_id": {}, "retries": "x", "laneway_ready_at": "now"},
        {"sentry-trace": ["0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"]},
        {"sentry-trace": "0af7651916cd43dd8448eb211c80319c"},
        {"id": "a\nb", "retries": -1, "laneway_failed_at": float("nan"), "x-delivery-count": "9"},
        {"id": "x" * 300, "laneway_replays": -3, "retries": True, "x-delivery-count": 2**40},
        {b"\xff": 1, "id": "\udc80"},
    ],
)
def test_whatever_the_headers_are(app: Laneway, headers: Any) -> None:
    failure = Failure(outcome="quarantined", error_type="HeaderRefused", message="m")
    letter = LetterWriter(app, "low", "low@here").write(headers, failure, None, priority=200)
    assert letter.task_id is None
    assert letter.replays == 0
    assert letter.priority == 9
    assert letter.attempts is None
    assert letter.first_at == letter.at
    assert letter.trace_id is None
    assert envelope.decode(envelope.encode(letter)) == letter


def test_what_the_headers_say(app: Laneway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_RELEASE", "4.2")
    headers = {
        "id": "7a",
        "task": "plain.add",
        "root_id": "1b",
        "retries": 2,
        "laneway_failed_at": 5.5,
        "laneway_ready_at": 4,
        "laneway_replays": 3,
        "x-delivery-count": 1,
        "sentry-trace": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    }
    letter = LetterWriter(app, "low", "low@here").write(headers, FAILED, None, redelivered=True)
    assert (letter.id, letter.task_id, letter.task, letter.root_id) == (
        "7a.3",
        "7a",
        "plain.add",
        "1b",
    )
    assert (letter.attempts, letter.deliveries, letter.replays) == (3, 2, 3)
    assert (letter.first_at, letter.ready_at) == (5.5, 4.0)
    assert (letter.version, letter.worker) == ("4.2", "low@here")
    assert letter.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert (letter.message, letter.traceback) == ("words", "T")


def test_a_secure_letter_has_no_words(app: Laneway) -> None:
    letter = LetterWriter(app, "secure", "secure@here").write({"id": "7a"}, FAILED, None)
    assert (letter.message, letter.traceback) == (None, None)
    assert (letter.error_type, letter.place) == ("E", "m:f")


def test_a_letter_that_cannot_be_posted_is_no_error(
    app: Laneway, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    app.facts.listen(told.append)
    writer = LetterWriter(app, "low", "low@here")
    letter = writer.write({"id": "7a"}, FAILED, None)

    def refuse(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr("laneway.deadletter.postbox.post", refuse)
    assert writer.post(letter) is False
    assert told == []
    monkeypatch.setattr("laneway.deadletter.postbox.post", lambda *_: None)
    assert writer.post(letter) is True
    assert [(fact.kind, fact.letter, fact.outcome) for fact in told] == [
        ("dead_lettered", "7a.0", "failed")
    ]


def test_the_original_of_a_message_without_its_bytes() -> None:
    """The C client gives values only."""
    headers = {"id": "7a"}
    message = types.SimpleNamespace(
        delivery_info={"exchange": "jobs", "routing_key": "low"},
        properties={"headers": headers, "priority": 3, "content_type": "application/json"},
        headers=headers,
        body="[]",
    )
    original = original_of(message)
    again = amqp.Message()
    again._load_properties(60, original.properties, 0)
    assert again.properties == {
        "content_type": "application/json",
        "application_headers": headers,
        "priority": 3,
    }
    assert (original.exchange, original.routing_key, original.body) == ("jobs", "low", b"[]")


def test_what_is_handed_back_keeps_all_but_what_the_broker_wrote(
    app: Laneway, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    publisher = types.SimpleNamespace(publish=sent.append)
    monkeypatch.setattr(app, "publisher", lambda vhost: publisher)
    headers = {"id": "7a", "tenant": "t", **dict.fromkeys(BROKERS_HEADERS, "the broker's")}
    properties = {"priority": 7, "correlation_id": "7a", "application_headers": headers}
    original = Original(exchange="jobs", routing_key="low", properties=b"", body=b"the body")
    hand_back(app, "low", original, headers, properties, 3, 2)
    [message] = sent
    again = amqp.Message()
    again._load_properties(60, message.properties, 0)
    assert again.properties == {
        "application_headers": {"id": "7a", "tenant": "t", "laneway_unknown": 2},
        "priority": 7,
        "correlation_id": "7a",
    }
    assert message.body == b"the body"
    assert b"celery_delayed_27" in message.method
    assert b".1.1.low" in message.method
