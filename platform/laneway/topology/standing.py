"""What stands in one virtual host now, as the management interface reports it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from laneway.topology.parts import POLICY_PRIORITY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.broker.management import Management
    from laneway.broker.reported import (
        ReportedBinding,
        ReportedExchange,
        ReportedPolicy,
        ReportedQueue,
    )
    from laneway.topology.parts import BindingPart, PolicyPart

# Settings of a policy that decide where messages go or whether they stay; others (the leader's
# place, the size of the group) are the operators' own.
_KEEPING: Final = frozenset(
    {
        "consumer-timeout",
        "dead-letter-exchange",
        "dead-letter-routing-key",
        "dead-letter-strategy",
        "delivery-limit",
        "expires",
        "max-age",
        "max-length",
        "max-length-bytes",
        "message-ttl",
        "overflow",
    }
)
# Of these the broker takes the smaller of a policy's and an operator policy's value.
_SMALLER_WINS: Final = frozenset({"delivery-limit", "max-length"})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One virtual host; empty if it does not exist."""

    exists: bool = False
    queues: Mapping[str, ReportedQueue] = field(default_factory=dict)
    exchanges: Mapping[str, ReportedExchange] = field(default_factory=dict)
    bindings: frozenset[tuple[str, str, str, str]] = frozenset()
    policies: Mapping[str, ReportedPolicy] = field(default_factory=dict)
    operator_policies: tuple[ReportedPolicy, ...] = ()

    @classmethod
    def read(cls, management: Management, vhost: str) -> Standing:
        """Ask the broker.

        Raises:
            BrokerError: it does not answer, or we may not look.
        """
        return cls(
            exists=True,
            queues={queue.name: queue for queue in management.queues(vhost)},
            exchanges={exchange.name: exchange for exchange in management.exchanges(vhost)},
            bindings=frozenset(map(binding_key, management.bindings(vhost))),
            policies={policy.name: policy for policy in management.policies(vhost)},
            operator_policies=management.operator_policies(vhost),
        )

    def overruled(self, part: PolicyPart, queue: str, queue_type: str) -> tuple[str, str] | None:
        """Why our policy is not what has effect on a queue, and the cure; None if it is.

        The effective policy is worked out as the broker does it, because what it reports is as old
        as its statistics: a policy of the last seconds would not be seen.
        """
        winners = [
            policy
            for policy in self.policies.values()
            if policy.name != part.name
            and policy.priority >= POLICY_PRIORITY
            and policy.definition != part.definition
            and _applies(policy, queue, queue_type)
        ]
        if winners:
            top = max(winners, key=lambda policy: policy.priority)
            what = (
                f"the policy {top.name!r} (priority {top.priority}: {_words(top.definition)}) "
                f"overrules {part} on {queue}"
            )
            cure = (
                f"Delete it or give it a priority below {POLICY_PRIORITY}; only one policy has an "
                "effect on a queue."
            )
            return what, cure
        operators = [p for p in self.operator_policies if _applies(p, queue, queue_type)]
        if operators:
            top = max(operators, key=lambda policy: policy.priority)
            if changed := _changed_by_operator(part.definition, top.definition):
                return (
                    f"the operator policy {top.name!r} changes {_words(changed)} of {queue}",
                    f"Change the operator policy or exclude {queue}; expected {part}.",
                )
        return None


def binding_key(binding: BindingPart | ReportedBinding) -> tuple[str, str, str, str]:
    """What makes two bindings the same."""
    return (
        binding.source,
        binding.destination_type,
        binding.destination,
        binding.routing_key,
    )


def counted(number: int | None, what: str) -> str:
    """``"1 message"``, ``"3 messages"``, or that the broker has not counted yet."""
    if number is None:
        return f"an unknown number of {what}s"
    return f"{number} {what}{'' if number == 1 else 's'}"


def _applies(policy: ReportedPolicy, queue: str, queue_type: str) -> bool:
    kinds = {"all", "queues", "streams" if queue_type == "stream" else f"{queue_type}_queues"}
    if policy.apply_to not in kinds:
        return False
    try:
        return re.search(policy.pattern, queue) is not None
    except re.error:
        # Erlang's expressions know a little more than Python's; better one question too many.
        return True


def _changed_by_operator(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in theirs.items()
        if key in _KEEPING
        and ours.get(key) != value
        and not (key in _SMALLER_WINS and 0 <= ours.get(key, -1) <= value)
    }


def _words(definition: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(definition.items())) or "nothing"
