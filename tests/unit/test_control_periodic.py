"""What is done every now and then, by a clock of the test's."""

from __future__ import annotations

import threading

from laneway.control.periodic import Periodic, run_all


def test_it_is_done_at_once_and_then_after_its_time() -> None:
    times = iter([100.0, 100.0, 101.0, 159.9, 160.0, 160.0, 161.0, 500.0, 500.0])
    one = Periodic(name="renew", every=60, do=lambda _stop: None)
    done = [one.look(lambda: next(times), threading.Event()) for _ in range(6)]
    # (A look that does it asks once more, when it is done.)
    assert done == [True, False, False, True, False, True]
    assert (one.runs, one.failures) == (3, 0)


def test_what_fails_is_counted_and_done_again() -> None:
    def fail(_stop: threading.Event) -> None:
        raise OSError("the disk")

    now = 0.0
    one = Periodic(name="renew", every=10, do=fail)
    assert one.look(lambda: now, threading.Event())
    assert not one.look(lambda: now, threading.Event())
    now = 10.0
    assert one.look(lambda: now, threading.Event())
    assert (one.runs, one.failures) == (2, 2)


def test_it_ends_when_told_to() -> None:
    stop = threading.Event()
    after: list[int] = []
    run_all(
        [
            Periodic(name="first", every=0, do=lambda _stop: stop.set()),
            Periodic(name="second", every=0, do=lambda _stop: after.append(1)),
        ],
        stop,
    )
    assert after == []
