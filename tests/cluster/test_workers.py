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
    ledger.publish("low", _JOBS)
    ledger.wait_for(100, 30)
    work.kubectl("scale", "deployment/worker-low", "--replicas=3")
    work.rollout("worker-low")
    ledger.wait_for(700, 60)
    work.kubectl("scale", "deployment/worker-low", "--replicas=1")
    ledger.wait_for(_JOBS, 120)
    account = ledger.account()
    assert (account.succeeded, account.lost) == (_JOBS, 0), account
    assert account.duplicated == 0, account
    eventually(lambda: bool(broker.waiting(prefix)), False)
    names = [pod["metadata"]["name"] for pod in work.pods() if "low" in pod["metadata"]["name"]]
    assert len(names) == 1
    ran = [folder for folder in ledger.folder.glob("worker-low-*") if any(folder.iterdir())]
    assert len(ran) == 3


def test_rolling_under_load_loses_nothing(
    work: Workload, ledger: Book, broker: Broker, prefix: str
) -> None:
    work.deploy("low", replicas=2, app=APP)
    producer = ledger.publish("low", _JOBS, rate=100, many=False)
    ledger.wait_for(100, 30)
    work.deploy("low", replicas=2, app=APP, release="2")
    assert producer.poll() is None, "the load was over before the rollout was"
    work.deploy("low", replicas=2, app=APP, release="3")
    ledger.wait_for(_JOBS, 120)
    account = ledger.account()
    assert (account.accepted, account.succeeded, account.lost) == (_JOBS, _JOBS, 0), account
    assert account.duplicated == 0, account
    eventually(lambda: bool(broker.waiting(prefix)), False)


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
