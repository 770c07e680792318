"""What the keeper says of letters to Sentry."""

from __future__ import annotations

import threading
import types
from typing import TYPE_CHECKING, Any

import amqp
import pytest

from laneway import Laneway
from laneway.broker.deliveries import Delivery
from laneway.control.keeper import Keeper
from laneway.policy import load_policy
from laneway.sentry.event import event_id_of
from support.sentry import Outbox, make_reporter
from support.workers import POLICY

if TYPE_CHECKING:
    from laneway.control.given_up import GivenUp


@pytest.fixture
def app() -> Laneway:
    return Laneway("keeper", policy=load_policy(POLICY), set_as_current=False)


def keeper(app: Laneway, **options: Any) -> Keeper:
    results: Any = types.SimpleNamespace()
    return Keeper(
        app, "jobs", results=results, name="control@here", stop=threading.Event(), **options
    )


def understood(one: Keeper, reason: str) -> GivenUp:
    headers = {"id": "7a", "task": "plain.add", "x-death": [{"queue": "low", "reason": reason}]}
    message = amqp.Message(application_headers=headers)
    raw = message._serialize_properties()
    return one._understood(Delivery(1, b"c", False, "dead", "low", raw, b"[[], {}, {}]"))


@pytest.mark.parametrize(
    ("reason", "events"),
    [("expired", 1), ("delivery_limit", 1), ("maxlen", 1), ("", 1), ("rejected", 0)],
)
def test_letters_of_the_keeper_are_events(app: Laneway, reason: str, events: int) -> None:
    outbox = Outbox()
    one = keeper(app, reporter=make_reporter(app, outbox))
    job = understood(one, reason)
    # Whoever rejected it has sent the event of this id.
    assert job.letter.event_id == event_id_of("7a.0")
    one._tell(job)
    assert len(outbox.events) == events
    for event in outbox.events:
        assert event["event_id"] == job.letter.event_id
        assert event["tags"]["cause"] == job.letter.cause


def test_without_a_reporter_letters_have_no_event(app: Laneway) -> None:
    one = keeper(app)
    job = understood(one, "expired")
    assert job.letter.event_id is None
    one._tell(job)
