"""What the processes of a worker count."""

from __future__ import annotations

import os
import signal

import pytest

from laneway.facts import Door
from laneway.worker.tally import BUCKETS, Counting, Tallies


def test_the_counts_of_all_processes_are_one_sum() -> None:
    tallies = Tallies(3)
    pid = os.fork()
    if not pid:
        door = Door()
        door.listen(Counting(tallies[1]))
        door.tell("started", wait=0.2)
        door.tell("succeeded", runtime=2.0)
        os._exit(0)
    os.waitpid(pid, 0)
    door = Door()
    door.listen(Counting(tallies[0]))
    door.tell("received")
    door.tell("started", wait=0.3)
    assert tallies.facts() == {"received": 1, "started": 2, "succeeded": 1}
    waits, waited = tallies.waits()
    assert sum(waits) == 2
    assert waited == pytest.approx(0.5)
    runtimes, ran = tallies.runtimes()
    assert sum(runtimes) == 1
    assert ran == pytest.approx(2.0)


def test_what_a_killed_process_told_is_kept() -> None:
    tallies = Tallies(2)
    pid = os.fork()
    if not pid:
        door = Door()
        door.listen(Counting(tallies[1]))
        door.tell("report_held", cause="a")
        door.tell("report_held", cause="a")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert tallies.facts() == {"report_held": 2}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (3600.0, len(BUCKETS) - 1)]
)
def test_a_bucket_holds_what_is_at_most_its_bound(seconds: float, bucket: int) -> None:
    tallies = Tallies(1)
    door = Door()
    door.listen(Counting(tallies[0]))
    door.tell("started", wait=seconds)
    counts, _ = tallies.waits()
    assert counts[bucket] == 1


def test_above_the_last_bound_is_one_more_bucket() -> None:
    tallies = Tallies(1)
    door = Door()
    door.listen(Counting(tallies[0]))
    door.tell("succeeded", runtime=1e6)
    counts, _ = tallies.runtimes()
    assert counts[-1] == 1
    assert len(counts) == len(BUCKETS) + 1
