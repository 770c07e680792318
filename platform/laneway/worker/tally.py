"""What the processes of a worker have counted, in memory that the parent reads.

Each process counts in a record of its own, so nothing is shared between two writers; records stay
when their process goes, so numbers never fall.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final, get_args

from laneway.facts import FactKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.facts import Fact

#: The kinds of facts, in the order in which a record counts them.
FACT_KINDS: Final = get_args(FactKind)
#: Upper bounds of the histograms' buckets, in seconds; above the last is one more.
BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
_POSITION: Final = {kind: place for place, kind in enumerate(FACT_KINDS)}
_ALL_BUCKETS: Final = len(BUCKETS) + 1


class Tally(ctypes.Structure):
    """The record of one process."""

    _fields_ = (
        ("told", ctypes.c_uint64 * len(FACT_KINDS)),
        ("wait_sum", ctypes.c_double),
        ("waits", ctypes.c_uint64 * _ALL_BUCKETS),
        ("runtime_sum", ctypes.c_double),
        ("runtimes", ctypes.c_uint64 * _ALL_BUCKETS),
        ("results_waiting", ctypes.c_uint64),
    )

    told: ctypes.Array[ctypes.c_uint64]
    #: Seconds that started jobs had waited, together.
    wait_sum: float
    waits: ctypes.Array[ctypes.c_uint64]
    #: Seconds that ended jobs had run, together.
    runtime_sum: float
    runtimes: ctypes.Array[ctypes.c_uint64]
    #: Ended jobs whose results could not be stored yet.
    results_waiting: int

    def note(self, fact: Fact) -> None:
        """Count the fact."""
        self.told[_POSITION[fact.kind]] += 1
        if fact.wait is not None:
            self.wait_sum += fact.wait
            self.waits[bisect_left(BUCKETS, fact.wait)] += 1
        if fact.runtime is not None:
            self.runtime_sum += fact.runtime
            self.runtimes[bisect_left(BUCKETS, fact.runtime)] += 1


class Counting:
    """A listener that counts in one record. Safe in threads; made in the process that it counts."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._lock = threading.Lock()

    def __call__(self, fact: Fact, /) -> None:
        """Count the fact."""
        with self._lock:
            self._tally.note(fact)


class Tallies:
    """The records of a worker; made before anything forks.

    Args:
        number: how many processes may count, the parent among them.
    """

    def __init__(self, number: int) -> None:
        size = ctypes.sizeof(Tally)
        self._memory = mmap.mmap(-1, number * size)
        self._tallies = [Tally.from_buffer(self._memory, at * size) for at in range(number)]

    def __len__(self) -> int:
        return len(self._tallies)

    def __iter__(self) -> Iterator[Tally]:
        return iter(self._tallies)

    def __getitem__(self, index: int) -> Tally:
        return self._tallies[index]

    def facts(self) -> dict[str, int]:
        """How often each kind of fact was told in the whole worker; those that were."""
        total: Counter[str] = Counter()
        for tally in self._tallies:
            total.update(dict(zip(FACT_KINDS, tally.told, strict=True)))
        return {kind: number for kind, number in total.items() if number}

    def results_waiting(self) -> int:
        """Ended jobs whose results could not be stored yet, in the whole worker."""
        return sum(tally.results_waiting for tally in self._tallies)

    def waits(self) -> tuple[list[int], float]:
        """The histogram of waits by bucket, and their sum in seconds."""
        return [sum(counts) for counts in zip(*(t.waits for t in self._tallies), strict=True)], sum(
            tally.wait_sum for tally in self._tallies
        )

    def runtimes(self) -> tuple[list[int], float]:
        """The histogram of runtimes by bucket, and their sum in seconds."""
        return [
            sum(counts) for counts in zip(*(t.runtimes for t in self._tallies), strict=True)
        ], sum(tally.runtime_sum for tally in self._tallies)
