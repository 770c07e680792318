"""A message that came before its time: it goes back to wait in the broker.

The platform's own delays end in the broker. What a producer without the platform published, or one
whose clock is behind, can come early; holding it here would take a place from a job that may run.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from celery.exceptions import InvalidTaskError
from kombu.transport.native_delayed_delivery import calculate_routing_key

from laneway.delay import LONGEST_DELAY

if TYPE_CHECKING:
    from laneway.app import Laneway
    from laneway.worker.direct.frames import Delivery

#: Seconds that a job may come too early and run all the same: delays are whole seconds.
TOLERANCE: Final = 1.0
#: The exchange through which delayed messages enter (Celery 5.7, ``celery/app/base.py``).
_DELAYS: Final = "celery_delayed_27"


def too_early(eta: Any) -> float:
    """Seconds until the job may run, 0 if it may.

    Raises:
        InvalidTaskError: ``eta`` is no ISO 8601 time.
    """
    if eta is None:
        return 0.0
    try:
        when = datetime.fromisoformat(eta)
    except (TypeError, ValueError) as error:
        raise InvalidTaskError(f"invalid ETA value {eta!r}: {error}") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    seconds = (when - datetime.now(UTC)).total_seconds()
    return seconds if seconds > TOLERANCE else 0.0


def put_off(app: Laneway, queue: str, delivery: Delivery, seconds: float) -> None:
    """Publish the message again, byte for byte, to come back in ``seconds``.

    Raises:
        PublishError: the broker did not take it; the delivery is still ours.
    """
    properties = delivery.properties()
    headers = properties.pop("application_headers", None)
    wait = min(math.ceil(seconds), LONGEST_DELAY)
    with app.publisher(app.policy.queue(queue).vhost).producer() as producer:
        producer.publish(
            delivery.body,
            routing_key=calculate_routing_key(wait, queue),
            exchange=_DELAYS,
            headers=headers,
            **properties,
        )
