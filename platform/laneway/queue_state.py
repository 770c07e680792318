"""The queues as they stand on the broker: what waits, runs, is delayed or dead.

Nothing here takes a message to look at it: counts come from the broker, and what it does not say is
None.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import amqp.exceptions

from laneway.broker.connect import connection_to
from laneway.broker.management import Management
from laneway.errors import BrokerError, BrokerUnreachable, PublishError
from laneway.pause import is_paused
from laneway.topology import DEAD_INBOX, LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from kombu.connection import Connection

    from laneway.broker import BrokerAddress, VhostKind
    from laneway.policy import Policy

_DELAY_QUEUES: Final = "celery_delayed_"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One queue of the policy as it stands on the broker; None is "the broker does not say"."""

    #: The queue's name.
    name: str
    #: Its virtual host, without the prefix.
    vhost: str
    #: Whether it exists.
    exists: bool
    #: Whether it is paused.
    paused: bool | None = None
    #: Messages that wait for a worker.
    ready: int | None = None
    #: Messages that workers hold: running, or next to run.
    running: int | None = None
    #: Consumers: one for each worker that takes jobs from it now.
    consumers: int | None = None
    #: Waiting messages of each priority that has any.
    ready_by_priority: Mapping[int, int] | None = None
    #: Seconds that the message at the head has waited. The head is the oldest of the highest
    #: priority that waits; older ones of lower priorities may be behind it.
    head_wait: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VhostState:
    """What all queues of a virtual host share."""

    #: Its name without the prefix.
    vhost: str
    #: Messages whose delay has not ended; delays are levels that all queues share.
    delayed: int | None
    #: Messages that the broker gave up and nobody has made letters of yet.
    dead_inbox: int | None
    #: Control processes that make letters of them.
    keepers: int | None
    #: Entries of the stream of dead letters, those that were replayed included.
    dead_letters: int | None


def read_queues(
    address: BrokerAddress, policy: Policy, *, now: Callable[[], float] = time.time
) -> tuple[tuple[QueueState, ...], tuple[VhostState, ...]]:
    """Every queue of the policy, and what the queues of a virtual host share.

    Counts of waiting messages are exact; what only the management interface knows (running,
    priorities, delays) is up to five seconds old, and unknown without that interface.

    Raises:
        BrokerUnreachable: no connection.
    """
    queues: list[QueueState] = []
    vhosts: list[VhostState] = []
    for kind in _kinds(policy):
        vhost = address.vhost(kind)
        reported = _reported(address, vhost, policy.vhost_queues(kind))
        with connection_to(address, kind) as connection:
            for name in policy.vhost_queues(kind):
                entry = reported.get(name, {})
                queues.append(_queue_state(connection, name, kind, entry, now()))
        vhosts.append(vhost_state(kind, reported))
    return tuple(queues), tuple(vhosts)


def _queue_state(
    connection: Connection, name: str, kind: str, entry: Mapping[str, Any], now: float
) -> QueueState:
    counts = declared_counts(connection, name)
    if counts is None:
        return QueueState(name=name, vhost=kind, exists=False)
    head = entry.get("head_message_timestamp")
    return QueueState(
        name=name,
        vhost=kind,
        exists=True,
        paused=is_paused(connection, name),
        ready=counts[0],
        running=entry.get("messages_unacknowledged"),
        consumers=counts[1],
        ready_by_priority=ready_by_priority(entry, ready=counts[0]),
        head_wait=max(0.0, now - head) if isinstance(head, int) and counts[0] else None,
    )


def ready_by_priority(entry: Mapping[str, Any], *, ready: int) -> dict[int, int] | None:
    """How many wait of each priority, where the broker says it.

    4.3 does of quorum queues, 3.10 to 3.13 do of classic ones. The broker's statistics are seconds
    old: numbers that do not add up to ``ready`` are of another moment, and as good as unknown.
    """
    status = entry.get("backing_queue_status")
    found = entry.get("messages_by_priority")
    if found is None and isinstance(status, dict):
        found = status.get("priority_lengths")
    if ready == 0:
        return {}
    if not isinstance(found, dict):
        return None
    if sum(found.values()) != ready:
        return None
    return {int(level): count for level, count in found.items() if count}


def vhost_state(kind: str, reported: Mapping[str, Mapping[str, Any]]) -> VhostState:
    """What a virtual host's queues share, out of what the broker says of each."""
    delays = [
        entry.get("messages") for name, entry in reported.items() if name.startswith(_DELAY_QUEUES)
    ]
    known = [count for count in delays if isinstance(count, int)]
    return VhostState(
        vhost=kind,
        delayed=sum(known) if delays and len(known) == len(delays) else None,
        dead_inbox=reported.get(DEAD_INBOX, {}).get("messages"),
        keepers=reported.get(DEAD_INBOX, {}).get("consumers"),
        dead_letters=reported.get(LETTER_STREAM, {}).get("messages"),
    )


def _reported(
    address: BrokerAddress, vhost: str, queues: Mapping[str, object]
) -> dict[str, dict[str, Any]]:
    """What the management interface says, by queue; nothing where it cannot be asked."""
    try:
        with Management(address) as management:
            entries = {entry["name"]: entry for entry in management.queue_entries(vhost)}
            # Only asked one by one does the broker say how many wait of each priority.
            for name in queues.keys() & entries.keys():
                entries[name] = management.queue_entry(vhost, name)
            return entries
    except BrokerError:
        return {}


class ReadyCounts:
    """How many messages wait in each queue, asked over AMQP: exact, at once, without privileges.

    A context manager; it keeps its connections between two questions.
    """

    def __init__(self, address: BrokerAddress, policy: Policy) -> None:
        self._address = address
        self._policy = policy
        self._open = contextlib.ExitStack()
        self._connections: dict[VhostKind, Connection] = {}

    def read(self) -> dict[str, int]:
        """The waiting messages by queue; queues that do not exist are left out.

        Raises:
            BrokerUnreachable: no connection; the next call tries again.
        """
        counts: dict[str, int] = {}
        try:
            for kind in _kinds(self._policy):
                if kind not in self._connections:
                    opened = self._open.enter_context(connection_to(self._address, kind))
                    self._connections[kind] = opened
                for name in self._policy.vhost_queues(kind):
                    if (found := declared_counts(self._connections[kind], name)) is not None:
                        counts[name] = found[0]
        except (OSError, amqp.exceptions.AMQPError, PublishError) as error:
            self.close()
            raise BrokerUnreachable(f"the broker did not say what waits: {error}") from error
        return counts

    def close(self) -> None:
        """Close the connections."""
        self._connections.clear()
        with contextlib.suppress(OSError, amqp.exceptions.AMQPError, BrokerError):
            self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _kinds(policy: Policy) -> tuple[VhostKind, ...]:
    kinds: dict[VhostKind, None] = {queue.vhost: None for queue in policy.queues.values()}
    return tuple(sorted(kinds))


def declared_counts(connection: Connection, name: str) -> tuple[int, int] | None:
    """Waiting messages and consumers of a queue, or None if there is no such queue."""
    channel = connection.channel()
    try:
        answer = channel.queue_declare(name, passive=True)
    except amqp.exceptions.NotFound:
        return None  # the answer has closed the channel
    channel.close()
    return int(answer.message_count), int(answer.consumer_count)
