"""What the broker can promise: chosen from the version that the server reports, never configured.

=========  ==============  ===================================================================
profile    RabbitMQ        queues
=========  ==============  ===================================================================
``4.3``    4.3 and newer   quorum, ten strict priorities: the target of production
``4.0``    4.0 to 4.2      quorum, two classes of priority (0 to 4, and 5 to 9)
``3.10``   3.10 to 3.13    classic with ``x-max-priority``: for trying out, one copy of each job
=========  ==============  ===================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from laneway.errors import BrokerError
from laneway.types import HIGHEST_PRIORITY

if TYPE_CHECKING:
    from kombu.connection import Connection

#: The names of the profiles: the oldest version that each serves.
ProfileName = Literal["4.3", "4.0", "3.10"]
#: How far a promise holds.
Holds = bool | Literal["partly"]

_CURE: Final = "Use RabbitMQ 4.3 or newer (3.10 to 4.2 work with smaller promises)."


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What the platform uses and promises on a range of RabbitMQ versions."""

    #: The oldest version it serves, which is also its name.
    name: ProfileName
    #: The type of the queues that hold jobs.
    queue_type: Literal["quorum", "classic"]
    #: What the ten priorities mean here, in words.
    priority_levels: str
    #: Whether a waiting job of a higher priority always starts before one of a lower.
    strict_priority: bool
    #: Whether the broker counts redeliveries and dead-letters a job beyond ``delivery_limit``.
    delivery_limit: bool
    #: Whether a job can be given back (``basic.nack``) without being counted as a redelivery.
    free_return: bool
    #: Whether a quorum queue has a delivery limit unless it is switched off (-1).
    default_delivery_limit: bool
    #: Whether a policy can set how long a job may stay unacknowledged.
    consumer_timeout: bool
    #: (promise, whether it holds, how far), in the order in which they are shown.
    promises: tuple[tuple[str, Holds, str], ...]

    def queue_arguments(self) -> dict[str, Any]:
        """The arguments with which a queue of jobs is declared, by whomever.

        All else that shapes a queue is a policy, because arguments can never be changed.
        """
        if self.queue_type == "classic":
            return {"x-queue-type": "classic", "x-max-priority": HIGHEST_PRIORITY}
        # x-max-priority on a quorum queue is a 406 (measured on 4.0.5 and 4.3.6).
        return {"x-queue-type": "quorum"}


_COMMON: Final = (
    ("a job goes to the queue that the policy names", True, "or its publish is an error"),
    (
        "a full queue refuses, it never drops",
        True,
        "publishing is confirmed and mandatory; overflow is reject-publish",
    ),
)
_QUORUM: Final = (
    *_COMMON,
    ("accepted is never lost", True, "written and fsynced on a majority before the confirm"),
    ("delays and retries wait in the broker", True, "to the second"),
    (
        "what the broker gives up becomes a dead letter",
        True,
        "at least once: expired, rejected, delivery limit",
    ),
    ("a poison job ends as a dead letter", True, "after delivery_limit redeliveries"),
)

_PROFILES: Final[dict[ProfileName, Profile]] = {
    "4.3": Profile(
        name="4.3",
        queue_type="quorum",
        priority_levels="ten: 9 before 8 before ... 0, first in first out inside one",
        strict_priority=True,
        delivery_limit=True,
        free_return=True,
        default_delivery_limit=True,
        consumer_timeout=True,
        promises=(
            *_QUORUM,
            ("a higher priority starts first", True, "strict, ten levels"),
        ),
    ),
    "4.0": Profile(
        name="4.0",
        queue_type="quorum",
        priority_levels="two: 5 to 9 before 0 to 4, two to one while both wait",
        strict_priority=False,
        delivery_limit=True,
        free_return=False,
        default_delivery_limit=True,
        consumer_timeout=True,
        promises=(
            *_QUORUM,
            (
                "a higher priority starts first",
                "partly",
                "two classes: of three jobs two are of 5 to 9; 9 does not pass 5",
            ),
        ),
    ),
    "3.10": Profile(
        name="3.10",
        queue_type="classic",
        priority_levels="ten: 9 before 8 before ... 0, first in first out inside one",
        strict_priority=True,
        delivery_limit=False,
        free_return=True,
        default_delivery_limit=False,
        consumer_timeout=False,
        promises=(
            *_COMMON,
            (
                "accepted is never lost",
                "partly",
                "fsynced before the confirm, but one copy: a lost disk loses its jobs",
            ),
            ("delays and retries wait in the broker", True, "to the second, in quorum queues"),
            (
                "what the broker gives up becomes a dead letter",
                "partly",
                "at most once: a broker that dies at that moment can lose it",
            ),
            (
                "a poison job ends as a dead letter",
                False,
                "no delivery limit: a job that kills its worker comes back for ever",
            ),
            ("a higher priority starts first", True, "strict, ten levels"),
        ),
    ),
}


def profile_of(version: str) -> Profile:
    """The profile of a server's version (``"4.3.6"``, ``"3.13.7+1"``).

    Raises:
        BrokerError: older than 3.10, or not a version.
    """
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None:
        raise BrokerError(
            f"expected a RabbitMQ version like '4.3.6', the broker reports {version!r}. {_CURE}"
        )
    release = int(match[1]), int(match[2])
    if release >= (4, 3):
        return _PROFILES["4.3"]
    if release >= (4, 0):
        return _PROFILES["4.0"]
    if release >= (3, 10):
        return _PROFILES["3.10"]
    raise BrokerError(f"expected RabbitMQ 3.10 or newer, the broker is {version}. {_CURE}")


def all_profiles() -> tuple[Profile, ...]:
    """The profiles, the best first."""
    return tuple(_PROFILES.values())


def server_version(connection: Connection) -> str:
    """The version that the server at the other end reports; connects if necessary.

    Raises:
        BrokerError: the server is not RabbitMQ, or does not say what it is.
        OSError, amqp.AMQPError: the connection failed.
    """
    transport: Any = connection  # kombu is untyped
    properties = getattr(transport.connection, "server_properties", None) or {}
    product, version = properties.get("product"), properties.get("version")
    if product != "RabbitMQ" or not version:
        raise BrokerError(
            f"expected RabbitMQ, the broker reports the product {product!r}, version {version!r}. "
            f"{_CURE}"
        )
    return str(version)
