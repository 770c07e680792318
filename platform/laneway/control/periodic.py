"""What the control process does every now and then, besides what it does all the time."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

#: Seconds between two looks at the clock.
_LOOK: Final = 0.5


@dataclass(slots=True, kw_only=True)
class Periodic:
    """Something that is to be done again and again.

    Several control processes may run: what must not be done by two at a time takes a lock of its
    own, on the broker.
    """

    #: What it is, for logs and metrics.
    name: str
    #: Seconds from the end of one run to the beginning of the next; the first begins at once.
    every: float
    #: Does it; told whether to stop. What it raises is logged, and it is done again at its time.
    do: Callable[[threading.Event], None]
    #: When it is due next, by the clock; 0 is at once.
    due: float = field(default=0.0, init=False)
    #: How often it was done, and how often that failed.
    runs: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)

    def look(self, clock: Callable[[], float], stop: threading.Event) -> bool:
        """Do it if it is due; returns whether it was.

        Args:
            clock: seconds, from any beginning, that never go back.
            stop: set when it is to end early.
        """
        if clock() < self.due:
            return False
        self.runs += 1
        try:
            self.do(stop)
        except Exception:
            self.failures += 1
            log.exception("%s failed; again in %g s", self.name, self.every)
        self.due = clock() + self.every
        return True


def run_all(
    periodics: Sequence[Periodic],
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Do each of them at its time, one after the other, until told to stop."""
    while not stop.is_set():
        for one in periodics:
            if not stop.is_set():
                one.look(clock, stop)
        stop.wait(_LOOK)
