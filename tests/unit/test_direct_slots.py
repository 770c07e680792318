"""The records that parent and processes share."""

from __future__ import annotations

import os
import time

import pytest

from laneway.worker.direct.slots import CONSUME, Slots


def test_what_one_process_writes_the_other_reads() -> None:
    slots = Slots(2)
    pid = os.fork()
    if not pid:
        slots[1].begin(7, "an-id", "a.task", redelivered=True, hard=10.0, soft=0.0)
        os._exit(0)
    os.waitpid(pid, 0)
    mine, other = slots[1], slots[0]
    assert (mine.tag, mine.task_id, mine.task, mine.redelivered) == (7, b"an-id", b"a.task", 1)
    assert mine.running
    assert mine.hard_deadline == pytest.approx(mine.began + 10)
    assert mine.soft_deadline == 0
    assert not other.running


def test_a_job_that_ends_is_counted() -> None:
    slot = Slots(1)[0]
    slot.begin(1, "id", "task", redelivered=False, hard=0, soft=0)
    time.sleep(0.01)
    took = slot.end()
    assert not slot.running
    assert slot.done == 1
    assert slot.busy_seconds == took > 0


def test_long_names_are_cut() -> None:
    slot = Slots(1)[0]
    slot.begin(1, "i" * 1000, "ä" * 1000, redelivered=False, hard=0, soft=0)
    assert len(slot.task_id) == len(slot.task) == 255


def test_counts_outlive_the_process_and_nothing_else_does() -> None:
    slot = Slots(1)[0]
    slot.begin(1, "id", "task", redelivered=False, hard=0, soft=0)
    slot.end()
    slot.order, slot.finished = CONSUME, 9
    slot.clear()
    assert slot.done == 1
    assert (slot.order, slot.finished, slot.turn) == (0, 0, 0)
