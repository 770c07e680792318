"""A letter as the message that replays its job: the original's bytes, and why not.

======================  =========================================================================
kept                    body, priority, headers, correlation id, reply address, and all else
raised                  ``laneway_replays``, by one
set to now              ``laneway_ready_at`` and the timestamp: a replay's wait begins with it
set to 0                ``retries``: the job gets all of its retries again
dropped                 what brokers wrote (``x-death`` and the like), ``CC`` and ``BCC`` (a replay
                        goes to its queue alone), ``user_id`` (the broker would refuse another
                        user's), and the expiry of a job that has expired
======================  =========================================================================
"""

from __future__ import annotations

import functools
import json
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from laneway.calls.prepared import READY_AT_HEADER
from laneway.deadletter.letter import REPLAYS_HEADER
from laneway.deadletter.properties import (
    RAW_BROKERS_HEADERS,
    PropertiesUnreadable,
    RawProperties,
)
from laneway.deadletter.state import new_job_id
from laneway.publish import arguments
from laneway.publish.frames import Publish, publish_method
from laneway.topology import JOBS_EXCHANGE

if TYPE_CHECKING:
    from laneway.broker.address import VhostKind
    from laneway.deadletter.letter import Letter
    from laneway.deadletter.listed import Chosen, Listed
    from laneway.policy import Policy

#: How often a job is replayed, if nobody says otherwise.
DEFAULT_MAX_REPLAYS: Final = 3

_PERSISTENT: Final = b"\x02"
_DROPPED: Final = RAW_BROKERS_HEADERS | {b"x-stream-offset", b"CC", b"BCC"}
# Annotations that RabbitMQ 4 keeps of a message.
_DROPPED_PREFIX: Final = b"x-opt-"
_REPR_CHARACTERS: Final = 1024
_REPR_LEVELS: Final = 3


class NotReplayable(ValueError):
    """This letter's job cannot be replayed; the message is short and equal for equal reasons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Other arguments for replayed jobs."""

    #: Instead of the positional ones; None keeps them.
    args: list[Any] | None = None
    #: Put over the keyword ones; the others stay.
    kwargs: dict[str, Any] | None = None


class Republished(NamedTuple):
    """What is published to replay a letter."""

    message: Publish
    #: By which a message that no queue took is recognised.
    correlation_id: str


def raise_unless_replayable(
    listed: Listed | Chosen, vhost: VhostKind, policy: Policy, *, max_replays: int
) -> None:
    """Refuse what can be refused by what is known of a letter without reading it.

    Raises:
        NotReplayable: it cannot be replayed.
    """
    queue = policy.queues.get(listed.queue)
    if queue is None:
        raise NotReplayable(f"the policy has no queue {listed.queue!r} any more")
    if queue.vhost != vhost:
        raise NotReplayable(
            f"the queue {listed.queue!r} is now in the virtual host {queue.vhost!r}, and the "
            f"letters are of {vhost!r}"
        )
    if not listed.has_original:
        raise NotReplayable("the message is not there: only what happened was reported")
    if listed.replays >= max_replays:
        raise NotReplayable(f"replayed {listed.replays} times already (--max-replays)")


def republished(
    letter: Letter,
    *,
    vhost: VhostKind,
    now: float | None = None,
    new_id: bool = False,
    edit: Edit | None = None,
) -> Republished:
    """The message that replays a letter.

    Args:
        letter: with its original.
        vhost: the virtual host that it stands in.
        now: seconds since 1970.
        new_id: give the job another id.
        edit: other arguments.

    Raises:
        NotReplayable: there is no original, or it cannot be read or edited.
    """
    original = letter.original
    if original is None:
        raise NotReplayable("the message is not there: only what happened was reported")
    try:
        properties = RawProperties(original.properties)
    except PropertiesUnreadable as error:
        raise NotReplayable("its properties cannot be read") from error
    now = time.time() if now is None else now
    _drop(properties, letter, now)
    _begin_again(properties, letter, now)
    if new_id:
        if vhost == "secure":
            raise NotReplayable("a job of a secure queue keeps its id")
        job = new_job_id(letter.id)
        properties.put_header("id", job)
        properties.put_text("correlation_id", job)
    elif "correlation_id" not in properties.fields:
        properties.put_text("correlation_id", letter.id)
    body = original.body if edit is None else _edited(properties, original.body, vhost, edit)
    return Republished(
        Publish(_method(letter.queue), properties.encode(), body),
        properties.text("correlation_id") or "",
    )


@functools.lru_cache(maxsize=256)
def _method(queue: str) -> bytes:
    return publish_method(JOBS_EXCHANGE, queue)


def _drop(properties: RawProperties, letter: Letter, now: float) -> None:
    headers = properties.headers
    for name in [one for one in headers if one in _DROPPED or one.startswith(_DROPPED_PREFIX)]:
        del headers[name]
    properties.fields.pop("user_id", None)
    expires = properties.header_text("expires")
    if letter.outcome == "expired" or (expires is not None and _is_past(expires, now)):
        properties.fields.pop("expiration", None)
        if expires is not None:
            properties.put_header("expires", None)


def _begin_again(properties: RawProperties, letter: Letter, now: float) -> None:
    properties.fields["delivery_mode"] = _PERSISTENT
    properties.headers[_REPLAYS] = b"I" + struct.pack(">i", letter.replays + 1)
    if _RETRIES in properties.headers:
        properties.headers[_RETRIES] = b"I\0\0\0\0"
    if _READY_AT in properties.headers:
        properties.headers[_READY_AT] = b"d" + struct.pack(">d", round(now, 6))
    if "timestamp" in properties.fields:
        properties.fields["timestamp"] = struct.pack(">Q", int(now))


_REPLAYS: Final = REPLAYS_HEADER.encode()
_READY_AT: Final = READY_AT_HEADER.encode()
_RETRIES: Final = b"retries"


def _is_past(expires: str, now: float) -> bool:
    try:
        at = datetime.fromisoformat(expires)
    except ValueError:
        return False
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() <= now


def _edited(properties: RawProperties, body: bytes, vhost: VhostKind, edit: Edit) -> bytes:
    if vhost == "secure":
        raise NotReplayable("the arguments of a secure queue's jobs cannot be edited")
    try:
        args, kwargs, embed = json.loads(body)
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError) as error:
        raise NotReplayable("its body is not that of a job, so nothing in it can be edited") from (
            error
        )
    args = args if edit.args is None else edit.args
    kwargs |= edit.kwargs or {}
    for name, value in (("argsrepr", args), ("kwargsrepr", kwargs)):
        properties.put_header(name, arguments.short_text(value, _REPR_CHARACTERS, _REPR_LEVELS))
    return json.dumps([args, kwargs, embed]).encode()
