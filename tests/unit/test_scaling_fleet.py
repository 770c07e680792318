"""What the workers of a queue reported, over a window."""

from __future__ import annotations

import pytest

from laneway.scaling import Pace
from laneway.scaling.fleet import Fleet
from support.load_reports import report

PACE = Pace(window=60, every=5)


def test_nobody_knows_a_runtime_before_a_job_runs() -> None:
    fleet = Fleet(PACE)
    assert fleet.runtime(0) is None
    fleet.hear(report(), 0)
    assert fleet.runtime(0) is None


def test_the_runtime_is_of_jobs_that_ended_in_the_window() -> None:
    fleet = Fleet(PACE)
    for second in range(0, 300, 5):
        # Two jobs a second; half a second each, and two seconds each after the 200th second.
        slow = max(0, second - 200)
        fleet.hear(
            report(up=second, ended=2 * second, runtime=0.5 * 2 * (second - slow) + 2.0 * 2 * slow),
            second,
        )
        if second == 150:
            before = fleet.runtime(second)
            assert before is not None
            assert (before.seconds, before.of) == (0.5, "window")
    after = fleet.runtime(295)
    assert after is not None
    assert (after.seconds, after.jobs, after.of) == (2.0, 120, "window")


def test_of_too_few_in_the_window_all_are_taken() -> None:
    fleet = Fleet(PACE)
    fleet.hear(report(up=1000, ended=100, runtime=300.0), 0)
    fleet.hear(report(up=1005, ended=101, runtime=400.0), 5)
    runtime = fleet.runtime(5)
    assert runtime is not None
    assert (runtime.of, runtime.jobs) == ("start", 101)
    assert runtime.seconds == pytest.approx(400 / 101)


def test_a_long_job_that_runs_still_says_how_long_jobs_are() -> None:
    fleet = Fleet(PACE)
    fleet.hear(report(up=600, busy=2, running_for=1100.0), 0)
    runtime = fleet.runtime(0)
    assert runtime is not None
    assert (runtime.seconds, runtime.jobs, runtime.of) == (550.0, 2, "running")
    # Once one ended that took as long, its length is known.
    fleet.hear(report(up=605, busy=1, running_for=3.0, ended=1, runtime=555.0), 5)
    runtime = fleet.runtime(5)
    assert runtime is not None
    assert (runtime.seconds, runtime.of) == (555.0, "start")


def test_jobs_that_hang_make_the_runtime_longer_before_any_of_them_ends() -> None:
    fleet = Fleet(PACE)
    fleet.hear(report(up=600, ended=100, runtime=10.0), 0)
    fleet.hear(report(up=605, ended=100, runtime=10.0, busy=2, running_for=240.0), 5)
    runtime = fleet.runtime(5)
    assert runtime is not None
    assert (runtime.seconds, runtime.of) == (120.0, "running")


def test_a_worker_that_is_silent_or_leaves_is_there_no_longer() -> None:
    fleet = Fleet(PACE)
    fleet.hear(report("a", busy=1), 0)
    fleet.hear(report("b", busy=2), 10)
    assert len(fleet.present(10)) == 2
    assert [one.worker for one in fleet.present(20)] == ["b"]
    fleet.hear(report("b", busy=2, leaving=True), 20)
    assert fleet.present(20) == []
    # It was only reconnected.
    fleet.hear(report("b", busy=2), 21)
    assert [one.busy for one in fleet.present(21)] == [2]


def test_a_slower_worker_is_waited_for() -> None:
    fleet = Fleet(PACE)
    fleet.hear(report(every=30.0), 0)
    assert fleet.present(80)
    assert not fleet.present(92)


def test_one_that_was_started_anew_replaces_the_one_before() -> None:
    """A container has the same name and the same process id each time."""
    fleet = Fleet(PACE)
    fleet.hear(report(run="1", up=100, busy=3, ended=100, runtime=100.0), 0)
    fleet.hear(report(run="1", up=105, busy=3, ended=110, runtime=110.0), 5)
    fleet.hear(report(run="2", up=1, busy=1, ended=20, runtime=60.0), 10)
    assert [one.run for one in fleet.present(10)] == ["2"]
    runtime = fleet.runtime(10)
    assert runtime is not None
    # Both count: 10 jobs of 1 s by the one, 20 of 3 s by the other.
    assert runtime.jobs == 30
    assert runtime.seconds == pytest.approx(70 / 30)


def test_what_it_did_before_the_window_does_not_count() -> None:
    fleet = Fleet(PACE)
    fleet.hear(report(up=10_000, started=500, wait=5000.0, waits=((0.1, 100), (None, 400))), 0)
    assert fleet.waits(0).started == 0
    fleet.hear(report(up=10_005, started=510, wait=5000.5, waits=((0.1, 110), (None, 400))), 5)
    waits = fleet.waits(5)
    assert (waits.started, waits.mean, waits.buckets) == (10, 0.05, ((0.1, 10),))
    assert waits.within(1) == 1
    assert waits.within(0.05) == 0


def test_numbers_that_fall_are_no_workers_own() -> None:
    fleet = Fleet(PACE)
    fleet.hear(report(ended=100, runtime=100.0, up=50), 0)
    fleet.hear(report(ended=1, runtime=10_000.0, up=55, busy=999), 5)
    assert [one.busy for one in fleet.present(5)] == [0]


def test_the_memory_has_a_bound() -> None:
    """Whoever may publish may make names up."""
    fleet = Fleet(PACE)
    for number in range(10_050):
        fleet.hear(report(f"w{number}"), number / 1000)
        if number % 500 == 499:
            assert len(fleet.present(number / 1000)) == number + 1
    assert len(fleet.present(10)) == 10_000
    fleet.hear(report("real"), 200)
    assert [one.worker for one in fleet.present(200)] == ["real"]


def test_reports_are_kept_only_as_far_back_as_the_window_goes() -> None:
    fleet = Fleet(PACE)
    for second in range(0, 1000, 5):
        fleet.hear(report(up=second, ended=second), second)
    [worker] = fleet._workers.values()
    assert len(worker.points) <= 2 + 60 / 5 + 1
