"""The whole loop: a burst, the control process's answer, workers that come and go by it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from laneway.scaling.simulate.hpa import Behavior, Hpa, Limit, Rules, pods_for_average
from support.scalers import Scaler, fast
from support.workers import WorkerProcess, make_app

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress

pytestmark = [pytest.mark.integration, pytest.mark.slow]

#: The HPA's arithmetic, in seconds instead of minutes.
AT_ONCE = (Limit(kind="Percent", value=900, period=1),)
BEHAVIOR = Behavior(
    out=Rules(limits=AT_ONCE, stabilisation=0), into=Rules(limits=AT_ONCE, stabilisation=5)
)
QUEUE, SLOTS = "low", 2
FEWEST, MOST = 1, 4
#: Jobs of the burst, how many come in a second, and the seconds that each takes: one worker would
#: need 40 s for them, four 10 s.
JOBS, PER_SECOND, RUNTIME = 160, 20, 0.5


class Fleet:
    """Worker processes, as many as somebody asks for."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self.all: list[WorkerProcess] = []
        self.wanted: list[WorkerProcess] = []

    def scale(self, number: int) -> None:
        """Start some, or tell the youngest to stop: what they run they finish."""
        while len(self.wanted) < number:
            options = ("--pool", "threads", "--concurrency", str(SLOTS))
            worker = WorkerProcess(QUEUE, self._env, *options)
            self.all.append(worker)
            self.wanted.append(worker)
        while len(self.wanted) > number:
            self.wanted.pop().process.terminate()

    def ended(self) -> list[str]:
        """The jobs that ran to their end, of whatever worker, as often as they did."""
        return [str(fact.task_id) for worker in self.all for fact in worker.of("succeeded")]

    def stop(self) -> list[int]:
        """End all, and wait for it; their exit statuses."""
        self.scale(0)
        return [worker.stop() for worker in self.all]


def test_a_burst_is_followed_out_and_in_and_nothing_is_lost(topology: BrokerAddress) -> None:
    app, fleet = make_app(topology), Fleet(fast(topology))
    hpa = Hpa(min=FEWEST, max=MOST, behavior=BEHAVIOR)
    published: list[str] = []
    pods: list[int] = []

    def publish() -> None:
        for _ in range(JOBS):
            sent = app.send_task("plain.sleep", [RUNTIME], queue=QUEUE)
            published.append(sent.id)
            time.sleep(1 / PER_SECOND)

    def follow(until: float) -> None:
        """What KEDA and the HPA do, once a second; no number changes nothing."""
        said = scaler.scale(QUEUE)
        current = len(fleet.wanted)
        wanted = None
        if said["known"]:
            wanted = pods_for_average(said["slots"], SLOTS, current, BEHAVIOR)
        fleet.scale(hpa.decide(time.monotonic(), current, wanted))
        pods.append(len(fleet.wanted))
        assert time.monotonic() < until, (pods, len(fleet.ended()), said)
        time.sleep(1)

    burst = threading.Thread(target=publish, daemon=True)
    try:
        with Scaler(topology) as scaler:
            fleet.scale(FEWEST)
            fleet.all[0].wait_for("worker_ready")
            scaler.becomes(QUEUE)
            burst.start()
            until = time.monotonic() + 60
            while burst.is_alive() or len(fleet.ended()) < JOBS:
                follow(until)
            assert max(pods) == MOST, pods
            while len(fleet.wanted) > FEWEST:
                follow(until)
            # It grew and shrank, and did not swing.
            peak = pods.index(MOST)
            assert pods == sorted(pods[:peak]) + sorted(pods[peak:], reverse=True)
            assert scaler.shows(QUEUE, backlog=0, busy=0)["known"]
    finally:
        statuses = fleet.stop()
    burst.join(10)
    assert sorted(fleet.ended()) == sorted(published)
    assert statuses == [0] * len(fleet.all)
