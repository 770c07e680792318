"""Task events never hold up a job: they wait in memory, and not without bounds."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, cast

from laneway.worker.direct import task_events
from laneway.worker.direct.task_events import TaskEvents

if TYPE_CHECKING:
    import pytest


class NoBroker:
    """An application whose broker is away."""

    def connection_for_write(self, **_: Any) -> Any:
        raise ConnectionRefusedError


def test_without_a_broker_events_are_dropped_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_events, "LIMIT", 3)
    events = TaskEvents(cast("Any", NoBroker()), "low@here", 1)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            events.send("task-started", uuid="1")
    assert time.monotonic() - began < 0.5
    assert [record.message for record in caplog.records] == [
        "the broker does not take task events: new ones are dropped"
    ]
    events.close(0.1)


def test_closing_waits_no_longer_than_it_is_told() -> None:
    events = TaskEvents(cast("Any", NoBroker()), "low@here", 1)
    events.send("task-started", uuid="1")
    began = time.monotonic()
    events.close(0.2)
    assert time.monotonic() - began < 1
