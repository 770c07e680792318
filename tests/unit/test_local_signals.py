"""A signal never falls between the birth of a process and the note of its pid."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from laneway.local.signals import signals_deferred, termination_raises

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_in_a_fresh_process() -> Iterator[None]:
    """A session with private servers has handlers of its own."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    reached: list[str] = []

    def interrupted() -> None:
        with signals_deferred():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_becomes_an_exception(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as left, termination_raises():
        signal.raise_signal(number)
    assert left.value.code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_the_program_s_own_handler_stays() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    try:
        with termination_raises():
            signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_both_nest() -> None:
    with (
        pytest.raises(SystemExit),
        termination_raises(),
        termination_raises(),
        signals_deferred(),
        signals_deferred(),
    ):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_are_not_concerned() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with termination_raises(), signals_deferred():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
