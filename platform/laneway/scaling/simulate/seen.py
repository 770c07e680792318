"""What an autoscaler knows: counters that are some seconds old, and what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from laneway.scaling.answer import Known
from laneway.scaling.queue_load import QueueLoad
from laneway.scaling.queue_load import Seen as Looked
from laneway.scaling.report import Report

if TYPE_CHECKING:
    from laneway.scaling.need import Load
    from laneway.scaling.simulate.fleet import Fleet
    from laneway.scaling.simulate.keda import Trigger
    from laneway.scaling.simulate.world import World


@dataclass(frozen=True, slots=True)
class Statistics:
    """The broker's numbers of a queue, at one time."""

    at: float
    #: Jobs published so far.
    published: int
    #: That wait, and that workers hold.
    ready: int
    unacked: int
    #: Published a second since the numbers before.
    publish_rate: float

    @property
    def messages(self) -> int:
        """Both, as ``messages`` of the management interface counts them."""
        return self.ready + self.unacked


class Reader:
    """Laneway's scaler itself, told what a simulated broker and simulated workers say.

    Args:
        world: around the queue.
    """

    def __init__(self, world: World) -> None:
        self._load = QueueLoad(world.queue, world.pace)
        self._every = world.pace.every
        self._began: float | None = None
        self._ended, self._runtime = 0, 0.0

    def look(
        self,
        now: float,
        statistics: Statistics,
        finished: tuple[int, float],
        running_for: float = 0.0,
    ) -> Load | None:
        """Take the newest numbers.

        Args:
            now: seconds.
            statistics: that the broker has.
            finished: jobs that ended since the last look, and their seconds.
            running_for: seconds that those that run have run for, all together.

        Returns:
            The load; None while it is unknown.
        """
        if self._began is None:
            self._began = now
        self._ended += finished[0]
        self._runtime += finished[1]
        report = Report(
            queue="",
            worker="all",
            run="",
            up=now - self._began,
            every=self._every,
            concurrency=1,
            consumers=1,
            busy=statistics.unacked,
            running_for=running_for,
            ended=self._ended,
            runtime=self._runtime,
            started=0,
            wait=0.0,
            waits=(),
            leaving=False,
        )
        self._load.hear(report, now)
        seen = Looked(
            ready=statistics.ready,
            consumers=1,
            paused=False,
            published=statistics.published,
            settled=statistics.published - statistics.messages,
            held=statistics.messages,
        )
        self._load.see(seen, now)
        answer = self._load.answer(now)
        return answer.load if isinstance(answer, Known) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that a policy may look at when the HPA asks."""

    #: Seconds.
    at: float
    statistics: Statistics
    #: Of Laneway's scaler; None: it does not know.
    load: Load | None
    #: What KEDA remembers of that scaler's failures.
    trigger: Trigger
    #: Processors that the jobs of the ready pods use, for each pod the same.
    cpu: float
    #: Pods that take jobs, and all.
    ready: int
    pods: int


def read_statistics(fleet: Fleet, before: Statistics | None) -> Statistics:
    """The numbers that the broker has now."""
    published = fleet.published
    rate = 0.0
    if before is not None and fleet.now > before.at:
        rate = (published - before.published) / (fleet.now - before.at)
    return Statistics(fleet.now, published, fleet.backlog, fleet.busy, rate)
