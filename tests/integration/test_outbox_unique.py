"""Unique jobs in an outbox: what they claim ends with a transaction that is rolled back."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from django.db import transaction
from sqlalchemy.orm import Session

from laneway.broker import broker_address
from laneway.errors import OptionRefused
from laneway.outbox.sqlalchemy import Outbox
from support.outboxes import TRANSACTIONAL, Outboxes
from support.workers import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from laneway import Laneway
    from laneway.local import PrivateRedis
    from support.outboxes import Collect, TestOutbox

pytestmark = pytest.mark.integration

# Nothing is ever published over it.
NOWHERE = broker_address("amqp://nobody:here@127.0.0.1:1", vhost_prefix="rolled-", env={})


class RolledBack(Exception):
    """What a service raises."""


@pytest.fixture
def app(redis: PrivateRedis, redis_client: Redis) -> Laneway:
    del redis_client  # empties it
    return make_app(NOWHERE, redis.url)


@pytest.fixture
def task(app: Laneway) -> Any:
    def code(one: int) -> None:
        """Never runs."""

    return app.task(name="plain.unique", shared=False, unique="until-done")(code)


@contextmanager
def rolled_back(outbox: TestOutbox, app: Laneway) -> Iterator[Collect]:
    with suppress(RolledBack), outbox.transaction(app) as collect:
        yield collect
        raise RolledBack


def one_good_one_bad(task: Any) -> None:
    task.delay(1)
    task.apply_async((2,), exchange="elsewhere")


def store(outbox: TestOutbox, app: Laneway, task: Any) -> Any:
    with outbox.transaction(app) as collect, collect():
        return task.delay(1)


@pytest.mark.parametrize("outbox", TRANSACTIONAL, indirect=True)
def test_a_transaction_that_is_rolled_back_keeps_no_equal_job_out(
    outbox: TestOutbox, app: Laneway, task: Any
) -> None:
    with rolled_back(outbox, app) as collect:
        with collect():
            gone = task.delay(1)
        with collect():
            assert task.delay(1).is_duplicate, "the claim stands while the transaction is open"
    kept = store(outbox, app, task)
    assert kept.id != gone.id
    assert not kept.is_duplicate
    # What was committed keeps them out, also while others are rolled back.
    with rolled_back(outbox, app) as collect, collect():
        assert task.delay(1).id == kept.id
    assert store(outbox, app, task).id == kept.id


def test_a_block_that_raises_keeps_no_equal_job_out(
    outbox: TestOutbox, app: Laneway, task: Any
) -> None:
    with outbox.transaction(app) as collect:
        with pytest.raises(OptionRefused), collect():
            one_good_one_bad(task)
        with collect():
            assert not task.delay(1).is_duplicate


def test_a_session_that_is_rolled_back(outboxes: Outboxes, app: Laneway, task: Any) -> None:
    engine = sqlalchemy.create_engine(outboxes.make("sqlalchemy-sqlite").url)
    with Session(engine) as session:
        with Outbox(app).collect(session):
            gone = task.delay(1)
        session.rollback()
        with Outbox(app).collect(session):
            kept = task.delay(1)
        session.commit()
        with Outbox(app).collect(session):
            again = task.delay(1)
        session.rollback()
    with Session(engine) as session, Outbox(app).collect(session):
        last = task.delay(1)
    assert len({gone.id, kept.id}) == 2
    assert again.id == last.id == kept.id
    engine.dispose()


def test_a_savepoint_of_django_that_is_rolled_back(
    outboxes: Outboxes, app: Laneway, task: Any
) -> None:
    outbox = outboxes.make("django-sqlite")
    with outbox.transaction(app) as collect:
        with suppress(RolledBack), transaction.atomic():
            with collect():
                task.delay(1)
            raise RolledBack
        with collect():
            assert not task.delay(1).is_duplicate
