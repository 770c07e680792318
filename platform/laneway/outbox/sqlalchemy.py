"""The outbox beside the tables of a service that uses SQLAlchemy 2.

::

    table = outbox_table(Base.metadata)      # Alembic sees it like any other
    outbox = Outbox(app)

    with Session(engine) as session, session.begin():
        session.add(order)
        with outbox.collect(session):
            charge.delay(order.id)

With an ``AsyncSession``: ``await session.run_sync(outbox.add, charge.s(7))``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Column,
    CursorResult,
    Double,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from laneway.errors import OutboxError
from laneway.outbox.compose import call, composing
from laneway.outbox.row import LONGEST_KEY, TABLE
from laneway.outbox.store import insert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celery.canvas import Signature
    from celery.result import AsyncResult
    from sqlalchemy import Connection

    from laneway.app import Laneway
    from laneway.once.uncommitted import Uncommitted
    from laneway.outbox.database import Execute
    from laneway.outbox.relay import Relay

#: Dialects that know FOR UPDATE SKIP LOCKED (PostgreSQL 9.5, MySQL 8, MariaDB 10.6, and newer).
_SKIP_LOCKED: Final = frozenset({"postgresql", "mysql", "mariadb"})


def outbox_table(metadata: MetaData) -> Table:
    """The outbox's table, as part of a service's own metadata.

    It is found there by ``metadata.create_all(engine)`` and by Alembic's autogenerate.
    """
    return Table(
        TABLE,
        metadata,
        # SQLite counts by itself only in a column of this very type.
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("job_id", String(255), nullable=False),
        Column("task", String(255), nullable=False),
        Column("queue", String(255), nullable=False),
        Column("priority", SmallInteger, nullable=False),
        Column("vhost", String(16), nullable=False),
        Column("order_key", String(LONGEST_KEY)),
        Column("created_at", Double, nullable=False),
        Column("due_at", Double, nullable=False),
        Column("lease_owner", String(255)),
        Column("attempts", Integer, nullable=False),
        Column("aside", SmallInteger, nullable=False),
        Column("last_error", Text),
        Column("method", LargeBinary, nullable=False),
        Column("properties", LargeBinary, nullable=False),
        # MySQL's BLOB ends at 64 KiB.
        Column("body", LargeBinary(2**24), nullable=False),
        Index(f"{TABLE}_order", "order_key", "id"),
        # An id that was used never comes again.
        sqlite_autoincrement=True,
    )


class Outbox:
    """Stores jobs in the transaction of a session or connection.

    Args:
        app: whose calls they are.
        relay: one that runs in this process, to be woken at each commit.
    """

    def __init__(self, app: Laneway, *, relay: Relay | None = None) -> None:
        self._app = app
        self._relay = relay
        #: What unique jobs have claimed in transactions that have not ended.
        self._claims: WeakKeyDictionary[Connection, list[Uncommitted]] = WeakKeyDictionary()

    @contextlib.contextmanager
    def collect(self, session: Session | Connection, *, key: str | None = None) -> Iterator[None]:
        """Store the calls of a block at its end, in the transaction under way.

        An exception in the block stores none of them.

        Args:
            session: or a connection; it is not committed here.
            key: jobs with the same key are published in the order in which they were stored.

        Raises:
            OptionRefused: the key is none.
            CallError: from a call in the block: it is wrong.
            sqlalchemy.exc.SQLAlchemyError: the rows cannot be written.
        """
        with composing(self._app, key) as composed:
            yield
        if composed.rows:
            self._end_with(session, composed.claims())
            insert(_executing(session), composed.rows)
            self._wake_after(session)

    def add(
        self, session: Session | Connection, signature: Signature, *, key: str | None = None
    ) -> AsyncResult:
        """Store one call: of a task, a chain, a group or a chord.

        Args:
            session: or a connection; it is not committed here.
            signature: like ``charge.s(7)`` or ``charge.s(7).set(priority=9)``.
            key: as in :meth:`collect`.

        Raises:
            CallError: the call is wrong; nothing was stored.
            sqlalchemy.exc.SQLAlchemyError: the row cannot be written.
        """
        with self.collect(session, key=key):
            return call(self._app, signature)

    def _end_with(self, session: Session | Connection, claims: Uncommitted) -> None:
        """Let the claims of unique jobs end with their transaction, if that is rolled back."""
        if not claims:
            return
        connection = session.connection() if isinstance(session, Session) else session
        self._claims.setdefault(connection, []).append(claims)
        for moment, hear in (("commit", self._committed), ("rollback", self._rolled_back)):
            if not event.contains(connection, moment, hear):
                event.listen(connection, moment, hear)

    def _committed(self, connection: Connection) -> None:
        for claims in self._claims.pop(connection, ()):
            claims.commit()

    def _rolled_back(self, connection: Connection) -> None:
        for claims in self._claims.pop(connection, ()):
            claims.rollback()

    def _wake_after(self, session: Session | Connection) -> None:
        moment = "after_commit" if isinstance(session, Session) else "commit"
        if self._relay is not None and not event.contains(session, moment, self._wake):
            event.listen(session, moment, self._wake)

    def _wake(self, _committed: Session | Connection) -> None:
        if self._relay is not None:
            self._relay.nudge()


class SQLAlchemyDatabase:
    """The table in a database of SQLAlchemy, as the relay sees it.

    Args:
        engine: its transactions are short and its own.
        owned: nobody else uses the engine.
    """

    def __init__(self, engine: Engine, *, owned: bool = False) -> None:
        self.skip_locked = engine.dialect.name in _SKIP_LOCKED
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._engine = engine
        self._owned = owned

    def create(self) -> None:
        """Make the table where it is missing.

        Raises:
            OutboxError: it cannot be made.
        """
        with _telling():
            outbox_table(MetaData()).create(self._engine, checkfirst=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Execute]:
        """One transaction.

        Raises:
            OutboxError: the database is away, or refuses a statement.
        """
        with _telling():
            if not self._is_sqlite:
                with self._engine.begin() as connection:
                    yield _executing(connection)
                return
            # SQLite gives the right to write late, and refuses it then, unless it is asked first.
            with self._engine.connect() as plain:
                connection = plain.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    yield _executing(connection)
                except BaseException:
                    connection.exec_driver_sql("ROLLBACK")
                    raise
                connection.exec_driver_sql("COMMIT")

    def close(self) -> None:
        """Close the connections of an engine that is nobody else's."""
        if self._owned:
            self._engine.dispose()


def open_url(url: str) -> SQLAlchemyDatabase:
    """The database at a URL of SQLAlchemy's; it is not connected to yet.

    Raises:
        OutboxError: the URL is none, or its driver is not installed. The URL is not repeated: it
            may hold a password.
    """
    try:
        return SQLAlchemyDatabase(sqlalchemy.create_engine(url, pool_pre_ping=True), owned=True)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise OutboxError(
            "LANEWAY_OUTBOX_URL: expected a database URL of SQLAlchemy like "
            "postgresql+psycopg://user:password@host/shop, got something else"
        ) from None
    except ModuleNotFoundError as error:
        raise OutboxError(
            f"LANEWAY_OUTBOX_URL: the driver {error.name!r} is not installed; install it, or name "
            "another one in the URL, like postgresql+psycopg://..."
        ) from error


def _executing(session: Session | Connection) -> Execute:
    def execute(sql: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        try:
            result = session.execute(text(sql), values)
        except DBAPIError as error:
            # The values are jobs; their bodies have no place in a log.
            error.hide_parameters = True
            raise
        if not isinstance(result, CursorResult) or not result.returns_rows:
            return []
        return result.all()

    return execute


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise OutboxError(f"the outbox's database: {error.orig}") from error
    except SQLAlchemyError as error:
        raise OutboxError(f"the outbox's database: {error}") from error
