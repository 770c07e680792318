"""The consumer: every message passes the gate, and what Celery would drop is a dead letter."""

from __future__ import annotations

import importlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer

from laneway.worker import gate
from laneway.worker.desk import Desk
from laneway.worker.direct import DirectPool
from laneway.worker.gate import HandBack, Quarantine, Run
from laneway.worker.hand_back import hand_back
from laneway.worker.heart import FromThread
from laneway.worker.letters import Failure, LetterWriter, original_of
from laneway.worker.telling import tell_handed_back, tell_quarantined
from laneway.worker.topology_check import look_before_consuming
from laneway.worker.transport import worker_urls

if TYPE_CHECKING:
    from collections.abc import Callable

    import kombu

log = get_logger(__name__)

#: Seconds that a message stays here which could not be handed back, before it goes to its queue.
_PAUSE: Final = 1.0


class JobConsumer(Consumer):
    """Celery's consumer with the platform's steps, and with nothing acknowledged into nothing."""

    #: What was said of the queue at the last connect.
    paused: bool = False

    #: When the loop last came round (``time.monotonic``); 0 before it first did.
    turned_at: float = 0.0

    class Blueprint(Consumer.Blueprint):
        """The steps in their order.

        Celery's ``Gossip`` and ``DelayedDelivery`` are left out: workers of one queue need not
        know of each other, and only ``laneway topology apply`` declares.
        """

        default_steps: ClassVar[list[str]] = [
            "celery.worker.consumer.connection:Connection",
            "celery.worker.consumer.events:Events",
            "laneway.worker.heart:Heart",
            "laneway.worker.remote_control:RemoteControl",
            "celery.worker.consumer.tasks:Tasks",
            "laneway.worker.pause_watch:PauseWatch",
            "celery.worker.consumer.consumer:Evloop",
            "celery.worker.consumer.agent:Agent",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "without_mingle": True, "without_gossip": True})
        if isinstance(self.pool, DirectPool):
            self.pool.aftermath.eventer = FromThread(self)
        #: What is done beside the loop.
        self.desk = Desk(self.call_soon_ack)
        self._letters = LetterWriter(self.app, self.app.serving, self.hostname)
        self._limits = gate.limits_of(self.app, self.app.serving)

    def connect(self) -> kombu.Connection:
        """Connect, and look whether the queue and what catches its dead letters are there.

        Here and not in a step: Celery orders its steps by what they require only, and nothing may
        be consumed before this look.
        """
        connection = super().connect()
        # Not a clone: the look needs py-amqp, whatever the jobs come over.
        with self.app.connection_for_read() as own:
            self.paused = look_before_consuming(self.app, own, self.hostname)
        if self.paused or isinstance(self.pool, DirectPool):
            # The processes of a direct pool take their jobs themselves.
            self.app.amqp.queues.deselect([self.app.serving])
        return connection

    def connection_for_read(self, heartbeat: float | None = None) -> kombu.Connection:
        """The connection for jobs, over the client that ``LANEWAY_BROKER_URL`` names."""
        # A direct pool takes no jobs here, and reads its frames itself.
        if isinstance(self.pool, DirectPool):
            return super().connection_for_read(heartbeat)
        address, vhost = self.app.address, self.app.policy.queue(self.app.serving).vhost
        if address.consumer == "py-amqp":
            return self.ensure_connected(
                self.app.connection_for_read(
                    worker_urls(address.kombu_urls(vhost)), heartbeat=heartbeat
                )
            )
        importlib.import_module(f"laneway.broker.{address.consumer}").register()
        return self.ensure_connected(
            self.app.connection_for_read(
                address.consumer_urls(vhost),
                heartbeat=heartbeat,
                transport_options={"confirm_publish": False},
            )
        )

    @property
    def taking_jobs(self) -> bool:
        """Whether this worker takes jobs from its queue."""
        if isinstance(self.pool, DirectPool):
            return self.pool.consuming
        return self.app.serving in self.app.amqp.queues.consume_from

    @property
    def wants_task_events(self) -> bool:
        """Whether the events of jobs are to be sent (``-E``, ``celery control enable_events``)."""
        dispatcher = self.event_dispatcher
        if dispatcher is None or not dispatcher.enabled:
            return False
        return not dispatcher.groups or "task" in dispatcher.groups

    def take_jobs(self) -> None:
        """Take jobs from now on; from any thread."""
        if isinstance(self.pool, DirectPool):
            self.pool.send_events(self.wants_task_events)
            self.pool.consume()
        else:
            self.call_soon(self.add_task_queue, self.app.serving)

    def take_no_jobs(self) -> None:
        """Take no jobs any more, what was taken is run; from any thread."""
        if isinstance(self.pool, DirectPool):
            self.pool.halt()
        else:
            self.call_soon(self.cancel_task_queue, self.app.serving)

    def on_ready(self) -> None:
        """Celery's hook of a loop that begins: note from now on that it turns."""
        super().on_ready()
        self._turn()
        self.timer.call_repeatedly(1.0, self._turn)

    def _turn(self) -> None:
        self.turned_at = time.monotonic()

    def on_decode_error(self, message: kombu.Message, exc: Exception) -> None:
        """A body that nothing can be made of: Celery would acknowledge it."""
        self.quarantine(message, _wrong("BodyUnreadable", exc))

    def on_unknown_message(self, body: object, message: kombu.Message) -> None:
        """Not a task message at all."""
        del body
        self.quarantine(message, Quarantine("NoTaskMessage", "expected a task message"))

    def on_unknown_task(self, body: object, message: kombu.Message, exc: Exception) -> None:
        """A task that this worker does not know."""
        del body
        self.quarantine(message, _wrong("UnknownTask", exc))

    def on_invalid_task(self, body: object, message: kombu.Message, exc: Exception) -> None:
        """A task message whose parts do not fit, or whose content is not allowed."""
        del body
        self.quarantine(message, _wrong("BodyRefused", exc))

    def quarantine(self, message: kombu.Message, why: Quarantine) -> None:
        """Put the message aside, byte for byte, as a dead letter."""
        tell_quarantined(
            self.app, self.hostname, queue=self.app.serving, headers=message.headers, why=why
        )
        self.bury(message, Failure(outcome="quarantined", error_type=why.kind, message=why.reason))

    def bury(self, message: Any, failure: Failure) -> None:
        """Post the dead letter of a message, then acknowledge it.

        If the letter cannot be posted, the broker moves the message to ``dead.inbox``.
        """
        if getattr(message, "buried", False):
            return
        message.buried = True

        def post() -> bool:
            return self._letters.bury(
                message.headers,
                failure,
                original_of(message),
                priority=message.properties.get("priority"),
                redelivered=bool((message.delivery_info or {}).get("redelivered")),
            )

        self.desk.do(post, partial(self._settle, message, requeue=False))

    def hand_back(self, message: Any, why: HandBack) -> None:
        """Let the message come again later: the worker that knows its task may be on its way."""

        def give() -> bool:
            try:
                hand_back(
                    self.app,
                    self.app.serving,
                    original_of(message),
                    message.headers,
                    message.properties,
                    why.seconds,
                    why.times,
                )
            except Exception as error:  # noqa: BLE001 (whatever it was, it is still in its queue)
                log.warning("a job of an unknown task was not handed back: %s", error)
                time.sleep(_PAUSE)
                return False
            tell_handed_back(
                self.app, self.hostname, queue=self.app.serving, headers=message.headers, why=why
            )
            return True

        self.desk.do(give, partial(self._settle, message, requeue=True))

    def _settle(self, message: kombu.Message, done: bool, *, requeue: bool) -> None:
        """In the loop: acknowledge what is done, else reject it."""
        if done:
            message.ack_log_error(log, self.connection_errors)
        else:
            message.reject_log_error(log, self.connection_errors, requeue=requeue)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[kombu.Message], Any]:
        """Celery's handler of a message, behind the gate; no message can kill the worker."""
        handle = super().create_task_handler(*args, **kwargs)
        tasks = self.app.tasks

        def on_task_received(message: Any) -> Any:
            body = message.body
            verdict = gate.examine(
                message.properties if getattr(message, "readable", True) else None,
                message.headers,
                body.encode() if isinstance(body, str) else body,
                tasks=tasks,
                limits=self._limits,
            )
            match verdict:
                case Run():
                    message.job, message.body = verdict, verdict.body
                    message.bury = partial(self.bury, message)
                case HandBack():
                    return self.hand_back(message, verdict)
                case Quarantine():
                    return self.quarantine(message, verdict)
            try:
                return handle(message)
            except self.connection_errors:
                raise
            except Exception as error:
                if message.acknowledged:
                    raise
                return self.quarantine(message, _wrong("BodyRefused", error))

        return on_task_received


def _wrong(kind: gate.Kind, error: Exception) -> Quarantine:
    """What the gate let through and Celery refuses all the same."""
    return Quarantine(kind, f"{type(error).__name__}: {error}")
