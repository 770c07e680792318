"""What was done with dead letters, and by whom: entries of the audit stream.

An entry names its letters one by one, or by ranges of offsets in the letter stream, because half a
million of them are discarded with one command.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

#: What can be done with a letter:
#:
#: =============  ==============================================================================
#: ``replayed``   its job was published again
#: ``resolved``   its job, published again, succeeded
#: ``discarded``  somebody decided that it needs nothing more
#: ``renewed``    it was appended again, because the stream would soon have forgotten it
#: =============  ==============================================================================
Verb = Literal["replayed", "resolved", "discarded", "renewed"]

VERSION: Final = 1
#: The content type of an entry.
CONTENT_TYPE: Final = "application/vnd.laneway.audit+json"


class EntryUnreadable(ValueError):
    """These bytes are no entry, or one of a newer version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that was done with some letters."""

    verb: Verb
    #: When, in seconds since 1970.
    at: float
    #: Who: ``user@host`` of a person, the node name of a worker.
    by: str
    #: Letters by their ids.
    letters: tuple[str, ...] = ()
    #: Letters by their offsets in the letter stream, from and to, both included.
    ranges: tuple[tuple[int, int], ...] = ()
    #: The run of a command that wrote several entries.
    run: str | None = None
    #: What the person said it was for.
    reason: str | None = None
    #: The jobs were published under new ids: :func:`laneway.deadletter.state.new_job_id`.
    renamed: bool = False


def encode(entry: Entry) -> bytes:
    """The bytes of an entry in the stream: JSON."""
    document = {
        name: value
        for name, value in asdict(entry).items()
        if value not in (None, ()) and value is not False
    }
    return json.dumps({"v": VERSION, **document}, separators=(",", ":")).encode()


def decode(data: bytes) -> Entry:
    """The entry of its bytes; what a newer version added to it is left out.

    Raises:
        EntryUnreadable: they are none.
    """
    try:
        document = json.loads(data)
        if document["v"] > VERSION:
            raise EntryUnreadable(f"expected version {VERSION} or older, got: {document['v']}")
        if document["verb"] not in get_args(Verb):
            raise EntryUnreadable(f"expected a known verb, got: {document['verb']!r}")
        return Entry(
            verb=document["verb"],
            at=float(document["at"]),
            by=str(document["by"]),
            letters=tuple(map(str, document.get("letters", ()))),
            ranges=tuple((int(first), int(last)) for first, last in document.get("ranges", ())),
            run=_text(document.get("run")),
            reason=_text(document.get("reason")),
            renamed=document.get("renamed") is True,
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, EntryUnreadable):
            raise
        raise EntryUnreadable(f"expected an audit entry: {error!r}") from error


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
