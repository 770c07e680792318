"""What the relay does with the broker's answers: wait, put aside, look again, never twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from laneway.errors import BrokerUnreachable, OutboxError, QueueFull, TopologyMissing, Unroutable
from laneway.facts import Door, Fact
from laneway.outbox import Relay, Row, Store
from laneway.outbox import relay as relay_module
from laneway.outbox.sending import Sent
from laneway.outbox.sqlite import SQLiteDatabase
from laneway.outbox.store import insert
from laneway.publish.frames import Publish, publish_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from laneway.broker import VhostKind
    from laneway.errors import PublishError


class Scene:
    """A relay whose broker and clocks the test plays."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.store = Store(SQLiteDatabase(folder / "s.db", create=True), clock=lambda: self.now)
        self.facts: list[Fact] = []
        door = Door()
        door.listen(self.facts.append)
        app: Any = SimpleNamespace(publish_deadline=10, publisher=None, facts=door)
        self.relay = Relay(app, self.store, batch=10, poll=3600, clock=lambda: self.now)
        #: The names of the jobs of each sending.
        self.sent: list[list[str]] = []
        #: Why a job, or a virtual host, is refused.
        self.refusals: dict[str, PublishError] = {}

    def add(self, *names: str, vhost: VhostKind = "jobs") -> None:
        with self.store._database.transaction() as execute:
            insert(execute, [row(name, vhost) for name in names])

    def send(self, rows: list[Row], _publisher: Any, *, stopped: Callable[[], bool]) -> Sent:
        self.sent.append([row.job_id for row in rows])
        sent = Sent()
        for one in rows:
            if error := self.refusals.get(one.vhost):
                sent.trouble[one.vhost] = error
            elif error := self.refusals.get(one.job_id):
                sent.refused.append((one, error))
            elif not stopped():
                sent.accepted.append(one)
        return sent

    def left(self) -> list[str]:
        return [row.job_id for row in self.store.rows()]


def row(name: str, vhost: VhostKind) -> Row:
    return Row(
        job_id=name, task="plain.add", queue="default", priority=4, vhost=vhost, created_at=900.0,
        message=Publish(publish_method("jobs", "default"), b"", b""),
    )  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(tmp_path)
    monkeypatch.setattr(relay_module, "send", made.send)
    monkeypatch.setattr(relay_module, "_AWAY", 0.05)
    yield made
    made.store.close()


def test_batches_until_nothing_is_due(scene: Scene) -> None:
    scene.add(*(str(number) for number in range(25)))
    assert scene.relay.run_once().published == 25
    assert [len(names) for names in scene.sent] == [10, 10, 5]
    assert scene.left() == []
    assert [fact.task_id for fact in scene.facts] == [str(number) for number in range(25)]


def test_a_refused_job_waits_longer_each_time_and_is_put_aside_in_the_end(scene: Scene) -> None:
    scene.add("a")
    scene.refusals["a"] = Unroutable("no binding")
    waits = []
    for _ in range(relay_module.TRIES):
        assert scene.store.rows(aside=True) == []
        scene.relay.run_once()
        [due_at] = [one.due_at for one in scene.store.rows()]
        waits.append(due_at - scene.now)
        scene.now = due_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    [kept] = scene.store.rows(aside=True)
    assert (kept.attempts, kept.last_error) == (10, "Unroutable: no binding")
    assert [(f.kind, f.error_type, f.reason) for f in scene.facts] == [
        ("refused", "Unroutable", "no binding")
    ]
    scene.now += 1e6
    scene.relay.run_once()
    assert len(scene.sent) == relay_module.TRIES


@pytest.mark.parametrize("error", [QueueFull("full"), TopologyMissing("no exchange")])
def test_what_is_no_fault_of_the_job_is_never_put_aside(scene: Scene, error: PublishError) -> None:
    scene.add("a")
    scene.refusals["a"] = error
    for _ in range(relay_module.TRIES * 2):
        scene.relay.run_once()
        scene.now += 60
    [kept] = scene.store.rows()
    assert not kept.aside
    del scene.refusals["a"]
    assert scene.relay.run_once().published == 1


def test_a_virtual_host_that_is_away_is_asked_with_one_job_and_the_other_goes_on(
    scene: Scene,
) -> None:
    scene.add(*(f"j{number}" for number in range(12)))
    scene.refusals["jobs"] = BrokerUnreachable("away")
    scene.relay.run_once()
    scene.add("s1", "s2", vhost="secure")
    scene.relay.run_once()
    scene.now += 1
    scene.relay.run_once()
    assert scene.sent == [[f"j{n}" for n in range(10)], ["s1", "s2"], ["j0"]]
    assert all(kept.attempts == 0 for kept in scene.store.rows())
    scene.refusals.clear()
    scene.now += 1
    scene.relay.run_once()
    assert [len(names) for names in scene.sent[3:]] == [1, 10, 1]
    assert scene.left() == []


def test_what_was_confirmed_is_not_sent_again_while_the_database_is_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.add("a", "b")
    delete = scene.store.delete

    def away(_ids: Any) -> None:
        raise OutboxError("away")

    monkeypatch.setattr(scene.store, "delete", away)
    for _ in range(2):
        with pytest.raises(OutboxError):
            scene.relay.run_once()
        scene.now += 61
    monkeypatch.setattr(scene.store, "delete", delete)
    scene.relay.run_once()
    assert scene.sent == [["a", "b"]]
    assert scene.left() == []


def test_a_stop_gives_back_what_was_not_sent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add("a", "b")

    def stopped_meanwhile(rows: list[Row], *given: Any, **more: Any) -> Sent:
        scene.relay.stop()
        return scene.send(rows, *given, **more)

    monkeypatch.setattr(relay_module, "send", stopped_meanwhile)
    scene.relay.run_once()
    assert [kept.lease_owner for kept in scene.store.rows()] == [None, None]
    assert len(scene.store.lease("another", 60, 9)) == 2


def test_a_nudge_ends_the_wait_and_a_stop_the_relay(scene: Scene) -> None:
    thread = scene.relay.start_in_background()
    time.sleep(0.1)
    scene.add("a")
    scene.relay.nudge()
    until = time.monotonic() + 10
    while scene.left():
        assert time.monotonic() < until
        time.sleep(0.01)
    scene.relay.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_signal_stops_it_whatever_it_is_doing(scene: Scene) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: scene.relay.stop())
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        scene.relay.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
        timer.join()


def test_a_database_that_is_away_is_waited_for_once_it_was_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, calls = scene.store.lease, iter(range(100))

    def sometimes(*given: Any) -> list[Row]:
        call = next(calls)
        if call in {1, 2}:
            raise OutboxError("away")
        if call == 4:
            scene.relay.stop()
        return lease(*given)

    scene.add(*(str(number) for number in range(15)))
    monkeypatch.setattr(scene.store, "lease", sometimes)
    scene.relay.run()
    assert scene.left() == []


def test_a_relay_that_finds_no_table_says_so_at_once(scene: Scene, tmp_path: Path) -> None:
    app: Any = SimpleNamespace(publish_deadline=10, publisher=None, facts=Door())
    with pytest.raises(OutboxError, match="laneway outbox create"):
        Relay(app, Store(SQLiteDatabase(tmp_path / "none.db"))).run()
