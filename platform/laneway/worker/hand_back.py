"""Sending a message back to its queue so that it comes again later; meanwhile the broker has it.

It is published into the broker's delays and confirmed before the delivery is acknowledged, so that
a worker holds no message in its memory, and no other job waits behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import amqp
from kombu.transport.native_delayed_delivery import calculate_routing_key

from laneway.deadletter.properties import BROKERS_HEADERS
from laneway.publish.delay import LONGEST_DELAY
from laneway.publish.frames import Publish, publish_method
from laneway.worker.gate import UNKNOWN_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.app import Laneway
    from laneway.deadletter.letter import Original

#: The exchange through which delayed messages enter (Celery 5.7, ``celery/app/base.py``).
_DELAYS: Final = "celery_delayed_27"


def hand_back(
    app: Laneway,
    queue: str,
    original: Original,
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    seconds: float,
    count: int | None = None,
) -> None:
    """Publish the message again, the same body, to come back in ``seconds``.

    Args:
        app: its publisher is used.
        queue: the queue to come back to.
        original: the message.
        headers: its headers; what the broker wrote into them is left out.
        properties: its properties by py-amqp's names; headers in them are not looked at.
        seconds: rounded up; at most what the broker's delays hold.
        count: how often it was handed back because its task is unknown, now included.

    Raises:
        PublishError: the broker did not take it; the delivery is still ours.
        Exception: the headers cannot be written again.
    """
    wait = min(math.ceil(seconds), LONGEST_DELAY)
    # With the broker's own in them, RabbitMQ before 4.0 takes the second way through one delay for
    # a cycle, and drops the message.
    kept = {name: value for name, value in headers.items() if name not in BROKERS_HEADERS}
    if count is not None:
        kept[UNKNOWN_HEADER] = count
    again = amqp.Message(**{**_without_headers(properties), "application_headers": kept})
    message = Publish(
        publish_method(_DELAYS, calculate_routing_key(wait, queue)),
        again._serialize_properties(),  # noqa: SLF001 (see test_celery_contract.py)
        original.body,
    )
    app.publisher(app.policy.queue(queue).vhost).publish(message)


def _without_headers(properties: Mapping[str, Any]) -> dict[str, Any]:
    # (The C client calls them "headers".)
    return {
        name: value
        for name, value in properties.items()
        if name not in {"application_headers", "headers"}
    }
