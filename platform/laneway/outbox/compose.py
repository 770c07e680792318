"""Composing: calls become rows of the outbox, and nothing is published."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from celery.canvas import Signature, maybe_signature

from laneway.errors import OptionRefused
from laneway.once.uncommitted import Uncommitted
from laneway.outbox.row import Row, checked_key
from laneway.publish import taker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery.result import AsyncResult

    from laneway.app import Laneway
    from laneway.broker import VhostKind
    from laneway.publish.frames import Publish
    from laneway.publish.producer import JobProducer


class Composed:
    """The rows of one block of calls; it belongs to the thread that made it.

    Args:
        app: whose calls they are.
        key: the ordering key of all of them.
    """

    def __init__(self, app: Laneway, key: str | None) -> None:
        self.rows: list[Row] = []
        self._app = app
        self._key = checked_key(key)
        self._thread = threading.get_ident()
        self._producers: dict[VhostKind, JobProducer] = {}
        self._open = True

    @property
    def is_open(self) -> bool:
        """Whether it takes calls of this thread now."""
        return self._open and self._thread == threading.get_ident()

    def producer(self, vhost: VhostKind) -> JobProducer:
        """On which Celery composes what it does not know otherwise; it never connects."""
        if vhost not in self._producers:
            self._producers[vhost] = self._app.publisher(vhost).composer()
        return self._producers[vhost]

    def add(
        self,
        vhost: VhostKind,
        task_id: str,
        name: str,
        queue: str,
        priority: int,
        message: Publish,
    ) -> None:
        """Take one job."""
        self.rows.append(
            Row(
                job_id=task_id,
                task=name,
                queue=queue,
                priority=priority,
                vhost=vhost,
                order_key=self._key,
                message=message,
                created_at=time.time(),
            )
        )

    def claims(self) -> Uncommitted:
        """What the unique ones among them have claimed."""
        return Uncommitted(self._app, ((row.task, row.job_id) for row in self.rows))

    def close(self) -> None:
        """Take no more."""
        self._open = False


@contextlib.contextmanager
def composing(app: Laneway, key: str | None = None) -> Iterator[Composed]:
    """Compose the calls of a block instead of publishing them.

    After an exception in the block unique jobs have no claim.

    Raises:
        OptionRefused: the key is none.
        CallError: from a call in the block: it is wrong.
    """
    composed = Composed(app, key)
    try:
        with taker.taking(composed):
            yield composed
    except BaseException:
        composed.claims().rollback()
        raise
    finally:
        composed.close()


def call(app: Laneway, signature: Signature) -> AsyncResult:
    """Call a signature: a task's, a chain, a group, a chord.

    Raises:
        OptionRefused: it is no signature.
        CallError: the call is wrong.
    """
    if not isinstance(signature, Signature):
        raise OptionRefused(
            f"expected a signature (task.s(...), app.signature(...)), got: {signature!r:.100}. "
            "Nothing was stored."
        )
    ours: Any = maybe_signature(signature.clone(), app=app)
    return ours.apply_async()
