"""The delay levels of Celery's native delayed delivery, exactly as kombu declares them.

A delayed job passes from level to level (2**n seconds each) and then goes to its queue. kombu's own
functions are run against a channel that only notes what is declared, so what Laneway creates,
compares and digests can never differ from what a Celery worker declares at its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kombu.entity import Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    CELERY_DELAYED_DELIVERY_EXCHANGE,
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from laneway.topology.parts import BindingPart, ExchangePart, Part, QueuePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Where jobs arrive whose delay has ended.
DELIVERY_EXCHANGE: Final = str(CELERY_DELAYED_DELIVERY_EXCHANGE)
#: Delays wait in replicated queues that give on at least once, whatever the queues of jobs are.
DELAY_QUEUE_TYPE: Final = "quorum"


def delay_levels() -> tuple[Part, ...]:
    """The exchanges, queues and bindings of the levels, in the order of kombu's declarations."""
    return _noted(
        lambda connection: declare_native_delayed_delivery_exchanges_and_queues(
            connection, DELAY_QUEUE_TYPE
        )
    )


def delay_bindings(queue: str, exchange: str) -> tuple[Part, ...]:
    """What brings a job whose delay has ended to its queue."""
    make_queue: Any = Queue  # kombu is only half typed
    make_exchange: Any = Exchange
    kombu_queue = make_queue(queue, make_exchange(exchange, type="topic"), routing_key=queue)
    return _noted(
        lambda connection: bind_queue_to_native_delayed_delivery_exchange(connection, kombu_queue)
    )


def _noted(declare: Callable[[Any], None]) -> tuple[Part, ...]:
    channel = _NotingChannel()
    declare(channel)
    return tuple(channel.parts())


class _NotingChannel:
    """As much of a connection and a channel as kombu's declarations use."""

    is_open = True

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def parts(self) -> Iterator[Part]:
        """Each part once, in the order of its first declaration."""
        seen: list[Part] = []
        for part in self._parts:
            if part not in seen:
                seen.append(part)
        yield from seen

    def channel(self) -> _NotingChannel:
        return self

    def exchange_declare(self, *, exchange: str, type: Any, **_: Any) -> None:  # noqa: A002 -- kombu's
        self._parts.append(ExchangePart(name=exchange, type=type))

    def prepare_queue_arguments(self, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        return arguments

    def queue_declare(self, *, queue: str, arguments: Any, **_: Any) -> tuple[str, int, int]:
        self._parts.append(QueuePart(name=queue, arguments=arguments or {}))
        return queue, 0, 0

    def queue_bind(self, *, queue: str, exchange: str, routing_key: str, **_: Any) -> None:
        self._parts.append(BindingPart(source=exchange, destination=queue, routing_key=routing_key))

    def exchange_bind(self, *, destination: str, source: str, routing_key: str, **_: Any) -> None:
        self._parts.append(
            BindingPart(
                source=source,
                destination=destination,
                destination_type="exchange",
                routing_key=routing_key,
            )
        )
