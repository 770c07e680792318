"""The surroundings that all policies share: the queue, its worker, the cluster, the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.scaling.pace import Pace
from laneway.scaling.simulate.hpa import SYNC_PERIOD, Behavior, Limit, Rules

if TYPE_CHECKING:
    from laneway.policy.queues import Queue

#: How fast pods may come and go: the chart's own (``laneway.behavior`` of its templates).
OUT: Final = (Limit(kind="Percent", value=900, period=15),)
IN: Final = (Limit(kind="Percent", value=25, period=60), Limit(kind="Pods", value=1, period=60))

#: Processors that a job keeps busy while it runs: most wait for others most of the time.
CPU_SHARE: Final = 0.3

_PACE: Final = Pace()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is not the policy's to decide."""

    #: With its promise, concurrency, grace period and ``[scaling]``.
    queue: Queue
    #: Seconds from the wish for a pod to its first job, at the least and at the most: scheduling,
    #: image, interpreter, connection.
    pod_start: tuple[float, float] = (10.0, 20.0)
    #: Processors that a job of usual speed keeps busy.
    cpu_share: float = CPU_SHARE
    #: Seconds between two statistics of a queue from the broker (``collect_statistics_interval``).
    statistics_interval: float = 5.0
    #: Seconds between two looks of the HPA.
    sync_period: float = SYNC_PERIOD
    #: How far back Laneway's scaler looks, and how often.
    pace: Pace = _PACE

    @property
    def concurrency(self) -> int:
        """Jobs that a pod runs at a time."""
        return self.queue.worker.concurrency

    @property
    def behavior(self) -> Behavior:
        """How fast pods come and go, for every policy: the chart's."""
        return Behavior(
            out=Rules(limits=OUT, stabilisation=0),
            into=Rules(limits=IN, stabilisation=self.queue.scaling.scale_in_after),
        )

    def queue_at(self, utilisation: float) -> Queue:
        """The queue with another ``[scaling] utilisation``."""
        scaling = self.queue.scaling.model_copy(update={"utilisation": utilisation})
        return self.queue.model_copy(update={"scaling": scaling})
