"""The Celery application with the platform's promises: ``app = Laneway("shop")``.

Everything of Celery's works: ``@app.task``, ``@shared_task``, ``delay``, ``apply_async``,
``send_task``, signatures and canvas. What differs is where a job goes (the policy decides), how it
is published (see :mod:`laneway.publish`) and which settings a project may not undo (see
:mod:`laneway.settings`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from celery.utils import uuid

from laneway import aside, call, delay, many, settings
from laneway.aside import Aside
from laneway.batch import DEFAULT_WINDOW, Batch
from laneway.broker import BrokerAddress, VhostKind, broker_address
from laneway.celery_command import plain_errors
from laneway.errors import BatchIncomplete, LanewayError, SettingsError
from laneway.facts import Door
from laneway.policy import Policy, load_policy
from laneway.prepared import QUEUE_HEADER, READY_AT_HEADER
from laneway.publish import DEFAULT_DEADLINE, DEFAULT_MAX_MESSAGE_BYTES, Publisher
from laneway.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from celery import Task
    from celery.canvas import Signature
    from celery.result import AsyncResult

    from laneway.account import BatchAccount
    from laneway.producer import JobProducer
    from laneway.router import Decision


__all__ = ["QUEUE_HEADER", "READY_AT_HEADER", "Laneway"]


class Laneway(Celery):
    """A Celery application on the platform.

    Args:
        main: the name of the application, used for tasks of the ``__main__`` module.
        policy: the policy, or the folder that holds ``routing.py`` and ``queues/``. By default
            ``$LANEWAY_POLICY``, the policy in the wheel, or the checkout's.
        address: where the broker is, instead of ``$LANEWAY_BROKER_URL``, the project's
            ``broker_url`` and ``vhost_prefix``.
        vhost_prefix: what the names of the virtual hosts begin with; ``$LANEWAY_VHOST_PREFIX``,
            else nothing.
        publish_deadline: seconds that one publish may take in all;
            ``$LANEWAY_PUBLISH_DEADLINE``, else 10.
        max_message_bytes: the largest serialised job; ``$LANEWAY_MAX_MESSAGE_BYTES``, else 1 MiB.
        **celery: everything else is Celery's own.

    Raises:
        PolicyError: the policy has problems; all of them.
    """

    task_cls = "laneway.task:JobTask"

    def __init__(
        self,
        main: str | None = None,
        *args: Any,
        policy: Policy | Path | str | None = None,
        address: BrokerAddress | None = None,
        vhost_prefix: str | None = None,
        publish_deadline: float | None = None,
        max_message_bytes: int | None = None,
        **celery: Any,
    ) -> None:
        with plain_errors():
            self.policy = policy if isinstance(policy, Policy) else load_policy(_path(policy))
        #: The door through which facts are told; listeners are added with ``app.facts.listen``.
        self.facts = Door()
        self.publish_deadline = _positive(
            "LANEWAY_PUBLISH_DEADLINE", publish_deadline, DEFAULT_DEADLINE
        )
        self.max_message_bytes = int(
            _positive("LANEWAY_MAX_MESSAGE_BYTES", max_message_bytes, DEFAULT_MAX_MESSAGE_BYTES)
        )
        self._address = address
        self._vhost_prefix = vhost_prefix
        self._vhost: VhostKind = "jobs"
        #: The queue whose worker this process is; None in a producer.
        self.serving: str | None = None
        self._publishers: dict[str, Publisher] = {}
        self._accepted = _AcceptedMembers()
        self._sender = Sender(self)
        self._aside = Aside()
        self._settings_error: SettingsError | None = None
        super().__init__(main, *args, **celery)

    # -- configuration -----------------------------------------------------------------------

    def _load_config(self) -> Any:
        with plain_errors():
            return self._read_settings()

    def _read_settings(self) -> Any:
        if self._settings_error is not None:
            raise self._settings_error
        conf = super()._load_config()
        try:
            settings.raise_contradictions(conf, self.policy)
        except SettingsError as error:
            # Celery keeps what it has read: without this the next look would find the settings
            # in place, and neither the check nor the profile.
            self._settings_error, self._conf = error, None
            raise
        # Read once, before the profile puts the address of one virtual host in its place.
        given = settings.broker_url_of(conf)
        self._address = self._address or broker_address(
            None if os.environ.get("LANEWAY_BROKER_URL") else given,
            vhost_prefix=self._vhost_prefix,
        )
        if backend := os.environ.get("LANEWAY_RESULT_BACKEND"):
            conf.result_backend = backend
        self._apply_profile(conf)
        return conf

    def _apply_profile(self, conf: Any) -> None:
        settings.apply_profile(
            conf, self.policy, vhost=self._vhost, broker_url=self.address.kombu_urls(self._vhost)
        )

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is."""
        if self._address is None:
            self.conf.finalize()
        assert self._address is not None
        return self._address

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 (Celery's own name for it)
        """The worker of exactly one queue, also behind ``celery -A … worker -Q high``."""
        return self.subclass_with_self("laneway.worker.job_worker:JobWorker")

    def serve(self, queue: str) -> None:
        """Make this process the worker of ``queue``: its virtual host and its shape.

        Raises:
            UnknownQueue: the policy has no such queue.
        """
        spec = self.policy.queue(queue)
        conf = self.conf
        conf.finalize()
        self._vhost = spec.vhost
        self._apply_profile(conf)
        self.serving = queue
        conf.worker_concurrency = spec.worker.concurrency
        conf.worker_max_tasks_per_child = spec.worker.max_tasks_per_child
        for name in ("queues", "default_queue"):
            self.amqp.__dict__.pop(name, None)

    # -- publishing --------------------------------------------------------------------------

    def publisher(self, vhost: VhostKind) -> Publisher:
        """The confirmed publisher of one virtual host (``"jobs"`` or ``"secure"``)."""
        publisher = self._publishers.get(vhost)
        if publisher is None:
            settings.raise_changes(self.conf)
            url = self.address.kombu_urls(vhost)
            publisher = self._publishers.setdefault(
                vhost,
                Publisher(
                    lambda options: self.connection_for_write(
                        url, transport_options=options, connect_timeout=4
                    ),
                    name=f"the virtual host {self.address.vhost(vhost)!r}",
                    deadline=self.publish_deadline,
                    max_message_bytes=self.max_message_bytes,
                ),
            )
        return publisher

    def decide(self, name: str, kwargs: Any = None, **options: Any) -> Decision:
        """Where a call would go and why; publishes nothing.

        Args:
            name: the task's name.
            kwargs: the task's keyword arguments (only Celery's ``map`` and ``chunks`` need them).
            **options: as given to ``apply_async``.

        Raises:
            CallError: one of its leaves, when the call would be refused.
        """
        decision = call.decide(
            self.policy.router,
            name,
            kwargs,
            options,
            task=self.tasks.get(name),
            parent=self.current_worker_task,
        )
        call.refuse_limits(name, options, self.policy.queues[decision.queue])
        return decision

    def send_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: float | None = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        router: Any = None,
        **options: Any,
    ) -> AsyncResult:
        """Publish a job by its task's name; ``apply_async`` and ``delay`` end here too.

        The arguments are Celery's. ``producer``, ``connection`` and ``router`` are not used: the
        job's queue decides the connection, and the policy the queue. ``timeout`` is the deadline
        of this call in seconds. A delay is rounded up to whole seconds and waits in the broker.

        Raises:
            CallError: the call is wrong; one of the leaves says what. Nothing was published.
            PublishError: the broker did not accept the job; one of the leaves says why, and
                ``maybe_accepted`` and ``accepted`` what may be on its way all the same.
        """
        del producer, connection, router
        task_id = task_id or uuid()
        told: dict[str, Any] = {
            "task": name,
            "task_id": task_id,
            "attempt": (options.get("retries") or 0) + 1,
        }
        group = options.get("group_id")
        # A retry is the worker's own: it is not a call of the code that runs in the batch.
        batch = Batch.current() if "redelivered" not in options else None
        try:
            result = None
            if eta is None and countdown is None:
                result = self._send_short(name, args, kwargs, task_id, told, options, batch)
            if result is None:
                wait = delay.whole_seconds(countdown, eta, now=self.now())
                decision = self.decide(name, kwargs, task_id=task_id, **options)
                told |= {"queue": decision.queue, "priority": decision.priority}
                result = self._send(decision, name, args, kwargs, task_id, wait, options, batch)
        except BatchIncomplete:
            raise
        except LanewayError as error:
            error.task_id = task_id
            error.accepted = self._accepted.of(group)
            self.facts.tell("refused", **told, error_type=type(error).__name__, reason=str(error))
            raise
        if batch is None:
            self._accepted.note(group, task_id)
            self.facts.tell("published", **told)
        return result

    def _send_short(
        self,
        name: str,
        args: Any,
        kwargs: Any,
        task_id: str,
        told: dict[str, Any],
        options: dict[str, Any],
        batch: Batch | None,
    ) -> AsyncResult | None:
        """Publish a call that has nothing out of the ordinary; None if it has."""
        written = self._sender.write(name, args, kwargs, task_id, options)
        if written is None:
            return None
        prepared = written.call
        decision = prepared.decision
        told["queue"], told["priority"] = decision.queue, decision.priority
        if not prepared.ignore_result:
            self._sender.expect_result(task_id)
        if batch is None:
            self.publisher(prepared.vhost).publish(written.message, options.get("timeout"))
        else:
            batch.add(
                prepared.vhost, task_id, name, decision.queue, decision.priority, written.message
            )
        result = (options.get("result_cls") or self.AsyncResult)(task_id)
        result.ignored = prepared.ignore_result
        parent = self.current_worker_task
        if parent and options.get("add_to_parent", True):
            parent.add_trail(result)
        return result

    def _send(
        self,
        decision: Decision,
        name: str,
        args: Any,
        kwargs: Any,
        task_id: str,
        wait: int | None,
        options: dict[str, Any],
        batch: Batch | None,
    ) -> AsyncResult:
        options = call.without_destination(options)
        ready_at = time.time() + (wait or 0)
        options["headers"] = {
            **(options.get("headers") or {}),
            READY_AT_HEADER: round(ready_at, 6),
            QUEUE_HEADER: decision.queue,
        }
        # RabbitMQ below 4.0 tells the age of a queue's oldest message from this property.
        options["timestamp"] = int(ready_at)
        vhost = self.policy.queues[decision.queue].vhost
        with self._producer(vhost, batch, task_id, name, decision) as producer:
            return super().send_task(
                name,
                args,
                kwargs,
                countdown=wait,
                task_id=task_id,
                producer=producer,
                router=call.Decided(decision),
                **options,
            )

    @contextlib.contextmanager
    def _producer(
        self, vhost: VhostKind, batch: Batch | None, task_id: str, name: str, decision: Decision
    ) -> Iterator[JobProducer]:
        """Who sends what Celery composes: at once, or with its batch."""
        if batch is None:
            with self.publisher(vhost).producer() as producer:
                yield producer
            return
        producer = batch.producer(vhost)
        producer.into = functools.partial(
            batch.add, vhost, task_id, name, decision.queue, decision.priority
        )
        try:
            yield producer
        finally:
            producer.into = None

    @contextlib.contextmanager
    def batch(
        self,
        *,
        window: int = DEFAULT_WINDOW,
        on_accepted: Callable[[int, str], None] | None = None,
    ) -> Iterator[Batch]:
        """Publish the calls of a block as one batch: each returns at once.

        At the end of the block every job is accepted, or it raises. Jobs are sent while the block
        runs; an exception in it does not take back those that were called before.

        Args:
            window: jobs that may be on their way, unconfirmed, for each virtual host.
            on_accepted: called with the number of the call (from 0) and the job's id for each job
                that the broker confirmed.

        Raises:
            BatchIncomplete: not every job was accepted; its ``account`` says which. Also raised
                by a call in the block, when an earlier one was refused.
        """
        batch = Batch(self.publisher, facts=self.facts, window=window, on_accepted=on_accepted)
        with batch.around_calls():
            yield batch

    def publish_many(
        self,
        signatures: Iterable[Signature],
        *,
        window: int = DEFAULT_WINDOW,
        on_accepted: Callable[[int, str], None] | None = None,
    ) -> BatchAccount:
        """Publish the jobs of many signatures, read one by one as there is room.

        Every job is persistent, confirmed and mandatory, as with ``apply_async``, but one confirm
        is not waited for before the next job is sent. It ends with the first job that is not
        accepted.

        Args:
            signatures: of single tasks or chains; any iterable, also an endless one. Groups and
                chords publish several jobs each and are refused: give their members.
            window: jobs that may be on their way, unconfirmed, for each virtual host.
            on_accepted: called with position and id of each job that the broker confirmed. Only
                ranges of positions are kept, so whoever needs the ids takes them here.

        Returns:
            The account: how many were accepted, and how many were sent twice.

        Raises:
            BatchIncomplete: not every signature was accepted, or the iterable raised; its
                ``account`` says what became of each job, and its cause is the reason.
        """
        batch = Batch(self.publisher, facts=self.facts, window=window, on_accepted=on_accepted)
        return many.publish(self, self._sender, batch, signatures)

    async def asend(
        self,
        task: Task | Signature | str,
        args: Any = None,
        kwargs: Any = None,
        **options: Any,
    ) -> AsyncResult:
        """Publish a job from an asyncio service, without blocking its loop.

        A thread waits for the confirm, with the context variables of the caller. Cancelling the
        awaiting task does not stop a publish that has begun: it goes on to its end in its thread,
        so the job may be accepted all the same; give a ``task_id`` to know which one.

        Args:
            task: a task, its name, or a signature.
            args: positional arguments of the job.
            kwargs: its keyword arguments.
            **options: as given to ``apply_async``.

        Raises:
            CallError: the call is wrong; nothing was published.
            PublishError: the broker did not accept the job.
        """
        return await self._aside.run(aside.call_of(self, task, args, kwargs, options))

    def close(self) -> None:
        """Close the publishers' connections along with Celery's own."""
        self._aside.close()
        for publisher in self._publishers.values():
            publisher.close()
        super().close()


class _AcceptedMembers(threading.local):
    """The ids accepted of the newest groups of this thread, for the error of a later member."""

    _KEPT_GROUPS: Final = 16

    def __init__(self) -> None:
        self._groups: OrderedDict[str, list[str]] = OrderedDict()

    def note(self, group: str | None, task_id: str) -> None:
        if group is not None:
            self._groups.setdefault(group, []).append(task_id)
            while len(self._groups) > self._KEPT_GROUPS:
                self._groups.popitem(last=False)

    def of(self, group: str | None) -> tuple[str, ...]:
        return tuple(self._groups.get(group, ())) if group is not None else ()


def _path(policy: Path | str | None) -> Path | None:
    return Path(policy) if policy is not None else None


def _positive(variable: str, given: float | None, default: float) -> float:
    text = os.environ.get(variable)
    if given is None and text is None:
        return default
    try:
        value = float(given if given is not None else text or "")
    except ValueError:
        value = 0
    if value <= 0:
        got = given if given is not None else text
        raise SettingsError(f"{variable}: expected a number above 0, got: {got!r}")
    return value
