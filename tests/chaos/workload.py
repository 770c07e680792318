"""What producers publish: pure, the same calls for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from chaos.ledger import QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Numbers of jobs set aside for one producer.
NUMBERS: Final = 10_000_000
#: Failures of a job that never ends well.
ALWAYS: Final = 99
#: Steps of a chain.
STEPS: Final = 3


class Kind(IntEnum):
    """How jobs are published, and what they do."""

    ONE = 0
    #: Many at once, the best way that a system has.
    MANY = 1
    DELAY = 2
    #: Steps on different queues, each published by the one before it.
    CHAIN = 3
    #: One that fails once or twice before it ends well.
    RETRY = 4
    #: One that fails for good at once.
    FAIL = 5
    #: One whose result is stored.
    RESULT = 6
    #: One of a task that no worker has.
    UNKNOWN = 7
    #: Bytes that are no job.
    MALFORMED = 8


#: Of a hundred calls.
SHARES: Final[Mapping[Kind, int]] = {
    Kind.ONE: 50,
    Kind.MANY: 16,
    Kind.DELAY: 8,
    Kind.CHAIN: 8,
    Kind.RETRY: 6,
    Kind.FAIL: 4,
    Kind.RESULT: 6,
    Kind.UNKNOWN: 1,
    Kind.MALFORMED: 1,
}
#: What can end only as a dead letter.
DOOMED: Final = frozenset({Kind.FAIL, Kind.UNKNOWN, Kind.MALFORMED})
#: The kinds that every system offers.
COMMON: Final = frozenset(Kind) - {Kind.RESULT, Kind.UNKNOWN, Kind.MALFORMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of a call."""

    number: int
    #: A place in :data:`chaos.ledger.QUEUES`.
    queue: int
    priority: int
    #: Milliseconds that it takes.
    work: int
    #: Attempts that fail.
    failures: int = 0

    @property
    def queue_name(self) -> str:
        """The name of its queue."""
        return QUEUES[self.queue]

    @property
    def arguments(self) -> tuple[int, ...]:
        """What its task is called with."""
        return (self.number, self.queue, self.priority, self.work, self.failures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a producer."""

    kind: Kind
    #: More than one only of MANY and CHAIN.
    jobs: tuple[Job, ...]
    #: Seconds that it is to wait, of DELAY and between the attempts of RETRY.
    delay: float = 0.0


def calls(
    seed: int, producer: int, jobs: int, kinds: Iterable[Kind] = tuple(Kind)
) -> Iterator[Call]:
    """What one producer publishes.

    Args:
        seed: of the run.
        producer: its number, from 0.
        jobs: how many jobs at least; the last call may go a little beyond.
        kinds: which kinds of calls.
    """
    chance = random.Random(f"{seed}/{producer}")
    wanted = sorted(kinds)
    shares = [SHARES[kind] for kind in wanted]
    first = producer * NUMBERS
    number = first
    while number - first < jobs:
        [kind] = chance.choices(wanted, shares)
        queue, priority = chance.randrange(len(QUEUES)), chance.randrange(10)
        count = {Kind.MANY: chance.randint(10, 60), Kind.CHAIN: STEPS}.get(kind, 1)
        failures = {Kind.RETRY: chance.randint(1, 2), Kind.FAIL: ALWAYS}.get(kind, 0)
        step = 1 if kind is Kind.CHAIN else 0
        yield Call(
            kind=kind,
            jobs=tuple(
                Job(
                    number=number + place,
                    queue=(queue + step * place) % len(QUEUES),
                    priority=priority,
                    work=_work(chance),
                    failures=failures,
                )
                for place in range(count)
            ),
            delay=chance.choice((1.0, 2.0, 3.0)),
        )
        number += count


def shuffled(seed: int, producer: int, queue: int, jobs: int) -> Iterator[Call]:
    """Short jobs of one queue, their priorities in no order.

    Args:
        seed: of the run.
        producer: a number that no other producer has.
        queue: a place in :data:`chaos.ledger.QUEUES`.
        jobs: how many.
    """
    chance = random.Random(f"{seed}/{producer}")
    first = producer * NUMBERS
    yield Call(
        kind=Kind.MANY,
        jobs=tuple(
            Job(number=first + place, queue=queue, priority=chance.randrange(10), work=5)
            for place in range(jobs)
        ),
    )


def _work(chance: random.Random) -> int:
    """Mostly short, and now and then long enough to be hit in the middle."""
    return chance.choices((1, 8, 300), (80, 18, 2))[0]
