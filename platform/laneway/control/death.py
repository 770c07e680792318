"""Why the broker gave a message up, as its ``x-death`` header says.

There is an entry for each queue and reason, the newest first. A job that was published with a delay
has some from before its time: the levels of the delay are queues whose messages expire on purpose.
So the first death (``x-first-death-queue``) is mostly not the one that matters; the last one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

#: Characters of a name or reason that are believed.
LONGEST_NAME: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The last time that the broker gave a message up; None is "it does not say"."""

    #: The queue that the message left.
    queue: str | None = None
    #: ``rejected``, ``expired``, ``maxlen`` or ``delivery_limit``.
    reason: str | None = None
    #: How it had come into that queue.
    exchange: str | None = None
    routing_key: str | None = None
    #: When, in whole seconds since 1970.
    at: float | None = None
    #: The message's own time to live, in milliseconds as text, which the broker took away.
    expiration: str | None = None


def last_death(headers: Any) -> Death:
    """The last death of a message, by its headers, whatever these are."""
    found = headers.get("x-death") if isinstance(headers, dict) else None
    entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    if not entries:
        return Death()
    last = _last(entries, headers)
    keys = last.get("routing-keys")
    expirations = (text(one.get("original-expiration")) for one in entries)
    return Death(
        queue=text(last.get("queue")),
        reason=text(last.get("reason")),
        exchange=text(last.get("exchange")),
        routing_key=text(keys[0]) if isinstance(keys, list) and keys else None,
        at=_seconds(last.get("time")),
        expiration=next(filter(None, expirations), None),
    )


def text(value: Any, longest: int = LONGEST_NAME) -> str | None:
    """A text of a message that can be believed: a short one."""
    return value if isinstance(value, str) and len(value) <= longest else None


def _last(entries: list[dict[str, Any]], headers: dict[str, Any]) -> dict[str, Any]:
    # RabbitMQ 4 names it; before, the entry that was written last is the first.
    queue, reason = headers.get("x-last-death-queue"), headers.get("x-last-death-reason")
    if queue is None:
        return entries[0]
    same = (e for e in entries if e.get("queue") == queue and e.get("reason") == reason)
    return next(same, entries[0])


def _seconds(value: Any) -> float | None:
    if not isinstance(value, datetime):
        return None
    # py-amqp's times are in UTC and do not say so.
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
