"""What a child process must not keep."""

from __future__ import annotations

import gc

from laneway.after_fork import start_afresh_in_child
from support.forked import true_in_child


class Counter:
    def __init__(self) -> None:
        self.fresh = 0
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        self.fresh += 1


def test_a_child_starts_afresh_once_and_its_parent_does_not() -> None:
    counter = Counter()
    assert true_in_child(lambda: counter.fresh == 1)
    assert counter.fresh == 0


def test_what_is_gone_is_not_kept_alive() -> None:
    called = []

    class Told(Counter):
        def start_afresh(self) -> None:
            called.append(1)

    Told()
    gc.collect()
    assert true_in_child(lambda: not called)
