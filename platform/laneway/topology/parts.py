"""The parts of a topology, as values: what an exchange, a queue, a binding and a policy are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The priority of Laneway's policies on the broker: only the highest that matches has an effect.
POLICY_PRIORITY: Final = 1000


@dataclass(frozen=True, kw_only=True)
class VhostPart:
    """A virtual host."""

    kind: ClassVar = "vhost"
    name: str

    def __str__(self) -> str:
        return f"virtual host {self.name}"


@dataclass(frozen=True, kw_only=True)
class ExchangePart:
    """A durable exchange."""

    kind: ClassVar = "exchange"
    name: str
    type: Literal["topic", "fanout"]

    def __str__(self) -> str:
        return f"exchange {self.name} ({self.type})"


@dataclass(frozen=True, kw_only=True)
class QueuePart:
    """A durable queue or stream."""

    kind: ClassVar = "queue"
    name: str
    #: They can never be changed, so there are as few as possible.
    arguments: Mapping[str, Any]

    @property
    def type(self) -> str:
        """``quorum``, ``classic`` or ``stream``."""
        return str(self.arguments["x-queue-type"])

    def __str__(self) -> str:
        more = [f"{k}={v}" for k, v in self.arguments.items() if k != "x-queue-type"]
        return f"queue {self.name} ({', '.join([self.type, *more])})"


@dataclass(frozen=True, kw_only=True)
class BindingPart:
    """A binding."""

    kind: ClassVar = "binding"
    source: str
    destination: str
    destination_type: Literal["queue", "exchange"] = "queue"
    routing_key: str

    @property
    def name(self) -> str:
        """It has no name of its own on the broker."""
        return f"{self.source} -> {self.destination} [{self.routing_key}]"

    def __str__(self) -> str:
        return f"binding {self.name}"


@dataclass(frozen=True, kw_only=True)
class PolicyPart:
    """A policy for queues: all that may change about them."""

    kind: ClassVar = "policy"
    name: str
    #: A regular expression that the whole name of a queue must match.
    pattern: str
    definition: Mapping[str, Any]

    def covers(self, queue: str) -> bool:
        """Whether it is for this queue."""
        return re.fullmatch(self.pattern, queue) is not None

    def __str__(self) -> str:
        settings = ", ".join(f"{k}={v}" for k, v in sorted(self.definition.items()))
        return f"policy {self.name} ({settings})"


Part = VhostPart | ExchangePart | QueuePart | BindingPart | PolicyPart
