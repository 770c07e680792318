"""Remote control: what ``celery inspect`` and ``celery control`` can ask of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.worker.consumer.control import Control

from laneway.worker.direct import DirectPool

if TYPE_CHECKING:
    from laneway.worker.consumer import JobConsumer


class RemoteControl(Control):
    """Celery's step; a direct pool answers some commands itself."""

    def __init__(self, c: JobConsumer, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        if isinstance(c.pool, DirectPool):
            node = self.box.node
            node.handlers = {**node.handlers, **c.pool.commands}
