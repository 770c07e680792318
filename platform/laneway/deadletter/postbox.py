"""Writing letters and audit entries: confirmed, into the streams of a virtual host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import amqp

from laneway.deadletter import audit, envelope
from laneway.facts import Door
from laneway.publish.batch import Batch
from laneway.publish.frames import Publish, publish_method
from laneway.topology import AUDIT_STREAM, LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def post_all(app: Laneway, vhost: VhostKind, letters: Sequence[Letter]) -> None:
    """Append letters to the stream of a virtual host, one behind the other, and wait for all.

    Raises:
        BatchIncomplete: the broker did not confirm all of them; its cause is the first reason.
            Writing them all again adds nothing.
    """
    # They are no jobs: what is told of a job that was published is not told of them.
    batch = Batch(app.publisher, facts=Door())
    try:
        for number, letter in enumerate(letters):
            # A message that the broker gives back is known by its correlation id.
            batch.add(
                vhost,
                str(number),
                "",
                letter.queue,
                letter.priority or 0,
                letter_message(letter, str(number)),
            )
    except BaseException as error:  # noqa: BLE001 (finish raises it again, with the account)
        batch.finish(error)
    batch.finish()


def note(app: Laneway, vhost: VhostKind, entry: Entry, seconds: float | None = None) -> None:
    """Append an entry to the audit stream of a virtual host, and wait until the broker has it.

    Raises:
        PublishError: the broker did not confirm it in time; it may have it all the same.
    """
    app.publisher(vhost).publish(entry_message(entry), seconds)


def letter_message(letter: Letter, correlation_id: str | None = None) -> Publish:
    """What is published of a letter."""
    return _message(LETTER_STREAM, envelope.CONTENT_TYPE, envelope.encode(letter), correlation_id)


def entry_message(entry: Entry) -> Publish:
    """What is published of an audit entry."""
    return _message(AUDIT_STREAM, audit.CONTENT_TYPE, audit.encode(entry))


def _message(
    stream: str, content_type: str, body: bytes, correlation_id: str | None = None
) -> Publish:
    properties = amqp.Message(content_type=content_type, delivery_mode=_PERSISTENT)
    if correlation_id is not None:
        properties.properties["correlation_id"] = correlation_id
    # By the default exchange: no binding can be missing.
    return Publish(
        publish_method("", stream),
        properties._serialize_properties(),  # noqa: SLF001 (see test_celery_contract.py)
        body,
    )
