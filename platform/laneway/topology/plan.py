"""Compare what must stand with what stands, and say what to do. Nothing is changed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laneway.broker.address import VHOST_KINDS
from laneway.broker.profile import profile_of
from laneway.topology.compare import Comparison
from laneway.topology.desired import desired_topology
from laneway.topology.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.broker.address import BrokerAddress
    from laneway.broker.management import Management
    from laneway.policy import Policy
    from laneway.topology.changes import Change, Leftover, Refusal


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would make both virtual hosts what the policy says; ``str`` is for people."""

    #: The version that the broker reports, and the profile made of it.
    version: str
    profile: str
    #: In the order in which they are carried out.
    changes: tuple[Change, ...]
    #: What only people may change. While there is one, the topology is not marked as applied.
    refusals: tuple[Refusal, ...]
    #: What the policy does not ask for; it stays.
    leftovers: tuple[Leftover, ...]
    #: Virtual host to digest.
    digests: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done by anybody; leftovers do not count."""
        return not self.changes and not self.refusals

    def __str__(self) -> str:
        lines = [f"RabbitMQ {self.version}, profile {self.profile}"]
        lines += [str(entry) for entry in (*self.changes, *self.refusals, *self.leftovers)]
        if self.is_empty:
            lines.append("nothing to do: the broker stands as the policy says")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For machines (``--json``)."""
        return {
            "version": self.version,
            "profile": self.profile,
            "is_empty": self.is_empty,
            "changes": [change.to_dict() for change in self.changes],
            "refusals": [refusal.to_dict() for refusal in self.refusals],
            "leftovers": [leftover.to_dict() for leftover in self.leftovers],
            "digests": dict(self.digests),
        }


def make_plan(
    management: Management,
    policy: Policy,
    address: BrokerAddress,
    *,
    prune: bool = False,
    recreate_empty: bool = False,
) -> Plan:
    """Compare both virtual hosts with the policy.

    Args:
        management: the broker's management interface.
        policy: what should be.
        address: what the virtual hosts are called.
        prune: delete queues that are not in the policy if they are empty and without consumers.
        recreate_empty: delete and create queues of the wrong type if they are empty and without
            consumers.

    Raises:
        BrokerError: the broker does not answer, we may not look, or its version is too old.
    """
    version = management.server_version()
    profile = profile_of(version)
    existing = management.vhosts()
    comparisons = []
    for kind in VHOST_KINDS:
        vhost = address.vhost(kind)
        standing = Standing.read(management, vhost) if vhost in existing else Standing()
        comparison = Comparison(vhost, desired_topology(policy, profile, kind), standing)
        comparison.compare(prune=prune, recreate_empty=recreate_empty)
        comparisons.append(comparison)
    return Plan(
        version=version,
        profile=profile.name,
        changes=tuple(change for c in comparisons for change in c.changes),
        refusals=tuple(refusal for c in comparisons for refusal in c.refusals),
        leftovers=tuple(leftover for c in comparisons for leftover in c.leftovers),
        digests={c.vhost: c.desired.digest for c in comparisons},
    )
