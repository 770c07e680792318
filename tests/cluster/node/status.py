"""What a pod's status says, made of what its containers are. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.node.container import Container
    from cluster.node.environment import Document

Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


def pod_status(
    *,
    phase: Phase,
    address: str,
    host_address: str,
    start_time: str,
    initialized: bool,
    init_containers: Sequence[Container],
    containers: Sequence[Container],
    before: Mapping[str, Document],
    generation: int | None = None,
) -> Document:
    """The status.

    Args:
        phase: of the pod.
        address: the pod's; empty if it has none yet.
        host_address: the node's.
        start_time: when the node took the pod.
        initialized: whether its init containers are done.
        init_containers: in their order.
        containers: the others.
        before: the conditions as they were, by type; times of change are kept.
        generation: of the pod's spec that this is about.
    """
    done = phase in {"Succeeded", "Failed"}
    beside = [each for each in init_containers if each.spec.get("restartPolicy") == "Always"]
    waiting = [each.name for each in (*beside, *containers) if not each.ready]
    is_ready = not done and initialized and not waiting
    why_not = "PodCompleted" if done else "ContainersNotReady"
    message = f"containers with unready status: {waiting}"
    conditions = [
        _condition("PodScheduled", True, before),
        _condition("Initialized", initialized, before, "ContainersNotInitialized"),
        _condition("ContainersReady", is_ready, before, why_not, message),
        _condition("Ready", is_ready, before, why_not, message),
    ]
    status: Document = {
        "phase": phase,
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "startTime": start_time,
        "conditions": conditions,
        "initContainerStatuses": [each.status for each in init_containers],
        "containerStatuses": [each.status for each in containers],
    }
    if generation is not None:
        status["observedGeneration"] = generation
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _condition(
    kind: str,
    is_true: bool,
    before: Mapping[str, Document],
    reason: str | None = None,
    message: str | None = None,
) -> Document:
    status = "True" if is_true else "False"
    last = before.get(kind) or {}
    changed = last.get("lastTransitionTime")
    if last.get("status") != status or not changed:
        changed = now()
    # What no longer holds is taken out of a condition by a null.
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": changed,
        "reason": None if is_true else reason,
        "message": None if is_true else message,
    }


def now() -> str:
    """This moment, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
