"""Storing jobs in the transaction of a Django project.

::

    outbox = Outbox(app)

    with transaction.atomic():
        order.save()
        with outbox.collect():
            charge.delay(order.pk)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from django.db import transaction

from laneway.outbox.compose import call, composing
from laneway.outbox.django.database import executing
from laneway.outbox.store import insert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery.canvas import Signature
    from celery.result import AsyncResult

    from laneway.app import Laneway
    from laneway.outbox.relay import Relay


class Outbox:
    """Stores jobs in the transaction under way of one of the project's databases.

    Outside of ``transaction.atomic()`` each block is a transaction of its own, as Django does it.

    Args:
        app: whose calls they are.
        using: alias of the database; the one whose changes the jobs belong to.
        relay: one that runs in this process, to be woken at each commit.
    """

    def __init__(self, app: Laneway, *, using: str = "default", relay: Relay | None = None) -> None:
        self._app = app
        self._using = using
        self._relay = relay

    @contextlib.contextmanager
    def collect(self, *, key: str | None = None) -> Iterator[None]:
        """Store the calls of a block at its end, in the transaction under way.

        An exception in the block stores none of them.

        Args:
            key: jobs with the same key are published in the order in which they were stored.

        Raises:
            OptionRefused: the key is none.
            CallError: from a call in the block: it is wrong.
            django.db.Error: the rows cannot be written.
        """
        with composing(self._app, key) as composed:
            yield
        if not composed.rows:
            return
        claims = composed.claims()
        try:
            with transaction.atomic(using=self._using):
                insert(executing(self._using), composed.rows)
        except BaseException:
            claims.rollback()
            raise
        if claims:
            transaction.on_commit(claims.commit, using=self._using)
        if self._relay is not None:
            transaction.on_commit(self._relay.nudge, using=self._using)

    def add(self, signature: Signature, *, key: str | None = None) -> AsyncResult:
        """Store one call: of a task, a chain, a group or a chord.

        Args:
            signature: like ``charge.s(7)`` or ``charge.s(7).set(priority=9)``.
            key: as in :meth:`collect`.

        Raises:
            CallError: the call is wrong; nothing was stored.
            django.db.Error: the row cannot be written.
        """
        with self.collect(key=key):
            return call(self._app, signature)
