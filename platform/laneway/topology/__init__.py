"""What must stand on the broker: derived from the policy, compared, carried out, checked."""

from laneway.topology.apply import apply_plan
from laneway.topology.check import Finding, check_bindings, check_topology
from laneway.topology.desired import (
    AUDIT_STREAM,
    DEAD_EXCHANGE,
    DEAD_INBOX,
    JOBS_EXCHANGE,
    LETTER_RETENTION,
    LETTER_STREAM,
    REPORTS_EXCHANGE,
    Topology,
    desired_topology,
    digest_exchange,
    pause_mark,
)
from laneway.topology.plan import Plan, make_plan
from laneway.topology.wait import Waited, look_at, wait_for_topology

__all__ = [
    # What must stand
    "Topology",
    "desired_topology",
    # Plan and apply
    "Plan",
    "apply_plan",
    "make_plan",
    # Check
    "Finding",
    "check_bindings",
    "check_topology",
    # Wait
    "Waited",
    "look_at",
    "wait_for_topology",
    # Names
    "AUDIT_STREAM",
    "DEAD_EXCHANGE",
    "DEAD_INBOX",
    "JOBS_EXCHANGE",
    "LETTER_RETENTION",
    "LETTER_STREAM",
    "REPORTS_EXCHANGE",
    "digest_exchange",
    "pause_mark",
]
