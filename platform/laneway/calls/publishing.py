"""The part of an application that publishes: one job, many, a batch, from asyncio.

Where a job goes is the policy's decision; the job's queue decides the connection.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.utils import uuid

from laneway import settings
from laneway.calls import aside, call, many
from laneway.calls.accepted import AcceptedMembers
from laneway.calls.aside import Aside
from laneway.calls.composer import Composer
from laneway.calls.next_step import insist, is_next_step
from laneway.calls.sender import Sender, Written
from laneway.calls.shortcut import Shortcut
from laneway.errors import BatchIncomplete, LanewayError
from laneway.facts import Door
from laneway.publish import delay, taker, tracing
from laneway.publish.batch import DEFAULT_WINDOW, Batch
from laneway.publish.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from celery import Task
    from celery.canvas import Signature
    from celery.result import AsyncResult

    from laneway.account import BatchAccount
    from laneway.broker import BrokerAddress, VhostKind
    from laneway.policy import Policy
    from laneway.policy.router import Decision
    from laneway.publish.taker import Taker
    from laneway.publish.tracing import Tracer


class PublishingApp(Celery):
    """A Celery application whose calls are confirmed, or an error.

    Args:
        policy: decides the queue and the priority.
        publish_deadline: seconds that one publish may take in all.
        max_message_bytes: the largest serialised job.
    """

    def __init__(
        self,
        main: str | None = None,
        *args: Any,
        policy: Policy,
        publish_deadline: float,
        max_message_bytes: int,
        **celery: Any,
    ) -> None:
        self.policy = policy
        #: The door through which facts are told; listeners are added with ``app.facts.listen``.
        self.facts = Door()
        #: Who follows publishes for a trace (:mod:`laneway.publish.tracing`); None is nobody.
        self.tracer: Tracer | None = None
        self.publish_deadline = publish_deadline
        self.max_message_bytes = max_message_bytes
        self._publishers: dict[str, Publisher] = {}
        self._accepted = AcceptedMembers()
        self._sender = Sender(self)
        self._composer = Composer(self)
        self._shortcut = Shortcut(self, self._sender)
        self._aside = Aside()
        super().__init__(main, *args, **celery)

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is."""
        raise NotImplementedError

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
                    traces=vhost != "secure",
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
        # A retry is the worker's own: it is not a call of the code that runs in the block.
        into = taker.current() if "redelivered" not in options else None

        def publish(pause: int | None = None) -> AsyncResult:
            if eta is None and countdown is None and pause is None:
                result = self._send_short(name, args, kwargs, task_id, told, options, into)
                if result is not None:
                    return result
            wait = delay.whole_seconds(countdown, eta, now=self.now()) or pause
            decision = self.decide(name, kwargs, task_id=task_id, **options)
            told.update(queue=decision.queue, priority=decision.priority)
            # As Celery has it, a countdown wins over an ETA.
            due = eta is not None and countdown is None
            return self._composer.send(
                decision,
                name,
                args,
                kwargs,
                task_id,
                wait=wait,
                due=due,
                options=options,
                into=into,
            )

        try:
            insisting = into is None and is_next_step(task_id, options, self.current_worker_task)
            result = insist(publish) if insisting else publish()
        except BatchIncomplete:
            raise
        except LanewayError as error:
            self.tell_refused(error, told, group)
            raise
        if into is None:
            self._accepted.note(group, task_id)
            self.facts.tell("published", **told)
        return result

    def publish_shortly(
        self, task: Task, args: Any, kwargs: Any, options: dict[str, Any]
    ) -> AsyncResult | None:
        """Publish an ordinary call of a task; None, before anything was done, if it is not one.

        :class:`laneway.task.JobTask` asks, and goes Celery's way to :meth:`send_task` otherwise.

        Raises:
            TypeError: the task does not take these arguments.
            CallError: the arguments cannot be sent.
            PublishError: the broker did not accept the job.
        """
        if type(self).send_task is not PublishingApp.send_task or "send_task" in self.__dict__:
            return None
        return self._shortcut.publish(task, args, kwargs, options)

    def tell_refused(
        self, error: LanewayError, told: dict[str, Any], group: str | None = None
    ) -> None:
        """Say in the error, and at the door, which job was not accepted."""
        error.task_id = told["task_id"]
        error.accepted = self._accepted.of(group)
        self.facts.tell("refused", **told, error_type=type(error).__name__, reason=str(error))

    def _send_short(
        self,
        name: str,
        args: Any,
        kwargs: Any,
        task_id: str,
        told: dict[str, Any],
        options: dict[str, Any],
        into: Taker | None,
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
        with tracing.to_its_end(written.followed, lambda: len(written.message.body)):
            self._hand_over(written, into, options.get("timeout"))
        result = (options.get("result_cls") or self.AsyncResult)(task_id)
        result.ignored = prepared.ignore_result
        parent = self.current_worker_task
        if parent and options.get("add_to_parent", True):
            parent.add_trail(result)
        return result

    def _hand_over(self, written: Written, into: Taker | None, seconds: float | None) -> None:
        """Give what is written to the broker, or to whoever takes it."""
        call_, message = written.call, written.message
        if into is None:
            self.publisher(call_.vhost).publish(message, seconds)
            return
        decision = call_.decision
        into.add(
            call_.vhost, written.task_id, decision.task, decision.queue, decision.priority, message
        )

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
