"""Bringing an index up to date: which entries of its two streams are new, and that they are its."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from laneway.deadletter.fold import Fold
from laneway.topology import AUDIT_STREAM, LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.deadletter.index import Index
    from laneway.deadletter.stream import Start, Stored

    #: Told how many entries are read, and how many there are to read.
    Progress = Callable[[int, int], None]

#: Entries that are folded in one transaction, and bytes of them that are held at most.
_BATCH: Final = 5_000
_BATCH_BYTES: Final = 32 * 2**20


class Reader(Protocol):
    """Reads streams: a ``StreamReader``, or one of the tests'."""

    def first_offset(self, stream: str) -> int | None:
        """The oldest entry of a stream."""

    def last(self, stream: str, *, has_some: bool = False) -> Stored | None:
        """The newest entry of a stream."""

    def entries(self, stream: str, start: Start, last: int) -> Iterator[list[Stored]]:
        """The entries from ``start`` to ``last``."""


def catch_up(index: Index, reader: Reader, progress: Progress | None = None) -> None:
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
        _CatchUp(index, reader, progress or (lambda _done, _all: None)).run()


class _Remade(Exception):
    """The stream is not the one that was read before."""


class _CatchUp:
    def __init__(self, index: Index, reader: Reader, progress: Progress) -> None:
        self._index = index
        self._reader = reader
        self._progress = progress
        self._fold = Fold(index.db)

    def run(self) -> None:
        try:
            self._read_what_is_new()
        except _Remade:
            self._index.empty()
            self._read_what_is_new()
        self._forget_what_is_gone()
        self._index.make_lookups()

    def _read_what_is_new(self) -> None:
        if self._index.position(LETTER_STREAM) is None and self._end(LETTER_STREAM) is None:
            # Without a letter the audit says nothing yet, and an empty stream has to be waited for.
            return
        # The end of the audit is looked up first: every letter that an entry before it names then
        # stands before the end of the letters.
        ends = {stream: self._end(stream) for stream in (AUDIT_STREAM, LETTER_STREAM)}
        starts = {stream: self._index.position(stream) for stream in ends}
        total = sum(
            end.offset - (starts[stream] or (0,))[0]
            for stream, end in ends.items()
            if end is not None
        )
        done = 0
        for stream, take in (
            (LETTER_STREAM, self._fold.take_letters),
            (AUDIT_STREAM, self._fold.take_entries),
        ):
            for batch in self._new_entries(stream, ends[stream]):
                with self._index.db:
                    take(batch)
                    self._index.keep_position(stream, _mark(batch[-1]))
                done += len(batch)
                self._progress(min(done, total), total)

    def _end(self, stream: str) -> Stored | None:
        position = self._index.position(stream)
        end = self._reader.last(stream, has_some=position is not None)
        if position is not None and (end is None or end.offset < position[0]):
            raise _Remade
        return end

    def _new_entries(self, stream: str, end: Stored | None) -> Iterator[list[Stored]]:
        position = self._index.position(stream)
        if end is None or _mark(end) == position:
            return
        # The last entry that was read is read again, to see that it is still the same.
        known = position is not None
        batch: list[Stored] = []
        held = 0
        start: Start = position[0] if position else "first"
        for entries in self._reader.entries(stream, start, end.offset):
            if known:
                if _mark(entries[0]) != position:
                    raise _Remade
                known = False
                del entries[0]
            batch += entries
            held += sum(len(entry.body) for entry in entries)
            if len(batch) >= _BATCH or held >= _BATCH_BYTES:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch

    def _forget_what_is_gone(self) -> None:
        """Leave out the letters that the stream no longer has."""
        oldest = self._fold.oldest()
        if oldest is None:
            return
        first = self._reader.first_offset(LETTER_STREAM)
        if first is not None and first > oldest:
            with self._index.db:
                self._fold.forget(first)


def _mark(entry: Stored) -> tuple[int, bytes]:
    """By which an entry is known again."""
    return entry.offset, hashlib.blake2b(entry.body, digest_size=8).digest()
