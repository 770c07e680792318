"""How long a job waits before it is tried again: full jitter, or what the other side asked for.

Pure: randomness and the time are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from laneway.types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

#: The longest ``Retry-After`` that is honoured, in seconds: a wrong one must park no job for ever.
LONGEST_RETRY_AFTER: Final = 86_400.0
# 2 to this power is far beyond every cap, and still a float.
_MOST_DOUBLINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double, each drawn anew between nothing and its bound ("full jitter").

    Full jitter spreads what failed together over the whole time, so that it does not come back
    together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        first: the bound of the first wait: seconds, or text like ``"2s"``.
        longest: the bound of every wait.

    Raises:
        ValueError: not ``0 < first <= longest``.
    """

    first: float
    longest: float

    def __init__(self, first: float | str = "2s", longest: float | str = "10m") -> None:
        bounds = [v if isinstance(v, int | float) else parse_duration(v) for v in (first, longest)]
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError(f"expected 0 < first <= longest, got: {first!r} and {longest!r}")
        object.__setattr__(self, "first", float(bounds[0]))
        object.__setattr__(self, "longest", float(bounds[1]))

    def bound(self, retries: int) -> float:
        """The most seconds to wait after so many retries."""
        return float(min(self.longest, self.first * 2.0 ** min(retries, _MOST_DOUBLINGS)))

    def wait(self, retries: int, draw: Callable[[], float]) -> float:
        """Seconds to wait after so many retries.

        Args:
            retries: retries so far, from 0.
            draw: a number from 0 to 1, evenly distributed.
        """
        return self.bound(retries) * draw()


def retry_after(error: BaseException | None, *, now: Callable[[], datetime]) -> float | None:
    """Seconds for which the other side asked not to be called; None if it did not.

    Looked for as ``error.retry_after`` and as the header ``Retry-After`` of ``error.response`` (of
    requests and httpx), at the error and at what caused it.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        seconds = _seconds(_asked(error), now)
        if seconds is not None:
            return min(max(0.0, seconds), LONGEST_RETRY_AFTER)
        error = error.__cause__
    return None


def _asked(error: BaseException) -> Any:
    # Whatever an exception's attributes do, the job must be retried.
    try:
        asked = getattr(error, "retry_after", None)
        if asked is None:
            headers = getattr(getattr(error, "response", None), "headers", None)
            asked = headers.get("Retry-After") if headers is not None else None
    except Exception:  # noqa: BLE001
        return None
    return asked


def _seconds(asked: Any, now: Callable[[], datetime]) -> float | None:
    if isinstance(asked, timedelta):
        return asked.total_seconds()
    if isinstance(asked, bool) or not isinstance(asked, int | float | str):
        return None
    try:
        seconds = float(asked)
    except ValueError:
        return _until(str(asked), now())
    return seconds if seconds == seconds else None  # noqa: PLR0124 (nan is no time)


def _until(date: str, now: datetime) -> float | None:
    """RFC 9110: an HTTP date instead of seconds."""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
