"""Carry out a plan: in its order, each step harmless when it is done twice."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import amqp.exceptions
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.transport.native_delayed_delivery import (
    declare_native_delayed_delivery_exchanges_and_queues,
)

from laneway.broker.address import VHOST_KINDS, mask_password
from laneway.errors import BrokerError
from laneway.topology.changes import (
    Create,
    CreateDelays,
    MarkApplied,
    Prune,
    Recreate,
    Unbind,
    Update,
)
from laneway.topology.compare import APPLIED_AT
from laneway.topology.delays import DELAY_QUEUE_TYPE
from laneway.topology.desired import digest_exchange, late_binding, queue_bindings
from laneway.topology.parts import (
    POLICY_PRIORITY,
    BindingPart,
    ExchangePart,
    Part,
    PolicyPart,
    QueuePart,
    VhostPart,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from laneway.broker.address import BrokerAddress
    from laneway.broker.management import Management
    from laneway.topology.changes import Change
    from laneway.topology.plan import Plan

#: Seconds by which the broker's statistics may be late, as RabbitMQ comes.
STATISTICS_AGE: Final = 5.5

_CONNECT_TIMEOUT: Final = 5.0


class Report(Protocol):
    """Whoever wants to see the progress."""

    def __call__(self, line: str, /) -> None:
        """Take one line, before the step that it tells of."""


def _silent(_line: str) -> None:
    pass


def apply_plan(
    management: Management,
    plan: Plan,
    address: BrokerAddress,
    *,
    report: Report = _silent,
    clock: Callable[[], float] = time.time,
    statistics_age: float = STATISTICS_AGE,
) -> None:
    """Do what the plan says, with the rights of the management interface's user.

    What the plan refuses is left alone and named in the error at the end; the rest is done.

    Args:
        management: the broker's management interface.
        plan: made by :func:`laneway.topology.make_plan` for the same address.
        address: where the broker is.
        report: gets one line for each step.
        clock: gives seconds since 1970, for the mark.
        statistics_age: seconds to wait before a queue is taken for empty and deleted.

    Raises:
        BrokerError: a step failed (what was done before it stays; apply again), or the plan has
            refusals.
    """
    with _Hands(management, address, clock, statistics_age) as hands:
        for change in plan.changes:
            report(str(change))
            try:
                hands.carry_out(change)
            except (amqp.exceptions.AMQPError, OperationalError, OSError) as error:
                raise BrokerError(
                    f"this step failed: {change}: {_explained(error, hands)}"
                ) from error
    if plan.refusals:
        lines = "\n".join(str(refusal) for refusal in plan.refusals)
        raise BrokerError(f"not everything could be applied:\n{lines}")


class _Hands:
    """One AMQP connection a virtual host, opened when it is first needed."""

    def __init__(
        self,
        management: Management,
        address: BrokerAddress,
        clock: Callable[[], float],
        statistics_age: float,
    ) -> None:
        self.management = management
        self.address = management.as_own_user(address)
        self._given_address = address
        self._clock = clock
        self._statistics_age = statistics_age
        self._kinds = {address.vhost(kind): kind for kind in VHOST_KINDS}
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._connections.values():
            with contextlib.suppress(Exception):
                connection.release()

    def carry_out(self, change: Change) -> None:
        """One step of the plan."""
        match change:
            case Create(part=part):
                self._create(change.vhost, part)
            case Update(part=part):
                self._create(change.vhost, part)
            case CreateDelays():
                declare_native_delayed_delivery_exchanges_and_queues(
                    self._connection(change.vhost), DELAY_QUEUE_TYPE
                )
            case Recreate(part=part):
                self._require_empty(change.vhost, part.name)
                self._channel(change.vhost).queue_delete(part.name)
                self._create(change.vhost, part)
            case Unbind(part=part):
                self._unbind(change.vhost, part)
            case Prune(kind="policy"):
                self.management.delete_policy(change.vhost, change.name)
            case Prune():
                self._prune(change.vhost, change.name)
            case MarkApplied():
                self._mark(change)

    def _create(self, vhost: str, part: Part) -> None:
        match part:
            case VhostPart():
                self._create_vhost(vhost)
            case PolicyPart():
                self.management.put_policy(
                    vhost,
                    part.name,
                    pattern=part.pattern,
                    definition=part.definition,
                    priority=POLICY_PRIORITY,
                )
            case ExchangePart():
                self._channel(vhost).exchange_declare(
                    part.name, part.type, durable=True, auto_delete=False
                )
            case QueuePart():
                self._channel(vhost).queue_declare(
                    part.name, durable=True, auto_delete=False, arguments=dict(part.arguments)
                )
            case BindingPart():
                self._bind(vhost, part)

    def _create_vhost(self, vhost: str) -> None:
        self.management.create_vhost(vhost)
        for user in self._given_address.users():
            if user != self.management.user:
                self.management.grant(vhost, user)

    def _bind(self, vhost: str, part: BindingPart) -> None:
        channel = self._channel(vhost)
        bind = channel.queue_bind if part.destination_type == "queue" else channel.exchange_bind
        bind(part.destination, part.source, part.routing_key)

    def _unbind(self, vhost: str, part: BindingPart) -> None:
        channel = self._channel(vhost)
        queue = part.destination_type == "queue"
        unbind = channel.queue_unbind if queue else channel.exchange_unbind
        unbind(part.destination, part.source, part.routing_key)

    def _prune(self, vhost: str, queue: str) -> None:
        """Nothing is routed to it any more when it is looked at for the last time.

        Jobs for it that wait for the end of their delay become dead letters, as the queue will not
        be there to take them.
        """
        self._require_empty(vhost, queue)
        bindings = tuple(queue_bindings(queue))
        self._bind(vhost, late_binding(queue))
        for binding in bindings:
            self._unbind(vhost, binding)
        try:
            self._require_nothing_waits(vhost, queue)
        except BaseException:
            for binding in bindings:
                self._bind(vhost, binding)
            self._unbind(vhost, late_binding(queue))
            raise
        self._channel(vhost).queue_delete(queue)

    def _require_empty(self, vhost: str, queue: str) -> None:
        # A quorum queue refuses the broker's own "if empty" and "if unused", so we look ourselves.
        # A worker that is about to end has no consumer any more but still runs jobs: only the
        # statistics show them, and only when they are newer than the last job that was handed out.
        self._require_nothing_waits(vhost, queue)
        time.sleep(self._statistics_age)
        reported = self.management.queue(vhost, queue)
        if reported and reported.unacked:
            raise _not_empty(vhost, queue, f"{reported.unacked} running jobs")
        self._require_nothing_waits(vhost, queue)

    def _require_nothing_waits(self, vhost: str, queue: str) -> None:
        answer = self._channel(vhost).queue_declare(queue, passive=True)
        if answer.message_count or answer.consumer_count:
            held = f"{answer.message_count} waiting jobs and {answer.consumer_count} consumers"
            raise _not_empty(vhost, queue, held)

    def _mark(self, change: MarkApplied) -> None:
        channel = self._channel(change.vhost)
        channel.exchange_declare(
            digest_exchange(change.digest),
            "fanout",
            durable=True,
            auto_delete=False,
            arguments={APPLIED_AT: int(self._clock())},
        )
        for exchange in change.retired:
            channel.exchange_delete(exchange)

    def _channel(self, vhost: str) -> Any:
        return self._connection(vhost).default_channel

    def _connection(self, vhost: str) -> Any:
        if vhost not in self._connections:
            url = self.address.kombu_urls(self._kinds[vhost])
            connect: Any = Connection  # kombu is only half typed
            connection = connect(url, connect_timeout=_CONNECT_TIMEOUT)
            connection.ensure_connection(max_retries=2, interval_start=0.2)
            self._connections[vhost] = connection
        return self._connections[vhost]


def _not_empty(vhost: str, queue: str, held: str) -> BrokerError:
    return BrokerError(
        f"expected the queue {queue} in the virtual host {vhost} to be empty and unused, so that "
        f"it can be deleted; it has {held} and was left as it is. Let its workers empty it, stop "
        "them, and apply again."
    )


def _explained(error: Exception, hands: _Hands) -> str:
    where = ", ".join(mask_password(url) for url in hands.address.urls)
    if isinstance(error, amqp.exceptions.AccessRefused):
        return (
            f"{error}. The user {hands.management.user!r} of LANEWAY_MANAGEMENT_URL needs all "
            f"permissions in the virtual host (and a login at {where}): rabbitmqctl "
            f"set_permissions -p VHOST {hands.management.user} '.*' '.*' '.*'"
        )
    return f"{error} ({where})"
