"""Rows go out in waves: one of each key at a time, all keys side by side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from laneway.errors import BrokerUnreachable, PublishError, QueueFull, TopologyMissing
from laneway.outbox import Row, sending
from laneway.outbox.sending import send
from laneway.publish.frames import Publish, publish_method

if TYPE_CHECKING:
    from laneway.broker import VhostKind

METHOD = publish_method("jobs", "default")


def row(name: str, key: str | None = None, vhost: VhostKind = "jobs") -> Row:
    return Row(
        job_id=name, task="plain.add", queue="default", priority=4, vhost=vhost, order_key=key,
        created_at=0.0, message=Publish(METHOD, b"", name.encode()),
    )  # fmt: skip


class Broker:
    """Answers each row as the test says; a pipeline answers from the back, as brokers may."""

    def __init__(self) -> None:
        self.waves: list[list[str]] = []
        self.alone: list[str] = []
        self.refused: dict[str, Exception] = {}
        #: Raised by the pipeline of a virtual host.
        self.trouble: dict[str, PublishError] = {}

    def publisher(self, vhost: VhostKind) -> Any:
        return SimpleNamespace(vhost=vhost, publish=self.publish)

    def pipeline(self, rows: list[Row], publisher: Any, answers: Any) -> None:
        self.waves.append([one.job_id for one in rows])
        if error := self.trouble.get(publisher.vhost):
            raise error
        for position, one in reversed(list(enumerate(rows))):
            if error_of_one := self.refused.get(one.job_id):
                answers.deny(position, error_of_one)
            else:
                answers.confirm(position)

    def publish(self, message: Publish) -> None:
        name = message.body.decode()
        self.alone.append(name)
        if error := self.refused.get(name):
            raise error


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(sending, "_pipeline", made.pipeline)
    return made


def names(rows: list[Row]) -> list[str]:
    return [one.job_id for one in rows]


def test_one_of_each_key_at_a_time(broker: Broker) -> None:
    rows = [row("a1", "a"), row("-1"), row("b1", "b"), row("a2", "a"), row("a3", "a"), row("-2")]
    sent = send(rows, broker.publisher)
    assert broker.waves == [["a1", "-1", "b1", "-2"], ["a2"], ["a3"]]
    assert names(sent.accepted) == ["a1", "-1", "b1", "-2", "a2", "a3"]


def test_a_refused_row_holds_back_its_key(broker: Broker) -> None:
    broker.refused["a2"] = QueueFull("full")
    rows = [row("a1", "a"), row("a2", "a"), row("a3", "a"), row("b1", "b"), row("b2", "b")]
    sent = send(rows, broker.publisher)
    assert names(sent.accepted) == ["a1", "b1", "b2"]
    assert [(one.job_id, str(error)) for one, error in sent.refused] == [("a2", "full")]


def test_a_key_crosses_virtual_hosts_in_order(broker: Broker) -> None:
    rows = [row("1", "k", "secure"), row("2", "k", "jobs"), row("3", "k", "secure")]
    assert names(send(rows, broker.publisher).accepted) == ["1", "2", "3"]
    assert broker.waves == [["1"], ["2"], ["3"]]


def test_one_virtual_host_is_away(broker: Broker) -> None:
    broker.trouble["jobs"] = BrokerUnreachable("away")
    rows = [row("j1"), row("s1", "k", "secure"), row("j2", "k"), row("s2", "l", "secure")]
    sent = send(rows, broker.publisher)
    assert names(sent.accepted) == ["s1", "s2"]
    assert list(sent.trouble) == ["jobs"]
    assert sent.refused == []


def test_a_channel_closed_over_one_row_is_found_out_one_by_one(broker: Broker) -> None:
    broker.trouble["jobs"] = TopologyMissing("an exchange is missing")
    broker.refused["b"] = TopologyMissing("an exchange is missing")
    broker.refused["c"] = ValueError("what nobody thought of")
    sent = send([row("a"), row("b"), row("c"), row("d")], broker.publisher)
    assert broker.alone == ["a", "b", "c", "d"]
    assert names(sent.accepted) == ["a", "d"]
    assert [type(error) for _, error in sent.refused] == [TopologyMissing, PublishError]


def test_nothing_more_is_sent_once_it_is_stopped(broker: Broker) -> None:
    sent = send(
        [row("a1", "a"), row("a2", "a")], broker.publisher, stopped=lambda: bool(broker.waves)
    )
    assert names(sent.accepted) == ["a1"]
