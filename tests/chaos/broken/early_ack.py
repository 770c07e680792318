"""A job is acknowledged when it starts: Celery's default."""

from __future__ import annotations

from typing import Any

from chaos.apps.laneway import Chaos
from laneway import Laneway
from laneway.task import JobTask
from laneway.worker.request import JobRequest


class EarlyRequest(JobRequest):
    """A request that is settled before its job ran."""

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """The pool's report that a process took the job."""
        super().on_accepted(pid, time_accepted)
        self.acknowledge()


class EarlyTask(JobTask):
    """A task of such requests."""

    Request: Any = "chaos.broken.early_ack:EarlyRequest"


app = Laneway("chaos", task_cls=EarlyTask)
publish = Chaos(app).publish
