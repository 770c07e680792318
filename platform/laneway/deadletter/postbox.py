"""Writing letters and audit entries: confirmed, into the streams of a virtual host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import amqp

from laneway.deadletter import audit, envelope
from laneway.frames import Publish, publish_method
from laneway.topology import AUDIT_STREAM, LETTER_STREAM

if TYPE_CHECKING:
    from laneway.app import Laneway
    from laneway.broker.address import VhostKind
    from laneway.deadletter.audit import Entry
    from laneway.deadletter.letter import Letter

_PERSISTENT: Final = 2


def post(app: Laneway, letter: Letter, seconds: float | None = None) -> None:
    """Append a letter to its stream, and wait until the broker has it.

    Args:
        app: its publisher is used.
        letter: it; its queue decides on the virtual host.
        seconds: the deadline; the publisher's own if None.

    Raises:
        PublishError: the broker did not confirm it in time. It may have it all the same; writing
            the same letter again adds nothing.
        UnknownQueue: the policy has no such queue.
    """
    publisher = app.publisher(app.policy.queue(letter.queue).vhost)
    publisher.publish(letter_message(letter), seconds)


def note(app: Laneway, vhost: VhostKind, entry: Entry, seconds: float | None = None) -> None:
    """Append an entry to the audit stream of a virtual host, and wait until the broker has it.

    Raises:
        PublishError: the broker did not confirm it in time; it may have it all the same.
    """
    app.publisher(vhost).publish(entry_message(entry), seconds)


def letter_message(letter: Letter) -> Publish:
    """What is published of a letter."""
    return _message(LETTER_STREAM, envelope.CONTENT_TYPE, envelope.encode(letter))


def entry_message(entry: Entry) -> Publish:
    """What is published of an audit entry."""
    return _message(AUDIT_STREAM, audit.CONTENT_TYPE, audit.encode(entry))


def _message(stream: str, content_type: str, body: bytes) -> Publish:
    properties = amqp.Message(content_type=content_type, delivery_mode=_PERSISTENT)
    # By the default exchange: no binding can be missing.
    return Publish(
        publish_method("", stream),
        properties._serialize_properties(),  # noqa: SLF001 (see test_celery_contract.py)
        body,
    )
