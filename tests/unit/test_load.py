"""What a worker reports of its load, without a broker."""

from __future__ import annotations

import time
import weakref
from types import SimpleNamespace
from typing import Any

from laneway.scaling import read_report
from laneway.worker.load import report_of, running
from laneway.worker.tally import Tallies


class Request:
    """Of Celery's, as far as it is looked at; a set of weak references wants a class of its own."""

    def __init__(self, time_start: float | None) -> None:
        self.time_start = time_start


def worker(requests: list[Request], **more: Any) -> Any:
    return SimpleNamespace(
        queue="low",
        hostname="low@here.1",
        concurrency=4,
        pool=None,
        consumer=SimpleNamespace(taking_jobs=True),
        tallies=Tallies(2),
        state=SimpleNamespace(active_requests=weakref.WeakSet(requests)),
        **more,
    )


def test_what_runs_and_for_how_long() -> None:
    now = time.monotonic()
    requests = [Request(now - 3), Request(now - 2), Request(None)]
    busy, seconds = running(worker(requests))
    assert busy == 3
    assert 5 <= seconds < 6


def test_a_report_is_what_all_processes_counted() -> None:
    requests = [Request(None)]
    it = worker(requests)
    it.tallies[0].waits[0], it.tallies[1].waits[0], it.tallies[1].waits[-1] = 1, 2, 4
    it.tallies[0].wait_sum, it.tallies[1].runtime_sum = 7.5, 1.5
    it.tallies[1].runtimes[3] = 5
    report = report_of(it, run="r", up=9.0, every=5.0)
    assert (report.busy, report.consumers, report.concurrency) == (1, 1, 4)
    assert (report.ended, report.runtime) == (5, 1.5)
    assert (report.started, report.wait) == (7, 7.5)
    assert report.waits == ((0.001, 3), (None, 4))
    assert read_report(report.encode()) == report
    it.consumer.taking_jobs = False
    assert report_of(it, run="r", up=9.0, every=5.0, leaving=True).consumers == 0


def test_the_largest_report_can_be_read() -> None:
    requests = [Request(None)]
    it = worker(requests)
    it.hostname, it.queue = "w" * 255, "q" * 63
    for tally in it.tallies:
        tally.waits[:] = [2**44] * len(tally.waits)
        tally.runtimes[:] = [2**44] * len(tally.runtimes)
    report = report_of(it, run="r", up=1e9 / 3, every=5.0)
    assert read_report(report.encode()) == report
    assert len(report.encode()) < 2048
