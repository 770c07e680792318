"""What a child process must not keep."""

from __future__ import annotations

import gc
import os

from laneway.sentry.after_fork import start_afresh_in_child


class Counter:
    def __init__(self) -> None:
        self.fresh = 0
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        self.fresh += 1


def exit_status_of_child(look: object) -> int:
    pid = os.fork()
    if not pid:
        status = 99
        try:
            status = look()  # type: ignore[operator]
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_starts_afresh_once_and_its_parent_does_not() -> None:
    counter = Counter()
    assert exit_status_of_child(lambda: counter.fresh) == 1
    assert counter.fresh == 0


def test_what_is_gone_is_not_kept_alive() -> None:
    called = []

    class Told(Counter):
        def start_afresh(self) -> None:
            called.append(1)

    Told()
    gc.collect()
    assert exit_status_of_child(lambda: len(called)) == 0
