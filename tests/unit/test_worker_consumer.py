"""What the consumer does with what the gate says, without a broker."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import pytest
from celery.worker.consumer import Consumer

from laneway import Laneway
from laneway.policy import load_policy
from laneway.worker.consumer import JobConsumer
from laneway.worker.gate import Limits
from laneway.worker.letters import Failure, LetterWriter
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = b"[[], {}, {}]"


class Bench:
    """A consumer whose loop and broker are this test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, handle: Callable[..., Any]) -> None:
        self.letters: list[Any] = []
        self.sent: list[Any] = []
        self.told: list[str] = []
        self.error: Exception | None = None
        app = Laneway("consumer", policy=load_policy(POLICY), set_as_current=False)
        app.serving = "low"
        app.tasks["plain.add"] = types.SimpleNamespace(name="plain.add")
        self.consumer: Any = JobConsumer.__new__(JobConsumer)
        self.consumer.app, self.consumer.hostname = app, "low@here"
        self.consumer.connection_errors = (ConnectionError,)
        desk: Any = types.SimpleNamespace(do=lambda work, then: then(work()))
        self.consumer.desk = desk
        self.consumer._letters = LetterWriter(app, "low", "low@here")
        self.consumer._limits = Limits()
        monkeypatch.setattr(Consumer, "create_task_handler", lambda *_, **__: handle)
        monkeypatch.setattr("laneway.deadletter.postbox.post", self._post)
        monkeypatch.setattr(
            app, "publisher", lambda _: types.SimpleNamespace(publish=self._publish)
        )
        monkeypatch.setattr("time.sleep", lambda _: None)
        self.take = self.consumer.create_task_handler()

    def _post(self, _app: Any, letter: Any, *_: Any) -> None:
        if self.error is not None:
            raise self.error
        self.letters.append(letter)

    def _publish(self, message: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(message)

    def message(self, body: bytes = JOB, **headers: Any) -> Any:
        return types.SimpleNamespace(
            body=body,
            raw_body=body,
            raw_properties=b"as they came",
            readable=True,
            headers={"task": "plain.add", "id": "7a", **headers},
            properties={"content_type": "application/json", "priority": 3},
            delivery_info={"exchange": "jobs", "routing_key": "low", "redelivered": False},
            acknowledged=False,
            ack_log_error=lambda *_: self.told.append("ack"),
            reject_log_error=lambda *_, requeue: self.told.append(f"reject {requeue}"),
        )


def fails(_: Any) -> None:
    raise KeyError("whatever Celery does not like")


def test_a_job_goes_on_to_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    bench = Bench(monkeypatch, handle=taken.append)
    bench.take(message := bench.message())
    assert taken == [message]
    assert message.job.args == []
    assert (bench.told, bench.letters) == ([], [])


@pytest.mark.parametrize("posted", [True, False])
def test_what_is_no_job_is_a_letter(monkeypatch: pytest.MonkeyPatch, posted: bool) -> None:
    bench = Bench(monkeypatch, handle=fails)
    bench.error = None if posted else OSError()
    bench.take(bench.message(b"no JSON"))
    if not posted:
        assert bench.told == ["reject False"]
        return
    [letter] = bench.letters
    assert (letter.outcome, letter.error_type, letter.priority) == (
        "quarantined",
        "BodyUnreadable",
        3,
    )
    assert (letter.original.properties, letter.original.body) == (b"as they came", b"no JSON")
    assert bench.told == ["ack"]


def test_properties_that_could_not_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, handle=fails)
    message = bench.message()
    message.readable, message.properties, message.headers = False, {}, {}
    bench.take(message)
    [letter] = bench.letters
    assert letter.error_type == "PropertiesUnreadable"
    assert bench.told == ["ack"]


@pytest.mark.parametrize("sent", [True, False])
def test_an_unknown_task_is_handed_back(monkeypatch: pytest.MonkeyPatch, sent: bool) -> None:
    bench = Bench(monkeypatch, handle=fails)
    bench.error = None if sent else OSError()
    bench.take(bench.message(task="plain.nowhere"))
    assert bench.told == ["ack" if sent else "reject True"]
    assert len(bench.sent) == sent
    assert bench.letters == []


def test_what_celery_refuses_is_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, handle=fails)
    bench.take(bench.message())
    [letter] = bench.letters
    assert (letter.outcome, letter.error_type) == ("quarantined", "BodyRefused")
    assert bench.told == ["ack"]


def test_a_message_is_buried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(message: Any) -> None:
        message.bury(Failure(outcome="failed"))
        fails(message)

    bench = Bench(monkeypatch, handle=handle)
    bench.take(bench.message())
    assert [letter.outcome for letter in bench.letters] == ["failed"]
    assert bench.told == ["ack"]


def test_a_lost_connection_is_not_the_messages_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(_: Any) -> None:
        raise ConnectionError

    bench = Bench(monkeypatch, handle=handle)
    with pytest.raises(ConnectionError):
        bench.take(bench.message())
    assert (bench.letters, bench.told) == ([], [])
