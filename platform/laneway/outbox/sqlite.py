"""The outbox in a SQLite file, with nothing but the standard library."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from laneway.errors import OutboxError
from laneway.outbox.row import LONGEST_KEY, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.outbox.database import Execute

#: Seconds to wait for another process that writes.
BUSY_SECONDS: Final = 10.0

# AUTOINCREMENT: an id that was used never comes again, also not that of the last row.
_CREATE: Final = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id VARCHAR(255) NOT NULL,
    task VARCHAR(255) NOT NULL,
    queue VARCHAR(255) NOT NULL,
    priority SMALLINT NOT NULL,
    vhost VARCHAR(16) NOT NULL,
    order_key VARCHAR({LONGEST_KEY}),
    created_at DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    lease_owner VARCHAR(255),
    attempts INTEGER NOT NULL,
    aside SMALLINT NOT NULL,
    last_error TEXT,
    method BLOB NOT NULL,
    properties BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS {TABLE}_order ON {TABLE} (order_key, id);
"""


class SQLiteDatabase:
    """A file that holds the table; each thread has a connection of its own.

    Written ahead (WAL) and synced at every commit, so what was committed is there after a crash of
    the process, the system or the power, as far as the disk keeps its word. Not for network file
    systems, which WAL cannot use.

    Args:
        path: the file; its folder exists. A new file can be read by its owner alone, because jobs
            are in it.
        create: make the file and the table where they are missing.
    """

    skip_locked = False

    def __init__(self, path: Path | str, *, create: bool = False) -> None:
        self.path = Path(path)
        self._mine = threading.local()
        if create:
            self.create()

    def create(self) -> None:
        """Make the file and the table where they are missing.

        Raises:
            OutboxError: it cannot be written.
        """
        with self._telling():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = self._connection()
            # Kept in the file. Readers and the one who writes do not wait for each other.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_CREATE)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Execute]:
        """One transaction; it has the only right to write from its beginning.

        Raises:
            OutboxError: the file is away, or another process has been writing for too long.
        """
        with self._telling():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda sql, values: connection.execute(sql, dict(values)).fetchall()
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close this thread's connection; the next transaction opens another."""
        connection, self._mine.connection = self._opened(), None
        if connection is not None:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        connection = self._opened()
        if connection is None:
            # Never made here: a misspelt path would be a second outbox that nobody empties.
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=BUSY_SECONDS,
            )
            connection.execute("PRAGMA synchronous = FULL")
            self._mine.connection, self._mine.process = connection, os.getpid()
        return connection

    def _opened(self) -> sqlite3.Connection | None:
        """This thread's connection; one from before a fork must not be used, nor closed."""
        connection: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if connection is not None and self._mine.process != os.getpid():
            _inherited.append(connection)
            return None
        return connection

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutboxError(
                f"the outbox {str(self.path)!r}: {error}{self._cure(error)}"
            ) from error

    def _cure(self, error: Exception) -> str:
        if "no such table" in str(error):
            return ". Make it: laneway outbox create"
        if not self.path.parent.is_dir():
            return f". Make the folder {str(self.path.parent)!r}, or name another path"
        return "" if self.path.exists() else ". Make it: laneway outbox create"


#: Connections from before a fork: collecting one would drop the parent's locks on the file.
_inherited: Final[list[Any]] = []
