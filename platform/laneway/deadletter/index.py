"""The local index of a virtual host's dead letters: a fold of its two streams, in a file.

The streams are the truth, and the file may be thrown away at any time. It holds what is filtered
and listed by, and where each letter stands in its stream; never a message or an argument, never a
traceback. It lies below the user's cache directory, for the user alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from laneway.deadletter.state import state_of
from laneway.errors import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from laneway.broker.address import BrokerAddress, VhostKind
    from laneway.deadletter.state import Mark

#: Rises with every change of the tables; a file of another version is made anew.
VERSION: Final = 1

#: What of a letter is indexed; both reports of one failure fill it, as ``merged`` says.
FACTS: Final = (
    "replays", "queue", "outcome", "cause", "at", "by", "first_at", "task", "task_id", "priority",
    "error_type", "message", "place", "attempts", "deliveries", "worker", "host", "version",
    "event_id",
)  # fmt: skip

_TABLES: Final = f"""
CREATE TABLE letters (
    offset INTEGER PRIMARY KEY,         -- of its first report
    id TEXT NOT NULL UNIQUE,
    original_at INTEGER,                -- the offset of the newest report that has the message
    state TEXT NOT NULL DEFAULT 'open',
    {", ".join(FACTS)}
);
-- Further reports of letters that stand above: of the keeper, or appended again.
CREATE TABLE copies (offset INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE entries (offset INTEGER PRIMARY KEY, verb, at, by, run, reason);
-- What was done with a letter, whether or not the letter was read yet.
CREATE TABLE marks (id TEXT, mark TEXT, entry INTEGER, PRIMARY KEY (id, entry, mark))
    WITHOUT ROWID;
-- Letters whose jobs were replayed under a new id: as what they would come back, and their own id.
CREATE TABLE aliases (alias TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
-- The last entry read of each stream, and a digest by which it is known again.
CREATE TABLE positions (stream TEXT PRIMARY KEY, offset INTEGER, digest BLOB) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
# Made once all entries of the first reading are in: that is several times faster.
_LOOKUPS: Final = """
CREATE INDEX IF NOT EXISTS by_state ON letters (state, at);
CREATE INDEX IF NOT EXISTS by_cause ON letters (cause, at);
"""
_LOOKUP_OF_OPEN: Final = (
    "CREATE INDEX IF NOT EXISTS open_by_queue ON letters (queue) WHERE state = 'open'"
)
#: KiB that SQLite may keep in memory.
_CACHE_KIB: Final = 24_000
# Rows that keep another process waiting at most so many seconds.
_BUSY_SECONDS: Final = 60.0


class Index:
    """The index of one virtual host, open. Use it in one thread.

    Args:
        file: where it lies; made if it is not there, and made anew if it is unusable.

    Raises:
        DeadLetterError: it cannot be written there.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.alone():
                try:
                    self.db = self._open()
                except sqlite3.DatabaseError:
                    # Half written, of another version, or no database at all.
                    self._remove()
                    self.db = self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise DeadLetterError(
                f"expected to write the index {file}, got: {error}. Set LANEWAY_HOME (or "
                "XDG_CACHE_HOME) to a folder of yours with some room."
            ) from error

    @classmethod
    def of(cls, address: BrokerAddress, vhost: VhostKind, folder: Path | None = None) -> Index:
        """The index of a virtual host of a broker, in the user's cache directory.

        Args:
            address: of the broker; its users and passwords make no difference.
            vhost: which of the two virtual hosts.
            folder: instead of the cache directory.
        """
        hosts = sorted(f"{urlsplit(url).hostname}:{urlsplit(url).port}" for url in address.urls)
        identity = "\n".join([*hosts, address.vhost(vhost)])
        name = hashlib.sha256(identity.encode()).hexdigest()[:20]
        return cls((folder or cache_folder()) / f"{name}.sqlite3")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from folding meanwhile; it waits for its turn."""
        handle = os.open(f"{self.file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def empty(self) -> None:
        """Forget everything: the streams are others than those that were read."""
        with self.db:
            for (table,) in self.db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall():
                self.db.execute(f"DELETE FROM {table}")  # noqa: S608 (our own tables)
            self.db.execute("DROP INDEX IF EXISTS by_state")
            self.db.execute("DROP INDEX IF EXISTS by_cause")
            self.db.execute("DROP INDEX IF EXISTS open_by_queue")

    def remake(self) -> None:
        """Throw the file away and begin with an empty one."""
        self.db.close()
        with self.alone():
            self._remove()
            self.db = self._open()

    def make_lookups(self) -> None:
        """Make what lists are read by; does nothing if it is there."""
        self.db.executescript(_LOOKUPS)

    def make_lookup_of_open(self) -> None:
        """Make what open letters are counted by; only who counts them often pays for it."""
        self.db.execute(_LOOKUP_OF_OPEN)

    def position(self, stream: str) -> tuple[int, bytes] | None:
        """The last entry that was read of a stream: its offset, and a digest; None if none was."""
        row = self.db.execute(
            "SELECT offset, digest FROM positions WHERE stream = ?", (stream,)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def keep_position(self, stream: str, position: tuple[int, bytes]) -> None:
        """Remember up to where a stream is read, in the transaction of what was read."""
        self.db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (stream, *position))

    def rows(
        self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> Iterator[sqlite3.Row]:
        """The answer to a question, row by row."""
        return iter(self.db.execute(sql, values))

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def _open(self) -> sqlite3.Connection:
        # Made by us and not by SQLite, so that nobody else may read it, from the first moment on.
        os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self.file.chmod(0o600)
        db = sqlite3.connect(self.file, timeout=_BUSY_SECONDS)
        try:
            db.row_factory = sqlite3.Row
            # What a power cut destroys is read again.
            db.executescript(
                f"PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;"
                f"PRAGMA cache_size = -{_CACHE_KIB};"
            )
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                db.executescript(f"BEGIN; {_TABLES} COMMIT;")
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"version {version}")
            db.execute("SELECT count(*) FROM positions").fetchone()
            db.create_aggregate("state_of", 2, _StateOf)  # type: ignore[arg-type]
        except BaseException:
            db.close()
            raise
        return db

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where indexes lie: ``$LANEWAY_HOME/dead``, else in the user's cache directory."""
    if home := os.environ.get("LANEWAY_HOME"):
        return Path(home) / "dead"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "laneway" / "dead"


class _StateOf:
    """:func:`laneway.deadletter.state.state_of` for SQLite."""

    def __init__(self) -> None:
        self._marks: list[tuple[Mark, int]] = []

    def step(self, mark: Mark, entry: int) -> None:
        """Take a mark."""
        self._marks.append((mark, entry))

    def finalize(self) -> str:
        """Their state."""
        return state_of(self._marks)
