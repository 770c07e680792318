"""A backend that is away: since when it fails, and how long nobody is to ask for it."""

from __future__ import annotations

import logging
import random
from typing import Final

from laneway.retry.backoff import Backoff

log = logging.getLogger(__name__)

#: Seconds after the last failure for which the backend counts as away.
AWAY: Final = 5.0
#: Seconds between two tries while nothing can be stored, at most; drawn anew each time.
LONGEST_PAUSE: Final = 2.0
#: Seconds before the second try; doubled with each failure in a row.
FIRST_PAUSE: Final = 0.1
#: Seconds between two tries when the process is about to end.
LAST_PAUSE: Final = 0.2
#: Seconds after which a backend that stays away is said again.
_SAY_AGAIN: Final = 60.0


class Outage:
    """What the failures so far say. Whoever has it sees to its lock; times are ``monotonic``.

    Args:
        first_pause: seconds before the second try.
        away: seconds after the last failure for which the backend counts as away.
    """

    def __init__(self, first_pause: float, away: float) -> None:
        self._pauses = Backoff(min(first_pause, LONGEST_PAUSE), LONGEST_PAUSE)
        self._away = away
        self._failures = 0
        self._say_again_at = 0.0
        self._away_until = 0.0
        self._pause_until = 0.0

    def lasts(self, now: float) -> bool:
        """Whether the backend failed so lately that it counts as away."""
        return self._away_until > now

    def pause(self, now: float) -> float:
        """Seconds until the next try."""
        return max(0.0, self._pause_until - now)

    def hurry(self, now: float) -> None:
        """The process is about to end: try again soon."""
        self._pause_until = min(self._pause_until, now + LAST_PAUSE)

    def failed(self, error: BaseException, now: float, *, ending: bool = False) -> None:
        """Note that something could not be stored.

        Args:
            error: what the backend raised.
            now: when.
            ending: the process is about to end.
        """
        if now >= self._say_again_at:
            self._say_again_at = now + _SAY_AGAIN
            # Its text can repeat what was to be written.
            log.warning(
                "the result backend does not take results (%s): jobs go on, what they returned is "
                "kept and stored when it does",
                type(error).__name__,
            )
        bound = LAST_PAUSE if ending else self._pauses.bound(self._failures)
        self._failures += 1
        self._away_until = now + self._away
        self._pause_until = now + bound * random.uniform(0.5, 1.0)  # noqa: S311 (only a pause)

    def ended(self) -> bool:
        """Something was stored: whether nothing could be before."""
        failed, self._failures = self._failures > 0, 0
        self._away_until = self._pause_until = 0.0
        return failed
