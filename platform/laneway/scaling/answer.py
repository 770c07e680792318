"""What the scaler answers of a queue: how many slots it needs, or why nobody can know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneway.policy.queues import Queue
    from laneway.scaling.fleet import Waits
    from laneway.scaling.need import Load, Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nobody can know now; never to be taken for a number."""

    queue: Queue
    #: What is missing, and what to do.
    reason: str
    #: Whether only time is missing: half a window must be seen.
    soon: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For machines; there is no number in it that could be taken for one of slots."""
        return {"queue": self.queue.name, "known": False, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How many slots a queue needs."""

    queue: Queue
    load: Load
    need: Need
    #: Where the runtime is from, in words.
    runtime_from: str
    #: Workers that report, and the jobs that these run at a time at most.
    reporting: int
    slots_there: int
    #: What else is to be known of the answer, a sentence each.
    notes: tuple[str, ...]
    waits: Waits
    #: Seconds that arrivals are the mean of.
    covers: float

    @property
    def slots(self) -> float:
        """The slots needed, before the bounds of ``[scaling]``."""
        return self.need.slots

    @property
    def wanted(self) -> int:
        """The workers that have so many slots."""
        # (A need of 4.0000000001 slots is one of 4.)
        return math.ceil(round(self.slots / self.queue.worker.concurrency, 6))

    @property
    def workers(self) -> int:
        """The same within ``min`` and ``max``."""
        scaling = self.queue.scaling
        return min(max(self.wanted, scaling.min), max(scaling.max, scaling.min))

    @property
    def reason(self) -> str:
        """Why, in one line."""
        return "; ".join((self.need.reason, self.runtime_from, *self.bounds, *self.notes))

    @property
    def bounds(self) -> tuple[str, ...]:
        """Which bound makes ``workers`` another number than ``wanted``, in words."""
        if self.wanted > self.workers:
            return (f"max = {self.workers} of its file, {self.wanted} workers are needed",)
        if self.wanted < self.workers:
            return (f"min = {self.workers} of its file, {self.wanted} would be enough",)
        return ()

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        scaling = self.queue.scaling
        return {
            "queue": self.queue.name,
            "known": True,
            "slots": round(self.slots, 3),
            "workers": self.workers,
            "reason": self.reason,
            "arrivals_per_second": round(self.load.arrivals, 4),
            "runtime_seconds": round(self.load.runtime, 6),
            "busy": self.load.busy,
            "backlog": self.load.backlog,
            "concurrency": self.queue.worker.concurrency,
            "min": scaling.min,
            "max": scaling.max,
            "workers_reporting": self.reporting,
            "window_seconds": round(self.covers, 1),
            "within_service_level": self.waits.within(self.queue.service_level),
        }


Answer = Known | Unknown
