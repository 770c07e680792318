"""The chart on a real control plane, with real workers and KEDA's own scaler."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cluster.rabbitmq import Endpoint
from cluster.release import MOST, NAME, QUEUES, Release
from cluster.waiting import always, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cluster.book import Book
    from cluster.keda import Keda
    from cluster.node.node import Node
    from cluster.plane import Plane
    from cluster.rabbitmq import Broker

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

_JOBS = 5_000
#: The place of high in the ledger.
_HIGH = 1


@pytest.fixture
def release(
    plane: Plane, two: Mapping[str, Node], namespace: str, broker: Broker, prefix: str, ledger: Book
) -> Iterator[Release]:
    with _prepared(Release(plane, namespace, broker.endpoint, prefix, ledger.folder)) as made:
        yield made


@pytest.fixture
def release_without_broker(
    plane: Plane, two: Mapping[str, Node], namespace: str, tmp_path: Path
) -> Iterator[Release]:
    nobody = Endpoint(ip="10.89.250.250")
    with _prepared(Release(plane, namespace, nobody, "", tmp_path)) as made:
        yield made


@contextmanager
def _prepared(made: Release) -> Iterator[Release]:
    made.prepare()
    try:
        yield made
    finally:
        # What KEDA looks after has a finalizer of KEDA's: it goes while KEDA is there.
        made.helm("uninstall", NAME, "--ignore-not-found", "--wait", "--timeout=120s")


def test_a_release_is_installed_changed_and_rolled_back(release: Release) -> None:
    release.install("none")
    assert {queue: release.ready(queue) for queue in QUEUES} == dict.fromkeys(QUEUES, 1)
    before = {queue: release.pods(queue) for queue in QUEUES}
    release.upgrade("workers.low.env.COLOUR=blue")
    after = {queue: release.pods(queue) for queue in QUEUES}
    assert not before["low"] & after["low"]
    assert {queue for queue in QUEUES if before[queue] == after[queue]} == set(QUEUES) - {"low"}
    release.helm("rollback", NAME, "1", "--wait", "--timeout=120s")
    assert "COLOUR" not in release.kubectl("get", "deployment", f"{NAME}-worker-low", "-o", "yaml")
    assert release.pods("high") == before["high"]


def test_low_scales_out_and_in_while_high_keeps_its_service_level(
    keda: Keda, release: Release, ledger: Book, broker: Broker, prefix: str
) -> None:
    release.install()
    assert {queue: release.ready(queue) for queue in QUEUES} == dict.fromkeys(QUEUES, 1)
    began = time.monotonic()
    steps: list[tuple[int, int]] = []

    def pods() -> int:
        now = release.ready("low")
        if not steps or steps[-1][1] != now:
            steps.append((round(time.monotonic() - began), now))
        return now

    ledger.publish("low", _JOBS, work=(20, 80))
    eventually(lambda: pods() == MOST, True, seconds=90)
    # The other queue is in a hurry while this one has all that it may have.
    ledger.publish("high", 300, work=(5, 20), rate=20, many=False)
    ledger.wait_for(_JOBS + 300, 240)
    drained = round(time.monotonic() - began)
    eventually(lambda: pods() == 1, True, seconds=240)
    account = ledger.account()
    waits = ledger.waits(_HIGH)
    slow = waits[int(len(waits) * 0.95)]
    print(
        f"pods of low (seconds, number): {steps}; drained after {drained} s; "
        f"p95 of high {slow:.3f} s"
    )
    assert (account.succeeded, account.lost) == (_JOBS + 300, 0), account
    assert account.duplicated == 0, account
    assert slow < 1.0
    eventually(lambda: bool(broker.waiting(prefix)), False)


def test_the_number_of_pods_stays_while_nobody_knows_what_is_needed(
    keda: Keda, release_without_broker: Release
) -> None:
    release = release_without_broker
    release.install(wait=False)
    name = f"{NAME}-worker-low"

    def failing() -> dict[str, str]:
        text = release.kubectl("get", "scaledobject", name, "-o", "jsonpath={.status.health}")
        return {key: each["status"] for key, each in json.loads(text or "{}").items()}

    # Both triggers: the scaler answers 503, or is not ready; the broker answers nothing.
    eventually(lambda: sorted(failing().values()), ["Failing", "Failing"], seconds=90)
    release.kubectl("scale", f"deployment/{name}", "--replicas=3")

    def asked() -> str:
        return release.kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}")

    always(asked, "3", seconds=30)
