"""How many jobs a process may hold: as many as fit into the queue's ``inversion_budget``.

A job that is held cannot be overtaken by a more urgent one. Holding ``k`` jobs of runtime ``r``
behind the one that runs delays an urgent one by at most ``k · r``, so with short jobs much may be
held, which saves a round trip each, and with long ones nothing.
"""

from __future__ import annotations

from typing import Final

#: The most deliveries that one process holds, however short its jobs are. When no-ops are followed
#: by jobs of 5 ms, an urgent job waits for what is held then: with 128, 64 and 32 the p95 of that
#: wait was 294, 110 and 21 ms, at 10,700, 9,300 and 8,200 no-ops a second.
MOST_HELD: Final = 32
#: Seconds of a job that by itself hides the way to the broker and back: with one held behind it the
#: process never waits, and more would only make urgent jobs wait.
_HIDES_THE_WAY: Final = 0.003
#: What is wanted then; with the margin the job that runs and one more.
_TWO: Final = 3
#: Jobs that must have been seen before more than one is held.
_SEEN_BEFORE_TRUST: Final = 8
# A job longer than the whole budget is believed at once, for too much held breaks a promise. Others
# only by and by: a short job that the machine interrupted for a moment is still a short job.
_WEIGHT: Final = 0.1
_WEIGHT_OVER_BUDGET: Final = 0.5
#: Seconds between two changes to more; less is at once.
_PATIENCE: Final = 0.1
_MARGIN: Final = 0.75


class Prefetch:
    """The number of deliveries that one process may have unacknowledged.

    Args:
        budget: seconds of expected work that may be held ahead of an urgent job.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        #: Seconds that a job is expected to take; None while unknown.
        self.expected: float | None = None
        #: Deliveries that may be held now, the one that runs among them; at least 1.
        self.count = 1
        self._seen = 0
        self._changed_at = 0.0

    def note(self, runtime: float, now: float) -> bool:
        """Learn from a job that took ``runtime`` seconds and ended at ``now``.

        Returns:
            Whether :attr:`count` changed.
        """
        self._seen += 1
        if self.expected is None:
            self.expected = runtime
        else:
            weight = _WEIGHT_OVER_BUDGET if runtime > self.budget else _WEIGHT
            self.expected += (runtime - self.expected) * weight
        wanted = self._wanted(self.expected)
        more = wanted >= 2 * self.count and now >= self._changed_at + _PATIENCE
        if wanted >= self.count and not more:
            return False
        # Somewhat below what fits, so that noise does not make a new subscription of each job.
        before, self.count, self._changed_at = self.count, max(1, int(wanted * _MARGIN)), now
        return self.count != before

    def _wanted(self, expected: float) -> int:
        if self._seen < _SEEN_BEFORE_TRUST or expected <= 0:
            return 1
        most = _TWO if expected >= _HIDES_THE_WAY else MOST_HELD
        return max(1, min(most, 1 + int(self.budget / expected)))
