"""The retry budget: a broken dependency must not multiply the load on itself and on the queue.

Of the jobs that a process starts, a share may be retries; beyond it retries wait longer, and what
would wait too long is not retried: it becomes a dead letter, which can be replayed when the cause
is gone. So whatever fails, the load is at most ``1 + share`` times that of the first attempts.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.facts import Fact

#: Retries a second that every process may always make: a quiet queue has no jobs to earn them with.
FLOOR: Final = 1.0
#: Retries that may be saved up.
_BURST: Final = 20.0
#: Seconds over which the rate of starts is averaged.
_WINDOW: Final = 30.0


class RetryBudget:
    """The budget of one queue in one process; safe in threads.

    Args:
        share: retries for each job that starts, for example 0.2.
        clock: seconds, monotonic.
    """

    def __init__(self, share: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._lock = threading.Lock()
        self._saved = _BURST
        self._rate = 0.0
        self._at = clock()

    def hear(self, fact: Fact) -> None:
        """Listen at the door for facts: the first attempt of a job earns its share of a retry."""
        if fact.kind != "started" or fact.attempt != 1:
            return
        with self._lock:
            self._pass_time()
            self._saved = min(_BURST, self._saved + self._share)
            self._rate += 1.0 / _WINDOW

    def reserve(self, longest: float) -> float | None:
        """Take a retry.

        Args:
            longest: seconds that it may have to wait for its turn.

        Returns:
            Seconds until its turn; None if that would be longer, and nothing is taken.
        """
        with self._lock:
            self._pass_time()
            missing = 1.0 - self._saved
            wait = max(0.0, missing) / (FLOOR + self._share * self._rate)
            if wait > longest:
                return None
            self._saved -= 1.0
            return wait

    def _pass_time(self) -> None:
        now = self._clock()
        # A clock that goes back (another process's, after a fork) takes nothing away.
        passed = max(0.0, now - self._at)
        self._at = now
        self._saved = min(_BURST, self._saved + FLOOR * passed)
        self._rate *= max(0.0, 1.0 - passed / _WINDOW)
