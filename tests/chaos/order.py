"""Priority order after a crash: what the killed worker held, then strictly by priority."""

from __future__ import annotations

import itertools
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chaos.ledger import QUEUES, What, read
from chaos.recovery import late_urgent
from chaos.workload import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaos.ledger import Entry
    from chaos.stage import Stage

#: Jobs that are tried with, and how many of them start before the kill.
_JOBS: Final = 300
_BEFORE: Final = 80
_PATIENCE: Final = 60.0
#: Tries with a pool until one can be judged.
_TRIES: Final = 3
#: The number of the first producer of these jobs.
_PRODUCER: Final = 50
#: Jobs that one process of a pool may hold, by the pool: what runs, and what it prefetched.
HELD: Final[Mapping[str, int]] = {"direct": 32, "prefork": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What came of one try."""

    pool: str
    #: Jobs that started after the kill.
    after: int
    #: How many of them started before a more urgent one.
    late: int

    @property
    def is_judged(self) -> bool:
        """Whether the kill came early enough: on a busy machine most jobs may have run before."""
        return self.after >= _JOBS - _BEFORE - HELD[self.pool] - 50

    @property
    def is_red(self) -> bool:
        """Whether more came out of order than the killed process can have held, or nobody knows."""
        return self.late > HELD[self.pool] or not self.is_judged


def try_order(stage: Stage, seed: int) -> list[Order]:
    """Kill a worker of one process amid jobs of all priorities, with each pool.

    The stage's own workers of the queue must not run meanwhile: they are stopped, and stay so.
    """
    stage.workers.stop("low")
    orders = []
    numbers = itertools.count(_PRODUCER)
    for worker in stage.system.order_workers:
        order = _try(stage, worker.name, seed, next(numbers))
        for _ in range(_TRIES - 1):
            if order.is_judged:
                break
            order = _try(stage, worker.name, seed, next(numbers))
        orders.append(order)
    return orders


def _try(stage: Stage, worker: str, seed: int, producer: int) -> Order:
    since = time.time()
    process = stage.producer(producer, seed=seed, jobs=_JOBS, shuffled=QUEUES.index("low"))
    with suppress(Exception):
        process.wait(_PATIENCE)
    stage.workers.start(worker)
    _wait(stage, producer, since, What.STARTED, _BEFORE)
    killed = time.monotonic()
    stage.workers.signal(worker, signal.SIGKILL, group=True)
    _wait(stage, producer, since, What.ENDED, _JOBS)
    stage.workers.stop(worker)
    starts = sorted(
        (entry.at, entry.priority)
        for entry in _of(stage, producer, since)
        if entry.what == What.STARTED and entry.at > killed
    )
    return Order(
        pool=worker.rpartition("-")[2],
        after=len(starts),
        late=late_urgent(priority for _, priority in starts),
    )


def _wait(stage: Stage, producer: int, since: float, what: What, count: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if len({entry.job for entry in _of(stage, producer, since) if entry.what == what}) >= count:
            return
        time.sleep(0.05)


def _of(stage: Stage, producer: int, since: float) -> list[Entry]:
    """What was written of the producer's jobs, by processes that wrote since it began."""
    numbers = range(producer * NUMBERS, (producer + 1) * NUMBERS)
    return [entry for entry in read(stage.ledger, since) if entry.job in numbers]
