"""Is what a worker or producer needs there? Asked over AMQP, without any privilege.

Bindings (unless the management interface may be asked), policies and the rest cannot be seen: the
exchange named by the topology's digest stands for them. It says what was applied, not what somebody
changed since; that is what ``laneway topology plan`` is for.

RabbitMQ before 4.3 tells anybody who may enter a virtual host what stands there. Since 4.3 it tells
only those with some right on the very thing, whichever of the three, and answers 403 to all others:
then nobody knows, and that is what is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import amqp.exceptions

from laneway.topology.desired import (
    DEAD_EXCHANGE,
    DEAD_INBOX,
    JOBS_EXCHANGE,
    desired_topology,
    digest_exchange,
)
from laneway.topology.parts import ExchangePart, QueuePart
from laneway.topology.standing import binding_key

if TYPE_CHECKING:
    from kombu.connection import Connection

    from laneway.broker.address import BrokerAddress, VhostKind
    from laneway.broker.management import Management
    from laneway.broker.profile import Profile
    from laneway.policy import Policy

    #: What the broker says of something.
    _Answer = Literal["there", "missing", "refused"]

_MARKS: Final = r"^laneway\.topology\..*$"
_CURE: Final = "Run 'laneway topology plan' to see what differs, then 'laneway topology apply'"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as the policy says."""

    #: ``fatal``: jobs could be lost or never arrive; ``unknown``: the broker refuses to say;
    #: ``drift``: it works, but differently.
    severity: Literal["fatal", "unknown", "drift"]
    #: What was expected and what was found.
    what: str
    #: What to do.
    cure: str


def check_topology(
    connection: Connection, policy: Policy, profile: Profile, vhost: VhostKind, queue: str
) -> list[Finding]:
    """Look for what the worker of one queue cannot do without, and for drift.

    Args:
        connection: to the queue's virtual host; channels of its own are opened and closed on it.
        policy: what should be.
        profile: of the broker's version.
        vhost: which virtual host the connection leads to.
        queue: the name of the queue.

    Returns:
        Fatal findings first, then what the connection's user may not know; empty if all is well.

    Raises:
        kombu.exceptions.OperationalError, OSError: the connection failed.
    """
    desired = desired_topology(policy, profile, vhost)
    needed: list[ExchangePart | QueuePart] = [
        *(e for e in desired.exchanges if e.name in {JOBS_EXCHANGE, DEAD_EXCHANGE}),
        *(q for q in desired.queues if q.name in {queue, DEAD_INBOX}),
    ]
    look = _Look(connection)
    findings = [
        finding for part in needed if (finding := look.at(part, _needed_right(part, queue)))
    ]
    if any(finding.severity == "fatal" for finding in findings):
        return sorted(findings, key=lambda finding: finding.severity != "fatal")
    mark = ExchangePart(name=digest_exchange(desired.digest), type="fanout")
    match look.ask(mark):
        case "refused":
            findings.append(look.refused(mark, f"read {_MARKS}"))
        case "missing":
            what = (
                f"the virtual host {look.vhost!r} does not stand as this policy says (its "
                f"digest {desired.digest} was not applied there)"
            )
            cure = f"{_CURE}; in a rolling deploy, apply before the new version starts."
            findings.append(Finding(severity="drift", what=what, cure=cure))
    return findings


def _needed_right(part: ExchangePart | QueuePart, queue: str) -> str:
    """The right with which the broker tells a worker of a part, and which leads nowhere new.

    It consumes its queue and publishes to the others: into the dead inbox it may write anyway, by
    the default exchange.
    """
    return f"{'read' if part.name == queue else 'write'} ^{re.escape(part.name)}$"


def check_bindings(
    management: Management, policy: Policy, profile: Profile, address: BrokerAddress, queue: str
) -> list[Finding]:
    """Look for what leads to the worker's queue and to the dead inbox.

    Args:
        management: the broker's management interface.
        policy: what should be.
        profile: of the broker's version.
        address: whose virtual hosts are meant.
        queue: the name of the queue.

    Returns:
        A fatal finding for each binding that is missing.

    Raises:
        BrokerError: the management interface cannot say.
    """
    kind = policy.queue(queue).vhost
    vhost = address.vhost(kind)
    there = {binding_key(binding) for binding in management.bindings(vhost)}
    return [
        Finding(
            severity="fatal",
            what=f"expected {part} in the virtual host {vhost!r}, there is none",
            cure=f"{_CURE}.",
        )
        for part in desired_topology(policy, profile, kind).bindings
        if part.destination in {queue, DEAD_INBOX} and binding_key(part) not in there
    ]


class _Look:
    """Declarations that change nothing."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.vhost: str = connection.virtual_host

    def at(self, part: ExchangePart | QueuePart, right: str) -> Finding | None:
        """Whether the part is there as it should be; whoever has the right may know that."""
        match self.ask(part):
            case "refused":
                return self.refused(part, right)
            case "missing":
                return Finding(
                    severity="fatal",
                    what=f"expected {part} in the virtual host {self.vhost!r}, there is none",
                    cure=f"{_CURE}.",
                )
        # A passive declaration is content with any type; declaring what exists compares. Without
        # the right to configure there is nothing to compare with: what is there is taken for right.
        if (
            self._declare(part, passive=False, missing=amqp.exceptions.PreconditionFailed)
            == "missing"
        ):
            return Finding(
                severity="fatal",
                what=(
                    f"expected {part} in the virtual host {self.vhost!r}, it has another type or "
                    "other arguments"
                ),
                cure=f"{_CURE}: the plan says how to migrate.",
            )
        return None

    def ask(self, part: ExchangePart | QueuePart) -> _Answer:
        """Whether there is something of this name."""
        return self._declare(part, passive=True, missing=amqp.exceptions.NotFound)

    def refused(self, part: ExchangePart | QueuePart, right: str) -> Finding:
        """That nobody knows of the part, and why."""
        user = self._connection.userid
        return Finding(
            severity="unknown",
            what=(
                f"the broker refuses to say whether {part} stands in the virtual host "
                f"{self.vhost!r}: the user {user!r} has no right on it"
            ),
            cure=(
                f"Let the user {right} there, besides what it may (rabbitmqctl set_permissions; "
                "since RabbitMQ 4.3 who has no right on a thing is not told of it)."
            ),
        )

    def _declare(
        self, part: ExchangePart | QueuePart, *, passive: bool, missing: type[Exception]
    ) -> _Answer:
        channel = self._connection.channel()
        try:
            match part:
                case ExchangePart():
                    channel.exchange_declare(
                        part.name, part.type, passive=passive, durable=True, auto_delete=False
                    )
                case QueuePart():
                    channel.queue_declare(
                        part.name,
                        passive=passive,
                        durable=True,
                        auto_delete=False,
                        arguments=dict(part.arguments),
                    )
        except missing:
            return "missing"
        except amqp.exceptions.AccessRefused:
            return "refused"
        else:
            return "there"
        finally:
            channel.close()
