"""How long a job waits in the broker before a worker may have it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final

from laneway.errors import OptionRefused

#: The longest delay that the broker's 28 delay levels hold: 2**28 - 1 seconds, about 8.5 years.
LONGEST_DELAY: Final = 2**28 - 1


def whole_seconds(countdown: float | None, eta: Any, *, now: datetime) -> int | None:
    """The delay as the broker can hold it: whole seconds, rounded up; None for "at once".

    Rounded up, because a worker that gets a job early would have to hold it in its memory.

    Args:
        countdown: seconds from now; wins over ``eta``, as in Celery.
        eta: a ``datetime`` (naive ones are taken in the zone of ``now``) or its ISO 8601 text.
        now: the present, with its time zone.

    Raises:
        OptionRefused: not a number or time, or longer than :data:`LONGEST_DELAY`.
    """
    seconds = _seconds(countdown, eta, now)
    if seconds is None or seconds <= 0:
        return None
    if seconds > LONGEST_DELAY:
        raise OptionRefused(
            f"expected a delay of at most {LONGEST_DELAY} seconds (about 8.5 years), got: "
            f"{seconds:.0f}. Nothing was published."
        )
    # An ETA that was "now + 5 s" a moment ago is 4.999 s: the small tolerance keeps 5.0001 at 5.
    return max(1, math.ceil(seconds - 0.001))


def _seconds(countdown: float | None, eta: Any, now: datetime) -> float | None:
    if countdown is not None and countdown is not False:
        if isinstance(countdown, bool) or not isinstance(countdown, int | float):
            raise OptionRefused(f"expected countdown in seconds, got: {countdown!r}")
        if math.isnan(countdown):
            raise OptionRefused("expected countdown in seconds, got: nan")
        return float(countdown)
    if not eta:
        return None
    if isinstance(eta, str):
        try:
            eta = datetime.fromisoformat(eta)
        except ValueError:
            raise OptionRefused(f"expected eta as an ISO 8601 time, got: {eta!r}") from None
    if not isinstance(eta, datetime):
        raise OptionRefused(f"expected eta as a datetime, got: {eta!r}")
    if eta.tzinfo is None:
        eta = eta.replace(tzinfo=now.tzinfo or UTC)
    return float((eta - now).total_seconds())
