"""How many jobs of each task the processes have begun, in memory that the parent reads."""

from __future__ import annotations

import mmap
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What the jobs of tasks are counted under that were registered after the processes were forked.
LATER = "(registered later)"


class Total:
    """One process's counts; only that process writes."""

    def __init__(self, memory: memoryview, places: Mapping[str, int]) -> None:
        self._memory = memory
        self._places = places

    def note(self, task: str) -> None:
        """A job of this task has begun."""
        self._memory[self._places.get(task, 0)] += 1


class Totals:
    """The counts of a group; made before anything forks.

    Args:
        number: how many processes may count.
        tasks: the names of the tasks.
    """

    def __init__(self, number: int, tasks: Iterable[str]) -> None:
        self._names = [LATER, *tasks]
        places = {name: place for place, name in enumerate(self._names)}
        size = 8 * len(self._names)
        self._memory = memoryview(mmap.mmap(-1, number * size))
        self._all = [self._memory[at * size : (at + 1) * size].cast("Q") for at in range(number)]
        self._totals = [Total(counts, places) for counts in self._all]

    def __getitem__(self, index: int) -> Total:
        return self._totals[index]

    def by_task(self) -> Counter[str]:
        """How many jobs have begun, of those tasks that had any."""
        sums = (sum(counts[place] for counts in self._all) for place in range(len(self._names)))
        return Counter(
            {name: number for name, number in zip(self._names, sums, strict=True) if number}
        )
