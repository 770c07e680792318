"""How many jobs of each task the processes have begun."""

from __future__ import annotations

import os

from laneway.worker.direct.totals import LATER, Totals


def test_what_the_processes_count_the_parent_reads_by_task() -> None:
    totals = Totals(2, ["a.task", "b.task", "never.run"])
    totals[0].note("a.task")
    pid = os.fork()
    if not pid:
        totals[1].note("a.task")
        totals[1].note("b.task")
        os._exit(0)
    os.waitpid(pid, 0)
    assert totals.by_task() == {"a.task": 2, "b.task": 1}
    assert totals.by_task().total() == 3


def test_a_task_that_was_registered_later_is_counted_too() -> None:
    totals = Totals(1, ["a.task"])
    totals[0].note("late.task")
    assert totals.by_task() == {LATER: 1}
