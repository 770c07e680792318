"""A message that came before its time: it goes back to wait in the broker.

The platform's own delays end in the broker. What a producer without the platform published, or one
whose clock is behind, can come early; holding it here would take a place from a job that may run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from celery.exceptions import InvalidTaskError

#: Seconds that a job may come too early and run all the same: delays are whole seconds.
TOLERANCE: Final = 1.0


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
