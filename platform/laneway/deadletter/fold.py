"""What entries of the two streams change in an index: letters, and what was done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from laneway.deadletter import audit, envelope
from laneway.deadletter.index import FACTS
from laneway.deadletter.state import new_job_id, split_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from laneway.deadletter.stream import Stored

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


class Fold:
    """Folds entries into an index, within the caller's transactions.

    Args:
        db: of the index.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute("CREATE TEMP TABLE IF NOT EXISTS touched (id TEXT PRIMARY KEY)")

    # -- letters -------------------------------------------------------------------------------

    def take_letters(self, batch: Sequence[Stored]) -> None:
        """Take entries of the letter stream, in ascending order."""
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
        self._settle()

    # -- audit ---------------------------------------------------------------------------------

    def take_entries(self, batch: Sequence[Stored]) -> None:
        """Take entries of the audit stream, in ascending order."""
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
        self._settle()

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

    # -- retention -----------------------------------------------------------------------------

    def oldest(self) -> int | None:
        """Where the first letter stands that is known; None if there is none."""
        (offset,) = self._db.execute("SELECT min(offset) FROM letters").fetchone()
        return None if offset is None else int(offset)

    def forget(self, before: int) -> None:
        """Leave out what stands before this offset: the stream no longer has it."""
        db = self._db
        db.execute("DELETE FROM copies WHERE offset < ?", (before,))
        # A letter that was appended again stands where it is now.
        db.execute(
            "UPDATE letters SET offset ="
            " (SELECT min(offset) FROM copies WHERE copies.id = letters.id)"
            " WHERE offset < ? AND id IN (SELECT id FROM copies)",
            (before,),
        )
        db.execute("DELETE FROM copies WHERE offset IN (SELECT offset FROM letters)")
        db.execute(
            "DELETE FROM marks WHERE id IN (SELECT id FROM letters WHERE offset < ?)", (before,)
        )
        db.execute("DELETE FROM letters WHERE offset < ?", (before,))
        db.execute("UPDATE letters SET original_at = NULL WHERE original_at < ?", (before,))


def _plain(value: Any) -> Any:
    """What a column can hold; a letter that was written badly must not end the reading."""
    if value is None or isinstance(value, float) or (type(value) is str and value.isascii()):
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
