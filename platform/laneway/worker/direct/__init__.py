"""The ``direct`` pool: every process takes its jobs from the broker itself.

Celery's prefork pool passes each job from the parent, which consumes, to a child, which runs it:
that hop costs more than most jobs. Here the parent only watches, and each process holds a
connection of its own, runs jobs in its main thread with Celery's own tracer, and acknowledges late.

.. code-block:: text

    parent    Celery's worker: remote control, pausing, the look at the topology, health, limits
      └─ nursery    forked before the parent has threads or connections; forks processes on order
           └─ processes    each: consume → gate → tracer → acknowledge

Parent and processes share one record for each process (:mod:`.slots`): what runs there since when,
what is finished, what is held; and what was revoked (:mod:`.revoked`). From the record the parent
enforces time limits, and settles what a process leaves behind when it is killed or dies: it holds a
duplicate of the process's connection, so that a job is given back, dead-lettered or acknowledged by
itself and its neighbours are not charged (:mod:`.estate`).

* :mod:`.pool` is Celery's pool in the parent; :mod:`.watch` its eyes on each :mod:`.member`, whose
  process it holds by a :mod:`.pidfd`; :mod:`.aftermath` concludes a job that has :mod:`.ended` with
  its process; :mod:`.commands` is what ``celery inspect`` and ``celery control`` may ask;
* :mod:`.nursery` forks;
* :mod:`.process` is the life of one process, which has a :mod:`.lifetime`; :mod:`.intake` its end
  of the broker, in :mod:`.frames`; :mod:`.prefetch` says how much may be held ahead; :mod:`.parent`
  its end of the line to the parent; :mod:`.pulse` goes on beside the job that runs;
* :mod:`.turns` are its jobs, one after the other: :mod:`.runner` runs one, within its
  :mod:`.soft_limit`; :mod:`.disposal` settles what does not run; :mod:`.announcer` tells whoever
  listens to Celery's signals and :mod:`.task_events`.
"""

from laneway.worker.direct.nursery import freeze_what_is_loaded
from laneway.worker.direct.pool import PLACE, DirectPool

__all__ = ["DirectPool", "PLACE", "freeze_what_is_loaded"]
