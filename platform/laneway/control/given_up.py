"""The letter of a message that the broker gave up.

Nothing that a message says about itself is believed further than its type and length: whoever may
publish may write anything into it. What cannot be read becomes a letter all the same, with the
original bytes and the outcome ``quarantined``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from laneway.app import QUEUE_HEADER, READY_AT_HEADER
from laneway.calls import scheduled
from laneway.control.death import Death, last_death, text
from laneway.control.published import as_published
from laneway.deadletter.cause import cause_of
from laneway.deadletter.letter import Letter, Original, Outcome, letter_id, replays_of
from laneway.sentry.trace import carried_trace_id
from laneway.topology import DEAD_INBOX
from laneway.types import HIGHEST_PRIORITY
from laneway.worker.direct.properties import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.broker.deliveries import Delivery

#: Characters of a task's name that are believed.
_LONGEST_TASK: Final = 1_000
#: The error's name of what a consumer rejected.
REJECTED: Final = "Rejected"
#: The broker's reasons: how the job ended, the name of the error, and the words for people.
_REASONS: Final[dict[str, tuple[Outcome, str, str]]] = {
    "rejected": ("rejected", REJECTED, "a consumer of the queue {queue!r} rejected it"),
    "expired": ("expired", "Expired", "it expired while it waited in the queue {queue!r}"),
    "delivery_limit": (
        "lost",
        "DeliveryLimitExceeded",
        "it was taken from the queue {queue!r} and came back more often than its delivery limit",
    ),
    "maxlen": ("rejected", "QueueFull", "the queue {queue!r} was full and dropped it"),
}
_UNKNOWN: Final[tuple[Outcome, str, str]] = (
    "rejected",
    "Unknown",
    "the broker does not say why it gave it up",
)
#: A delay ended, and the queue of the job was there no longer.
_QUEUE_GONE: Final[tuple[Outcome, str, str]] = (
    "rejected",
    "QueueGone",
    "its delay ended when there was no queue {queue!r} any more",
)
_DELAY_LEVEL: Final = "celery_delayed_"
# kombu's key of a delayed message: 28 binary digits, then the queue.
_DELAY_DIGITS: Final = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A message of the dead inbox, understood as far as it can be."""

    letter: Letter
    #: What settles it on the connection that it came on.
    tag: int
    #: Its properties and headers; empty where no task could be made of it.
    properties: dict[str, Any]
    headers: dict[str, Any]


def given_up(
    delivery: Delivery, *, now: float, new_id: Callable[[], str], counts_deliveries: bool
) -> GivenUp:
    """Understand a message of the dead inbox. Never raises, whatever the message is.

    Args:
        delivery: as it came.
        now: seconds since 1970.
        new_id: makes an id for a message without one.
        counts_deliveries: whether the queues of the jobs count their deliveries (quorum queues).
    """
    try:
        properties = decode(delivery.raw_properties)
        headers = properties.get("application_headers")
        death = last_death(headers)
    except Exception:  # noqa: BLE001 (of any kind: the decoder is py-amqp's)
        return _quarantined(delivery, Death(), None, "Undecodable", now, new_id)
    if not isinstance(headers, dict):
        return _quarantined(delivery, death, None, "NotAJob", now, new_id)
    task, task_id = text(headers.get("task"), _LONGEST_TASK), text(headers.get("id"))
    if not task or not task_id:
        return _quarantined(delivery, death, headers, "NotAJob", now, new_id)
    queue = _queue(delivery, death, headers)
    outcome, error_type, words = _REASONS.get(death.reason or "", _UNKNOWN)
    if death.queue is not None and death.queue.startswith(_DELAY_LEVEL):
        outcome, error_type, words = _QUEUE_GONE
    replays, retries = replays_of(headers), _count(headers.get("retries")) or 0
    at = _when(death, now)
    letter = Letter(
        id=letter_id(task_id, replays),
        queue=queue,
        outcome=outcome,
        cause=cause_of(task, error_type, None),
        at=at,
        by="keeper",
        ready_at=_time(headers.get(READY_AT_HEADER)),
        task=task,
        task_id=task_id,
        root_id=text(headers.get("root_id")),
        schedule=scheduled.entry_of(headers),
        priority=_priority(properties.get("priority")),
        error_type=error_type,
        message=words.format(queue=queue),
        attempts={"expired": retries, "lost": retries + 1}.get(outcome),
        # (The inbox counts on: after a crash of the keeper the number is too high by its own.)
        deliveries=_count(headers.get("x-delivery-count")) if counts_deliveries else None,
        replays=replays,
        trace_id=carried_trace_id(headers),
        original=_original(delivery, death),
    )
    return GivenUp(letter=letter, tag=delivery.tag, properties=properties, headers=headers)


def _quarantined(
    delivery: Delivery,
    death: Death,
    headers: dict[str, Any] | None,
    error_type: str,
    now: float,
    new_id: Callable[[], str],
) -> GivenUp:
    """A message of which no task can be made."""
    headers = headers or {}
    task, task_id = text(headers.get("task"), _LONGEST_TASK), text(headers.get("id"))
    replays = replays_of(headers)
    letter = Letter(
        id=letter_id(task_id or new_id(), replays),
        queue=_queue(delivery, death, headers),
        outcome="quarantined",
        cause=cause_of(task, error_type, None),
        at=_when(death, now),
        by="keeper",
        task=task,
        task_id=task_id,
        error_type=error_type,
        message="no task can be made of it: "
        + (
            "its properties cannot be read"
            if error_type == "Undecodable"
            else "it has no task's name and id in its headers"
        ),
        replays=replays,
        trace_id=carried_trace_id(headers),
        original=_original(delivery, death),
    )
    return GivenUp(letter=letter, tag=delivery.tag, properties={}, headers={})


def _original(delivery: Delivery, death: Death) -> Original:
    try:
        properties = as_published(delivery.raw_properties, death.expiration)
    except ValueError:
        properties = delivery.raw_properties
    return Original(
        exchange=delivery.exchange if death.exchange is None else death.exchange,
        routing_key=delivery.routing_key if death.routing_key is None else death.routing_key,
        properties=properties,
        body=delivery.body,
    )


def _queue(delivery: Delivery, death: Death, headers: dict[str, Any]) -> str:
    """The queue that the job was for."""
    if death.queue and not death.queue.startswith(_DELAY_LEVEL):
        return death.queue
    if said := text(headers.get(QUEUE_HEADER)):
        return said
    return _without_delay(delivery.routing_key) or DEAD_INBOX


def _without_delay(routing_key: str) -> str:
    digits = routing_key.split(".", _DELAY_DIGITS)
    delayed = len(digits) > _DELAY_DIGITS and {*digits[:_DELAY_DIGITS]} <= {"0", "1"}
    return digits[-1] if delayed else routing_key


def _when(death: Death, now: float) -> float:
    """The broker's time, unless it is in the future: then somebody else wrote it."""
    return death.at if death.at is not None and 0 < death.at <= now else now


def _time(value: Any) -> float | None:
    """Seconds since 1970, if it is a time that can be written as one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 2**40 else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def _priority(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= HIGHEST_PRIORITY else None
