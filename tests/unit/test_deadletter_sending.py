"""Whatever the broker's pace, few messages are ever sent without a confirmed entry about them."""

from __future__ import annotations

import contextlib
import random
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from laneway.deadletter import audit
from laneway.deadletter.republish import republished
from laneway.deadletter.sending import UNNOTED, Sending
from laneway.errors import QueueFull
from laneway.publish import frames
from support.letters import letter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.deadletter.listed import Chosen


class Broker:
    """Takes messages, and answers each when it likes; also the producer and the publisher."""

    def __init__(self, seed: int, *, refuses: int = 0) -> None:
        self._random = random.Random(seed)
        #: How many jobs it refuses before it takes them.
        self.refuses = refuses
        self.name, self.deadline = "there", 10.0
        self.tag = 0
        self.alarm = SimpleNamespace(reason=None)
        self.__connection__ = SimpleNamespace(connected=True)
        # Bodies without an answer, by tag; None is a job.
        self._open: dict[int, audit.Entry | None] = {}
        self._tags = 0
        self.jobs = 0
        self.noted = 0
        self.most_unnoted = 0
        #: Messages that waited for an answer, at least, while it was busy.
        self.fewest_open = 10_000
        self.entries: list[audit.Entry] = []
        transport = SimpleNamespace(
            having_timeout=lambda _s: contextlib.nullcontext(),
            read_frame=self.read_frame,
            write=self.write,
        )
        connection = SimpleNamespace(transport=transport, frame_max=131072)
        events: dict[str, set[Any]] = {f"basic_{one}": set() for one in ("return", "ack", "nack")}
        self._channel = SimpleNamespace(connection=connection, events=events)

    @contextlib.contextmanager
    def producer(self) -> Iterator[Broker]:
        yield self

    def ready(self) -> bool:
        return True

    def confirming(self) -> Any:
        return self._channel

    def discard(self) -> None:
        raise AssertionError("nothing was wrong with the connection")

    def write(self, data: bytes) -> None:
        at = 0
        is_entry = False
        while at < len(data):
            kind, _, size = struct.unpack_from(">BHI", data, at)
            payload = data[at + 7 : at + 7 + size]
            at += 8 + size
            if kind == 1:
                is_entry = b"dead.audit" in payload
            elif kind == 3:
                self._tags += 1
                self._open[self._tags] = audit.decode(payload) if is_entry else None
                self.jobs += not is_entry
        self.most_unnoted = max(self.most_unnoted, self.jobs - self.noted)

    def read_frame(self) -> Any:
        """Answers to queues and streams come at a pace of their own, in no common order."""
        if 1000 <= self.jobs < 2900:
            self.fewest_open = min(self.fewest_open, len(self._open))
        tag = self._random.choice(list(self._open)[:20])
        entry = self._open.pop(tag)
        kind = frames.ACK
        if entry is not None:
            self.entries.append(entry)
            self.noted += len(entry.letters)
        elif self.refuses:
            self.refuses -= 1
            self.jobs -= 1
            kind = frames.NACK
        return (1, frames.CHANNEL, kind + struct.pack(">QB", tag, 0))


def listed(number: int) -> Chosen:
    one: Any = SimpleNamespace(id=f"job-{number}.0", task="t", queue="low", priority=4)
    return one  # type: ignore[no-any-return]


MESSAGE = republished(letter("job"), vhost="jobs").message


def sending(broker: Broker, **options: Any) -> Sending:
    app: Any = SimpleNamespace(publisher=lambda _vhost: broker)
    return Sending(app, "jobs", verb="replayed", by="ada@desk", run="run", **options)


@pytest.mark.parametrize("seed", range(5))
def test_few_are_ever_unnoted_and_all_are_noted_once(seed: int) -> None:
    broker = Broker(seed)
    sent: list[str] = []
    with sending(broker, on_sent=lambda one: sent.append(one.id)) as line:
        for number in range(3000):
            line.send(listed(number), MESSAGE, f"job-{number}")
    assert broker.most_unnoted <= UNNOTED
    named = [id_ for entry in broker.entries for id_ in entry.letters]
    assert sorted(named) == sorted(sent) == sorted(f"job-{n}.0" for n in range(3000))
    assert {(entry.verb, entry.by, entry.run) for entry in broker.entries} == {
        ("replayed", "ada@desk", "run")
    }


def test_the_line_never_runs_empty() -> None:
    broker = Broker(7)
    with sending(broker) as line:
        for number in range(3000):
            line.send(listed(number), MESSAGE, f"job-{number}")
    assert 100 < broker.fewest_open <= UNNOTED


def test_what_a_full_queue_refuses_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("laneway.deadletter.sending.time.sleep", pauses.append)
    broker, full = Broker(1, refuses=250), list[str]()
    with sending(broker, on_full=full.append) as line:
        for number in range(400):
            line.send(listed(number), MESSAGE, f"job-{number}")
    named = [id_ for entry in broker.entries for id_ in entry.letters]
    assert sorted(named) == sorted(f"job-{n}.0" for n in range(400))
    assert set(full) == {"low"}
    assert pauses
    assert max(pauses) <= 5


def test_what_was_accepted_is_noted_whatever_ends_it() -> None:
    broker = Broker(2)

    def interrupted() -> None:
        with sending(broker) as line:
            for number in range(70):
                line.send(listed(number), MESSAGE, f"job-{number}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert broker.noted == broker.jobs == 70


def test_another_refusal_ends_it_and_the_others_are_noted() -> None:
    broker = Broker(3)
    line = sending(broker)

    def refused() -> None:
        with line:
            for number in range(70):
                line.send(listed(number), MESSAGE, f"job-{number}")
            line._refused = LookupError("gone")

    assert not issubclass(LookupError, QueueFull)
    with pytest.raises(LookupError, match="gone"):
        refused()
    assert broker.noted == 70
