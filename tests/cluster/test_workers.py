"""Real workers on nodes of the tests' own: no job is lost, whatever is done with their pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.book import APP, BROKEN
from cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.book import Book
    from cluster.node.node import Node
    from cluster.plane import Plane
    from cluster.rabbitmq import Broker
    from cluster.workload import Workload

_JOBS = 2_000
#: Milliseconds of jobs that are certain to run when their pod is told to end.
_LONG = (200, 400)

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


def test_a_killed_node_loses_nothing(
    plane: Plane, work: Workload, ledger: Book, broker: Broker, prefix: str, two: Mapping[str, Node]
) -> None:
    work.deploy("low", replicas=4, app=APP)
    ledger.publish("low", _JOBS, rate=60, many=False, work=(20, 80))
    ledger.wait_for(200, 30)
    _kill_and_heal(plane, work, two["node-b"])
    # What the dead workers held comes back when the broker missed their heartbeats.
    ledger.wait_for(_JOBS, 180)
    account = ledger.account()
    assert (account.accepted, account.succeeded, account.lost) == (_JOBS, _JOBS, 0), account
    eventually(lambda: bool(broker.waiting(prefix)), False)


def test_the_ledger_sees_what_early_acknowledgement_loses(
    plane: Plane, work: Workload, ledger: Book, broker: Broker, prefix: str, two: Mapping[str, Node]
) -> None:
    work.deploy("low", replicas=4, app=BROKEN)
    ledger.publish("low", _JOBS, rate=60, many=False, work=(20, 80))
    ledger.wait_for(200, 30)
    _kill_and_heal(plane, work, two["node-b"])
    eventually(lambda: bool(broker.waiting(prefix)), False, seconds=180)
    assert ledger.account().lost > 0


def test_scaling_up_and_down_loses_nothing(
    work: Workload, ledger: Book, broker: Broker, prefix: str
) -> None:
    work.deploy_control()
    work.deploy("low", replicas=1, app=APP)
    # Two slots do six a second, six do twenty.
    producer = ledger.publish("low", 10_000, work=_LONG, rate=10, many=False)
    ledger.wait_for(20, 30)
    work.kubectl("scale", "deployment/worker-low", "--replicas=3")
    work.rollout("worker-low")
    # No slot is idle when two pods are told to end.
    ledger.publish("low", 100, work=_LONG)
    ledger.wait_for(ledger.ended() + 40, 60)
    work.kubectl("scale", "deployment/worker-low", "--replicas=1")
    eventually(lambda: len(_pods_of(work, "low")), 1)
    ledger.stop(producer)
    _settled(ledger, broker, prefix)
    ran = [folder for folder in ledger.folder.glob("worker-low-*") if any(folder.iterdir())]
    assert len(ran) == 3


def test_rolling_under_load_loses_nothing(
    work: Workload, ledger: Book, broker: Broker, prefix: str
) -> None:
    work.deploy("low", replicas=2, app=APP)
    producer = ledger.publish("low", 10_000, work=_LONG, rate=15, many=False)
    ledger.wait_for(20, 30)
    work.deploy("low", replicas=2, app=APP, release="2")
    work.deploy("low", replicas=2, app=APP, release="3")
    ledger.stop(producer)
    _settled(ledger, broker, prefix)


def _settled(ledger: Book, broker: Broker, prefix: str) -> None:
    """Every accepted job ended, and none was begun twice."""
    eventually(lambda: bool(broker.waiting(prefix)), False, seconds=120)
    account = ledger.account()
    assert account.accepted > 0
    assert account.lost == 0, account
    assert account.duplicated == 0, f"pods did not finish what they had begun: {account}"


def _pods_of(work: Workload, queue: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in work.pods() if queue in pod["metadata"]["name"]]


def _kill_and_heal(plane: Plane, work: Workload, node: Node) -> None:
    """A node dies, its pods are replaced on the others, and it comes back empty."""
    there = [pod for pod in work.pods() if pod["spec"].get("nodeName") == node.name]
    assert there, "no worker was on the node"
    node.kill()
    plane.kubectl(
        "wait", "--for=condition=Ready=Unknown", f"node/{node.name}", "--timeout=60s", seconds=70
    )
    plane.kubectl("taint", "node", node.name, "node.kubernetes.io/out-of-service=x:NoExecute")
    gone = {pod["metadata"]["name"] for pod in there}
    eventually(
        lambda: any(pod["metadata"]["name"] in gone for pod in work.pods()), False, seconds=60
    )
    work.rollout("worker-low")
    plane.kubectl("taint", "node", node.name, "node.kubernetes.io/out-of-service-")
    node.start()
    plane.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=60s", seconds=70)
