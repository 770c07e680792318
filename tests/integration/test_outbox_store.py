"""The table of the outbox, in every database: leases, order, what is put aside."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from sqlalchemy import MetaData

from laneway.errors import OutboxError
from laneway.outbox import Row, Store, open_store
from laneway.outbox.place import create
from laneway.outbox.row import TABLE
from laneway.outbox.sqlalchemy import SQLAlchemyDatabase, outbox_table
from laneway.outbox.store import insert
from laneway.publish.frames import Publish, publish_method
from support.outboxes import SKIPPING, WAITING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from laneway.broker import VhostKind
    from support.outboxes import Outboxes, TestOutbox

pytestmark = pytest.mark.integration

MESSAGE = Publish(
    publish_method("jobs", "default"), b"\x00\xff'%:name", b'[[1], {"a": "\xc3\xa4"}]'
)


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def row(name: str, key: str | None = None, vhost: VhostKind = "jobs") -> Row:
    return Row(
        job_id=name, task="plain.add", queue="default", priority=4, vhost=vhost, order_key=key,
        message=MESSAGE, created_at=900.0,
    )  # fmt: skip


def keep(outbox: TestOutbox, *rows: Row) -> None:
    with outbox.database.transaction() as execute:
        insert(execute, rows)


def names(rows: list[Row]) -> list[str]:
    return [one.job_id for one in rows]


def test_a_row_comes_back_as_it_was(outbox: TestOutbox) -> None:
    keep(outbox, row("a", key="ord'er: %s"))
    [found] = outbox.store.lease("me", 60, 10)
    assert found.message == MESSAGE
    assert isinstance(found.message.body, bytes)
    assert found.order_key == "ord'er: %s"
    assert (found.job_id, found.queue, found.vhost) == ("a", "default", "jobs")
    assert (found.created_at, found.attempts, found.aside) == (900.0, 0, False)


def test_a_lease_keeps_others_away_until_it_is_over(outbox: TestOutbox) -> None:
    clock = Clock()
    store = Store(outbox.database, clock=clock)
    keep(outbox, *(row(str(number)) for number in range(5)))
    assert names(store.lease("one", 60, 3)) == ["0", "1", "2"]
    assert names(store.lease("two", 60, 9)) == ["3", "4"]
    clock.now += 59
    assert store.lease("two", 60, 9) == []
    clock.now += 1
    assert names(store.lease("two", 60, 9)) == ["0", "1", "2", "3", "4"]


def test_what_is_released_is_due_at_once_and_only_its_owner_can(outbox: TestOutbox) -> None:
    store = outbox.store
    keep(outbox, row("a"))
    [found] = store.lease("one", 60, 1)
    store.release("two", [found.id])
    assert store.lease("two", 60, 1) == []
    store.release("one", [found.id])
    assert names(store.lease("two", 60, 1)) == ["a"]


def test_ids_are_never_used_twice(outbox: TestOutbox) -> None:
    keep(outbox, row("a"))
    [first] = outbox.store.lease("me", 60, 1)
    outbox.store.delete([first.id])
    keep(outbox, row("b"))
    [second] = outbox.store.lease("me", 60, 1)
    assert second.id > first.id


def test_many_rows_at_once_keep_their_order(outbox: TestOutbox) -> None:
    keep(outbox, *(row(str(number)) for number in range(180)))
    assert names(outbox.store.lease("me", 60, 1000)) == [str(number) for number in range(180)]


def test_a_key_is_in_one_relays_hands(outbox: TestOutbox) -> None:
    store = outbox.store
    keep(outbox, row("a1", "a"), row("b1", "b"), row("a2", "a"), row("-"), row("a3", "a"))
    assert names(store.lease("one", 60, 1)) == ["a1"]
    assert names(store.lease("two", 60, 9)) == ["b1", "-"]


def test_a_key_waits_behind_a_refused_row_and_no_other_does(outbox: TestOutbox) -> None:
    clock = Clock()
    store = Store(outbox.database, clock=clock)
    keep(outbox, row("a1", "a"), row("a2", "a"), row("b1", "b"), row("-"))
    first, *others = store.lease("one", 60, 9)
    store.refused("one", [first.id], "QueueFull: it is full", wait=5, aside=False)
    store.release("one", [other.id for other in others])
    assert names(store.lease("two", 60, 9)) == ["b1", "-"]
    clock.now += 5
    [again, behind] = store.lease("two", 60, 9)
    assert names([again, behind]) == ["a1", "a2"]
    assert (again.attempts, again.last_error) == (1, "QueueFull: it is full")


def test_a_long_line_behind_a_refused_row_hides_nothing(outbox: TestOutbox) -> None:
    store = outbox.store
    keep(outbox, *(row(f"a{number}", "a") for number in range(30)), row("b1", "b"))
    [first] = store.lease("one", 60, 1)
    store.refused("one", [first.id], "no", wait=60, aside=False)
    assert names(store.lease("two", 60, 5)) == ["b1"]


def test_what_was_put_aside_waits_for_a_person(outbox: TestOutbox) -> None:
    clock = Clock()
    store = Store(outbox.database, clock=clock)
    keep(outbox, row("a1", "a"), row("a2", "a"), row("-"))
    [first] = store.lease("one", 60, 1)
    store.refused("one", [first.id], "Unroutable: no binding", wait=0, aside=True)
    clock.now += 1e6
    assert names(store.lease("two", 60, 9)) == ["-"]
    [aside] = store.rows(aside=True)
    assert (aside.job_id, aside.last_error, aside.aside) == ("a1", "Unroutable: no binding", True)
    assert names(store.rows(aside=False)) == ["a2", "-"]
    [count] = store.counts()
    assert (count.queue, count.waiting, count.aside) == ("default", 2, 1)
    assert count.oldest == pytest.approx(clock.now - 900)
    assert store.retry([aside.id, 999_999_999]) == 1
    assert names(store.lease("one", 60, 9)) == ["a1", "a2"]


def test_a_retry_leaves_what_a_relay_holds(outbox: TestOutbox) -> None:
    keep(outbox, row("a"))
    [held] = outbox.store.lease("one", 60, 1)
    outbox.store.retry([held.id])
    assert outbox.store.lease("two", 60, 1) == []


def test_another_relays_refusal_changes_nothing(outbox: TestOutbox) -> None:
    keep(outbox, row("a"))
    [held] = outbox.store.lease("one", 60, 1)
    outbox.store.refused("two", [held.id], "no", wait=0, aside=True)
    assert outbox.store.rows(aside=True) == []


def test_rows_of_one_virtual_host(outbox: TestOutbox) -> None:
    keep(outbox, row("s1", "k", vhost="secure"), row("j1", "k"), row("j2"))
    assert names(outbox.store.lease("me", 60, 9, ["jobs"])) == ["j2"]
    assert names(outbox.store.lease("me", 60, 9, ["secure", "jobs"])) == ["s1", "j1"]


def test_pages(outbox: TestOutbox) -> None:
    keep(outbox, *(row(str(number)) for number in range(5)))
    first = outbox.store.rows(most=3)
    assert names(first) == ["0", "1", "2"]
    assert names(outbox.store.rows(after=first[-1].id)) == ["3", "4"]
    outbox.store.delete([one.id for one in first])
    assert names(outbox.store.rows()) == ["3", "4"]


def test_many_relays_at_once_share_the_rows_and_keep_each_keys_order(outbox: TestOutbox) -> None:
    """Each row is taken once, and a key's next row only after its last one is gone."""
    share_the_rows(outbox)


@pytest.mark.parametrize("outbox", SKIPPING, indirect=True)
def test_so_they_do_without_skip_locked(outbox: TestOutbox) -> None:
    outbox.database.skip_locked = False
    share_the_rows(outbox, deadlocks=True)


def share_the_rows(outbox: TestOutbox, *, deadlocks: bool = False) -> None:
    """``deadlocks``: the database may end one of two transactions; a relay then tries again."""
    keep(outbox, *(row(f"{number % 7}-{number:03}", str(number % 7)) for number in range(210)))
    keep(outbox, *(row(f"-{number:03}") for number in range(90)))
    taken: list[str] = []
    failures: list[BaseException] = []
    lock = threading.Lock()

    def relay(owner: str) -> None:
        try:
            store = outbox.store
            idle = 0
            while idle < 30:
                rows = insisting(partial(store.lease, owner, 60, 4), deadlocks)
                idle = 0 if rows else idle + 1
                with lock:
                    taken.extend(names(rows))
                ids = [one.id for one in rows]
                insisting(partial(store.delete, ids), deadlocks)
            store.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=relay, args=(f"relay-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(taken) == len(set(taken)) == 300
    for key in range(7):
        of_key = [name for name in taken if name.startswith(f"{key}-")]
        assert of_key == sorted(of_key)


def insisting(call: Callable[[], Any], deadlocks: bool) -> Any:
    for _ in range(100):
        try:
            return call()
        except OutboxError as error:
            if not deadlocks or "deadlock" not in str(error):
                raise
    raise AssertionError("nothing but deadlocks")


def look(outbox: TestOutbox, seen: list[list[Row]]) -> None:
    seen.append(outbox.store.lease("me", 60, 9))
    outbox.store.close()


@pytest.mark.parametrize("outbox", SKIPPING, indirect=True)  # SQLite has one writer at a time
def test_a_row_in_an_open_transaction_is_not_seen(outbox: TestOutbox) -> None:
    seen: list[list[Row]] = []
    with outbox.database.transaction() as execute:
        insert(execute, [row("a")])
        looking = threading.Thread(target=look, args=(outbox, seen))
        looking.start()
        looking.join(20)
        assert seen == [[]]
    assert names(outbox.store.lease("me", 60, 9)) == ["a"]


@pytest.mark.parametrize("outbox", SKIPPING, indirect=True)
def test_relays_do_not_wait_for_each_other(outbox: TestOutbox) -> None:
    """SKIP LOCKED: a relay in the middle of its lease holds up nobody."""
    keep(outbox, row("a"), row("b"))
    seen: list[list[Row]] = []
    with outbox.database.transaction() as execute:
        execute(f"SELECT id FROM {TABLE} WHERE job_id = 'a' FOR UPDATE", {})
        looking = threading.Thread(target=look, args=(outbox, seen))
        looking.start()
        looking.join(10)
        assert [names(rows) for rows in seen] == [["b"]]


def test_a_statement_that_fails_tells_nothing_of_its_values(outbox: TestOutbox) -> None:
    with (
        pytest.raises(OutboxError) as caught,
        outbox.database.transaction() as execute,
    ):
        execute(f"SELECT nothing FROM {TABLE} WHERE job_id = :id", {"id": "the secret"})
    assert "nothing" in str(caught.value)
    assert "the secret" not in str(caught.value)
    keep(outbox, row("a"))
    assert names(outbox.store.rows()) == ["a"]


def test_a_place_is_opened_by_its_url(outbox: TestOutbox) -> None:
    keep(outbox, row("a"))
    store = open_store(outbox.url)
    assert names(store.rows()) == ["a"]
    store.close()
    if isinstance(outbox.database, SQLAlchemyDatabase):
        create(outbox.url)
        assert names(outbox.store.rows()) == ["a"]


def test_a_place_that_is_none(tmp_path: Path) -> None:
    for url, words in {
        "shop.db": "expected sqlite:///shop.db",
        "nosuch://user:geheim@host/db": "expected a database URL",
        "mysql+pymysql://user:geheim@host/db": "'pymysql' is not installed",
        f"sqlite:///{tmp_path}/no.db": "laneway outbox create",
        f"sqlite:///{tmp_path}/no/no.db": "Make the folder",
        "django:default": "DJANGO_SETTINGS_MODULE",
    }.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
            with pytest.raises(OutboxError, match=words) as caught:
                open_store(url).rows()
        assert "geheim" not in str(caught.value)
    create(f"sqlite:///{tmp_path}/no.db")
    assert open_store(f"sqlite:///{tmp_path}/no.db").rows() == []
    assert (tmp_path / "no.db").stat().st_mode & 0o777 == 0o600


def test_the_model_of_django_is_what_its_migration_makes(outboxes: Outboxes) -> None:
    outboxes.make("django-sqlite")
    call_command("makemigrations", "laneway_outbox", check=True, dry_run=True, verbosity=0)
    call_command("check", verbosity=0)


@pytest.mark.parametrize("outbox", WAITING, indirect=True)
def test_all_make_the_same_columns_and_index(outbox: TestOutbox) -> None:
    wanted = {column.name for column in outbox_table(MetaData()).columns}
    with outbox.database.transaction() as execute:
        found = {name for _, name, *_ in execute(f"PRAGMA table_info({TABLE})", {})}
        [index] = execute(f"PRAGMA index_info({TABLE}_order)", {})[:1]
    assert found == wanted
    assert index[2] == "order_key"
