"""What ``/livez`` and ``/readyz`` mean for a whole worker, and the port where it answers them.

It is alive while its loops turn, and ready while it is connected and takes jobs or was told to
pause.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery import bootsteps

from laneway.probes import TURN, Probes
from laneway.worker.direct import DirectPool

if TYPE_CHECKING:
    from laneway.worker.consumer import JobConsumer
    from laneway.worker.job_worker import JobWorker


class Health(bootsteps.StartStopStep):
    """A step of the worker that answers HTTP, where an address was given.

    It starts after the pool, because the pool's processes must be forked from a process without
    threads.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, w: JobWorker, **kwargs: Any) -> None:
        self._probes: Probes | None = None
        super().__init__(w, **kwargs)

    def include_if(self, w: JobWorker) -> bool:
        """Only where it is wanted."""
        return w.health_address is not None

    def create(self, w: JobWorker) -> Health:
        """Nothing yet."""
        del w
        return self

    def start(self, w: JobWorker) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        # Only here: a worker without an address, and the processes forked from it, need none of it.
        from laneway.worker.exposition import exposition  # noqa: PLC0415 (see above)

        assert w.health_address is not None
        self._probes = Probes(
            w.health_address,
            alive=lambda: not_alive(w),
            ready=lambda: not_ready(w),
            metrics=lambda: exposition(w),
        )

    def stop(self, w: JobWorker) -> None:
        """Close the port."""
        del w
        probes, self._probes = self._probes, None
        if probes is not None:
            probes.close()

    terminate = stop


def not_alive(worker: JobWorker) -> list[str]:
    """What stands still, a line each; empty if everything turns."""
    now = time.monotonic()
    found = []
    consumer: JobConsumer | None = worker.consumer
    # A pool that runs jobs in the parent's loop (solo) holds it up; the job has its own limits.
    busy = bool(worker.state.active_requests)
    if consumer is not None and consumer.turned_at and not busy:
        still = now - consumer.turned_at
        if still > TURN:
            found.append(f"the parent's loop has not turned for {still:.0f} s")
    if isinstance(worker.pool, DirectPool):
        found += worker.pool.standing_still(now, TURN)
    return found


def not_ready(worker: JobWorker) -> list[str]:
    """Why the worker takes no jobs, a line each; empty if it does, or was told to pause."""
    consumer: JobConsumer | None = worker.consumer
    connection = consumer.connection if consumer is not None else None
    if consumer is None or connection is None or not connection.connected:
        return ["not connected to the broker"]
    if isinstance(worker.pool, DirectPool):
        return [] if worker.pool.ready else ["no process is connected to the broker yet"]
    jobs = consumer.task_consumer
    if consumer.taking_jobs and (jobs is None or not jobs.consuming_from(worker.queue)):
        return ["connected to the broker, and not consuming yet"]
    return []
