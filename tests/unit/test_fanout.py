"""The fan-out: every listener hears every fact, and none can disturb another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from laneway.facts import Fact
from laneway.workloads.fanout import Fanout

if TYPE_CHECKING:
    import pytest

FACT = Fact(kind="started", at=1.0)


def test_a_listener_that_fails_is_reported_and_the_others_hear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Fact] = []

    def broken(_fact: Fact, /) -> None:
        raise ValueError("broken listener")

    facts = Fanout()
    facts.listen(broken)
    facts.listen(heard.append)
    facts(FACT)
    assert heard == [FACT]
    assert "broken listener" in caplog.text


def test_a_listener_is_never_called_twice_at_the_same_moment() -> None:
    inside = 0
    most = 0
    heard = 0

    def listener(_fact: Fact, /) -> None:
        nonlocal inside, most, heard
        inside += 1
        most = max(most, inside)
        for _ in range(200):
            pass
        heard += 1
        inside -= 1

    facts = Fanout()
    facts.listen(listener)

    def tell() -> None:
        for _ in range(500):
            facts(FACT)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, heard) == (1, 2000)
