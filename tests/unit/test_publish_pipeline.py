"""Confirms come late, out of order and for many at once; each ends the job that it means."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import ChannelError, error_for_code

from laneway.errors import PublishTimeout
from laneway.publish import frames
from laneway.publish.frames import Publish
from laneway.publish.pipeline import Job, Pipeline
from laneway.publish.producer import Alarm


def answer(kind: bytes, tag: int, *, multiple: bool = False) -> tuple[int, int, bytes]:
    return (1, frames.CHANNEL, kind + struct.pack(">QB", tag, multiple))


class Broker:
    """A connection whose answers the test gives."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.sent: list[bytes] = []
        self.alarm = Alarm()
        self.__connection__ = SimpleNamespace(connected=True)
        self.discarded = 0
        self.tag = 0
        self._new_channel()

    def _new_channel(self) -> None:
        transport = SimpleNamespace(
            having_timeout=self.having_timeout, read_frame=self.read_frame, write=self.sent.append
        )
        connection = SimpleNamespace(
            transport=transport, frame_max=131072, on_inbound_frame=self.on_inbound_frame
        )
        events: dict[str, set[Any]] = {
            "basic_return": set(),
            "basic_ack": set(),
            "basic_nack": set(),
        }
        self.channel = SimpleNamespace(connection=connection, events=events)

    def confirming(self) -> Any:
        return self.channel

    def ready(self) -> bool:
        return self.alarm.reason is None

    def discard(self) -> None:
        self.discarded += 1
        self.tag = 0
        self._new_channel()

    def having_timeout(self, _seconds: float) -> Any:
        import contextlib

        return contextlib.nullcontext()

    def read_frame(self) -> Any:
        frame = self.answers.pop(0)
        if isinstance(frame, Exception):
            raise frame
        return frame

    def on_inbound_frame(self, frame: Any) -> None:
        """Here only what is returned: the id of the message."""
        error = error_for_code(312, "NO_ROUTE", (50, 60), ChannelError)
        message = SimpleNamespace(properties={"correlation_id": frame[2].decode()})
        for callback in self.channel.events["basic_return"]:
            callback(error, "jobs", "low", message)


class Heard:
    """What became of the jobs."""

    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []

    def accepted(self, job: Job) -> None:
        self.said.append((job.position, "accepted"))

    def refused(self, job: Job, error: Exception) -> None:
        self.said.append((job.position, type(error).__name__))


def pipeline(broker: Any, heard: Heard, *, window: int = 100, deadline: float = 10) -> Pipeline:
    return Pipeline(broker, where="there", deadline=deadline, window=window, listener=heard)


def fill(line: Pipeline, number: int) -> None:
    for position in range(number):
        message = Publish(b"m", b"p", b"b")
        line.add(Job(position, f"id{position}", "t", "low", 4, message))


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([answer(frames.ACK, 3, multiple=True)], {0: "accepted", 1: "accepted", 2: "accepted"}),
        ([answer(frames.ACK, tag) for tag in (3, 1, 2)],
         {0: "accepted", 1: "accepted", 2: "accepted"}),
        ([answer(frames.ACK, 2), answer(frames.ACK, 3, multiple=True)],
         {0: "accepted", 1: "accepted", 2: "accepted"}),
        ([answer(frames.ACK, 1), answer(frames.NACK, 3, multiple=True)],
         {0: "accepted", 1: "QueueFull", 2: "QueueFull"}),
        ([answer(frames.ACK, 7), answer(frames.ACK, 1), answer(frames.ACK, 1),
          answer(frames.ACK, 3, multiple=True)],
         {0: "accepted", 1: "accepted", 2: "accepted"}),
        ([(2, 1, b"id1"), answer(frames.ACK, 3, multiple=True)],
         {0: "accepted", 1: "Unroutable", 2: "accepted"}),
    ],
)  # fmt: skip
def test_an_answer_ends_the_jobs_that_it_means(answers: Any, said: dict[int, str]) -> None:
    broker, heard = Broker(), Heard()
    line = pipeline(broker, heard)
    fill(line, 3)
    broker.answers = answers
    line.finish()
    assert dict(heard.said) == said
    assert len(heard.said) == 3
    assert line.unsettled == []


def test_confirms_are_counted_on_from_what_the_connection_sent_before() -> None:
    broker, heard = Broker(), Heard()
    broker.tag = 7
    line = pipeline(broker, heard)
    fill(line, 2)
    broker.answers = [answer(frames.ACK, 9), answer(frames.NACK, 8)]
    line.finish()
    assert heard.said == [(1, "accepted"), (0, "QueueFull")]
    assert broker.tag == 9


def test_no_more_than_the_window_is_on_its_way() -> None:
    broker, heard = Broker(), Heard()
    line = pipeline(broker, heard, window=4)
    fill(line, 4)
    assert len(broker.sent) == 4
    broker.answers = [answer(frames.ACK, 1)]
    fill(line, 1)
    assert len(broker.sent) == 5
    assert not broker.answers
    with pytest.raises(IndexError):
        fill(line, 1)


def test_what_was_not_confirmed_is_sent_again_on_a_new_connection() -> None:
    broker, heard = Broker(), Heard()
    line = pipeline(broker, heard)
    fill(line, 4)
    broker.answers = [
        answer(frames.ACK, 1), (2, 1, b"id2"), OSError("gone"),
        # The new connection counts anew, and the returned job is not sent again.
        answer(frames.ACK, 2, multiple=True),
    ]  # fmt: skip
    line.finish()
    assert sorted(heard.said) == [
        (0, "accepted"),
        (1, "accepted"),
        (2, "Unroutable"),
        (3, "accepted"),
    ]
    assert broker.discarded == 1
    assert line.sent_twice == 2


def test_what_is_left_is_known() -> None:
    broker, heard = Broker(), Heard()
    line = pipeline(broker, heard, deadline=0.001)
    fill(line, 3)
    broker.answers = [answer(frames.ACK, 2), TimeoutError()]
    with pytest.raises(PublishTimeout):
        line.finish()
    assert [(job.position, job.sent) for job in line.unsettled] == [(0, True), (2, True)]
    line.leave()


def test_an_answer_makes_the_deadline_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now, sleep=lambda _seconds: None)
    monkeypatch.setattr("laneway.publish.attempt.time", clock)
    monkeypatch.setattr("laneway.publish.pipeline.time", clock)
    broker, heard = Broker(), Heard()
    line = pipeline(broker, heard, deadline=10)
    fill(line, 4)
    read_frame = broker.read_frame

    def slowly() -> Any:
        nonlocal now
        now += 6
        return read_frame()

    broker.read_frame = slowly  # type: ignore[method-assign]
    broker._new_channel()
    broker.answers = [answer(frames.ACK, 1), answer(frames.ACK, 2), OSError("gone")]
    broker.answers += [answer(frames.ACK, 1), answer(frames.ACK, 2)]
    line.finish()
    assert len(heard.said) == 4


def test_what_is_no_answer_does_not_make_the_deadline_begin_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now, sleep=lambda _seconds: None)
    monkeypatch.setattr("laneway.publish.attempt.time", clock)
    monkeypatch.setattr("laneway.publish.pipeline.time", clock)
    broker, heard = Broker(), Heard()
    line = pipeline(broker, heard, deadline=10)
    fill(line, 1)

    def heartbeat() -> Any:
        nonlocal now
        now += 6
        return (8, 0, b"")

    broker.read_frame = heartbeat  # type: ignore[method-assign]
    broker._new_channel()
    with pytest.raises(PublishTimeout):
        line.finish()
