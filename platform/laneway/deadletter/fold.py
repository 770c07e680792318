"""Bringing an index up to date with its two streams."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from laneway.deadletter import audit, envelope
from laneway.deadletter.index import FACTS
from laneway.deadletter.state import new_job_id, split_id
from laneway.topology import AUDIT_STREAM, LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from laneway.deadletter.index import Index
    from laneway.deadletter.stream import Start, Stored

    #: Told how many entries are read, and how many there are to read.
    Progress = Callable[[int, int], None]

#: Entries that are folded in one transaction.
_BATCH: Final = 5_000
# Earlier letters of one job that are marked; nobody replays a job more often.
_EARLIER: Final = 100

# A worker's report counts and fills up what the keeper's says, else the first one does.
_NEWER_COUNTS: Final = "letters.by = 'keeper' AND excluded.by = 'worker'"
_MERGE: Final = ", ".join(
    f"{name} = CASE WHEN {_NEWER_COUNTS} THEN coalesce(excluded.{name}, letters.{name})"
    f" ELSE coalesce(letters.{name}, excluded.{name}) END"
    for name in FACTS
)
_INSERT: Final = (
    f"INSERT INTO letters (offset, id, original_at, {', '.join(FACTS)})"  # noqa: S608 (our columns)
    f" VALUES ({', '.join('?' * (len(FACTS) + 3))})"
    " ON CONFLICT (id) DO UPDATE SET"
    f" original_at = coalesce(excluded.original_at, letters.original_at), {_MERGE}"
)


class Reader(Protocol):
    """Reads streams: a ``StreamReader``, or one of the tests'."""

    def first_offset(self, stream: str) -> int | None:
        """The oldest entry of a stream."""

    def last_offset(self, stream: str, *, has_some: bool = False) -> int | None:
        """The newest entry of a stream."""

    def entries(self, stream: str, start: Start, last: int) -> Iterator[list[Stored]]:
        """The entries from ``start`` to ``last``."""


def refresh(index: Index, reader: Reader, progress: Progress | None = None) -> None:
    """Read what is new in both streams.

    If the index belongs to other streams than these (they were deleted and made anew, or forgot
    what the index saw last), it is begun again.

    Args:
        index: of this virtual host.
        reader: of its streams.
        progress: told now and then.

    Raises:
        TopologyMissing: the streams do not exist.
        BrokerError: the broker broke off; what was read so far stays.
    """
    with index.alone():
        _Fold(index, reader, progress or (lambda _done, _all: None)).run()


class _Remade(Exception):
    """The stream is not the one that was read before."""


class _Fold:
    def __init__(self, index: Index, reader: Reader, progress: Progress) -> None:
        self._index = index
        self._db = index.db
        self._reader = reader
        self._progress = progress
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS touched (id TEXT PRIMARY KEY)")

    def run(self) -> None:
        try:
            self._catch_up()
        except _Remade:
            self._index.empty()
            self._catch_up()
        self._forget_the_removed()
        self._index.make_lookups()

    def _catch_up(self) -> None:
        # The end of the audit is looked up first: every letter that an entry before it names then
        # stands before the end of the letters.
        ends = {stream: self._end(stream) for stream in (AUDIT_STREAM, LETTER_STREAM)}
        starts = {stream: self._position(stream) for stream in ends}
        total = sum(
            end - (starts[stream] or (0,))[0] for stream, end in ends.items() if end is not None
        )
        done = 0
        for stream, fold in ((LETTER_STREAM, self._letters), (AUDIT_STREAM, self._entries)):
            for batch in self._new_entries(stream, ends[stream]):
                with self._db:
                    fold(batch)
                    self._settle()
                    self._keep_position(stream, batch[-1])
                done += len(batch)
                self._progress(min(done, total), total)

    # -- reading -------------------------------------------------------------------------------

    def _end(self, stream: str) -> int | None:
        position = self._position(stream)
        end = self._reader.last_offset(stream, has_some=position is not None)
        if position is not None and (end is None or end < position[0]):
            raise _Remade
        return end

    def _new_entries(self, stream: str, end: int | None) -> Iterator[list[Stored]]:
        position = self._position(stream)
        if end is None:
            return
        # The last entry that was read is read again, to see that it is still the same.
        known = position is not None
        batch: list[Stored] = []
        for entries in self._reader.entries(stream, position[0] if position else "first", end):
            if known:
                if (entries[0].offset, _digest(entries[0])) != position:
                    raise _Remade
                known = False
                del entries[0]
            batch += entries
            if len(batch) >= _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _position(self, stream: str) -> tuple[int, bytes] | None:
        row = self._db.execute(
            "SELECT offset, digest FROM positions WHERE stream = ?", (stream,)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def _keep_position(self, stream: str, last: Stored) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)",
            (stream, last.offset, _digest(last)),
        )

    # -- letters -------------------------------------------------------------------------------

    def _letters(self, batch: Sequence[Stored]) -> None:
        rows: list[tuple[Any, ...]] = []
        again: list[tuple[str, str, int]] = []
        for offset, body in batch:
            try:
                document = envelope.document_of(body)
            except envelope.EnvelopeUnreadable:
                continue  # of a newer version, or not ours: nothing here can act on it
            id_ = str(document["id"])
            has_original = document.get("original") is not None
            get = document.get
            facts = [_time(get(name)) if name == "at" else _plain(get(name)) for name in FACTS]
            rows.append((offset, id_, offset if has_original else None, *facts))
            again += _earlier(id_, offset)
        db = self._db
        db.executemany(_INSERT, rows)
        span = (batch[0].offset, batch[-1].offset)
        (count,) = db.execute(
            "SELECT count(*) FROM letters WHERE offset BETWEEN ? AND ?", span
        ).fetchone()
        if count != len(rows):
            db.executemany(
                "INSERT OR IGNORE INTO copies SELECT :offset, :id"
                " WHERE NOT EXISTS (SELECT 1 FROM letters WHERE offset = :offset)",
                [{"offset": offset, "id": id_} for offset, id_, *_ in rows],
            )
        self._mark(again)
        if db.execute("SELECT 1 FROM marks LIMIT 1").fetchone():
            # What was done with them may have been read before.
            db.execute(
                "INSERT OR IGNORE INTO touched SELECT id FROM letters WHERE offset BETWEEN ? AND ?"
                " AND EXISTS (SELECT 1 FROM marks WHERE marks.id = letters.id)",
                span,
            )

    # -- audit ---------------------------------------------------------------------------------

    def _entries(self, batch: Sequence[Stored]) -> None:
        entries: list[tuple[Any, ...]] = []
        marks: list[tuple[str, str, int]] = []
        aliases: list[tuple[str, str]] = []
        ranges: list[tuple[str, int, int, int]] = []
        for offset, body in batch:
            try:
                entry = audit.decode(body)
            except audit.EntryUnreadable:
                continue
            entries.append((offset, entry.verb, entry.at, entry.by, entry.run, entry.reason))
            marks += [(letter, entry.verb, offset) for letter in entry.letters]
            ranges += [(entry.verb, offset, first, last) for first, last in entry.ranges]
            if entry.renamed:
                aliases += _aliases(entry.letters)
        db = self._db
        db.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?)", entries)
        self._mark(marks)
        for verb, offset, first, last in ranges:
            for table in ("letters", "copies"):
                found = f"FROM {table} WHERE offset BETWEEN ? AND ?"
                db.execute(
                    f"INSERT OR IGNORE INTO marks SELECT id, ?, ? {found}",
                    (verb, offset, first, last),
                )
                db.execute(
                    f"INSERT OR IGNORE INTO touched SELECT id {found}",
                    (first, last),
                )
        db.executemany("INSERT OR IGNORE INTO aliases VALUES (?, ?)", aliases)
        db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", [alias[:1] for alias in aliases])

    # -- both ----------------------------------------------------------------------------------

    def _mark(self, marks: Sequence[tuple[str, str, int]]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", marks)
        self._db.executemany(
            "INSERT OR IGNORE INTO touched VALUES (?)", [mark[:1] for mark in marks]
        )

    def _settle(self) -> None:
        """Write the states of the letters that got a mark."""
        db = self._db
        if db.execute("SELECT 1 FROM aliases LIMIT 1").fetchone():
            # What became of the job under its new id became of the letter.
            db.execute(
                "INSERT OR IGNORE INTO marks SELECT aliases.id, mark, entry FROM touched"
                " JOIN aliases ON alias = touched.id JOIN marks ON marks.id = alias"
            )
            db.execute(
                "INSERT OR IGNORE INTO touched SELECT aliases.id FROM touched"
                " JOIN aliases ON alias = touched.id"
            )
        db.execute(
            "UPDATE letters SET state ="
            " (SELECT state_of(mark, entry) FROM marks WHERE marks.id = letters.id)"
            " WHERE id IN (SELECT id FROM touched)"
        )
        db.execute("DELETE FROM touched")

    def _forget_the_removed(self) -> None:
        """Leave out the letters that the stream no longer has."""
        db = self._db
        oldest = db.execute("SELECT min(offset) FROM letters").fetchone()[0]
        if oldest is None:
            return
        first = self._reader.first_offset(LETTER_STREAM)
        if first is None or first <= oldest:
            return
        with db:
            db.execute("DELETE FROM copies WHERE offset < ?", (first,))
            # A letter that was appended again stands where it is now.
            db.execute(
                "UPDATE letters SET offset ="
                " (SELECT min(offset) FROM copies WHERE copies.id = letters.id)"
                " WHERE offset < ? AND id IN (SELECT id FROM copies)",
                (first,),
            )
            db.execute("DELETE FROM copies WHERE offset IN (SELECT offset FROM letters)")
            db.execute(
                "DELETE FROM marks WHERE id IN (SELECT id FROM letters WHERE offset < ?)", (first,)
            )
            db.execute("DELETE FROM letters WHERE offset < ?", (first,))
            db.execute("UPDATE letters SET original_at = NULL WHERE original_at < ?", (first,))


def _plain(value: Any) -> Any:
    """What a column can hold; a letter that was written badly must not end the reading."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    return str(value).encode("utf-8", "replace").decode()


def _time(value: Any) -> float:
    """When it ended; letters are ordered by it, so it must be a number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _earlier(letter: str, offset: int) -> Iterator[tuple[str, str, int]]:
    """Marks for the earlier letters of a job that ended once more."""
    if letter.endswith(".0"):
        return
    parts = split_id(letter)
    if parts is not None:
        job, replays = parts
        for number in range(max(0, replays - _EARLIER), replays):
            yield f"{job}.{number}", "again", offset


def _aliases(letters: Sequence[str]) -> Iterator[tuple[str, str]]:
    for letter in letters:
        parts = split_id(letter)
        if parts is not None:
            yield f"{new_job_id(letter)}.{parts[1]}", letter


def _digest(entry: Stored) -> bytes:
    return hashlib.blake2b(entry.body, digest_size=8).digest()
