"""The longer way of a call: Celery composes the message, the policy has decided where it goes.

For whatever is out of the ordinary (callbacks, stamps, delays, retries …); the short way is
:mod:`laneway.calls.sender`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING, Any

from celery import Celery

from laneway.calls import call
from laneway.calls.prepared import FAILED_AT_HEADER, QUEUE_HEADER, READY_AT_HEADER
from laneway.publish import tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery.result import AsyncResult

    from laneway.broker import VhostKind
    from laneway.calls.publishing import PublishingApp
    from laneway.policy.router import Decision
    from laneway.publish.producer import JobProducer
    from laneway.publish.taker import Taker
    from laneway.publish.tracing import Followed


class Composer:
    """Adds to a call what the platform's messages carry, and lets Celery publish it.

    Args:
        app: the application that publishes.
    """

    def __init__(self, app: PublishingApp) -> None:
        self._app = app

    def send(
        self,
        decision: Decision,
        name: str,
        args: Any,
        kwargs: Any,
        task_id: str,
        *,
        wait: int | None,
        due: bool,
        options: dict[str, Any],
        into: Taker | None,
    ) -> AsyncResult:
        """Publish one job, or give it to whoever takes it.

        Args:
            decision: its queue and priority.
            name: its task, which is Celery's own where that carries another (``map``, ``chunks``).
            args: its positional arguments.
            kwargs: its keyword arguments.
            task_id: its id.
            wait: whole seconds that it waits in the broker; None is not at all.
            due: whether it is for a moment that the caller named (``eta``).
            options: as given to ``apply_async``.
            into: who takes it; None is the broker.

        Raises:
            CallError: the arguments cannot be sent.
            PublishError: the broker did not accept the job.
        """
        options = call.without_destination(options)
        ready_at = time.time() + (wait or 0)
        headers = options["headers"] = {
            **(options.get("headers") or {}),
            READY_AT_HEADER: round(ready_at, 6),
            QUEUE_HEADER: decision.queue,
        }
        if wait and not due:
            # "In five seconds" is up when the broker's delay is, whatever a clock says. By the time
            # that Celery would write here, a worker whose clock is behind would hold the job again.
            headers["eta"] = None
        if options.get("retries"):
            # Celery gives a retry the headers of the attempt before.
            headers.setdefault(FAILED_AT_HEADER, round(time.time(), 6))
        # RabbitMQ below 4.0 tells the age of a queue's oldest message from this property.
        options["timestamp"] = int(ready_at)
        vhost = self._app.policy.queues[decision.queue].vhost
        followed = self._follow(name, task_id, decision.queue, vhost, options)
        if followed is not None:
            headers.update(followed.headers)
        with (
            self._producer(decision, name, vhost, task_id, into) as producer,
            tracing.to_its_end(followed, lambda: producer.body_size),
        ):
            return Celery.send_task(
                self._app,
                name,
                args,
                kwargs,
                countdown=wait,
                task_id=task_id,
                producer=producer,
                router=call.Decided(decision),
                **options,
            )

    def _follow(
        self, name: str, task_id: str, queue: str, vhost: VhostKind, options: dict[str, Any]
    ) -> Followed | None:
        """What follows the job for a trace; of a secure queue nothing does."""
        if self._app.tracer is None or vhost == "secure":
            return None
        return self._app.tracer.follow(
            name,
            task_id,
            queue,
            retries=options.get("retries") or 0,
            parent=self._app.current_worker_task,
        )

    @contextlib.contextmanager
    def _producer(
        self, decision: Decision, name: str, vhost: VhostKind, task_id: str, into: Taker | None
    ) -> Iterator[JobProducer]:
        """Who sends what Celery composes: at once, or whoever takes it."""
        if into is None:
            with self._app.publisher(vhost).producer() as producer:
                yield producer
            return
        producer = into.producer(vhost)
        producer.into = functools.partial(
            into.add, vhost, task_id, name, decision.queue, decision.priority
        )
        try:
            yield producer
        finally:
            producer.into = None
