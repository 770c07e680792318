"""The worker: the process group that serves exactly one queue.

* :mod:`laneway.worker.run` starts one from a queue's file (``laneway worker high``);
* :mod:`laneway.worker.job_worker` is Celery's worker, held to the queue's file;
* :mod:`laneway.worker.consumer` keeps the messages that Celery's own consumer would drop;
* :mod:`laneway.worker.topology_check` looks at the broker at each connect, before any job is taken;
* :mod:`laneway.worker.pause_watch` obeys a paused queue;
* :mod:`laneway.worker.request` makes a dead letter of a job that ran into its hard time limit;
* :mod:`laneway.worker.grace` leaves within the grace period;
* :mod:`laneway.worker.telling` tells the facts.
"""

from laneway.worker.run import load_app, run_worker

__all__ = ["load_app", "run_worker"]
