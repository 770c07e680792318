"""Jobs of one queue, published from outside the cluster at a pace: ``python -m cluster.load``."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
from typing import TYPE_CHECKING, Final, cast

from chaos.ledger import QUEUES as OPEN_QUEUES
from chaos.ledger import Ledger
from chaos.producer import VARIABLE, publish_paced
from chaos.workload import NUMBERS, Call, Job, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.producer import App

#: The queues, by their numbers in the ledger.
QUEUES: Final = (*OPEN_QUEUES, "secure")
#: Jobs of one call of ``publish_many``.
_MANY: Final = 100


def load(number: int, queue: str, jobs: int, work: tuple[int, int], many: bool) -> Iterator[Call]:
    """The calls.

    Args:
        number: of the producer; no other has it.
        queue: one of :data:`QUEUES`.
        jobs: how many.
        work: milliseconds of a job, from and to; every hundredth takes ten times as long.
        many: a hundred with each call; one if not.
    """
    chance = random.Random(number)
    first = number * NUMBERS
    made = [
        Job(
            number=first + place,
            queue=QUEUES.index(queue),
            priority=chance.randrange(10),
            work=chance.randint(*work) * (10 if place % 100 == 50 else 1),
        )
        for place in range(jobs)
    ]
    step = _MANY if many else 1
    kind = Kind.MANY if many else Kind.ONE
    for place in range(0, jobs, step):
        yield Call(kind=kind, jobs=tuple(made[place : place + step]))


def main() -> int:
    """Follow the orders in ``CHAOS_ORDERS``."""
    orders = json.loads(os.environ[VARIABLE])
    app = cast("App", importlib.import_module(orders["app"]))
    ledger = Ledger()
    made = load(
        orders["number"], orders["queue"], orders["jobs"], tuple(orders["work"]), orders["many"]
    )
    publish_paced(app, ledger, made, rate=orders["rate"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
