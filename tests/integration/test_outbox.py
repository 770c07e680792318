"""The outbox, from the transaction to the queue: nothing lost, and what comes twice is bounded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import kombu
import pytest
from celery import chain
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.orm import Session

import laneway
from laneway.outbox import Relay, Spool, Store
from laneway.outbox import relay as relay_module
from laneway.outbox.row import TABLE
from laneway.outbox.sqlalchemy import Outbox, SQLAlchemyDatabase, outbox_table
from laneway.outbox.sqlite import SQLiteDatabase
from support.brokers import depth, elsewhere, port_of, room_for
from support.outboxes import TRANSACTIONAL
from support.proxy import Proxy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis
    from support.outboxes import TestOutbox

pytestmark = pytest.mark.integration


@pytest.fixture
def app(topology: BrokerAddress) -> Laneway:
    return make_app(topology)


@pytest.fixture
def spool(app: Laneway, tmp_path: Path) -> Spool:
    return Spool(app, tmp_path / "spool.db")


def drain(address: BrokerAddress, queue: str) -> list[tuple[str, Any]]:
    """Ids and first arguments of the jobs in a queue, in their order; it is empty afterwards."""
    found = []
    with kombu.Connection(address.kombu_urls("jobs")) as connection:
        channel = connection.default_channel
        while message := channel.basic_get(queue, no_ack=True):
            found.append((message.headers["id"], json.loads(message.body)[0][0]))
    return found


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


@contextmanager
def running(relay: Relay) -> Iterator[Relay]:
    """A relay in a thread; ended with the block."""
    thread = relay.start_in_background()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(30)
    assert not thread.is_alive()


def store_jobs(spool: Spool, *numbers: int, key: str | None = None) -> None:
    with spool.collect(key=key):
        for number in numbers:
            spool._app.send_task("plain.add", (number, 0))


def test_what_is_committed_is_published_once(app: Laneway, outbox: TestOutbox) -> None:
    facts: list[laneway.Fact] = []
    app.facts.listen(facts.append)
    with outbox.transaction(app) as collect, collect():
        ids = [app.send_task("plain.add", (number, 0)).id for number in range(150)]
        app.send_task("vault.pay", (1,))
        app.send_task("plain.urgent")
    assert depth(app.address, "default") == 0
    relay = Relay(app, outbox.store)
    assert relay.run_once().published == 152
    assert relay.run_once().published == 152
    assert drain(app.address, "default") == list(zip(ids, range(150), strict=True))
    assert depth(app.address, "secure", "secure") == depth(app.address, "high") == 1
    assert outbox.store.rows() == []
    assert [fact.kind for fact in facts] == ["published"] * 152
    assert {fact.task_id for fact in facts} >= set(ids)


@pytest.mark.parametrize("outbox", TRANSACTIONAL, indirect=True)
def test_what_is_rolled_back_is_never_published(app: Laneway, outbox: TestOutbox) -> None:
    with pytest.raises(ZeroDivisionError), outbox.transaction(app) as collect:
        with collect():
            app.send_task("plain.add", (1, 0))
        raise ZeroDivisionError
    assert outbox.store.rows() == []


def test_an_exception_in_the_block_stores_nothing_of_it(app: Laneway, outbox: TestOutbox) -> None:
    with outbox.transaction(app) as collect:
        with pytest.raises(laneway.UnknownQueue), collect():
            app.send_task("plain.add", (1, 0))
            app.send_task("plain.add", (2, 0), queue="hgih")
        with collect():
            app.send_task("plain.add", (3, 0))
    assert Relay(app, outbox.store).run_once().published == 1
    assert [number for _, number in drain(app.address, "default")] == [3]


def test_beside_the_services_own_row(app: Laneway, tmp_path: Path) -> None:
    """Both or neither, with a session of SQLAlchemy's."""
    engine = create_engine(f"sqlite:///{tmp_path}/service.db")
    metadata = MetaData()
    outbox_table(metadata)
    metadata.create_all(engine)
    relay = Relay(app, Store(SQLAlchemyDatabase(engine)))
    outbox = Outbox(app, relay=relay)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    with Session(engine) as session, session.begin():
        session.execute(text("INSERT INTO orders VALUES (7)"))
        outbox.add(session, app.signature("plain.add", (7, 0)))
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        session.execute(text("INSERT INTO orders VALUES (8)"))
        outbox.add(session, app.signature("plain.add", (8, 0)))
        raise ZeroDivisionError
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM orders")).scalars().all() == [7]
    relay.run_once()
    assert [number for _, number in drain(app.address, "default")] == [7]
    engine.dispose()


@pytest.mark.parametrize("kind", ["session", "connection", "spool"])
def test_a_commit_wakes_the_relay_of_this_process(
    app: Laneway, spool: Spool, tmp_path: Path, kind: str
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/spool.db")
    if kind == "spool":
        relay = spool.start_relay(poll=3600)
    else:
        relay = Relay(app, Store(SQLiteDatabase(tmp_path / "spool.db")), poll=3600)
        relay.start_in_background()
    outbox = Outbox(app, relay=relay)
    try:
        time.sleep(0.5)  # it has found nothing, and waits
        if kind == "spool":
            store_jobs(spool, 1)
        elif kind == "session":
            with Session(engine) as session, session.begin():
                outbox.add(session, app.signature("plain.add", (1, 0)))
        else:
            with engine.begin() as connection:
                outbox.add(connection, app.signature("plain.add", (1, 0)))
        until(lambda: depth(app.address, "default") == 1, 10)
    finally:
        relay.stop()
        engine.dispose()


def test_a_broker_that_is_away_for_a_while(topology: BrokerAddress, tmp_path: Path) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port), publish_deadline=1)
        spool = Spool(app, tmp_path / "spool.db")
        proxy.refuse()
        with running(Relay(app, spool.store, poll=0.05)):
            store_jobs(spool, *range(250), key="one")
            until(lambda: bool(spool.store.rows(aside=False, most=1)))
            time.sleep(3)
            assert len(spool.store.rows(most=1000)) == 250
            proxy.accept()
            until(lambda: not spool.store.rows(most=1), 30)
        assert all(row.attempts == 0 for row in spool.store.rows())
        assert [number for _, number in drain(topology, "default")] == list(range(250))


def test_a_connection_that_is_cut_publishes_the_same_ids_again(
    topology: BrokerAddress, tmp_path: Path
) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port), publish_deadline=2)
        spool = Spool(app, tmp_path / "spool.db")
        store_jobs(spool, *range(300))
        wanted = {row.job_id for row in spool.store.rows(most=1000)}
        relay = Relay(app, spool.store, batch=100, poll=0.05)
        with running(relay):
            until(lambda: relay.tally.published >= 100)
            proxy.silent.set()
            time.sleep(0.3)
            proxy.silent.clear()
            proxy.cut()
            until(lambda: not spool.store.rows(most=1), 30)
        found = [id_ for id_, _ in drain(topology, "default")]
        assert set(found) == wanted
        assert len(found) - len(wanted) <= 200


KILLED = """
import os, signal, sys
from laneway import Laneway
from laneway.outbox import Relay, Store
from laneway.outbox.sqlite import SQLiteDatabase

class DiesBeforeDeleting(Store):
    def delete(self, ids):
        os.kill(os.getpid(), signal.SIGKILL)

Relay(Laneway("t"), DiesBeforeDeleting(SQLiteDatabase(sys.argv[1])), batch=20).run_once()
"""


def test_a_relay_killed_between_confirm_and_delete(app: Laneway, tmp_path: Path) -> None:
    """What it had published comes again, with the same ids, and no more than one batch."""
    spool = Spool(app, tmp_path / "spool.db")
    store_jobs(spool, *range(50))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "spool.db")],
        env=environment(app.address, "disabled://"), check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert depth(app.address, "default") == 20
    assert Relay(app, spool.store).run_once().published == 30
    later = Store(SQLiteDatabase(tmp_path / "spool.db"), clock=lambda: time.time() + 61)
    assert Relay(app, later).run_once().published == 20
    found = drain(app.address, "default")
    assert sorted(number for _, number in found) == sorted([*range(20), *range(50)])
    assert len(set(found)) == 50
    later.close()


def test_two_relays_publish_each_row_once_and_keep_the_order(
    app: Laneway, outbox: TestOutbox
) -> None:
    with outbox.transaction(app) as collect:
        for number in range(300):
            with collect(key=str(number % 5)):
                app.send_task("plain.add", (number, 0))
    relays = [Relay(app, outbox.store, batch=7, poll=0.01) for _ in range(2)]
    with running(relays[0]), running(relays[1]):
        until(lambda: sum(relay.tally.published for relay in relays) >= 300, 60)
    numbers = [number for _, number in drain(app.address, "default")]
    assert sorted(numbers) == list(range(300))
    for key in range(5):
        assert [n for n in numbers if n % 5 == key] == list(range(key, 300, 5))
    outbox.store.close()


def test_a_refused_job_holds_back_its_key_and_nothing_else(app: Laneway, spool: Spool) -> None:
    store_jobs(spool, 0)
    with spool.collect(key="full"):
        app.send_task("plain.add", (1, 0), queue="low")
        app.send_task("plain.add", (2, 0))
        app.send_task("plain.add", (3, 0))
    store_jobs(spool, 4, key="other")
    with room_for(app.address, "low", 1):
        for _ in range(3):  # 3.10 counts a classic queue's messages a little late
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(app, "publish_deadline", 10)
                try:
                    app.send_task("plain.add", (9, 0), queue="low")
                except laneway.QueueFull:
                    break
        relay = Relay(app, spool.store)
        relay.run_once()
        assert [number for _, number in drain(app.address, "default")] == [0, 4]
        first, *behind = spool.store.rows()
        assert first.attempts == 1
        assert first.last_error is not None
        assert first.last_error.startswith("QueueFull")
        assert [row.attempts for row in behind] == [0, 0]
    drain(app.address, "low")
    spool.store.retry([first.id])
    assert relay.run_once().published == 5
    assert [number for _, number in drain(app.address, "low")] == [1]
    assert [number for _, number in drain(app.address, "default")] == [2, 3]


def test_a_poison_row_is_put_aside_and_the_others_pass(
    app: Laneway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is gone, its exchange never was, or its bytes are damaged."""
    now = time.time()
    store = Store(SQLiteDatabase(tmp_path / "spool.db", create=True), clock=lambda: now)
    spool = Spool(app, tmp_path / "spool.db")
    monkeypatch.setattr(relay_module, "TRIES", 3)
    facts: list[laneway.Fact] = []
    app.facts.listen(facts.append)
    for number in range(6):
        store_jobs(spool, number, key=f"key-{number % 3}")
    unroutable = laneway.publish.frames.publish_method("jobs", "gone")
    elsewhere_ = laneway.publish.frames.publish_method("amq.topic", "x")
    with store._database.transaction() as execute:
        for id_, method in {1: unroutable, 2: b"\0 damaged", 6: elsewhere_}.items():
            execute(f"UPDATE {TABLE} SET method = :m WHERE id = :id", {"m": method, "id": id_})
    relay = Relay(app, store)
    for _ in range(4):
        relay.run_once()
        now += 61
    assert [number for _, number in drain(app.address, "default")] == [2]
    aside = {row.id: row for row in store.rows(aside=True)}
    assert sorted(aside) == [1, 2, 6]
    assert (aside[1].last_error or "").startswith("Unroutable: the broker has no binding")
    assert aside[2].last_error == "PublishError: the stored message is damaged"
    assert [row.id for row in store.rows(aside=False)] == [4, 5]
    assert relay.tally.aside == 3
    assert sorted(fact.kind for fact in facts) == ["published"] + ["refused"] * 3
    store.delete([2])
    relay.run_once()
    assert [number for _, number in drain(app.address, "default")] == [4]
    store.close()


def test_a_missing_exchange_is_waited_for(app: Laneway, spool: Spool) -> None:
    """A channel that the broker closes over one row costs the others nothing."""
    store_jobs(spool, *range(5))
    with spool.store._database.transaction() as execute:
        method = laneway.publish.frames.publish_method("nowhere", "x")
        execute(f"UPDATE {TABLE} SET method = :m WHERE id = 3", {"m": method})
    relay = Relay(app, spool.store)
    assert relay.run_once().published == 4
    [row] = spool.store.rows()
    assert (row.last_error or "").startswith("TopologyMissing")
    assert {number for _, number in drain(app.address, "default")} == {0, 1, 3, 4}


def test_a_database_that_goes_away_between_confirm_and_delete(
    app: Laneway, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay remembers what was confirmed: nothing is published twice."""
    store = spool.store
    store_jobs(spool, *range(10))
    delete, failures = store.delete, iter([True, True])

    def fails_twice(ids: Any) -> None:
        if next(failures, False):
            raise laneway.OutboxError("the database went away")
        delete(ids)

    monkeypatch.setattr(store, "delete", fails_twice)
    monkeypatch.setattr(relay_module, "_AWAY", 0.05)
    with running(Relay(app, store, poll=0.05)):
        until(lambda: not store.rows())
    assert len(drain(app.address, "default")) == 10


def test_a_chain_in_a_transaction(
    topology: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    app = make_app(topology, redis.url)
    spool = Spool(app, tmp_path / "spool.db")
    add = app.signature("plain.add")
    with WorkerProcess("default", environment(topology, redis.url)):
        result = spool.add(chain(add.clone((1, 2)), add.clone((10,)), add.clone((100,)), app=app))
        Relay(app, spool.store).run_once()
        assert result.get(timeout=30) == 113


def test_a_spool_as_a_fallback(topology: BrokerAddress, tmp_path: Path) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port), publish_deadline=1)
        spool = Spool(app, tmp_path / "spool.db")
        direct = spool.send("plain.add", (1, 0))
        assert spool.store.rows() == []
        proxy.refuse()
        kept = spool.send(app.signature("plain.add", (2, 0)))
        with spool.fallback():
            app.send_task("plain.add", (3, 0))
            app.send_task("vault.pay", (4,))
        with pytest.raises(laneway.UnknownQueue):
            spool.send("plain.add", (1, 0), queue="hgih")
        assert len(spool.store.rows()) == 3
        proxy.accept()
        until(lambda: Relay(app, spool.store).run_once() is not None and not spool.store.rows())
        found = dict(drain(topology, "default"))
        assert (found[direct.id], found[kept.id]) == (1, 2)
        assert sorted(found.values()) == [1, 2, 3]


def test_a_job_whose_confirm_was_lost_comes_with_the_same_id(
    topology: BrokerAddress, tmp_path: Path
) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port), publish_deadline=2)
        spool = Spool(app, tmp_path / "spool.db")
        spool.send("plain.add", (1, 0))
        proxy.silent.set()
        kept = spool.send("plain.add", (2, 0))
        proxy.silent.clear()
        proxy.cut()
        until(lambda: Relay(app, spool.store).run_once() is not None and not spool.store.rows())
        found = drain(topology, "default")
        assert found.count((kept.id, 2)) >= 2
        assert {number for _, number in found} == {1, 2}


def test_a_spool_is_used_by_threads_and_forks(app: Laneway, spool: Spool) -> None:
    store_jobs(spool, 0)
    child = os.fork()
    if child == 0:
        try:
            store_jobs(spool, 1)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    threads = [threading.Thread(target=store_jobs, args=(spool, n)) for n in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert Relay(app, spool.store).run_once().published == 10
    assert sorted(number for _, number in drain(app.address, "default")) == list(range(10))


def test_settings_that_make_no_sense(app: Laneway, spool: Spool) -> None:
    wrong: list[dict[str, Any]] = [{"batch": 0}, {"lease": 20}, {"poll": 0}]
    for options in wrong:
        with pytest.raises(ValueError, match=f"expected {next(iter(options))}"):
            Relay(app, spool.store, **options)
