"""A release of the chart with real workers, changed while jobs run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cluster.release import NAME, QUEUES
from cluster.waiting import eventually

if TYPE_CHECKING:
    from cluster.book import Book
    from cluster.rabbitmq import Broker
    from cluster.release import Release

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

#: Jobs of two to four seconds, and more of them than low has slots for: each slot has one, always.
_LONG = (2_000, 4_000)
_RATE = 0.8
_BLUE = {"name": "COLOUR", "value": "blue"}


def test_a_release_is_installed_changed_and_rolled_back_under_load(
    release: Release, ledger: Book, broker: Broker, prefix: str
) -> None:
    release.install(scaled=())
    assert release.ready() == dict.fromkeys(QUEUES, 1)
    before = {queue: release.pods(queue) for queue in QUEUES}
    producer = ledger.publish("low", 1_000, work=_LONG, rate=_RATE, many=False)
    ledger.wait_for(3, 30)

    release.upgrade("workers.low.env.COLOUR=blue")
    after = {queue: release.pods(queue) for queue in QUEUES}
    assert not before["low"] & after["low"], "an upgrade of low left its pods as they were"
    touched = {queue for queue in QUEUES if before[queue] != after[queue]}
    assert touched == {"low"}, f"an upgrade of low rolled {sorted(touched)}"
    assert _has(release, "low", _BLUE)

    release.helm("rollback", NAME, "1", "--wait", "--timeout=120s")
    back = {queue: release.pods(queue) for queue in QUEUES}
    assert not after["low"] & back["low"], "a rollback left the pods of low as they were"
    assert not _has(release, "low", _BLUE), "a rollback left what the upgrade changed"
    touched = {queue for queue in QUEUES if after[queue] != back[queue]}
    assert touched == {"low"}, f"a rollback of low rolled {sorted(touched)}"

    ledger.stop(producer)
    eventually(lambda: bool(broker.waiting(prefix)), False, seconds=120)
    account = ledger.account()
    assert account.accepted > 0
    assert account.lost == 0, account
    assert account.duplicated == 0, f"pods did not finish what they had begun: {account}"


def _has(release: Release, queue: str, variable: dict[str, str]) -> bool:
    """Whether each pod of a queue that is to stay has this variable; none may differ."""
    text = release.kubectl("get", "pods", "-l", f"laneway.dev/queue={queue}", "-o", "json")
    pods: list[dict[str, Any]] = json.loads(text)["items"]
    answers = {
        variable in pod["spec"]["containers"][0]["env"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
    }
    [answer] = answers
    return answer
