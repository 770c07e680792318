"""The worker's heartbeat event, with the numbers of whichever pool runs the jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celery.worker import heartbeat
from celery.worker.consumer.heart import Heart as CelerysHeart

from laneway.worker.direct import DirectPool

if TYPE_CHECKING:
    from laneway.worker.consumer import JobConsumer


class Heart(CelerysHeart):
    """Celery's step. Its numbers are those of the parent, which runs nothing in a direct group."""

    def start(self, c: JobConsumer) -> None:
        """Begin to beat."""
        if not isinstance(c.pool, DirectPool):
            super().start(c)
            return
        dispatcher = _Counting(c.event_dispatcher, c.pool)
        c.heart = heartbeat.Heart(c.timer, dispatcher, self.heartbeat_interval)
        c.heart.start()


class _Counting:
    """The event dispatcher as Celery's heart sees it, which puts the right numbers in."""

    def __init__(self, dispatcher: Any, pool: DirectPool) -> None:
        self._dispatcher = dispatcher
        self._pool = pool
        self.on_enabled = dispatcher.on_enabled
        self.on_disabled = dispatcher.on_disabled

    @property
    def enabled(self) -> bool:
        return bool(self._dispatcher.enabled)

    def send(self, type: str, **fields: Any) -> None:  # noqa: A002 (Celery's name for it)
        numbers = {"active": self._pool.running, "processed": self._pool.totals.by_task().total()}
        self._dispatcher.send(type, **(fields | numbers))


class FromThread:
    """What a thread of the parent uses as its event dispatcher: the loop sends for it."""

    def __init__(self, consumer: JobConsumer) -> None:
        self._consumer = consumer

    @property
    def enabled(self) -> bool:
        """Whether anything is sent."""
        dispatcher = self._consumer.event_dispatcher
        return dispatcher is not None and bool(dispatcher.enabled)

    def send(self, type: str, **fields: Any) -> None:  # noqa: A002 (Celery's name for it)
        """Tell soon that something happens now."""
        fields.setdefault("timestamp", time.time())
        self._consumer.call_soon(self._send, type, fields)

    def _send(self, kind: str, fields: dict[str, Any]) -> None:
        dispatcher = self._consumer.event_dispatcher
        if dispatcher is not None:
            dispatcher.send(kind, **fields)
