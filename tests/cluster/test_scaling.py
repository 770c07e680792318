"""The chart on KEDA with real workers: each queue has the pods that its own jobs need."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cluster.errors import CommandFailed
from cluster.release import BOUNDS, NAME
from cluster.waiting import always, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.book import Book
    from cluster.keda import Keda
    from cluster.rabbitmq import Broker
    from cluster.release import Release

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

#: Of low: 20 to 80 milliseconds each, 34 seconds of all slots that it may have.
_LOW = 5_000
#: Of high, 5 a second of half a second: 2.7 run at a time. Its four slots can do that; that chance
#: makes none of them late takes five and more.
_HIGH = 160
#: Of secure, 9 a second: two run at a time, so that no slot of its one pod is ever free.
_SECURE = 400
_FEWEST = {queue: fewest for queue, (fewest, _) in BOUNDS.items()}


def test_every_queue_scales_on_its_own(
    keda: Keda, release: Release, ledger: Book, broker: Broker, prefix: str
) -> None:
    release.install()
    eventually(release.ready, _FEWEST)
    with _seen(release) as steps:
        ledger.publish("low", _LOW, work=(20, 80))
        eventually(lambda: steps[-1][1]["low"], BOUNDS["low"][1], seconds=90)
        # The others are in a hurry while this one has all that it may have.
        ledger.publish("high", _HIGH, work=(450, 550), rate=5, many=False)
        ledger.publish("secure", _SECURE, work=(180, 220), rate=9, many=False)
        ledger.wait_for(_LOW + _HIGH + _SECURE, 240)
        eventually(lambda: steps[-1][1], _FEWEST, seconds=240)
    account = ledger.account()
    slow = {queue: _p95(ledger.waits(queue)) for queue in ("high", "secure", "low")}
    print(f"pods (seconds, number): {steps}; p95 of the wait: {slow}; {account}")
    jobs = _LOW + _HIGH + _SECURE
    assert (account.accepted, account.succeeded, account.lost) == (jobs, jobs, 0), account
    assert account.duplicated == 0, account
    most = {queue: max(ready[queue] for _, ready in steps) for queue in BOUNDS}
    assert most["low"] == BOUNDS["low"][1]
    assert most["high"] > BOUNDS["high"][0], f"a burst on high got no pod more: {steps}"
    assert most["secure"] == BOUNDS["secure"][1], f"jobs on secure got no pod more: {steps}"
    assert most["default"] == BOUNDS["default"][0], f"nothing was on default: {steps}"
    least = {queue: min(ready[queue] for _, ready in steps) for queue in BOUNDS}
    assert least == _FEWEST, f"a queue had fewer pods than its fewest: {steps}"
    # The service levels of the policy.
    assert slow["high"] < 1.0, slow
    assert slow["secure"] < 30.0, slow
    eventually(lambda: bool(broker.waiting(prefix, vhosts=("jobs", "secure"))), False)


def test_the_number_of_pods_stays_while_nobody_answers(
    keda: Keda, release_without_broker: Release
) -> None:
    # No control process is ready without a broker, so its Service leads nowhere.
    release_without_broker.install(scaled=("low",), wait=False)
    _stays_at_three(release_without_broker)


def test_the_number_of_pods_stays_while_the_scaler_answers_that_nobody_knows(
    keda: Keda, release: Release
) -> None:
    nobody = "10.89.250.250:15672"
    for secret, key, url in (
        ("laneway-broker-control", "management-url", f"http://user:password@{nobody}"),
        ("laneway-scaler-jobs", "host", f"http://{nobody}"),
    ):
        release.kubectl("patch", "secret", secret, "-p", json.dumps({"stringData": {key: url}}))
    # Its connection to the broker makes a control process ready; what it cannot ask are numbers.
    release.install(scaled=("low",))
    with pytest.raises(CommandFailed, match="low: unknown"):
        release.kubectl(
            "exec", f"deployment/{NAME}-control", "-c", "control", "--",
            "laneway", "scaling", "explain", "low", "--url", "http://127.0.0.1:8080",
        )  # fmt: skip
    _stays_at_three(release)


def _stays_at_three(release: Release) -> None:
    name = f"{NAME}-worker-low"

    def failing() -> dict[str, str]:
        text = release.kubectl("get", "scaledobject", name, "-o", "jsonpath={.status.health}")
        return {key: each["status"] for key, each in json.loads(text or "{}").items()}

    eventually(
        lambda: sorted(failing().values()), ["Failing", "Failing"], seconds=90,
        what="KEDA's triggers, the scaler and the broker",
    )  # fmt: skip
    release.kubectl("scale", f"deployment/{name}", "--replicas=3")

    def asked() -> str:
        return release.kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}")

    always(asked, "3", seconds=30)


@contextmanager
def _seen(release: Release) -> Iterator[list[tuple[int, dict[str, int]]]]:
    """How many pods were ready, whenever that changed, until the end of the block."""
    began = time.monotonic()
    steps = [(0, release.ready())]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            now = release.ready()
            if now != steps[-1][1]:
                steps.append((round(time.monotonic() - began), now))

    looking = threading.Thread(target=look, name="seen")
    looking.start()
    try:
        yield steps
    finally:
        over.set()
        looking.join()


def _p95(waits: list[float]) -> float:
    return waits[int(len(waits) * 0.95)]
