"""A spool: the outbox of a service without a database, in a file on its disk.

What a spool keeps is as safe as that disk, and no safer: it does not outlive the machine.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from laneway.calls.aside import call_of
from laneway.outbox.compose import call, composing
from laneway.outbox.relay import Relay, told
from laneway.outbox.sending import send
from laneway.outbox.sqlite import SQLiteDatabase
from laneway.outbox.store import Store, insert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Task
    from celery.canvas import Signature
    from celery.result import AsyncResult

    from laneway.app import Laneway
    from laneway.outbox.row import Row


class Spool:
    """Jobs kept on this machine's disk until the broker has them.

    Any number of threads and processes may use one file; a relay must run for it: in this process
    (:meth:`start_relay`) or ``laneway outbox relay``.

    Args:
        app: whose calls they are.
        path: the file, on a local disk; made where it is missing, in a folder that exists.

    Raises:
        OutboxError: the file cannot be made.
    """

    def __init__(self, app: Laneway, path: Path | str) -> None:
        self._app = app
        self._database = SQLiteDatabase(path, create=True)
        #: What a relay, or an operator, sees of it.
        self.store = Store(self._database)
        self._relay: Relay | None = None

    def start_relay(self, **options: Any) -> Relay:
        """Run a relay in a thread of this process, woken by each job that is stored here.

        A thread does not survive a fork: start it in the process that serves.

        Args:
            **options: of :class:`~laneway.outbox.relay.Relay`.
        """
        self._relay = Relay(self._app, self.store, **options)
        self._relay.start_in_background()
        return self._relay

    @contextlib.contextmanager
    def collect(self, *, key: str | None = None) -> Iterator[None]:
        """Store the calls of a block at its end, all of them or none; nothing is published here.

        When the block has ended, they are on the disk. An exception in it stores none of them.

        Args:
            key: jobs with the same key are published in the order in which they were stored.

        Raises:
            CallError: from a call in the block: it is wrong.
            OutboxError: they cannot be written.
        """
        with composing(self._app, key) as composed:
            yield
        self._keep(composed.rows)

    def add(self, signature: Signature, *, key: str | None = None) -> AsyncResult:
        """Store one call: of a task, a chain, a group or a chord.

        Raises:
            CallError: the call is wrong; nothing was stored.
            OutboxError: it cannot be written.
        """
        with self.collect(key=key):
            return call(self._app, signature)

    @contextlib.contextmanager
    def fallback(self) -> Iterator[None]:
        """Publish the calls of a block at its end; what the broker does not confirm is stored.

        When the block has ended, each job is on the broker or on this disk. A job whose confirm
        was lost may be on both: it is published again, with the same id. Jobs that are stored
        are overtaken by those that the broker takes meanwhile. An exception in the block publishes
        and stores none of them.

        Raises:
            CallError: from a call in the block: it is wrong.
            OutboxError: the broker did not confirm, and the file cannot be written either.
        """
        with composing(self._app) as composed:
            yield
        sent = send(composed.rows, self._app.publisher)
        accepted = {id(row) for row in sent.accepted}
        for row in sent.accepted:
            self._app.facts.tell("published", **told(row))
        self._keep([row for row in composed.rows if id(row) not in accepted])

    def send(
        self,
        task: Task | Signature | str,
        args: Any = None,
        kwargs: Any = None,
        **options: Any,
    ) -> AsyncResult:
        """Publish a job, or store it if the broker does not confirm it: ``fallback`` for one call.

        Args:
            task: a task, its name, or a signature.
            args: positional arguments of the job.
            kwargs: its keyword arguments.
            **options: as given to ``apply_async``.

        Raises:
            CallError: the call is wrong; nothing was published or stored.
            OutboxError: the broker did not confirm, and the file cannot be written either.
        """
        with self.fallback():
            return call_of(self._app, task, args, kwargs, options)()

    def _keep(self, rows: list[Row]) -> None:
        if not rows:
            return
        with self._database.transaction() as execute:
            insert(execute, rows)
        if self._relay is not None:
            self._relay.nudge()
