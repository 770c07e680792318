"""The letters of one virtual host, read: its index, and the stream behind it."""

from __future__ import annotations

import itertools
import sqlite3
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import amqp.exceptions

from laneway.broker.connect import connection_to
from laneway.deadletter.catch_up import catch_up
from laneway.deadletter.fetch import FRESH_SECONDS, fetch, letter_of
from laneway.deadletter.index import Index
from laneway.deadletter.letter import merged
from laneway.deadletter.listed import CHOSEN_COLUMNS, COLUMNS, Chosen, Count, Event, Found, Listed
from laneway.deadletter.stream import StreamReader
from laneway.errors import BrokerError, DeadLetterError, LanewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kombu.connection import Connection

    from laneway.broker.address import BrokerAddress, VhostKind
    from laneway.deadletter.letter import Letter
    from laneway.deadletter.select import Cursor, Selection
    from laneway.deadletter.stream import Stored

#: Offsets of chosen letters that are looked up at a time.
_SPOTS: Final = 20_000

#: What letters can be counted by.
GROUPS: Final = ("cause", "queue", "task", "outcome", "state", "error_type")


class Mailbox:
    """Reads the letters of one virtual host. Use it in one thread.

    Args:
        address: where the broker is.
        vhost: which of the two virtual hosts.
        folder: of the index, instead of the user's cache directory.
        progress: told how many new entries are read, and how many there are.
    """

    def __init__(
        self,
        address: BrokerAddress,
        vhost: VhostKind,
        *,
        folder: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.vhost = vhost
        self._address = address
        self._progress = progress
        self._index = Index.of(address, vhost, folder)
        self._open = ExitStack()
        self._connection: Connection | None = None
        self._used_at = 0.0
        self._numbers = itertools.count()
        self._open_letters: tuple[tuple[int, int, int], dict[str, int]] | None = None

    def refresh(self) -> None:
        """Read what is new.

        Raises:
            BrokerUnreachable: no connection.
            TopologyMissing: the streams do not exist.
            BrokerError: the broker broke off.
            DeadLetterError: there is no room for the index.
        """
        try:
            self._refresh()
        except sqlite3.OperationalError as error:
            raise DeadLetterError(
                f"the index {self._index.file} cannot be written: {error}. Make room, or set "
                "LANEWAY_HOME to another folder."
            ) from error
        except sqlite3.DatabaseError:
            # Somebody or something damaged the file; what it said stands in the streams.
            self._index.remake()
            self._refresh()

    def _refresh(self) -> None:
        with self._reading() as connection:
            catch_up(self._index, StreamReader(connection), self._progress)

    def listed(self, selection: Selection, after: Cursor | None, limit: int) -> list[Listed]:
        """The newest letters, behind a cursor."""
        where, values = selection.where()
        if after is not None:
            term, more = after.where()
            where, values = f"{where} AND {term}", [*values, *more]
        rows = self._index.rows(
            f"SELECT {COLUMNS} FROM letters WHERE {where} ORDER BY at DESC, id DESC LIMIT ?",  # noqa: S608 (values are bound)
            [*values, limit],
        )
        return [Listed.of(row, self.vhost) for row in rows]

    def counts(self, selection: Selection, groups: Sequence[str]) -> list[Count]:
        """How many letters have these fields in common, most first."""
        where, values = selection.where()
        columns = ", ".join(groups)
        rows = self._index.rows(
            f"SELECT {columns}, count(*), min(at), max(at) FROM letters WHERE {where}"  # noqa: S608 (the same)
            f" GROUP BY {columns} ORDER BY count(*) DESC, max(at) DESC",
            values,
        )
        return [
            Count(
                of=dict(zip(groups, tuple(row)[:-3], strict=True)),
                count=row[-3],
                first_at=row[-2],
                last_at=row[-1],
            )
            for row in rows
        ]

    def count(self, selection: Selection) -> int:
        """How many letters are selected."""
        where, values = selection.where()
        [row] = self._index.rows(f"SELECT count(*) FROM letters WHERE {where}", values)  # noqa: S608 (the same)
        return int(row[0])

    def open_by_queue(self) -> Mapping[str, int]:
        """How many letters of each queue are open, as last read.

        Counted only if the index has changed since the last time, and out of a lookup of the open
        letters alone: 0.1 s for a million.
        """
        db = self._index.db
        (by_others,) = db.execute("PRAGMA data_version").fetchone()
        version = (id(db), db.total_changes, by_others)
        if self._open_letters is None or self._open_letters[0] != version:
            self._index.make_lookup_of_open()
            # (By itself SQLite takes the lookup of states, and then reads every row.)
            rows = self._index.rows(
                "SELECT queue, count(*) FROM letters INDEXED BY open_by_queue"
                " WHERE state = 'open' GROUP BY queue"
            )
            self._open_letters = version, {row[0]: row[1] for row in rows}
        return self._open_letters[1]

    def states(self, letters: Sequence[str]) -> dict[str, str]:
        """The states of some letters, as last read."""
        found: dict[str, str] = {}
        for start in range(0, len(letters), 500):
            some = letters[start : start + 500]
            rows = self._index.rows(
                f"SELECT id, state FROM letters WHERE id IN ({', '.join('?' * len(some))})",  # noqa: S608 (the same)
                some,
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    def find(self, letter: str) -> Found | None:
        """Everything of a letter, or of the last one of a job; None if there is none.

        Raises:
            BrokerError: the broker broke off.
        """
        rows = self._index.rows(
            f"SELECT {COLUMNS}, offset FROM letters WHERE id = :letter OR (id > :letter || '.'"  # noqa: S608 (our columns)
            " AND id < :letter || '/' AND task_id = :letter) ORDER BY replays DESC LIMIT 1",
            {"letter": letter},
        )
        row = next(rows, None)
        if row is None:
            return None
        letters = [letter_of(entry) for some in self._fetch(self._offsets(row)) for entry in some]
        if not letters:
            return None
        whole = letters[0]
        for other in letters[1:]:
            whole = merged(whole, other)
        listed = Listed.of(row, self.vhost)
        return Found(
            listed=listed, letter=whole, history=self._history(row["id"]), later=self._later(listed)
        )

    def letters(self, selection: Selection) -> Iterator[list[tuple[Chosen, Letter]]]:
        """All selected letters with their messages, oldest first, some at a time.

        The selection is made once, at the beginning. Where two reports of one failure stand in the
        stream, it is the one that has the message.

        Raises:
            BrokerError: the broker broke off.
        """
        return self._chosen(*selection.where())

    def due_for_renewal(self, before: float) -> Iterator[list[tuple[Chosen, Letter]]]:
        """The open letters that were last appended before then, like :meth:`letters`."""
        return self._chosen(
            "state = 'open' AND at < ? AND NOT EXISTS (SELECT 1 FROM marks JOIN entries"
            " ON entries.offset = marks.entry WHERE marks.id = letters.id"
            " AND mark = 'renewed' AND entries.at >= ?)",
            [before, before],
        )

    def _chosen(self, where: str, values: Sequence[Any]) -> Iterator[list[tuple[Chosen, Letter]]]:
        db = self._index.db
        # One for each call: what is done with some letters may ask for others.
        chosen = f"chosen_{next(self._numbers)}"
        db.execute(
            f"CREATE TEMP TABLE {chosen} AS SELECT coalesce(original_at, offset) AS spot, id"  # noqa: S608 (the same)
            f" FROM letters WHERE {where}",
            values,
        )
        db.execute(f"CREATE UNIQUE INDEX temp.{chosen}_spot ON {chosen} (spot)")
        behind = -1
        while spots := self._spots(chosen, behind):
            for entries in self._fetch(spots):
                rows = db.execute(
                    f"SELECT {CHOSEN_COLUMNS}, spot FROM {chosen} JOIN letters USING (id)"  # noqa: S608 (the same)
                    " WHERE spot BETWEEN ? AND ?",
                    (entries[0].offset, entries[-1].offset),
                )
                known = {row[-1]: Chosen._make(row[:-1]) for row in rows}
                yield [
                    (known[entry.offset], letter_of(entry))
                    for entry in entries
                    if entry.offset in known
                ]
            behind = spots[-1]
        db.execute(f"DROP TABLE {chosen}")

    def _spots(self, chosen: str, behind: int) -> list[int]:
        rows = self._index.rows(
            f"SELECT spot FROM {chosen} WHERE spot > ? ORDER BY spot LIMIT ?",  # noqa: S608 (the same)
            (behind, _SPOTS),
        )
        return [row[0] for row in rows]

    def selected(self, selection: Selection) -> Iterator[list[tuple[int, Listed]]]:
        """All selected letters with their offsets, as the index knows them, in that order."""
        where, values = selection.where()
        behind = -1
        while True:
            rows = self._index.db.execute(
                f"SELECT {COLUMNS}, offset FROM letters WHERE ({where}) AND offset > ?"  # noqa: S608 (the same)
                " ORDER BY offset LIMIT 5000",
                [*values, behind],
            ).fetchall()
            if not rows:
                return
            behind = rows[-1][-1]
            yield [(row[-1], Listed.of(row, self.vhost)) for row in rows]

    def close(self) -> None:
        """Close file and connection."""
        self._connection = None
        self._open.close()
        self._index.close()

    # ------------------------------------------------------------------------------------------

    def _offsets(self, row: Any) -> list[int]:
        copies = self._index.rows("SELECT offset FROM copies WHERE id = ?", (row["id"],))
        return sorted({row["offset"], *(copy[0] for copy in copies)})

    def _history(self, letter: str) -> tuple[Event, ...]:
        rows = self._index.rows(
            "SELECT verb, at, by, run, reason FROM entries WHERE offset IN"
            " (SELECT entry FROM marks WHERE id = ? AND mark = verb) ORDER BY offset",
            (letter,),
        )
        return tuple(Event(**dict(row)) for row in rows)

    def _later(self, listed: Listed) -> tuple[str, ...]:
        rows = self._index.rows(
            "SELECT id FROM letters WHERE replays > ? AND offset IN"
            " (SELECT entry FROM marks WHERE id = ? AND mark = 'again') ORDER BY replays",
            (listed.replays, listed.id),
        )
        return tuple(row[0] for row in rows)

    def _fetch(self, offsets: Sequence[int]) -> Iterator[list[Stored]]:
        return fetch(self._address, self.vhost, offsets)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection; a new one if the last one was idle for long, or broke."""
        if self._connection is None or time.monotonic() - self._used_at > FRESH_SECONDS:
            self._connection = None
            self._open.close()
            self._connection = self._open.enter_context(connection_to(self._address, self.vhost))
        try:
            yield self._connection
        except BaseException as error:
            self._connection = None
            with suppress(OSError, amqp.exceptions.AMQPError, LanewayError):
                self._open.close()
            if isinstance(error, OSError | amqp.exceptions.AMQPError):
                where = self._address.vhost(self.vhost)
                raise BrokerError(f"the broker broke off on {where!r}: {error}") from error
            raise
        self._used_at = time.monotonic()
