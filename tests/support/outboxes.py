"""Outboxes in real databases, all to be used in the same way."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import django
import sqlalchemy
from django.core.management import call_command
from django.db import connections, transaction

from laneway.outbox import Spool, Store
from laneway.outbox.django import Outbox as DjangoOutbox
from laneway.outbox.django.database import DjangoDatabase
from laneway.outbox.row import TABLE
from laneway.outbox.sqlalchemy import Outbox as SQLAlchemyOutbox
from laneway.outbox.sqlalchemy import SQLAlchemyDatabase, outbox_table
from laneway.outbox.sqlite import SQLiteDatabase
from support.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from laneway import Laneway
    from laneway.outbox.database import Database

#: Every database that an outbox is tried in.
KINDS = ("sqlite", "sqlalchemy-sqlite", "django-sqlite", "sqlalchemy-postgres", "django-postgres")


#: Those that know FOR UPDATE SKIP LOCKED, those that do not, and those with a transaction of the
#: service's own.
SKIPPING = tuple(kind for kind in KINDS if kind.endswith("postgres"))
WAITING = tuple(kind for kind in KINDS if kind.endswith("sqlite"))
TRANSACTIONAL = tuple(kind for kind in KINDS if kind != "sqlite")


class Collect(Protocol):
    """What all outboxes do."""

    def __call__(self, *, key: str | None = None) -> AbstractContextManager[None]:
        """Store the calls of a block."""


@dataclass(frozen=True, kw_only=True)
class TestOutbox:
    """One outbox with its table made and empty."""

    __test__ = False

    kind: str
    database: Database
    #: As ``LANEWAY_OUTBOX_URL``.
    url: str

    @property
    def store(self) -> Store:
        """What a relay sees."""
        return Store(self.database)

    @contextmanager
    def transaction(self, app: Laneway) -> Iterator[Collect]:
        """A transaction of the service's: rolled back by an exception. A spool has none."""
        if isinstance(self.database, SQLiteDatabase):
            yield Spool(app, self.database.path).collect
        elif isinstance(self.database, DjangoDatabase):
            outbox = DjangoOutbox(app, using=self.database.alias)
            with transaction.atomic(using=self.database.alias):
                yield outbox.collect
        else:
            engine = sqlalchemy.create_engine(self.url)
            try:
                with engine.begin() as connection:
                    yield lambda *, key=None: SQLAlchemyOutbox(app).collect(connection, key=key)
            finally:
                engine.dispose()


class Outboxes:
    """Makes outboxes; the servers behind them live as long as the block."""

    def __init__(self, folder: Path, postgres: str | None) -> None:
        self._folder = folder
        self._postgres = postgres
        self._engines: dict[str, sqlalchemy.Engine] = {}
        os.environ["LANEWAY_TEST_SQLITE"] = str(folder / "django.db")
        os.environ["DJANGO_SETTINGS_MODULE"] = "support.django_project"
        if postgres:
            os.environ["LANEWAY_TEST_POSTGRES"] = postgres
            engine = sqlalchemy.create_engine(
                self._postgres_url("postgres"), isolation_level="AUTOCOMMIT"
            )
            with engine.connect() as connection:
                for name in ("django", "service"):
                    connection.exec_driver_sql(f"CREATE DATABASE {name}")
            engine.dispose()
        django.setup()

    @classmethod
    @contextmanager
    def on(cls, folder: Path, *, postgres: bool) -> Iterator[Outboxes]:
        """With PostgreSQL or without."""
        before = dict(os.environ)
        try:
            if not postgres:
                yield cls(folder, None)
                return
            with running_postgres() as server:
                made = cls(folder, server)
                try:
                    yield made
                finally:
                    made.close()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def close(self) -> None:
        """Leave no connection behind."""
        for engine in self._engines.values():
            engine.dispose()
        connections.close_all()

    def make(self, kind: str) -> TestOutbox:
        """An empty one."""
        database: Any
        if kind == "sqlite":
            file = self._folder / "spool.db"
            database, url = SQLiteDatabase(file, create=True), f"sqlite:///{file}"
        elif kind.startswith("django"):
            alias = "postgres" if kind.endswith("postgres") else "default"
            call_command("migrate", "laneway_outbox", database=alias, verbosity=0)
            database, url = DjangoDatabase(alias), f"django:{alias}"
        else:
            file = self._folder / "service.db"
            url = (
                self._postgres_url("service") if kind.endswith("postgres") else f"sqlite:///{file}"
            )
            engine = self._engines.setdefault(kind, sqlalchemy.create_engine(url))
            metadata = sqlalchemy.MetaData()
            outbox_table(metadata)
            metadata.create_all(engine)
            database = SQLAlchemyDatabase(engine)
        with database.transaction() as execute:
            execute(f"DELETE FROM {TABLE}", {})
        return TestOutbox(kind=kind, database=database, url=url)

    def _postgres_url(self, name: str) -> str:
        return f"postgresql+psycopg://test@{self._postgres}/{name}"
