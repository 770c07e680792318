"""The consumer: what Celery would drop becomes a dead letter."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any, ClassVar

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer

from laneway.worker.direct import DirectPool
from laneway.worker.heart import FromThread
from laneway.worker.telling import tell_quarantined
from laneway.worker.topology_check import look_before_consuming

if TYPE_CHECKING:
    from collections.abc import Callable

    import kombu

log = get_logger(__name__)


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
            self.pool.eventer = FromThread(self)

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
        address = self.app.address
        # A direct pool takes no jobs here, and reads its frames itself.
        if address.consumer == "py-amqp" or isinstance(self.pool, DirectPool):
            return super().connection_for_read(heartbeat)
        importlib.import_module(f"laneway.broker.{address.consumer}").register()
        url = address.consumer_urls(self.app.policy.queue(self.app.serving).vhost)
        return self.ensure_connected(
            self.app.connection_for_read(
                url, heartbeat=heartbeat, transport_options={"confirm_publish": False}
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
        self.quarantine(message, exc)

    def on_unknown_message(self, body: object, message: kombu.Message) -> None:
        """Not a task message at all."""
        del body
        self.quarantine(message, ValueError("not a task message: it has no 'task' header"))

    def on_unknown_task(self, body: object, message: kombu.Message, exc: Exception) -> None:
        """A task that this worker does not know."""
        del body
        name = (message.headers or {}).get("task")
        self.quarantine(message, LookupError(f"this worker has no task {name!r}"), cause=exc)

    def on_invalid_task(self, body: object, message: kombu.Message, exc: Exception) -> None:
        """A task message whose parts do not fit, or whose content is not allowed."""
        del body
        self.quarantine(message, exc)

    def quarantine(
        self, message: kombu.Message, why: Exception, cause: Exception | None = None
    ) -> None:
        """Put the message aside, byte for byte: the broker moves it to ``dead.inbox``."""
        message.reject_log_error(log, self.connection_errors)
        tell_quarantined(
            self.app,
            self.hostname,
            queue=message.delivery_info.get("routing_key"),
            headers=message.headers,
            why=why,
            cause=cause,
        )

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[kombu.Message], Any]:
        """Celery's handler of a message, from which no message can kill the worker."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: kombu.Message) -> Any:
            try:
                return handle(message)
            except self.connection_errors:
                raise
            except Exception as error:
                if message.acknowledged:
                    raise
                return self.quarantine(message, error)

        return on_task_received
