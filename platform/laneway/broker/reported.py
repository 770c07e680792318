"""What the broker reports of itself, as values: queues, exchanges, bindings and policies.

Counts come from the broker's statistics and are up to five seconds old; a queue of the last seconds
has none yet. Unknown is None, never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class ReportedQueue:
    """One queue."""

    name: str
    #: ``quorum``, ``classic`` or ``stream``.
    type: str
    durable: bool
    auto_delete: bool
    exclusive: bool
    arguments: Mapping[str, Any]
    #: The policy that the broker says it applies. As old as the statistics.
    policy: str | None
    #: Messages in the queue: waiting and with consumers.
    messages: int | None
    #: Messages that wait.
    ready: int | None
    #: Messages that consumers hold.
    unacked: int | None
    consumers: int | None
    #: Messages a second that came in; None while the broker has no rate.
    publish_rate: float | None
    #: Messages a second that went out to consumers.
    deliver_rate: float | None
    #: Messages that ever came in.
    published: int | None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ReportedQueue:
        """From one entry of ``/api/queues``."""
        stats = values.get("message_stats") or {}
        return cls(
            name=values["name"],
            type=values.get("type") or values["arguments"].get("x-queue-type", "classic"),
            durable=values["durable"],
            auto_delete=values["auto_delete"],
            exclusive=bool(values.get("exclusive")),
            arguments=values["arguments"],
            policy=values.get("policy") or None,
            messages=values.get("messages"),
            ready=values.get("messages_ready"),
            unacked=values.get("messages_unacknowledged"),
            consumers=values.get("consumers"),
            publish_rate=(stats.get("publish_details") or {}).get("rate"),
            deliver_rate=(stats.get("deliver_get_details") or {}).get("rate"),
            published=stats.get("publish"),
        )


@dataclass(frozen=True, kw_only=True)
class ReportedCounters:
    """What one queue counts, as far as the broker keeps statistics of it."""

    name: str
    #: Messages in the queue: waiting and with consumers.
    messages: int | None
    #: Messages that wait.
    ready: int | None
    consumers: int | None
    #: Messages that were ever published into it; not those that came when their delay ended. None
    #: where there are none yet, and where nothing is counted.
    published: int | None
    #: Messages that consumers ever acknowledged; None as of ``published``.
    acknowledged: int | None

    #: What to ask for.
    COLUMNS: ClassVar = (
        "name,messages,messages_ready,consumers,message_stats.publish,message_stats.ack"
    )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ReportedCounters:
        """From one entry of ``/api/queues``."""
        stats = values.get("message_stats") or {}
        return cls(
            name=values["name"],
            messages=values.get("messages"),
            ready=values.get("messages_ready"),
            consumers=values.get("consumers"),
            published=stats.get("publish"),
            acknowledged=stats.get("ack"),
        )


@dataclass(frozen=True, kw_only=True)
class ReportedExchange:
    """One exchange; the default exchange is not reported."""

    name: str
    type: str
    durable: bool
    arguments: Mapping[str, Any]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ReportedExchange:
        """From one entry of ``/api/exchanges``."""
        return cls(
            name=values["name"],
            type=values["type"],
            durable=values["durable"],
            arguments=values["arguments"],
        )


@dataclass(frozen=True, kw_only=True)
class ReportedBinding:
    """One binding; those of the default exchange are not reported."""

    source: str
    destination: str
    destination_type: Literal["queue", "exchange"]
    routing_key: str

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ReportedBinding:
        """From one entry of ``/api/bindings``."""
        return cls(
            source=values["source"],
            destination=values["destination"],
            destination_type=values["destination_type"],
            routing_key=values["routing_key"],
        )


@dataclass(frozen=True, kw_only=True)
class ReportedPolicy:
    """One policy, or operator policy."""

    name: str
    #: A regular expression that is searched for in the name of the queue.
    pattern: str
    #: ``queues``, ``exchanges``, ``all``, or from 3.12 on one type of queue (``quorum_queues``).
    apply_to: str
    #: Of the policies that match a queue only the one with the highest priority has an effect.
    priority: int
    definition: Mapping[str, Any]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ReportedPolicy:
        """From one entry of ``/api/policies``."""
        return cls(
            name=values["name"],
            pattern=values["pattern"],
            apply_to=values["apply-to"],
            priority=values["priority"],
            definition=values["definition"],
        )
