"""A publisher of one system in a process of its own: ``python -m bench.agent``.

It gets its orders as one JSON document in ``BENCH_ORDERS``, publishes one job so that it is
connected, says ``ready``, waits for a line on stdin, does what it was told, and writes one JSON
document.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from bench.apps import NotOffered
from bench.ledger import VARIABLE as LEDGER
from bench.ledger import Starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: The variable with the orders.
VARIABLE = "BENCH_ORDERS"
#: Jobs between two looks at whether there is room for more.
_LOOK_EVERY: Final = 250


class App(Protocol):
    """What every module of :mod:`bench.apps` offers."""

    def publish_marked(self, kind: str, queue: str, priority: int | None, job: int) -> str:
        """Publish one job; return the id in its message."""

    def publish(self, kind: str, queue: str, priority: int | None, jobs: Iterable[int]) -> None:
        """Publish one job after the other, each confirmed before the next."""

    def publish_many(self, kind: str, queue: str, jobs: Iterable[int]) -> str:
        """Publish many jobs as this system does it best; return how."""


class Schedule:
    """The numbers of jobs, handed out at their time.

    Args:
        first: the first number.
        seconds: how long to hand out.
        rate: numbers a second, on a fixed schedule (open loop: a late publish does not delay the
            schedule); None hands out as fast as they are taken.
        record: whether :attr:`sent` is kept, which takes memory for each job.
        room: asked now and then; while it says no, nothing is handed out, and the schedule waits.
    """

    def __init__(
        self,
        first: int,
        seconds: float,
        rate: float | None = None,
        *,
        record: bool = True,
        room: Callable[[int], bool] | None = None,
    ) -> None:
        self.first = first
        self.count = 0
        #: Of a schedule with a rate: job, when it was due, when it was accepted.
        self.sent: list[tuple[int, float, float]] = []
        #: Seconds for which there was no room.
        self.waited = 0.0
        self._seconds = seconds
        self._rate = rate
        self._record = record and rate is not None
        self._room = room

    def __iter__(self) -> Iterator[int]:
        began = time.monotonic()
        while True:
            if self._room is not None and self.count % _LOOK_EVERY == 0:
                self._wait_for_room(began)
            late = began + self.waited
            due = late + self.count / self._rate if self._rate else time.monotonic()
            if due - began >= self._seconds:
                return
            if self._rate and (early := due - time.monotonic()) > 0:
                time.sleep(early)
            job = self.first + self.count
            self.count += 1
            yield job
            if self._record:
                self.sent.append((job, due, time.monotonic()))

    def _wait_for_room(self, began: float) -> None:
        assert self._room is not None
        since = time.monotonic()
        while not self._room(self.count) and time.monotonic() - began < self._seconds:
            time.sleep(0.05)
            self.waited += time.monotonic() - since
            since = time.monotonic()


def _room(ahead: int) -> Callable[[int], bool]:
    """Whether fewer jobs than ``ahead`` were published and have not started."""
    starts = Starts(Path(os.environ[LEDGER]))
    return lambda published: published - starts.count() < ahead


def main() -> int:
    """Follow the orders; 3 if the system does not offer what they ask for."""
    orders = json.loads(os.environ[VARIABLE])
    app = cast("App", importlib.import_module(f"bench.apps.{orders['app']}"))
    if orders["do"] == "marks":
        marks = [app.publish_marked(**call) for call in orders["calls"]]
        print(json.dumps({"marks": marks}))
        return 0
    kind, queue, priority = orders["kind"], orders["queue"], orders.get("priority")
    app.publish(kind, queue, priority, [orders["first"]])
    print("ready", flush=True)
    sys.stdin.readline()
    schedule = Schedule(
        orders["first"] + 1,
        orders["seconds"],
        orders.get("rate"),
        record=orders["do"] == "paced",
        room=_room(orders["ahead"]) if "ahead" in orders else None,
    )
    answer: dict[str, Any] = {}
    began, worked = time.monotonic(), time.process_time()
    if orders["do"] == "many":
        try:
            answer["how"] = app.publish_many(kind, queue, schedule)
        except NotOffered as error:
            answer["not_offered"] = str(error)
    else:
        app.publish(kind, queue, priority, schedule)
    answer |= {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - worked}
    # The first job, which made the connection, was published too.
    answer |= {"count": schedule.count, "published": schedule.count + 1, "sent": schedule.sent}
    answer["waited"] = schedule.waited
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
