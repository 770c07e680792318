"""What a worker reports of its load, without a broker."""

from __future__ import annotations

import time
import weakref
from types import SimpleNamespace
from typing import Any

import amqp.exceptions
import pytest

from laneway.scaling import Pace, read_report
from laneway.worker.load import Blocked, LoadReports, report_of, running
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
    now = time.time()
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


class Channel:
    """Takes reports, or has something against them."""

    def __init__(self, *, missing: bool = False, refused: bool = False) -> None:
        self.sent: list[bytes] = []
        self._missing, self._refused = missing, refused

    def exchange_declare(self, *_: Any, **__: Any) -> None:
        if self._missing:
            raise amqp.exceptions.NotFound("no exchange")

    def prepare_message(self, body: bytes, **_: Any) -> bytes:
        return body

    def basic_publish(self, body: bytes, **_: Any) -> None:
        if self._refused:
            raise amqp.exceptions.AccessRefused("not yours")
        self.sent.append(body)


def reports_of(it: Any) -> LoadReports:
    it.pace = Pace(window=60, every=0.05)
    return LoadReports(SimpleNamespace(controller=it, app=None))  # type: ignore[arg-type]


def connection(channel: Channel) -> Any:
    closed: list[bool] = []
    amqps = SimpleNamespace(collect=lambda: closed.append(True))
    return SimpleNamespace(channel=lambda: channel, connection=amqps, closed=closed)


def test_a_report_is_sent_when_it_is_due_and_at_the_end() -> None:
    channel, reports = Channel(), reports_of(worker([]))
    reports.begin(connection(channel))
    reports.look()
    reports.look()
    assert len(channel.sent) == 1
    time.sleep(0.06)
    reports.look()
    reports.end()
    said = [read_report(body) for body in channel.sent]
    assert [one.leaving for one in said if one is not None] == [False, False, True]


@pytest.mark.parametrize("wrong", [{"missing": True}, {"refused": True}])
def test_nobody_to_hear_it_is_said_once_and_stops_nothing(
    wrong: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    reports = reports_of(worker([]))
    for _ in range(3):  # connections
        reports.begin(connection(Channel(**wrong)))
        for _ in range(3):
            reports.look()
            time.sleep(0.06)
        reports.end()
    assert len([one for one in caplog.messages if "not reported to the scaler" in one]) == 1


def test_what_the_broker_blocks_is_given_up_and_publishes_nothing_for_a_while() -> None:
    channel, reports = Channel(), reports_of(worker([]))
    blocked = connection(channel)
    reports.begin(blocked)
    with pytest.raises(Blocked):
        reports._on_blocked("memory")
    assert blocked.closed == [True]
    another = Channel()
    reports.begin(connection(another))
    time.sleep(0.06)
    reports.look()
    assert another.sent == []
