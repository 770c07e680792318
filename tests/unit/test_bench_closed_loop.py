"""The closed loop's own arithmetic; the loop itself needs a broker."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bench.closed_loop import plan, world_of
from bench.loop_pods import Pods
from bench.loop_result import Journal, Measured, compared, predict
from laneway.scaling.simulate import Fixed, Trace, simulate

if TYPE_CHECKING:
    from pathlib import Path


def test_the_plan_is_calm_then_four_times_as_much_then_calm() -> None:
    trace = plan(200, 1)
    assert trace == plan(200, 1)
    assert min(trace.arrivals) >= -25
    rates = [
        sum(since <= at < until for at in trace.arrivals) / (until - since)
        for since, until in ((0, 40), (40, 110), (110, 200))
    ]
    assert rates == pytest.approx([4, 16, 4], rel=0.25)


def test_the_journal_is_read_as_it_grows_and_never_half_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.finished() == (0, 0)
    with journal.path.open("w") as file:
        file.write("0,10.0,10.5,12.5\n1,11.0,11.0,1")
        file.flush()
        assert journal.finished() == (1, 2)
        file.write("1.5\n")
        file.flush()
        assert journal.finished() == (1, 0.5)
    assert journal.lines == [(0, 10, 10.5, 12.5), (1, 11, 11, 11.5)]


def test_pods_are_started_late_and_the_youngest_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.loop_pods._DELAY", (0.05, 0.05))
    started: list[int] = []

    def sleep(port: int) -> subprocess.Popen[bytes]:
        started.append(port)
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    pods = Pods(sleep, random.Random(1))
    pods.scale(2)
    pods.tend()
    assert started == []
    time.sleep(0.1)
    pods.tend()
    assert len(started) == 2
    pods.all[0].ready = pods.all[1].ready = time.monotonic()
    pods.scale(3)
    pods.scale(1)
    kept, ended, waiting = pods.all
    assert [pod.told_to_stop for pod in pods.all] == [False, True, True]
    assert waiting.ended is not None  # it never began
    pods.stop()
    assert kept.ended is not None
    assert ended.ended is not None


def test_a_prediction_of_itself_is_right(tmp_path: Path) -> None:
    queues = tmp_path / "queues"
    queues.mkdir()
    (queues / "default.toml").write_text('summary = "x"\nservice_level = "1s"\n')
    (tmp_path / "routing.py").write_text("ROUTES = []\n")
    world = world_of(tmp_path)
    trace = Trace("t", 100, [-1, 1, 2, 3], [1, 1, 1, 1], [])
    outcome = simulate(trace, world, Fixed(2), 0)
    measured = Measured(
        trace=trace,
        within=outcome.within,
        p95=0,
        p99=0,
        pod_hours=outcome.pod_hours,
        most_pods=2,
        starts=[4.0, 6.0],
        lost=0,
        pods=[],
    )
    found = compared(measured, predict(world, Fixed(2), measured, seeds=3))
    for name in ("within", "pod_hours", "most_pods"):
        assert found[name]["measured"] == pytest.approx(found[name]["predicted"], rel=0.01)
    assert found["pod_start_mean"] == 5
