"""Whether the policy is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneway.checkup.check import Check
from laneway.errors import PolicyError
from laneway.policy import lint_policy, load_policy, policy_root

if TYPE_CHECKING:
    from collections.abc import Iterator


def policy_checks() -> Iterator[Check]:
    """What is wrong with the policy, or what it holds; then what lint says of it."""
    try:
        policy = load_policy()
    except PolicyError as error:
        for problem in error.problems:
            yield Check(
                subject="policy", verdict="fail", finding=problem, cure="laneway route lint"
            )
        return
    yield Check(
        subject="policy",
        verdict="ok",
        finding=f"{len(policy.routes)} routes, {len(policy.queues)} queues, digest "
        f"{policy.digest} ({policy_root()})",
    )
    for problem in lint_policy():
        yield Check(subject="policy", verdict="warn", finding=problem, cure="change routing.py")
