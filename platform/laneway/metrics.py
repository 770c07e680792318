"""Counters of what happened, the second listener behind the door for facts."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneway.facts import Fact


class FactCounter:
    """Counts facts by kind, queue and task. Safe in threads.

    One process's own numbers; the metrics of a whole worker group are read from all its processes.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str | None, str | None]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, fact: Fact, /) -> None:
        """Count the fact."""
        with self._lock:
            self._counts[fact.kind, fact.queue, fact.task] += 1

    def totals(self) -> dict[str, int]:
        """How many facts of each kind were told."""
        totals: Counter[str] = Counter()
        with self._lock:
            for (kind, _queue, _task), number in self._counts.items():
                totals[kind] += number
        return dict(totals)

    def by_queue(self) -> dict[tuple[str, str], int]:
        """How many facts were told, by queue (empty for those of none) and kind."""
        found: Counter[tuple[str, str]] = Counter()
        with self._lock:
            for (kind, queue, _task), number in self._counts.items():
                found[queue or "", kind] += number
        return dict(found)

    def count(self, kind: str, *, queue: str | None = None, task: str | None = None) -> int:
        """How many facts of a kind were told, of one queue or task, or of all if None."""
        with self._lock:
            return sum(
                number
                for (a_kind, a_queue, a_task), number in self._counts.items()
                if a_kind == kind and queue in (None, a_queue) and task in (None, a_task)
            )
